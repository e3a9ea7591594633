"""The device's whole chain gives the golden vectors on a machine without one.

The driver is a fake on this machine's memory, the kernel is its own source built with g++, TensorRT's place is taken by
a fake that computes with onnxruntime. So everything of ours that a GPU would run is run: decoding into pinned memory,
uploads, argument packing, launch shapes, graphs, slots, copies back.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from reidstream_engines.cpu.onnx_loading import load_onnx
from reidstream_engines.cpu.options import OnnxOptions
from reidstream_engines.image import Image
from reidstream_engines.protocol import BoxCrop
from reidstream_engines.tensorrt.fp16 import export_fp16
from tests.golden.test_engine_golden import boxes_of, jpeg, raw_bgr_with_padded_rows
from tests.golden.wire import MODELS, SMALLER, golden_crops, golden_frames, lowest_cosine
from tests.unit.engines.cuda.fake_driver import build_kernel
from tests.unit.engines.cuda.rig import rig
from tests.unit.engines.tensorrt.fake_tensorrt import Script

pytestmark = pytest.mark.needs("g++", "shared-data")

MAX_BATCH = 8


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return build_kernel(tmp_path_factory.mktemp("kernel"))


@pytest.mark.parametrize(
    ("model", "script", "kind"),
    [
        (MODELS[0], Script(), jpeg),
        (MODELS[0], Script(batch=3), jpeg),
        (MODELS[0], Script(), raw_bgr_with_padded_rows),
        (MODELS[1], Script(), jpeg),
    ],
    ids=["any batch", "batches of 3", "raw", "the larger network"],
)
def test_golden_vectors(
    kernel: ctypes.CDLL, shared_data: Path, model: str, script: Script, kind: Callable[[Path], Image]
) -> None:
    """All 142 boxes, two tickets open at a time, every batch of several frames; each frame is uploaded once."""
    path = shared_data / "models" / f"{model}.onnx"
    assert lowest(kernel, shared_data, path, path, script, kind) >= 0.9999


@pytest.mark.parametrize("model", SMALLER)
def test_golden_vectors_in_float16(kernel: ctypes.CDLL, shared_data: Path, model: str, tmp_path: Path) -> None:
    """The kernel writes float16, the network is the float16 form that TensorRT is given, rounded at every node."""
    path, half = shared_data / "models" / f"{model}.onnx", tmp_path / "half.onnx"
    half.write_bytes(export_fp16(path).data)
    assert lowest(kernel, shared_data, path, half, Script(), jpeg) >= 0.999


def lowest(  # noqa: PLR0917 - a test's
    kernel: ctypes.CDLL, shared_data: Path, path: Path, plan: Path, script: Script, kind: Callable[[Path], Image]
) -> float:
    """The cosine to the golden vectors of the crop that is furthest from its own."""
    model = path.stem
    cpu = load_onnx(path, name=None, profile="torchreid", options=OnnxOptions(max_batch=MAX_BATCH))
    goldens = golden_frames(shared_data, model) + golden_crops(shared_data, model)
    with rig(kernel, plan, cpu.spec, script, max_batch=MAX_BATCH) as device, ExitStack() as frames:
        crops, expected = [], []
        for golden in goldens:
            image = kind(golden.path)
            boxes = boxes_of(golden, image, cpu)
            frame = frames.enter_context(device.stager.stage(image, boxes))
            crops += [BoxCrop(frame=frame, box=box) for box in boxes]
            expected.append(golden.vectors)
        assert device.stager.uploads == len(goldens)
        order = np.random.default_rng(0).permutation(len(crops))
        batches = [order[start : start + MAX_BATCH] for start in range(0, len(order), MAX_BATCH)]
        rows, open_tickets = [], []
        for batch in batches:
            open_tickets.append(device.engine.submit([crops[i] for i in batch]))
            if len(open_tickets) == device.engine.limits.slots:
                rows.append(open_tickets.pop(0).result())
        rows += [ticket.result() for ticket in open_tickets]
        assert device.stager.uploads == len(goldens)
        assert not device.opened.not_captured
    assert len(crops) == 142
    return lowest_cosine(np.concatenate(rows), np.concatenate(expected)[order])
