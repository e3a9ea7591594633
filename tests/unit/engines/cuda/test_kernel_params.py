"""What the crop kernel is told: letterboxes and steps as the CPU has them, and refusals. The layout itself is compared
with the compiler's in tests/emulation.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reidstream_engines.cpu.resize import placement
from reidstream_engines.cuda.kernel_params import (
    DeviceFrame,
    LaunchShape,
    OutputType,
    PilPasses,
    installed_pil_passes,
    launch_shape,
    pack_crops,
    pack_frames,
    pack_spec,
)
from reidstream_engines.errors import UnsupportedProfile
from reidstream_engines.image import ColorMatrix, ColorRange, PixelFormat
from reidstream_engines.spec import ColorOrder, Fit, Resize
from tests.support.samples import TORCHREID_INPUT


@given(
    size=st.tuples(st.integers(1, 20_000), st.integers(1, 20_000)),
    network=st.tuples(st.integers(1, 600), st.integers(1, 600)),
    fit=st.sampled_from(list(Fit)),
    resize=st.sampled_from(list(Resize)),
)
def test_placements_are_the_cpus(size: tuple[int, int], network: tuple[int, int], fit: Fit, resize: Resize) -> None:
    """Halves included, in every fit."""
    spec = replace(TORCHREID_INPUT, width=network[0], height=network[1], fit=fit, resize=resize)
    (crop,) = pack_crops(spec, frame=[3], boxes=[(7, 9, 7 + size[0], 9 + size[1])])
    place = placement(spec, width=size[0], height=size[1])
    found = [crop[name] for name in ("left", "top", "fit_width", "fit_height")]
    assert found == [place.left, place.top, place.width, place.height]
    assert [crop[name] for name in ("frame", "x", "y", "width", "height")] == [3, 7, 9, *size]


def test_steps_differ_by_their_reference() -> None:
    """OpenCV divides twice: 49 / 128 is not 1 / (128 / 49)."""
    opencv, pil = (
        pack_crops(replace(TORCHREID_INPUT, resize=resize), frame=[0], boxes=[(0, 0, 49, 300)])[0]
        for resize in (Resize.OPENCV_BILINEAR, Resize.PIL_BILINEAR)
    )
    assert opencv["step_x"] == 1 / (128 / 49)
    assert pil["step_x"] == 49 / 128
    assert opencv["step_y"] == 1 / (256 / 300)
    assert pil["step_y"] == 300 / 256


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [(128, 256, False), (128, 257, True), (300, 600, False), (300, 601, True), (20, 257, True), (20, 200, False)],
)
def test_pillow_13_begins_with_rows_where_they_are_reduced_far_more(width: int, height: int, *, expected: bool) -> None:
    """By more than twice the pixels; older ones never do."""
    spec = replace(TORCHREID_INPUT, resize=Resize.PIL_BICUBIC)
    for passes, rows_first in ((PilPasses.LESS_WORK_FIRST, expected), (PilPasses.COLUMNS_FIRST, False)):
        (crop,) = pack_crops(spec, frame=[0], boxes=[(0, 0, width, height)], pil_passes=passes)
        assert bool(crop["rows_first"]) is rows_first


@pytest.mark.parametrize(
    ("installed", "expected"),
    [
        ("12.3.0", PilPasses.COLUMNS_FIRST),
        ("13.0.0", PilPasses.LESS_WORK_FIRST),
        (None, PilPasses.LESS_WORK_FIRST),
    ],
)
def test_the_order_is_the_installed_pillows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: str | None, expected: PilPasses
) -> None:
    """The newest's, where none is installed."""
    if installed is not None:
        folder = tmp_path / f"pillow-{installed}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: pillow\nVersion: {installed}\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert installed_pil_passes() is expected


def test_a_spec_is_packed_in_the_networks_order() -> None:
    packed = pack_spec(TORCHREID_INPUT, OutputType.FP16)
    np.testing.assert_array_equal(packed["factor"], np.float32(1 / 255 / np.array(TORCHREID_INPUT.std)))
    np.testing.assert_array_equal(
        packed["offset"], np.float32(-np.array(TORCHREID_INPUT.mean) / np.array(TORCHREID_INPUT.std))
    )
    assert [packed[name] for name in ("width", "height", "channels")] == [128, 256, 3]
    gray = pack_spec(replace(TORCHREID_INPUT, color_order=ColorOrder.GRAY, mean=(0.5,), std=(0.5,)), OutputType.FP32)
    assert gray["channels"] == 1


def test_what_fp16_cannot_hold_is_refused() -> None:
    """300 x 255 is over 65504; fp32 has room."""
    bright = replace(TORCHREID_INPUT, scale=300.0, mean=(0.0,) * 3, std=(1.0,) * 3)
    pack_spec(bright, OutputType.FP32)
    with pytest.raises(UnsupportedProfile, match="fp16"):
        pack_spec(bright, OutputType.FP16)


def test_scaled_jpegs_are_refused() -> None:
    with pytest.raises(UnsupportedProfile, match="jpeg_scale is 4"):
        pack_spec(replace(TORCHREID_INPUT, jpeg_scale=4), OutputType.FP32)


def test_inputs_too_large_for_a_launch_are_refused() -> None:
    for spec in (replace(TORCHREID_INPUT, width=40_000), replace(TORCHREID_INPUT, width=32_768, height=32_768)):
        with pytest.raises(UnsupportedProfile, match="more than the crop kernel takes"):
            pack_spec(spec, OutputType.FP32)


@pytest.mark.parametrize(
    ("width", "height", "blocks"), [(128, 256, 8), (4, 8, 1), (5, 9, 1), (64, 64, 1), (64, 65, 2), (225, 112, 7)]
)
def test_a_launch_has_a_thread_for_every_tile(width: int, height: int, blocks: int) -> None:
    spec = replace(TORCHREID_INPUT, width=width, height=height)
    assert launch_shape(spec, 7) == LaunchShape(grid=(7, blocks, 1), block=(128, 1, 1))


def test_only_nv12_has_weights() -> None:
    """Two frames, one of which is NV12 in BT.601 limited: no luma below 16."""
    bgr = DeviceFrame(data=1 << 40, format=PixelFormat.BGR, width=30, height=40, pitch=96)
    nv12 = replace(
        bgr,
        format=PixelFormat.NV12,
        chroma=(1 << 40) + 5,
        chroma_pitch=32,
        color_matrix=ColorMatrix.BT601,
        color_range=ColorRange.LIMITED,
    )
    first, second = pack_frames([bgr, nv12])
    assert (first["data"], first["pitch"], first["shift"]) == (1 << 40, 96, 0)
    assert (second["chroma"], second["black"], second["shift"]) == ((1 << 40) + 5, 16, 20)


def test_no_boxes_are_no_crops() -> None:
    assert pack_crops(TORCHREID_INPUT, frame=[], boxes=[]).shape == (0,)


def test_neither_cuda_nor_nvrtc_is_imported() -> None:
    """A machine without either can import everything here."""
    code = (
        "import sys; sys.modules['cuda'] = None; import reidstream_engines.cuda.compile, "
        "reidstream_engines.cuda.kernel_params"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
