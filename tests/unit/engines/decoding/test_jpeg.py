"""JPEG in part: the same pixels as from the whole picture, the same refusals, and no more memory than was said."""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image as PilImage

from reidstream_engines.cpu.stager import CpuStager
from reidstream_engines.decoding import turbojpeg
from reidstream_engines.decoding.buffers import BufferPool
from reidstream_engines.decoding.jpeg import SCALES, JpegDecoder
from reidstream_engines.decoding.turbojpeg import TurboJpeg, find_turbojpeg
from reidstream_engines.errors import ImageError, InvalidImage
from reidstream_engines.headers import parse_encoded
from reidstream_engines.image import JpegLayout, PixelBox

Pixels = NDArray[np.uint8]

SAMPLINGS = {
    "4:1:1": (cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411, JpegLayout(unit_width=32, unit_height=8)),
    "4:2:0": (cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420, JpegLayout(unit_width=16, unit_height=16)),
    "4:2:2": (cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422, JpegLayout(unit_width=16, unit_height=8)),
    "4:4:0": (cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440, JpegLayout(unit_width=8, unit_height=16)),
    "4:4:4": (cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444, JpegLayout(unit_width=8, unit_height=8)),
}
CORNER = PixelBox(x1=0, y1=0, x2=9, y2=9)


def picture(width: int, height: int, seed: int = 0) -> Pixels:
    """Hard edges in colour, so that every chroma sample differs from its neighbours."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def encode(pixels: Pixels, *parameters: int) -> bytes:
    done, data = cv2.imencode(".jpg", pixels, list(parameters))
    assert done
    return data.tobytes()


def decoded(data: bytes) -> Pixels:
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def pil_jpeg(pixels: Pixels, **options: object) -> bytes:
    target = io.BytesIO()
    PilImage.fromarray(pixels).save(target, "JPEG", **options)
    return target.getvalue()


def library() -> TurboJpeg:
    found = find_turbojpeg()
    assert found is not None
    return found


def stager(scale: int = 1) -> CpuStager:
    return CpuStager(JpegDecoder(library(), scale=scale))


def whole_stager(scale: int = 1) -> CpuStager:
    """As where the library is not installed."""
    return CpuStager(JpegDecoder(None, scale=scale))


@st.composite
def boxes_in(draw: st.DrawFn, width: int, height: int) -> PixelBox:
    x1, y1 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    return PixelBox(x1=x1, y1=y1, x2=draw(st.integers(x1 + 1, width)), y2=draw(st.integers(y1 + 1, height)))


class TestLayout:
    @pytest.mark.parametrize("sampling", SAMPLINGS)
    def test_of_usual_files(self, sampling: str) -> None:
        """Every chroma layout that cameras and encoders write."""
        factor, layout = SAMPLINGS[sampling]
        data = encode(picture(40, 30), cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor, cv2.IMWRITE_JPEG_RST_INTERVAL, 2)
        assert parse_encoded(data).layout == layout

    def test_of_grey_and_of_a_file_full_of_metadata(self) -> None:
        """Segments may stand on either side of the frame header, and a few bytes behind the end."""
        assert parse_encoded(encode(picture(40, 30)[:, :, 0].copy())).layout == JpegLayout(unit_width=8, unit_height=8)
        thumbnail = b"Exif\0\0" + encode(picture(8, 8))
        data = pil_jpeg(picture(40, 30), exif=thumbnail, icc_profile=bytes(70_000), comment=b"hi", subsampling=2)
        start = data.rindex(b"\xff\xc0")  # the thumbnail has one, too
        end = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
        commented = data[:end] + b"\xff\xfe\x00\x04hi" + data[end:] + bytes(100)
        assert parse_encoded(commented).layout == JpegLayout(unit_width=16, unit_height=16)

    @pytest.mark.parametrize(
        "data",
        [
            pytest.param(encode(picture(40, 30), cv2.IMWRITE_JPEG_PROGRESSIVE, 1), id="progressive"),
            pytest.param(encode(picture(40, 30))[:-2], id="without its end"),
            pytest.param(encode(picture(40, 30)) + bytes(1000), id="with much behind its end"),
            pytest.param(encode(picture(40, 30)).replace(b"\x01\x22\x00", b"\x01\x42\x00", 1), id="4x2 sampling"),
            pytest.param(encode(picture(40, 30)).replace(b"\x01\x22\x00", b"\x01\x24\x00", 1), id="2x4 sampling"),
            pytest.param(encode(picture(40, 30)).replace(b"\xff\xc0", b"\xff\xc1", 1), id="extended"),
            pytest.param(
                encode(picture(40, 30)).replace(b"\xff\xda\x00\x0c\x03", b"\xff\xda\x00\x08\x01", 1), id="many scans"
            ),
            pytest.param(
                encode(picture(40, 30)).replace(b"\xff\xda", b"\xff\xc0\x00\x02\xff\xda", 1), id="two frame headers"
            ),
        ],
    )
    def test_none_where_a_picture_is_to_be_decoded_whole(self, data: bytes) -> None:
        """It is the business of the decoder of whole pictures then, which may well take it."""
        assert parse_encoded(data).layout is None

    def test_the_end_of_a_thumbnail_is_not_the_files(self) -> None:
        """A truncated small file with a thumbnail before its scan."""
        data = pil_jpeg(picture(8, 8), exif=b"Exif\0\0" + encode(picture(8, 8)))
        assert parse_encoded(data).layout is not None
        assert parse_encoded(data[:-2]).layout is None

    @settings(deadline=None, derandomize=True)
    @given(st.data())
    def test_any_damage_is_survived(self, data: st.DataObject) -> None:
        """Bytes changed and cut off anywhere: a layout or none, or an ImageError, and nothing else."""
        good = bytearray(encode(picture(20, 20)))
        for at in data.draw(st.lists(st.integers(0, len(good) - 1), max_size=5)):
            good[at] = data.draw(st.integers(0, 255))
        try:
            parse_encoded(bytes(good[: data.draw(st.integers(0, len(good)))]))
        except ImageError:
            return


@pytest.mark.needs("turbojpeg")
class TestExactness:
    @pytest.mark.parametrize("restarts", [0, 1])
    @pytest.mark.parametrize("sampling", [*SAMPLINGS, "grey"])
    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(st.data())
    def test_every_pixel_of_every_box_is_opencvs(self, sampling: str, restarts: int, data: st.DataObject) -> None:
        """Boxes anywhere, one pixel to all, odd sizes: nothing is lost at an edge of what is decoded."""
        width, height = data.draw(st.integers(1, 120)), data.draw(st.integers(1, 120))
        pixels = picture(width, height)
        parameters = [cv2.IMWRITE_JPEG_RST_INTERVAL, restarts]
        if sampling == "grey":
            pixels = pixels[:, :, 0].copy()
        else:
            parameters += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, SAMPLINGS[sampling][0]]
        encoded = encode(pixels, *parameters)
        expected = decoded(encoded)
        boxes = data.draw(st.lists(boxes_in(width, height), min_size=1, max_size=3))
        with stager().stage(parse_encoded(encoded), boxes) as frame:
            for box in boxes:
                np.testing.assert_array_equal(frame.cut(box), expected[box.y1 : box.y2, box.x1 : box.x2])

    @pytest.mark.parametrize("make", [pil_jpeg, lambda pixels: pil_jpeg(pixels, keep_rgb=True)])
    def test_of_another_encoder(self, make: Callable[[Pixels], bytes]) -> None:
        """Pillow's, in YCbCr and in RGB."""
        data = make(picture(160, 120))
        box = PixelBox(x1=70, y1=50, x2=101, y2=77)
        with stager().stage(parse_encoded(data), [box]) as frame:
            assert frame.origin[1] == box.y1
            np.testing.assert_array_equal(frame.cut(box), decoded(data)[50:77, 70:101])

    @pytest.mark.parametrize("parameters", [(cv2.IMWRITE_JPEG_PROGRESSIVE, 1), ()])
    def test_whole_pictures_have_the_same_crops(self, parameters: tuple[int, ...]) -> None:
        """Without the library, and for files that do not go to it."""
        data = encode(picture(160, 120), *parameters)
        boxes = [PixelBox(x1=70, y1=50, x2=101, y2=77), PixelBox(x1=64, y1=90, x2=80, y2=91)]
        for scale in SCALES:
            image = parse_encoded(data)
            with stager(scale).stage(image, boxes) as part, whole_stager(scale).stage(image, boxes) as whole:
                assert whole.origin == (0, 0)
                for box in boxes:
                    np.testing.assert_array_equal(part.cut(box), whole.cut(box))

    def test_many_threads(self) -> None:
        """One stager, one library, decompressors that are reused by whoever comes next."""
        shared = stager()
        files = [encode(picture(200 + 8 * seed, 150, seed)) for seed in range(8)]
        box = PixelBox(x1=90, y1=60, x2=120, y2=100)

        def agrees(index: int) -> bool:
            data = files[index % len(files)]
            with shared.stage(parse_encoded(data), [box]) as frame:
                return np.array_equal(frame.cut(box), decoded(data)[60:100, 90:120])

        with ThreadPoolExecutor(4) as threads:
            assert all(threads.map(agrees, range(200)))


@pytest.mark.needs("turbojpeg")
class TestWhatIsDecoded:
    def test_only_what_the_boxes_need(self) -> None:
        """From the first row of a box down, columns to the unit and a margin; that much is held, and was said to be."""
        image = parse_encoded(encode(picture(640, 480)))
        boxes = [PixelBox(x1=300, y1=200, x2=330, y2=300), PixelBox(x1=350, y1=250, x2=400, y2=330)]
        staging = stager()
        with staging.stage(image, boxes) as frame:
            assert frame.origin == (288, 200)
            assert frame.pixels.shape == (480 - 200, 408 - 288, 3)
            assert staging.staged_bytes(image, boxes) == frame.pixels.nbytes

    def test_all_where_the_boxes_leave_little_out(self) -> None:
        """Then the whole decode is as cheap."""
        image = parse_encoded(encode(picture(640, 480)))
        for box, shape in (
            (PixelBox(x1=0, y1=55, x2=640, y2=425), (480, 640, 3)),
            (PixelBox(x1=0, y1=65, x2=640, y2=425), (415, 640, 3)),
        ):
            with stager().stage(image, [box]) as frame:
                assert frame.pixels.shape == shape

    def test_all_where_nothing_will_be_cut(self) -> None:
        """So a picture without boxes is still found to be damaged."""
        image = parse_encoded(encode(picture(64, 48)))
        with stager().stage(image, ()) as frame:
            assert frame.pixels.shape == (48, 64, 3)

    @pytest.mark.parametrize("scale", SCALES)
    def test_memory_is_what_was_said(self, scale: int) -> None:
        """For a part, for all, and at every scale."""
        image = parse_encoded(encode(picture(901, 703)))
        for boxes in ((), [PixelBox(x1=200, y1=100, x2=500, y2=480)]):
            pool = BufferPool(1 << 26)
            decoder = JpegDecoder(library(), scale=scale)
            region = decoder.plan(image, boxes)
            pixels, buffer = decoder.decode(image, region, pool)
            assert np.shares_memory(pixels, buffer)
            assert CpuStager(decoder).staged_bytes(image, boxes) == buffer.nbytes >= pixels.nbytes


@pytest.mark.needs("turbojpeg")
class TestSmaller:
    def test_sizes_are_rounded_up_and_boxes_to_the_nearest(self) -> None:
        """As libjpeg does it, and as boxes are rounded elsewhere: half to even."""
        image = parse_encoded(encode(picture(101, 50)))
        with whole_stager(4).stage(image, ()) as frame:
            assert frame.pixels.shape == (13, 26, 3)
            cut = frame.cut(PixelBox(x1=2, y1=6, x2=101, y2=50))
            np.testing.assert_array_equal(cut, frame.pixels[2:12, 0:25])

    @pytest.mark.parametrize("scale", SCALES)
    def test_one_pixel_is_left(self, scale: int) -> None:
        """Wherever a tiny box lies, in a part and in the whole."""
        image = parse_encoded(encode(picture(41, 33)))
        for x, y in ((0, 0), (3, 4), (4, 7), (40, 32), (36, 31)):
            box = PixelBox(x1=x, y1=y, x2=x + 1, y2=y + 1)
            with stager(scale).stage(image, [box]) as part, whole_stager(scale).stage(image, [box]) as whole:
                assert part.cut(box).shape == (1, 1, 3)
                np.testing.assert_array_equal(part.cut(box), whole.cut(box))

    def test_it_is_the_picture_in_small(self) -> None:
        """A box of one colour keeps it, at its place."""
        pixels = np.zeros((256, 256, 3), np.uint8)
        pixels[64:128, 128:192] = (255, 0, 0)
        data = encode(pixels, cv2.IMWRITE_JPEG_QUALITY, 100)
        box = PixelBox(x1=144, y1=80, x2=176, y2=112)
        for scale in SCALES:
            with stager(scale).stage(parse_encoded(data), [box]) as frame:
                assert frame.cut(box).shape == (32 // scale, 32 // scale, 3)
                assert np.abs(frame.cut(box).astype(int) - (255, 0, 0)).max() < 6

    def test_other_scales_are_refused(self) -> None:
        """Whoever parses the setting has refused them before."""
        with pytest.raises(ValueError, match="1/3"):
            JpegDecoder(None, scale=3)


@pytest.mark.needs("turbojpeg")
class TestRefusals:
    @pytest.mark.parametrize("missing", [1, 2, 3, 50, 0.1, 0.5, 0.9])
    def test_truncated(self, missing: float) -> None:
        """Though the box is in the first rows, which are there."""
        data = encode(picture(160, 120))
        cut = data[: -missing if isinstance(missing, int) else int(len(data) * (1 - missing))]
        with pytest.raises(InvalidImage, match="JPEG cannot be decoded to its end"):
            stager().stage(parse_encoded(cut), [CORNER])

    def test_data_that_ends_before_the_region_does_is_refused(self) -> None:
        """An end in place does not make a file whole."""
        data = encode(picture(320, 240))
        image = parse_encoded(data[: len(data) // 2] + data[-2:])
        assert image.layout is not None
        with pytest.raises(InvalidImage, match="JPEG cannot be decoded to its end"):
            stager().stage(image, [PixelBox(x1=0, y1=100, x2=50, y2=160)])

    def test_a_size_that_is_not_the_headers(self) -> None:
        """A region is never cut out of another picture than the one that was parsed."""
        image = parse_encoded(encode(picture(160, 120)))
        wrong = replace(image, width=320, height=240)
        with pytest.raises(InvalidImage, match="320 x 240 pixels, the picture has 160 x 120"):
            stager().stage(wrong, [PixelBox(x1=200, y1=150, x2=240, y2=200)])

    def test_a_layout_that_is_not_the_files(self) -> None:
        """The library checks what it is told."""
        image = parse_encoded(encode(picture(160, 120)))
        wrong = replace(image, layout=JpegLayout(unit_width=8, unit_height=8))
        with pytest.raises(InvalidImage, match="JPEG cannot be decoded"):
            stager().stage(wrong, [PixelBox(x1=97, y1=10, x2=104, y2=20)])

    def test_a_refused_picture_leaves_nothing_behind(self) -> None:
        """Its buffer goes back, and the decompressor serves the next picture."""
        data = encode(picture(640, 480))
        box = PixelBox(x1=100, y1=200, x2=400, y2=400)
        damaged = data[: len(data) // 3] + b"\xff\xd9" + data[-20:]
        staging = stager()
        staging.stage(parse_encoded(data), [box]).close()
        idle = staging._pool.idle_bytes
        assert idle > 0
        for _ in range(3):
            with pytest.raises(InvalidImage):
                staging.stage(parse_encoded(damaged), [box])
            assert staging._pool.idle_bytes == idle
        with staging.stage(parse_encoded(data), [box]) as frame:
            np.testing.assert_array_equal(frame.cut(box), decoded(data)[200:400, 100:400])

    def test_nothing_of_a_picture_is_left_for_the_next(self) -> None:
        """Neither a header that breaks off in its middle, nor tables, which a file without its own would be read by."""
        data = encode(picture(160, 120))
        box = PixelBox(x1=20, y1=20, x2=60, y2=60)
        start = data.index(b"\xff\xc4")
        bogus = data[: start + 5] + bytes([255] * 16) + data[start + 21 :]
        optimised = encode(picture(160, 120), cv2.IMWRITE_JPEG_OPTIMIZE, 1)
        scan = data.index(b"\xff\xda")
        bare = data[:start] + data[scan:]  # motion JPEG leaves the usual tables out
        staging = stager()
        with pytest.raises(InvalidImage, match="Huffman"):
            staging.stage(parse_encoded(bogus), [box])
        staging.stage(parse_encoded(optimised), [box]).close()
        image = parse_encoded(bare)
        assert image.layout is not None
        with staging.stage(image, [box]) as frame:
            np.testing.assert_array_equal(frame.cut(box), decoded(data)[20:60, 20:60])

    def test_mutated_files_are_decoded_or_refused(self) -> None:
        """Thousands of small damages anywhere in the file; nothing but InvalidImage comes out."""
        rng = np.random.default_rng(7)
        staging = stager()
        smooth = np.asarray(cv2.resize(picture(12, 10), (96, 80)), np.uint8)
        files = [encode(smooth, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor) for factor, _ in SAMPLINGS.values()]
        refused = accepted = 0
        for _ in range(3000):
            data = bytearray(files[rng.integers(len(files))])
            for at in rng.integers(2, len(data), rng.integers(1, 6)):
                data[at] = rng.integers(256)
            try:
                image = parse_encoded(bytes(data))
                if image.width * image.height > 10_000:
                    continue
                x, y = int(rng.integers(image.width)), int(rng.integers(image.height))
                box = PixelBox(x1=x, y1=y, x2=min(x + 20, image.width), y2=min(y + 20, image.height))
                staging.stage(image, [box]).close()
                accepted += 1
            except ImageError:
                refused += 1
        assert min(refused, accepted) > 100
        box = PixelBox(x1=20, y1=20, x2=40, y2=40)
        with staging.stage(parse_encoded(files[1]), [box]) as frame:
            np.testing.assert_array_equal(frame.cut(box), decoded(files[1])[20:40, 20:40])


@pytest.mark.needs("turbojpeg")
class TestLibrary:
    def test_every_picture_has_a_decompressor_of_its_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It ends with the picture, refused or not."""
        own, open_ones, most = TurboJpeg(library().path), 0, 0
        begin, end = own._init, own._destroy

        def counted_begin(kind: int) -> int:
            nonlocal open_ones, most
            open_ones += 1
            most = max(most, open_ones)
            return begin(kind)

        def counted_end(handle: int) -> int:
            nonlocal open_ones
            open_ones -= 1
            return end(handle)

        monkeypatch.setattr(own, "_init", counted_begin)
        monkeypatch.setattr(own, "_destroy", counted_end)
        data = encode(picture(64, 64))
        out = np.empty((64, 64, 3), np.uint8)
        own.decode(data, out, x=0, y=0, size=(64, 64), scale=1)
        np.testing.assert_array_equal(out, decoded(data))
        with pytest.raises(InvalidImage):
            own.decode(data[:100], out, x=0, y=0, size=(64, 64), scale=1)
        assert (open_ones, most) == (0, 1)

    def test_a_library_that_cannot_crop_is_passed_over(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The C library stands for a libjpeg-turbo 2.1; without any other one whole pictures are decoded."""
        monkeypatch.setattr(turbojpeg, "_SYSTEM_LIBRARY", "libc.so.6")
        monkeypatch.setattr(turbojpeg, "_bundled", lambda: ["/nowhere/libturbojpeg.so"])
        assert find_turbojpeg.__wrapped__() is None
        monkeypatch.setattr(turbojpeg, "_bundled", lambda: [library().path])
        found = find_turbojpeg.__wrapped__()
        assert found is not None
        assert found.path == library().path

    def test_a_package_that_is_not_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nor is it an error."""
        monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
        assert turbojpeg._bundled() == []
