"""misfits: what is no picture is named, with the line that makes one of it."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest

from reidstream_client import Crops, FrameInput, InvalidRequest
from reidstream_client.frames.payloads import parse_picture
from tests.unit.client.samples import prepare

PIXELS = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
JPEG = b"\xff\xd8\xff\xe0 a JPEG"


def of_package(name: str) -> object:
    """An object of another package's class, as far as its name says."""
    return type("Image", (), {"__module__": f"{name}.core"})()


def refused(image: object) -> str:
    with pytest.raises(InvalidRequest) as error:
        parse_picture(cast("Any", image))
    return str(error.value)


@pytest.mark.parametrize(
    ("image", "advice"),
    [
        (None, "None is no image: cv2.imread gives None for a file that it cannot read"),
        (
            "people/frame.jpg",
            "'people/frame.jpg' is no image; give Path(image).read_bytes(), if it is the name of a file",
        ),
        ("data:image/jpeg;base64,/9j/4AAQ", "give base64.b64decode(image)"),
        ("/9j/4AAQ" * 100, "give base64.b64decode(image)"),
        (Path("frame.jpg"), "give image.read_bytes()"),
        (io.BytesIO(JPEG), "give image.read()"),
        ((True, PIXELS), "the picture of cv2's read() and imencode() is its second item, image[1]"),
        ([PIXELS, PIXELS], "several pictures are frames of embed_many, or Crops(images)"),
        ([[1, 2], [3, 4]], "give np.array(image, np.uint8)"),
        (of_package("PIL"), 'give np.asarray(image.convert("RGB"))[:, :, ::-1]'),
        (of_package("torch"), "give image.cpu().numpy(), as uint8 of shape (H, W, 3) in BGR"),
        (of_package("av"), 'give image.to_ndarray(format="bgr24")'),
        (of_package("cupy"), "give image.get()"),
        (FrameInput(image=PIXELS), "a FrameInput is for send_frame and embed_many"),
        (Crops([PIXELS]), "Crops are no picture of Crops"),
        (7, "7 is no image (an image is a uint8 array (H, W, 3) in BGR"),
    ],
)
def test_objects_of_other_kinds_are_named(image: object, advice: str) -> None:
    """Whatever a library hands out, with the line that gives bytes or an array."""
    assert advice in refused(image)


@pytest.mark.parametrize(
    ("image", "advice"),
    [
        (PIXELS.astype(np.float32) / 255, "; give (image * 255).round().astype(np.uint8)"),
        (PIXELS.astype(np.float64) + 100, "; give image.round().astype(np.uint8)"),
        (np.full((4, 4, 3), np.nan), "astype(np.uint8)"),
        (PIXELS.astype(np.uint16), "; give (image >> 8).astype(np.uint8) if it has 16 bits"),
        (PIXELS.astype(np.int8), "; give image.view(np.uint8)"),
        (PIXELS > 3, "; give image * np.uint8(255)"),
        (np.array([None, {}], object), "its items are objects, such as pictures of different sizes"),
        (np.zeros((0, 4, 3), np.uint8), "it has no pixels; look at the box that it was cut out with"),
        (np.zeros((4, 6, 4), np.uint8), "; give image[:, :, :3] if it is BGRA, image[:, :, 2::-1] if it is RGBA"),
        (np.zeros((4, 6, 1), np.uint8), "; give image[:, :, 0]"),
        (np.zeros((4, 6, 2), np.uint8), 'format="yuyv") if it is YUYV'),
        (np.zeros((3, 8, 6), np.uint8), "; give image.transpose(1, 2, 0), in BGR"),
        (np.zeros((1, 8, 6, 3), np.uint8), "; give image[0]"),
        (np.zeros((5, 8, 6, 3), np.uint8), "; several pictures are frames of embed_many, or Crops(list(images))"),
        (np.zeros(50, np.uint8), "it is no JPEG, PNG or WebP file; for pixels give RawFrame(data=image, width=..."),
        (np.frombuffer(b"BM" + bytes(60), np.uint8), "it is a BMP file, which servers do not read"),
        (np.frombuffer(b"II*\0" + bytes(60), np.uint8).reshape(-1, 1), "it is a TIFF file"),
        (np.array(7, np.uint8), "of shape ()"),
    ],
)
def test_arrays_of_other_shapes_and_numbers_are_named(image: npt.NDArray[Any], advice: str) -> None:
    """With their shape and dtype."""
    said = refused(image)
    assert advice in said
    assert re.search(rf"not {image.dtype} of shape {re.escape(str(image.shape))}", said)


def test_boxes_in_the_place_of_the_image_are_told() -> None:
    """`embed(boxes, image)`: the two are arrays both."""
    assert "an image must come first, and boxes after it; an array of float32 of shape (2, 4) looks" in refused(
        np.zeros((2, 4), np.float32)
    )


@pytest.mark.parametrize("shape", [(-1, 1), (-1,), (1, -1)])
@pytest.mark.parametrize("file", [JPEG, b"\x89PNG\r\n\x1a\n a PNG", b"RIFF1234WEBP a WebP"])
def test_an_array_of_a_files_bytes_is_the_file(file: bytes, shape: tuple[int, ...]) -> None:
    """cv2.imencode gives (N, 1) or (N,), and np.fromfile (N,); nothing is copied."""
    array = np.frombuffer(file, np.uint8).reshape(shape)
    payload = parse_picture(array)
    assert payload.raw is None
    assert bytes(payload.data) == file
    assert np.shares_memory(np.frombuffer(payload.data, np.uint8), array)


def test_every_second_byte_of_an_array_is_a_file_too() -> None:
    """Bytes that do not lie together are packed."""
    array = np.repeat(np.frombuffer(JPEG, np.uint8), 2)[::2]
    assert bytes(parse_picture(array).data) == JPEG


@pytest.mark.parametrize("shape", [(9, 1), (1, 9), (1, 1)])
def test_a_line_of_grey_pixels_is_still_a_picture(shape: tuple[int, int]) -> None:
    """Unless it begins as a file does."""
    raw = parse_picture(np.zeros(shape, np.uint8)).raw
    assert raw is not None
    assert (raw.height, raw.width) == shape


def test_no_bytes_are_no_file() -> None:
    """The server's answer would come later."""
    for empty in (b"", bytearray(), memoryview(b"")):
        assert "the image is empty: it has 0 bytes" in refused(empty)


def test_a_view_of_pixels_is_no_file() -> None:
    """Its shape would be lost."""
    assert "a memoryview of shape (4, 6, 3) and format 'B' is no file" in refused(PIXELS.data)
    assert "format 'd' is no file" in refused(np.zeros(4).data)


def test_a_crop_that_is_no_picture_is_found() -> None:
    """By its number."""
    with pytest.raises(InvalidRequest, match=r"crop 1: None is no image: cv2\.imread"):
        prepare(Crops([PIXELS, cast("Any", None)]), None, frame_id=1, captured_s=0.0)
