"""other_formats: what was sent instead of a picture has its name, and the next step."""

from __future__ import annotations

import base64
import io
import json
import zipfile
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image as PilImage

from reidstream_engines.errors import ImageError, InvalidImage, UnsupportedImage
from reidstream_engines.headers import parse_encoded


def jpeg() -> bytes:
    return cv2.imencode(".jpg", np.zeros((48, 64, 3), np.uint8))[1].tobytes()


def saved(kind: str) -> bytes:
    target = io.BytesIO()
    PilImage.new("RGB", (40, 30)).save(target, kind)
    return target.getvalue()


def numpy_file() -> bytes:
    target = io.BytesIO()
    np.save(target, np.zeros((4, 4), np.uint8))
    return target.getvalue()


def zip_file() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("a.jpg", jpeg())
    return target.getvalue()


JPEG = jpeg()
TRANSPORT = (b"\x47" + bytes(187)) * 30
KNOWN = {
    "GIF images are not supported; send JPEG": saved("GIF"),
    "BMP images": saved("BMP"),
    "TIFF images": saved("TIFF"),
    "ICO images": saved("ICO"),
    "JPEG 2000 images": saved("JPEG2000"),
    "AVIF images": b"\0\0\0\x20ftypavif" + bytes(30),
    "HEIC images are not supported; send JPEG, PNG or WebP": b"\0\0\0\x18ftypheic" + bytes(30),
    "HEIF images": b"\0\0\0\x18ftypmif1" + bytes(30),
    "Canon CR3 images": b"\0\0\0\x18ftypcrx " + bytes(30),
    "PDF images": b"%PDF-1.7\n" + bytes(30),
    "DICOM images": bytes(128) + b"DICM" + bytes(30),
    "an MP4 or MOV file, not one picture; decode it first, and send its frames": b"\0\0\0\x20ftypisom" + bytes(30),
    "an MP4 or MOV file": b"\0\0\0\x14ftypqt  " + bytes(30),
    "an AVI file, not one": b"RIFF\x10\0\0\0AVI LIST" + bytes(30),
    "Matroska": b"\x1a\x45\xdf\xa3" + bytes(30),
    "an MPEG transport stream": TRANSPORT,
    "H.264 video, not one picture; decode it first": b"\0\0\0\x01\x67\x42\xc0\x1e" + bytes(30),
    "H.264 video": b"\0\0\x01\x65\x88\x84" + bytes(30),
    "H.265 video": b"\0\0\0\x01\x40\x01\x0c\x01" + bytes(30),
    "compressed with gzip; unpack it first": zlib.compress(JPEG, wbits=31),
    "a ZIP file": zip_file(),
    "a NumPy file .*; send its array as raw pixels": numpy_file(),
}
OTHERWISE = {
    "a JPEG in base64; decode it .*b64decode": base64.b64encode(JPEG),
    "a PNG in base64": base64.b64encode(saved("PNG")),
    "a WebP in base64": b"  \n" + base64.b64encode(saved("WEBP")),
    "a data URL; take what follows 'base64,'": b"data:image/jpeg;base64," + base64.b64encode(JPEG),
    "a JPEG in hexadecimal": JPEG.hex().encode(),
    "bytes that Python has printed": str(JPEG).encode(),
    "an HTML page, not a picture; look at the address": b"\n<!DOCTYPE html><html><body>Please log in</body></html>",
    "an HTML page": b"\xef\xbb\xbf<html>",
    "an SVG drawing": b"<?xml version='1.0'?>\n<svg width='3'/>",
    "XML, not": b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
    "JSON, not a picture": json.dumps({"error": "unauthorized"}).encode(),
    "a Git LFS pointer, not the file itself; run git lfs pull": b"version https://git-lfs.github.com/spec/v1\noid",
    "an address, not": b"rtsp://10.0.0.9/stream",
    "the name of a file; send the bytes in the file": b"/data/cam 1/000001.JPG\n",
    "an HTTP answer with its header": b"HTTP/1.1 401 Unauthorized\r\n\r\n",
    "text, not a picture": b"hello",
    "has 37 bytes before a JPEG begins; send the bytes": b"--frame\r\nContent-Type: image/jpeg\r\n\r\n" + JPEG,
    "begins with 4096 zeros: a buffer that nothing was written to": bytes(640 * 480 * 3),
    "921600 bytes is what 640 x 480 pixels in BGR or RGB have: send those as a raw image": b"\x90\x01\x80"
    * (640 * 480),
    "3110400 bytes is what 1920 x 1080 pixels in NV12": b"\x90\x01\x80\x90\x01\x80" * (1920 * 1080 // 4),
    "unknown format": b"\x90\x01\x80" * 40,
}


@pytest.mark.parametrize("words", KNOWN)
def test_kinds_of_files_are_named(words: str) -> None:
    """Whole and well-formed, but nothing that is decoded here."""
    with pytest.raises(UnsupportedImage, match=words):
        parse_encoded(KNOWN[words])


@pytest.mark.parametrize("words", OTHERWISE)
def test_what_is_no_picture_is_named(words: str) -> None:
    """With the next step."""
    with pytest.raises(InvalidImage, match=words):
        parse_encoded(OTHERWISE[words])


def test_nothing_of_a_text_is_repeated() -> None:
    """An address may hold a password."""
    with pytest.raises(InvalidImage) as refusal:
        parse_encoded(b"rtsp://admin:hunter2@10.0.0.9/stream")
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize("begin", [b"a" * 10_000_000, b"[" * 10_000_000, b"\0\0\1" * 4_000_000, b"G" * 10_000_000])
def test_a_large_one_costs_no_more(begin: bytes) -> None:
    """Only its begin is looked at: a pattern that read it all would be seen by the hang limit of the tests."""
    for _ in range(200):
        with pytest.raises(ImageError):
            parse_encoded(begin)
