"""From crop to network input: channel orders, normalisation, and nothing left over from the crop before."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from reidstream_engines.cpu.preprocess import Preprocessor, Scratch
from reidstream_engines.cpu.stager import CpuFrame
from reidstream_engines.decoding.buffers import BufferPool
from reidstream_engines.errors import EngineFault
from reidstream_engines.image import PixelBox
from reidstream_engines.spec import ColorOrder, Fit, InputSpec, Resize
from tests.support.samples import TORCHREID_INPUT

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

BOX = PixelBox(x1=11, y1=5, x2=94, y2=140)
WHOLE_RANGE = slice(5, 140), slice(11, 94)


def picture() -> Pixels:
    return np.random.default_rng(4).integers(0, 256, (150, 120, 3), np.uint8)


def staged(pixels: Pixels, order: ColorOrder) -> CpuFrame:
    return CpuFrame(pixels, order, pool=BufferPool(0), buffer=None)


def prepare(spec: InputSpec, frame: CpuFrame, box: PixelBox = BOX) -> Floats:
    slot = np.full((len(spec.mean), spec.height, spec.width), np.nan, np.float32)
    Preprocessor(spec).write(frame, box, slot, Scratch(spec))
    return slot


def normalised(resized: Pixels, spec: InputSpec) -> NDArray[np.float64]:
    """The definition, in float64; `resized` (H, W, C) in the network's channel order."""
    return np.asarray(((resized * spec.scale - np.array(spec.mean)) / np.array(spec.std)).transpose(2, 0, 1))


@pytest.mark.parametrize("order", [ColorOrder.RGB, ColorOrder.BGR])
@pytest.mark.parametrize("sent", [ColorOrder.RGB, ColorOrder.BGR])
def test_color_networks(order: ColorOrder, sent: ColorOrder) -> None:
    """Any order of the frame and any order of the network meet in the definition."""
    bgr = picture()
    spec = replace(TORCHREID_INPUT, color_order=order)
    frame = staged(bgr if sent is ColorOrder.BGR else np.ascontiguousarray(bgr[:, :, ::-1]), sent)
    resized = cv2.resize(bgr[WHOLE_RANGE], (128, 256), interpolation=cv2.INTER_LINEAR).astype(np.uint8)
    expected = normalised(resized[:, :, ::-1] if order is ColorOrder.RGB else resized, spec)
    np.testing.assert_allclose(prepare(spec, frame), expected, rtol=0, atol=5e-7)


def test_a_grey_frame_is_the_same_in_every_channel() -> None:
    """As if it had been widened before it was resized."""
    gray = np.ascontiguousarray(picture()[:, :, 1])
    widened = staged(np.dstack([gray, gray, gray]), ColorOrder.BGR)
    np.testing.assert_array_equal(
        prepare(TORCHREID_INPUT, staged(gray, ColorOrder.GRAY)), prepare(TORCHREID_INPUT, widened)
    )


GRAY_NETWORK = replace(TORCHREID_INPUT, color_order=ColorOrder.GRAY, mean=(0.5,), std=(0.25,))


@pytest.mark.parametrize("sent", [ColorOrder.RGB, ColorOrder.BGR, ColorOrder.GRAY])
def test_grey_networks_get_grey_before_the_resize(sent: ColorOrder) -> None:
    """OpenCV's grey with OpenCV's resize."""
    bgr = picture()
    gray = cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY).astype(np.uint8)
    sources = {ColorOrder.BGR: bgr, ColorOrder.RGB: np.ascontiguousarray(bgr[:, :, ::-1]), ColorOrder.GRAY: gray}
    resized = cv2.resize(gray[WHOLE_RANGE], (128, 256), interpolation=cv2.INTER_LINEAR).astype(np.uint8)
    np.testing.assert_allclose(
        prepare(GRAY_NETWORK, staged(sources[sent], sent)),
        normalised(resized[:, :, np.newaxis], GRAY_NETWORK),
        rtol=0,
        atol=5e-7,
    )


@pytest.mark.parametrize("sent", [ColorOrder.RGB, ColorOrder.BGR])
def test_grey_networks_of_pil_get_pils_grey(sent: ColorOrder) -> None:
    """PIL rounds grey otherwise than OpenCV."""
    bgr = picture()
    rgb = np.ascontiguousarray(bgr[:, :, ::-1])
    spec = replace(GRAY_NETWORK, resize=Resize.PIL_BILINEAR)
    gray = Image.fromarray(np.ascontiguousarray(rgb[WHOLE_RANGE])).convert("L")
    resized = np.asarray(gray.resize((128, 256), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(
        prepare(spec, staged(bgr if sent is ColorOrder.BGR else rgb, sent)),
        normalised(resized[:, :, np.newaxis], spec),
        rtol=0,
        atol=5e-7,
    )


def test_letterbox_padding_is_normalised_black() -> None:
    """Black before the normalisation, so -mean/std after it."""
    spec = replace(TORCHREID_INPUT, fit=Fit.LETTERBOX_CORNER)
    slot = prepare(spec, staged(picture(), ColorOrder.BGR), PixelBox(x1=0, y1=0, x2=100, y2=100))
    black = -np.array(spec.mean) / np.array(spec.std)
    np.testing.assert_allclose(slot[:, 128:], np.broadcast_to(black[:, None, None], (3, 128, 128)), rtol=0, atol=5e-7)


def test_scratch_carries_nothing_over() -> None:
    """Crops prepared one after the other, in one scratch, are what they are alone; letterboxes, too."""
    spec = replace(TORCHREID_INPUT, fit=Fit.LETTERBOX_CENTER)
    preprocessor, scratch = Preprocessor(spec), Scratch(spec)
    color, gray = staged(picture(), ColorOrder.BGR), staged(picture()[:, :, 0].copy(), ColorOrder.GRAY)
    boxes = [BOX, PixelBox(x1=0, y1=0, x2=120, y2=3), PixelBox(x1=4, y1=9, x2=5, y2=10)]
    batch = np.empty((6, 3, 256, 128), np.float32)
    jobs = [(frame, box) for box in boxes for frame in (color, gray)]
    for slot, (frame, box) in zip(batch, jobs, strict=True):
        preprocessor.write(frame, box, slot, scratch)
    for slot, (frame, box) in zip(batch, jobs, strict=True):
        np.testing.assert_array_equal(slot, prepare(spec, frame, box))


def test_a_closed_frame_is_refused() -> None:
    """Its memory may show another camera by now."""
    frame = staged(picture(), ColorOrder.BGR)
    frame.close()
    with pytest.raises(EngineFault, match="closed"):
        prepare(TORCHREID_INPUT, frame)
