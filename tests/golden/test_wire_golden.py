"""Golden vectors and reference accuracy, from vectors that came over the wire.

The guard of the numerics: cosine to vectors that were made outside this project. Retrieval scores hardly notice
swapped colours.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from reidstream_client import AsyncReidClient, Crops, FrameEmbeddings, PixelFormat, RawFrame
from reidstream_client.cli import main as client_cli
from reidstream_client.frames.images import Image
from reidstream_engines.cpu.onnx_loading import load_onnx
from reidstream_engines.cpu.options import OnnxOptions
from reidstream_engines.protocol import Engine
from tests.golden.wire import (
    MIN_COSINE,
    MODELS,
    SMALLER,
    GoldenFrame,
    golden_crops,
    golden_frames,
    lowest_cosine,
    retrieval_scores,
)
from tests.support.harness import Pixels, encode, serving
from tests.support.process import server_process

pytestmark = pytest.mark.needs("shared-data")

CAMERAS = 16
# Data README: rank-1 and mAP of "within-sequence, pooled".
REFERENCE = {"osnet_x0_25_msmt17": (0.9898, 0.9803), "osnet_x0_5_msmt17": (1.0000, 0.9889)}
SEQUENCES = ("02", "04", "05", "09", "11", "13")


def _strided(pixels: Pixels) -> RawFrame:
    """BGR rows with 16 bytes of padding, behind an offset."""
    height, width = pixels.shape[:2]
    rows = np.full((height, width * 3 + 16), 255, np.uint8)
    rows[:, : width * 3] = pixels.reshape(height, -1)
    data = b"\x07" * 5 + rows.tobytes()
    return RawFrame(data=data, width=width, height=height, stride=width * 3 + 16, offset=5)


def _rgb(pixels: Pixels) -> RawFrame:
    height, width = pixels.shape[:2]
    return RawFrame(data=pixels[:, :, ::-1].tobytes(), width=width, height=height, format=PixelFormat.RGB)


def _with_alpha(pixels: Pixels, code: int, kind: PixelFormat) -> RawFrame:
    height, width = pixels.shape[:2]
    return RawFrame(data=cv2.cvtColor(pixels, code).tobytes(), width=width, height=height, format=kind)


def _chroma_of(pixels: Pixels, rows: int) -> tuple[Pixels, Pixels]:
    """Luma (H, W), and U and V (H / rows, W / 2, 2): BT.601, limited, each colour the mean of its pixels."""
    height, width = pixels.shape[:2]
    red, green, blue = np.moveaxis(pixels[:, :, ::-1].astype(np.float64) / 255, 2, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    colour = np.stack([128 + 112 * (blue - luma) / 0.886, 128 + 112 * (red - luma) / 0.701], axis=2)
    colour = colour.reshape(height // rows, rows, width // 2, 2, 2).mean(axis=(1, 3))
    return np.rint(16 + 219 * luma).astype(np.uint8), np.rint(colour).astype(np.uint8)


def _i420(pixels: Pixels) -> tuple[RawFrame, Pixels]:
    """As a camera gives it, and as OpenCV reads it."""
    height, width = pixels.shape[:2]
    luma, colour = _chroma_of(pixels, 2)
    data = luma.tobytes() + colour[:, :, 0].tobytes() + colour[:, :, 1].tobytes()
    planes = np.frombuffer(data, np.uint8).reshape(height * 3 // 2, width)
    frame = RawFrame(data=data, width=width, height=height, format=PixelFormat.I420)
    return frame, np.asarray(cv2.cvtColor(planes, cv2.COLOR_YUV2BGR_I420), np.uint8)


def _yuyv(pixels: Pixels) -> tuple[RawFrame, Pixels]:
    """As a camera gives it, and as OpenCV reads it."""
    height, width = pixels.shape[:2]
    luma, colour = _chroma_of(pixels, 1)
    packed = np.stack([luma, colour.reshape(height, width)], axis=2)
    frame = RawFrame(data=packed.tobytes(), width=width, height=height, format=PixelFormat.YUYV)
    return frame, np.asarray(cv2.cvtColor(packed, cv2.COLOR_YUV2BGR_YUYV), np.uint8)


# Every kind of image that holds the golden frames' very pixels (NV12 and grey do not).
KINDS: dict[str, Callable[[bytes, Pixels], Image]] = {
    "jpeg": lambda data, _: data,
    "png": lambda _, pixels: encode(pixels, ".png", cv2.IMWRITE_PNG_COMPRESSION, 1),
    "webp lossless": lambda _, pixels: encode(pixels, ".webp", cv2.IMWRITE_WEBP_QUALITY, 101),
    "raw BGR": lambda _, pixels: pixels,
    "raw BGR strided": lambda _, pixels: _strided(pixels),
    "raw RGB": lambda _, pixels: _rgb(pixels),
    "raw BGRA": lambda _, pixels: _with_alpha(pixels, cv2.COLOR_BGR2BGRA, PixelFormat.BGRA),
    "raw RGBA": lambda _, pixels: _with_alpha(pixels, cv2.COLOR_BGR2RGBA, PixelFormat.RGBA),
}
CHEAP_KINDS = ("jpeg", "raw BGR", "raw BGR strided", "raw RGB")


@pytest.fixture(scope="module", params=MODELS)
def engine(request: pytest.FixtureRequest, shared_data: Path) -> Iterator[Engine]:
    """Both networks, as `--model FILE --profile torchreid` serves them."""
    path = shared_data / "models" / f"{request.param}.onnx"
    loaded = load_onnx(path, name=None, profile="torchreid", options=OnnxOptions(slots=2))
    yield loaded
    loaded.close()


def _pixels(frame: GoldenFrame) -> tuple[bytes, Pixels]:
    data = frame.path.read_bytes()
    return data, np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), dtype=np.uint8)


@pytest.mark.parametrize(
    ("engine", "kind"),
    [*((SMALLER[0], kind) for kind in KINDS), *((model, "jpeg") for model in MODELS if model not in SMALLER)],
    indirect=["engine"],
)
async def test_every_image_kind_meets_the_golden_vectors(engine: Engine, shared_data: Path, kind: str) -> None:
    """PNG and WebP, slow to encode without loss, and what becomes BGR here, with a few frames; the others with all."""
    frames = golden_frames(shared_data, engine.spec.name)
    if kind not in CHEAP_KINDS:
        frames = [frame for frame in frames if "-05-" in str(frame.path)] + frames[-1:]
    async with serving(engine) as server, AsyncReidClient(f"127.0.0.1:{server.port}") as client:
        for frame in frames:
            result = await client.embed(KINDS[kind](*_pixels(frame)), frame.boxes)
            assert result.valid.all()
            assert result.space_id == engine.spec.space_id
            assert lowest_cosine(result.embeddings, frame.vectors) >= MIN_COSINE


@pytest.mark.parametrize("engine", SMALLER, indirect=True)
@pytest.mark.parametrize(
    ("kind", "median", "lowest"), [(_i420, 0.9999, 0.9999), (_yuyv, 0.998, 0.98)], ids=["I420", "YUYV"]
)
async def test_what_becomes_nv12_meets_the_vectors_of_the_picture_that_opencv_reads(
    engine: Engine,
    shared_data: Path,
    kind: Callable[[Pixels], tuple[RawFrame, Pixels]],
    median: float,
    lowest: float,
) -> None:
    """I420 keeps all of its numbers. YUYV loses every second row of its colours: boxes of a few pixels notice it.

    A picture that was turned to YUV has lost half of its colours before. To the golden vectors, the median is 0.995 to
    0.998.
    """
    to_plain: list[float] = []
    to_golden: list[float] = []
    async with serving(engine) as server, AsyncReidClient(f"127.0.0.1:{server.port}") as client:
        for frame in golden_frames(shared_data, engine.spec.name)[::2]:
            converted, plain = kind(_pixels(frame)[1])
            found = (await client.embed(converted, frame.boxes)).embeddings
            expected = (await client.embed(plain, frame.boxes)).embeddings
            to_plain += np.einsum("ij,ij->i", found, expected).tolist()
            to_golden += np.einsum("ij,ij->i", found, frame.vectors).tolist()
    assert np.median(to_plain) >= median
    assert min(to_plain) >= lowest
    assert np.median(to_golden) >= 0.99


@pytest.mark.parametrize("engine", SMALLER, indirect=True)
@pytest.mark.parametrize("kind", ["raw BGR", "raw BGR strided", "raw RGB"])
async def test_shared_memory_meets_the_golden_vectors(engine: Engine, shared_data: Path, kind: str) -> None:
    """All frames, raw, by handle."""
    frames = golden_frames(shared_data, engine.spec.name)
    async with (
        serving(engine) as server,
        AsyncReidClient(f"127.0.0.1:{server.port}") as client,
        client.stream(shared_memory=True) as session,
    ):
        assert session.opened.shared_memory_bytes
        for frame in frames:
            await session.send(KINDS[kind](*_pixels(frame)), frame.boxes)
            assert session.statistics().window_bytes < 5000  # boxes and handles, no pixels
            result = await anext(session)
            assert result.valid.all()
            assert lowest_cosine(result.embeddings, frame.vectors) >= MIN_COSINE


@pytest.mark.parametrize("kind", ["encoded", "raw"])
async def test_ready_crops_meet_the_golden_vectors(engine: Engine, shared_data: Path, kind: str) -> None:
    """The market_style files as they are, and their pixels."""
    frames = golden_crops(shared_data, engine.spec.name)
    images: list[bytes | Pixels] = [_pixels(frame)[0 if kind == "encoded" else 1] for frame in frames]
    async with serving(engine) as server, AsyncReidClient(f"127.0.0.1:{server.port}") as client:
        result = await client.embed(Crops(images))
    assert result.valid.all()
    assert lowest_cosine(result.embeddings, np.concatenate([frame.vectors for frame in frames])) >= MIN_COSINE


@pytest.mark.parametrize("engine", SMALLER, indirect=True)
async def test_ready_crops_with_a_margin_meet_the_golden_vectors(engine: Engine, shared_data: Path) -> None:
    """A crop cut wider than its box names the box inside it."""
    frame = golden_frames(shared_data, engine.spec.name)[0]
    _, pixels = _pixels(frame)
    images, inner = [], []
    for x1, y1, x2, y2 in np.round(frame.boxes).astype(int).clip(0):
        left, top = max(0, x1 - 9), max(0, y1 - 4)
        images.append(np.ascontiguousarray(pixels[top : y2 + 7, left : x2 + 3]))
        inner.append([x1 - left, y1 - top, min(x2, pixels.shape[1]) - left, min(y2, pixels.shape[0]) - top])
    async with serving(engine) as server, AsyncReidClient(f"127.0.0.1:{server.port}") as client:
        result = await client.embed(Crops(images, np.array(inner, np.float32)))
    assert lowest_cosine(result.embeddings, frame.vectors) >= MIN_COSINE


@pytest.mark.parametrize("engine", SMALLER, indirect=True)
async def test_sixteen_cameras_at_once_meet_the_golden_vectors(engine: Engine, shared_data: Path) -> None:
    """Each streams every golden frame, in its own order and image kinds, while batches mix the cameras."""
    frames = golden_frames(shared_data, engine.spec.name)
    crops = golden_crops(shared_data, engine.spec.name)
    pictures = [_pixels(frame) for frame in frames]
    kinds = [KINDS[name] for name in CHEAP_KINDS]

    async def camera(client: AsyncReidClient, number: int) -> tuple[float, bool]:
        golden: dict[int, npt.NDArray[np.float32]] = {}
        results: list[FrameEmbeddings] = []
        async with client.stream(camera_id=f"camera-{number}") as session:

            async def send() -> None:
                for step in range(len(frames)):
                    index = (step + 3 * number) % len(frames)
                    image = kinds[(step + number) % len(kinds)](*pictures[index])
                    golden[await session.send(image, frames[index].boxes)] = frames[index].vectors
                part = crops[number * 4 : number * 4 + 8]
                images: list[bytes] = [crop.path.read_bytes() for crop in part]
                golden[await session.send(Crops(images))] = np.concatenate([crop.vectors for crop in part])
                await session.finish()

            sending = asyncio.create_task(send())
            results += [result async for result in session]
            await sending
        assert [result.frame_id for result in results] == list(golden)
        lowest = min(lowest_cosine(result.embeddings, golden[result.frame_id]) for result in results)
        mixed = any(sum(result.timing.batch_sizes) > len(result.valid) for result in results)
        return lowest, mixed

    # Batches wait a little to fill: otherwise a free core takes a frame's crops before another frame is staged.
    async with serving(engine, linger_ms=1000) as server, AsyncReidClient(f"127.0.0.1:{server.port}") as client:
        outcomes = await asyncio.gather(*(camera(client, number) for number in range(CAMERAS)))
    assert min(lowest for lowest, _ in outcomes) >= MIN_COSINE
    assert all(mixed for _, mixed in outcomes)


@pytest.mark.parametrize("model", MODELS)
def test_reference_accuracy_is_reproduced_over_the_wire(model: str, shared_data: Path, tmp_path: Path) -> None:
    """A server process, the command line client on six MOT17 sequences, and the reference protocol on its arrays."""
    path = shared_data / "models" / f"{model}.onnx"
    vectors, identities = [], []
    with server_process("--model", str(path), "--profile", "torchreid") as (_, address):
        for sequence in SEQUENCES:
            source = shared_data / "frames" / f"MOT17-{sequence}-FRCNN"
            output = tmp_path / f"{sequence}.npz"
            arguments = ["--output", str(output), "--server", address, "--min-visibility", "0.3", "--quiet"]
            assert client_cli(["stream", str(source), *arguments]) == 0
            with np.load(output) as arrays:
                assert arrays["valid"].all()
                vectors.append(arrays["embedding"])
                identities += [f"{sequence}-{track}" for track in arrays["track_id"].tolist()]
    queries, gallery, rank1, mean_ap = retrieval_scores(np.concatenate(vectors), identities)
    assert (queries, gallery) == (98, 495)
    assert (round(rank1, 4), round(mean_ap, 4)) == REFERENCE[model]
