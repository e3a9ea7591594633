"""The engine alone, with no server around it, gives the golden vectors, whatever kind of image carries the pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from reidstream_engines.boxes import resolve
from reidstream_engines.cpu.onnx_engine import OnnxEngine
from reidstream_engines.cpu.onnx_loading import load_onnx
from reidstream_engines.cpu.options import OnnxOptions
from reidstream_engines.cpu.stager import CpuStager
from reidstream_engines.headers import parse_encoded, parse_raw
from reidstream_engines.image import ColorMatrix, ColorRange, Image, PixelBox, PixelFormat
from reidstream_engines.protocol import BoxCrop
from reidstream_engines.spec import CropRule
from tests.golden.wire import MIN_COSINE, MODELS, SMALLER, GoldenFrame, golden_crops, golden_frames, lowest_cosine

pytestmark = pytest.mark.needs("shared-data")

MAX_BATCH = 8


@pytest.fixture(scope="module", params=MODELS)
def engine(request: pytest.FixtureRequest, shared_data: Path) -> Iterator[OnnxEngine]:
    path = shared_data / "models" / f"{request.param}.onnx"
    loaded = load_onnx(path, name=None, profile="torchreid", options=OnnxOptions(max_batch=MAX_BATCH))
    yield loaded
    loaded.close()


def raw(data: bytes, kind: PixelFormat, pixels: NDArray[np.uint8], stride: int) -> Image:
    return parse_raw(
        data=data,
        format=kind,
        width=pixels.shape[1],
        height=pixels.shape[0],
        stride=stride,
        offset=0,
        chroma_stride=0,
        chroma_offset=0,
        color_matrix=ColorMatrix.BT601,
        color_range=ColorRange.LIMITED,
    )


def decoded(path: Path) -> NDArray[np.uint8]:
    pixels = cv2.imread(str(path))
    assert pixels is not None
    return np.asarray(pixels, np.uint8)


@cache
def encoded(path: Path, suffix: str, *parameters: int) -> bytes:
    done, data = cv2.imencode(suffix, decoded(path), parameters)
    assert done
    return data.tobytes()


def jpeg(path: Path) -> Image:
    return parse_encoded(path.read_bytes())


def raw_bgr_with_padded_rows(path: Path) -> Image:
    pixels = decoded(path)
    return raw(np.pad(pixels, ((0, 0), (0, 5), (0, 0))).tobytes(), PixelFormat.BGR, pixels, 3 * pixels.shape[1] + 15)


def raw_rgb(path: Path) -> Image:
    pixels = decoded(path)
    return raw(pixels[:, :, ::-1].tobytes(), PixelFormat.RGB, pixels, 0)


def png(path: Path) -> Image:
    return parse_encoded(encoded(path, ".png"))


def lossless_webp(path: Path) -> Image:
    return parse_encoded(encoded(path, ".webp", cv2.IMWRITE_WEBP_QUALITY, 101))


def boxes_of(golden: GoldenFrame, image: Image, engine: OnnxEngine) -> list[PixelBox]:
    rects = golden.boxes.tolist() or [[0.0, 0.0, float(image.width), float(image.height)]]
    found = []
    for x1, y1, x2, y2 in rects:
        rule = engine.spec.input.crop_rule
        box = resolve((x1, y1, x2, y2), width=image.width, height=image.height, rule=rule, min_px=1)
        assert isinstance(box, PixelBox)
        found.append(box)
    return found


def lowest(engine: OnnxEngine, goldens: list[GoldenFrame], kind: Callable[[Path], Image]) -> float:
    """The lowest cosine over all boxes, their order shuffled so that every batch mixes frames."""
    stager = CpuStager()
    with ExitStack() as frames:
        crops, expected = [], []
        for golden in goldens:
            image = kind(golden.path)
            boxes = boxes_of(golden, image, engine)
            frame = frames.enter_context(stager.stage(image, boxes))
            crops += [BoxCrop(frame=frame, box=box) for box in boxes]
            expected.append(golden.vectors)
        order = np.random.default_rng(0).permutation(len(crops))
        rows = [
            engine.submit([crops[i] for i in order[start : start + MAX_BATCH]]).result()
            for start in range(0, len(crops), MAX_BATCH)
        ]
    return lowest_cosine(np.concatenate(rows), np.concatenate(expected)[order])


def a_few(goldens: list[GoldenFrame], kind: Callable[[Path], Image]) -> list[GoldenFrame]:
    """All frames where making the image costs nothing; one a sequence for PNG; few and small for WebP."""
    if kind is png:
        return list({golden.path.parent: golden for golden in goldens}.values())
    if kind is lossless_webp:
        return [golden for golden in goldens if "MOT17-05" in str(golden.path)]
    return goldens


KINDS = [*((SMALLER[0], kind) for kind in (jpeg, raw_bgr_with_padded_rows, raw_rgb, png, lossless_webp))]
KINDS += [(model, jpeg) for model in MODELS if model not in SMALLER]


@pytest.mark.parametrize(("engine", "kind"), KINDS, indirect=["engine"])
def test_boxes_of_frames(engine: OnnxEngine, shared_data: Path, kind: Callable[[Path], Image]) -> None:
    """mot17mini and edgeboxes."""
    goldens = golden_frames(shared_data, engine.spec.name)
    chosen = a_few(goldens, kind)
    assert len(chosen) >= 5
    assert lowest(engine, chosen, kind) >= MIN_COSINE


@pytest.mark.parametrize(("engine", "kind"), KINDS, indirect=["engine"])
def test_ready_crops(engine: OnnxEngine, shared_data: Path, kind: Callable[[Path], Image]) -> None:
    """market_style: every crop is an image of its own."""
    goldens = golden_crops(shared_data, engine.spec.name)
    assert len(goldens) == 72
    chosen = goldens[::6] if kind is lossless_webp else goldens  # slow to make
    assert lowest(engine, chosen, kind) >= MIN_COSINE


@pytest.mark.needs("turbojpeg")
def test_a_region_of_a_frame_is_decoded_as_the_golden_one_was(shared_data: Path) -> None:
    """Bit for bit, around the boxes of every golden frame, together and each alone."""
    stager = CpuStager()
    partly = 0
    for golden in golden_frames(shared_data, MODELS[0]):
        image, expected = jpeg(golden.path), decoded(golden.path)
        boxes = []
        for x1, y1, x2, y2 in golden.boxes.tolist():
            box = resolve((x1, y1, x2, y2), width=image.width, height=image.height, rule=CropRule.EXACT, min_px=1)
            assert isinstance(box, PixelBox)
            boxes.append(box)
        for wanted in (boxes, *([box] for box in boxes)):
            with stager.stage(image, wanted) as frame:
                partly += frame.pixels.shape != expected.shape
                for box in wanted:
                    np.testing.assert_array_equal(frame.cut(box), expected[box.y1 : box.y2, box.x1 : box.x2])
    assert partly > 50


def test_a_frame_is_decoded_as_the_golden_one_was(shared_data: Path) -> None:
    """Bit for bit, every frame and crop that there is."""
    stager = CpuStager()
    paths = sorted(shared_data.glob("frames/*/img1/*.jpg")) + sorted(shared_data.glob("crops/*/*.jpg"))
    assert len(paths) > 100
    for path in paths:
        with stager.stage(jpeg(path), ()) as frame:
            np.testing.assert_array_equal(frame.pixels, decoded(path))
