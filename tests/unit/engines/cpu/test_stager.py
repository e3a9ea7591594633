"""CpuStager: which pixels come out of which picture, what is refused, and who owns the memory."""

from __future__ import annotations

import io
import struct
import sys
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as PilImage
from PIL.PngImagePlugin import PngInfo

from reidstream_engines.cpu.stager import CpuFrame, CpuStager
from reidstream_engines.decoding.buffers import POOLED_FROM_BYTES, BufferPool, buffer_size
from reidstream_engines.decoding.png import MAX_CHUNKS
from reidstream_engines.errors import EngineFault, InvalidImage
from reidstream_engines.image import (
    ColorMatrix,
    ColorRange,
    EncodedImage,
    ImageFormat,
    PixelFormat,
    RawImage,
)
from reidstream_engines.spec import ColorOrder

Pixels = NDArray[np.uint8]

JPEG, PNG, WEBP = ImageFormat.JPEG, ImageFormat.PNG, ImageFormat.WEBP
LOSSLESS_WEBP = [cv2.IMWRITE_WEBP_QUALITY, 101]


def picture(width: int = 203, height: int = 151, seed: int = 0) -> Pixels:
    """Smooth colour with some grain, BGR."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 8, 3), np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return cv2.add(smooth, rng.integers(0, 8, smooth.shape, np.uint8)).astype(np.uint8)


def encode(kind: ImageFormat, pixels: Pixels, *parameters: int) -> bytes:
    suffix = {JPEG: ".jpg", PNG: ".png", WEBP: ".webp"}[kind]
    done, data = cv2.imencode(suffix, pixels, list(parameters))
    assert done
    return data.tobytes()


def encoded(kind: ImageFormat, data: bytes, pixels: Pixels) -> EncodedImage:
    return EncodedImage(data=data, format=kind, width=pixels.shape[1], height=pixels.shape[0])


def raw(
    kind: PixelFormat,
    data: bytes | memoryview,
    width: int,
    height: int,
    *,
    stride: int,
    offset: int = 0,
    chroma_stride: int = 0,
    chroma_offset: int = 0,
) -> RawImage:
    return RawImage(
        data=data,
        format=kind,
        width=width,
        height=height,
        stride=stride,
        offset=offset,
        chroma_stride=chroma_stride,
        chroma_offset=chroma_offset,
        color_matrix=ColorMatrix.BT601,
        color_range=ColorRange.LIMITED,
    )


@pytest.fixture
def stager() -> CpuStager:
    return CpuStager()


class TestDecoding:
    @pytest.mark.parametrize("progressive", [0, 1])
    @pytest.mark.parametrize(
        "sampling",
        [
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
        ],
    )
    def test_jpeg_is_bit_equal_to_opencv(self, stager: CpuStager, sampling: int, progressive: int) -> None:
        """Every chroma layout, baseline and progressive, odd size."""
        pixels = picture()
        data = encode(
            JPEG, pixels, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling, cv2.IMWRITE_JPEG_PROGRESSIVE, progressive
        )
        with stager.stage(encoded(JPEG, data, pixels), ()) as frame:
            assert frame.order is ColorOrder.BGR
            np.testing.assert_array_equal(frame.pixels, cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))

    @pytest.mark.parametrize("kind", [JPEG, PNG, WEBP])
    def test_grey_is_widened(self, stager: CpuStager, kind: ImageFormat) -> None:
        """A grey picture has three equal channels."""
        pixels = picture()
        data = encode(kind, np.ascontiguousarray(pixels[:, :, 0]))
        with stager.stage(encoded(kind, data, pixels), ()) as frame:
            assert frame.pixels.shape == pixels.shape
            np.testing.assert_array_equal(frame.pixels[:, :, 0], frame.pixels[:, :, 1])
            np.testing.assert_array_equal(frame.pixels[:, :, 0], frame.pixels[:, :, 2])

    @pytest.mark.parametrize(("kind", "parameters"), [(PNG, []), (WEBP, LOSSLESS_WEBP)])
    def test_lossless_formats_give_the_pixels_back(
        self, stager: CpuStager, kind: ImageFormat, parameters: list[int]
    ) -> None:
        """PNG, and WebP without loss."""
        pixels = picture()
        with stager.stage(encoded(kind, encode(kind, pixels, *parameters), pixels), ()) as frame:
            np.testing.assert_array_equal(frame.pixels, pixels)

    @pytest.mark.parametrize("name", ["PNG", "WEBP"])
    def test_alpha_is_dropped_not_blended(self, stager: CpuStager, name: str) -> None:
        """Colour under any transparency stays what it is."""
        pixels = picture()
        alpha = np.random.default_rng(1).integers(0, 256, pixels.shape[:2], np.uint8)
        rgba = PilImage.fromarray(np.dstack([pixels[:, :, ::-1], alpha]))
        stream = io.BytesIO()
        rgba.save(stream, name, lossless=True, exact=True)
        with stager.stage(encoded(ImageFormat[name], stream.getvalue(), pixels), ()) as frame:
            np.testing.assert_array_equal(frame.pixels, pixels)

    @pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP"])
    def test_orientation_is_ignored(self, stager: CpuStager, name: str) -> None:
        """Boxes are in stored pixels, whatever EXIF says."""
        pixels = picture()
        image = PilImage.fromarray(np.ascontiguousarray(pixels[:, :, ::-1]))
        exif = PilImage.Exif()
        exif[0x0112] = 6
        plain, turned = io.BytesIO(), io.BytesIO()
        image.save(plain, name)
        image.save(turned, name, exif=exif)
        with (
            stager.stage(encoded(ImageFormat[name], plain.getvalue(), pixels), ()) as expected,
            stager.stage(encoded(ImageFormat[name], turned.getvalue(), pixels), ()) as frame,
        ):
            np.testing.assert_array_equal(frame.pixels, expected.pixels)

    def test_png_without_its_ancillary_chunks_is_the_same_picture(
        self, stager: CpuStager, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """Gamma, background, a broken colour profile: no pixel moves, and libpng has nothing to say on stderr."""
        pixels = picture()
        info = PngInfo()
        info.add(b"gAMA", struct.pack(">I", 100_000))
        info.add(b"bKGD", struct.pack(">3H", 255, 0, 0))
        stream = io.BytesIO()
        rgb = PilImage.fromarray(np.ascontiguousarray(pixels[:, :, ::-1]))
        rgb.save(stream, "PNG", pnginfo=info, icc_profile=b"no profile" * 20, transparency=(1, 2, 3))
        with stager.stage(encoded(PNG, stream.getvalue(), pixels), ()) as frame:
            np.testing.assert_array_equal(frame.pixels, pixels)
        assert capfd.readouterr().err == ""

    def test_one_pixel(self, stager: CpuStager) -> None:
        """The smallest picture there is."""
        pixels = np.array([[[10, 20, 30]]], np.uint8)
        with stager.stage(encoded(PNG, encode(PNG, pixels), pixels), ()) as frame:
            np.testing.assert_array_equal(frame.pixels, pixels)


class TestRefusals:
    @pytest.mark.parametrize(
        ("kind", "parameters"), [(JPEG, []), (PNG, []), (WEBP, LOSSLESS_WEBP), (WEBP, [cv2.IMWRITE_WEBP_QUALITY, 80])]
    )
    @pytest.mark.parametrize("missing", [1, 2, 12, 13, 500, None])
    def test_truncated(
        self,
        stager: CpuStager,
        capfd: pytest.CaptureFixture[str],
        kind: ImageFormat,
        parameters: list[int],
        missing: int | None,
    ) -> None:
        """A file that lacks its end is refused, by one byte or by half, without a word on stderr."""
        pixels = picture()
        data = encode(kind, pixels, *parameters)
        cut = len(data) // 2 if missing is None else missing
        with pytest.raises(InvalidImage, match=kind.name):
            stager.stage(encoded(kind, data[:-cut], pixels), ())
        assert capfd.readouterr().err == ""

    @pytest.mark.parametrize("kind", [JPEG, PNG, WEBP])
    def test_garbage_behind_a_valid_header(self, stager: CpuStager, kind: ImageFormat) -> None:
        """What the header reader lets pass is refused when it does not decode."""
        pixels = picture()
        data = encode(kind, pixels)
        head = data[: data.index(b"\xff\xda") if kind is JPEG else 48]
        noise = np.random.default_rng(3).integers(0, 255, 4000, np.uint8).tobytes()
        with pytest.raises(InvalidImage, match=kind.name):
            stager.stage(encoded(kind, head + noise, pixels), ())

    def test_png_whose_pixels_end_early(self, stager: CpuStager) -> None:
        """All chunks are whole and their checksums right, but the rows stop half way."""
        pixels = picture(64, 64)
        header = struct.pack(">2I5B", 64, 64, 8, 2, 0, 0, 0)
        rows = b"".join(b"\0" + row.tobytes() for row in pixels[:32])
        chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
        data = b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
            for kind, body in chunks
        )
        with pytest.raises(InvalidImage, match="PNG"):
            stager.stage(encoded(PNG, data, pixels), ())

    def test_png_of_nothing_but_chunks(self, stager: CpuStager) -> None:
        """Empty chunks without end cost a bounded time."""
        pixels = picture(8, 8)
        data = encode(PNG, pixels)
        empty = struct.pack(">I4sI", 0, b"IDAT", zlib.crc32(b"IDAT"))
        with pytest.raises(InvalidImage, match="chunks"):
            stager.stage(encoded(PNG, data[:33] + empty * MAX_CHUNKS + data[33:], pixels), ())

    @pytest.mark.parametrize("kind", [JPEG, PNG, WEBP])
    @pytest.mark.parametrize("change", [(1, 0), (0, 1), (-1, 0), (0, -1)])
    def test_a_size_that_is_not_the_headers(
        self, stager: CpuStager, kind: ImageFormat, change: tuple[int, int]
    ) -> None:
        """A header that was read otherwise than the decoder reads it never leads to wrong pixels."""
        pixels = picture()
        wrong = EncodedImage(
            data=encode(kind, pixels),
            format=kind,
            width=pixels.shape[1] + change[0],
            height=pixels.shape[0] + change[1],
        )
        with pytest.raises(InvalidImage):
            stager.stage(wrong, ())

    def test_a_refused_jpeg_gives_its_buffer_back(self) -> None:
        """A stream of broken frames does not allocate for each."""
        pixels = picture(640, 480)
        data = encode(JPEG, pixels)
        stager = CpuStager()
        stager.stage(encoded(JPEG, data, pixels), ()).close()
        assert stager._pool.idle_bytes == buffer_size(pixels.nbytes)
        wrong_size = EncodedImage(data=data, format=JPEG, width=480, height=640)
        for refused in (encoded(JPEG, data[:-2], pixels), wrong_size):
            with pytest.raises(InvalidImage):
                stager.stage(refused, ())
            assert stager._pool.idle_bytes == buffer_size(pixels.nbytes)


class TestRaw:
    @pytest.mark.parametrize(("kind", "order"), [(PixelFormat.BGR, ColorOrder.BGR), (PixelFormat.RGB, ColorOrder.RGB)])
    @pytest.mark.parametrize("wrap", [bytes, memoryview])
    def test_color_is_a_view(
        self, stager: CpuStager, kind: PixelFormat, order: ColorOrder, wrap: type[bytes | memoryview]
    ) -> None:
        """Any stride and offset, no copy."""
        pixels = picture(31, 20)
        stride, offset = 31 * 3 + 5, 7
        buffer = np.zeros(offset + stride * 20, np.uint8)
        np.ndarray((20, 31, 3), np.uint8, buffer, offset, (stride, 3, 1))[...] = pixels
        data = wrap(buffer.tobytes())
        with stager.stage(raw(kind, data, 31, 20, stride=stride, offset=offset), ()) as frame:
            assert frame.order is order
            np.testing.assert_array_equal(frame.pixels, pixels)
            assert np.shares_memory(frame.pixels, np.frombuffer(data, np.uint8))

    def test_gray_is_a_view(self, stager: CpuStager) -> None:
        """One plane, strided."""
        plane = np.ascontiguousarray(picture(40, 30)[:, :, 0])
        data = plane.tobytes()
        with stager.stage(raw(PixelFormat.GRAY, data, 36, 30, stride=40, offset=2), ()) as frame:
            assert frame.order is ColorOrder.GRAY
            np.testing.assert_array_equal(frame.pixels, plane[:, 2:38])
            assert np.shares_memory(frame.pixels, np.frombuffer(data, np.uint8))

    def test_nv12_with_strides_and_offsets(self, stager: CpuStager) -> None:
        """Planes may lie anywhere; what comes out is what OpenCV makes of the packed picture."""
        rng = np.random.default_rng(5)
        width, height, luma_stride, chroma_stride, gap = 46, 30, 50, 64, 33
        luma = rng.integers(0, 256, (height, luma_stride), np.uint8)
        chroma = rng.integers(0, 256, (height // 2, chroma_stride), np.uint8)
        data = b"x" * 3 + luma.tobytes() + b"y" * gap + chroma.tobytes()
        image = raw(
            PixelFormat.NV12,
            data,
            width,
            height,
            stride=luma_stride,
            offset=3,
            chroma_stride=chroma_stride,
            chroma_offset=3 + luma.size + gap,
        )
        packed = np.vstack([luma[:, :width], chroma[:, :width]])
        with stager.stage(image, ()) as frame:
            assert frame.order is ColorOrder.BGR
            np.testing.assert_array_equal(frame.pixels, cv2.cvtColor(packed, cv2.COLOR_YUV2BGR_NV12))

    def test_staged_bytes(self, stager: CpuStager) -> None:
        """Three bytes a pixel where a buffer is filled, the whole message where it is looked into."""
        assert stager.staged_bytes(EncodedImage(data=b"", format=JPEG, width=100, height=50), ()) == 15_000
        assert stager.staged_bytes(raw(PixelFormat.NV12, bytes(7500), 100, 50, stride=100), ()) == 15_000
        assert stager.staged_bytes(raw(PixelFormat.BGR, bytes(16_000), 100, 50, stride=300), ()) == 16_000
        assert stager.staged_bytes(raw(PixelFormat.GRAY, memoryview(bytes(5000)), 100, 50, stride=100), ()) == 5000


class TestOwnership:
    def test_a_closed_frame_raises_instead_of_showing_another(self, stager: CpuStager) -> None:
        """The next frame has its memory by then."""
        pixels = picture(640, 480)
        image = encoded(JPEG, encode(JPEG, pixels), pixels)
        frame = stager.stage(image, ())
        frame.close()
        with stager.stage(image, ()), pytest.raises(EngineFault, match="closed"):
            _ = frame.pixels

    def test_closing_twice_gives_the_memory_back_once(self, stager: CpuStager) -> None:
        """Otherwise two frames would share a buffer."""
        pixels = picture(640, 480)
        image = encoded(JPEG, encode(JPEG, pixels), pixels)
        frame = stager.stage(image, ())
        frame.close()
        frame.close()
        with stager.stage(image, ()) as one, stager.stage(image, ()) as other:
            assert not np.shares_memory(one.pixels, other.pixels)

    def test_closing_from_many_threads_gives_the_memory_back_once(self) -> None:
        """The same, raced."""
        pool = BufferPool(1 << 20)
        buffer = pool.take(POOLED_FROM_BYTES)
        frame = CpuFrame(buffer.reshape(256, 512), ColorOrder.GRAY, pool=pool, buffer=buffer)
        start = threading.Barrier(8)

        def close() -> None:
            start.wait()
            frame.close()

        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            with ThreadPoolExecutor(8) as threads:
                for done in [threads.submit(close) for _ in range(8)]:
                    done.result()
        finally:
            sys.setswitchinterval(interval)
        assert pool.idle_bytes == POOLED_FROM_BYTES

    def test_frames_of_one_size_reuse_one_buffer(self, stager: CpuStager) -> None:
        """A camera's frames cost one allocation."""
        pixels = picture(640, 480)
        image = encoded(JPEG, encode(JPEG, pixels), pixels)
        addresses = set()
        for _ in range(4):
            with stager.stage(image, ()) as frame:
                addresses.add(frame.pixels.ctypes.data)
        assert len(addresses) == 1


class TestBufferPool:
    def test_idle_memory_is_bounded_and_the_size_longest_unused_goes_first(self) -> None:
        """A resolution that no camera has any more does not stay for ever."""
        size, larger = POOLED_FROM_BYTES, 2 * POOLED_FROM_BYTES
        pool = BufferPool(2 * larger + size - 1)
        old, new = pool.take(size), [pool.take(larger), pool.take(larger)]
        for buffer in (old, *new):
            pool.give(buffer)
        assert pool.idle_bytes == 2 * larger
        kept = {pool.take(larger).ctypes.data, pool.take(larger).ctypes.data}
        assert kept == {buffer.ctypes.data for buffer in new}
        assert pool.idle_bytes == 0

    def test_a_size_in_use_is_not_the_one_to_go(self) -> None:
        """Even if its first buffer was given back before all others."""
        size, larger, largest = POOLED_FROM_BYTES, 2 * POOLED_FROM_BYTES, 4 * POOLED_FROM_BYTES
        pool = BufferPool(2 * size + largest)
        busy, spare, idle, late = pool.take(size), pool.take(size), pool.take(larger), pool.take(largest)
        for buffer in (busy, spare, idle):
            pool.give(buffer)
        pool.give(pool.take(size))
        pool.give(late)
        assert pool.idle_bytes == 2 * size + largest

    def test_frames_of_nearly_one_size_share_a_buffer(self) -> None:
        """What is decoded of a camera's frames follows the boxes; at most a quarter is held beyond it."""
        pool = BufferPool(1 << 24)
        sizes = [1_310_720 - step for step in range(0, 262_144, 4096)]
        addresses = set()
        for size in sizes:
            buffer = pool.take(size)
            assert size <= buffer.nbytes == buffer_size(size) <= size * 5 / 4
            addresses.add(buffer.ctypes.data)
            pool.give(buffer)
        assert len(addresses) == 1

    def test_small_buffers_are_left_to_malloc(self) -> None:
        """Ready crops, all of different sizes, do not push the frames out."""
        pool = BufferPool(1 << 20)
        pool.give(pool.take(POOLED_FROM_BYTES - 1))
        assert pool.idle_bytes == 0

    def test_no_buffer_is_handed_out_twice(self) -> None:
        """Many threads take, write, check and give."""
        pool = BufferPool(1 << 20)
        clashes = []

        def work(mark: int) -> None:
            for _ in range(200):
                buffer = pool.take(POOLED_FROM_BYTES)
                buffer[:: 1 << 14] = mark
                if (buffer[:: 1 << 14] != mark).any():
                    clashes.append(mark)
                pool.give(buffer)

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(work, range(4)))
        assert not clashes
