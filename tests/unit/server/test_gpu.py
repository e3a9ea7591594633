"""--device and --require-gpu: a GPU where there is one, and no fallback that nobody hears of."""

from __future__ import annotations

import ctypes
import logging
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from reidstream_engines import default_model
from reidstream_engines.cpu.stager import CpuStager
from reidstream_engines.cuda.nvimgcodec import open_nvimgcodec
from reidstream_engines.cuda.probe import LIBRARY, probe
from reidstream_engines.cuda.stager import CudaStager
from reidstream_engines.errors import (
    DeviceUnavailable,
    EnginesError,
    Missing,
    ModelError,
    PackageMissing,
    PlanError,
    UnsupportedProfile,
)
from reidstream_engines.headers import parse_encoded
from reidstream_engines.protocol import BoxCrop
from reidstream_engines.selftest import noise, noise_boxes
from reidstream_engines.tensorrt import opened_gpu as gpu_loading
from reidstream_engines.tensorrt.api import Runtime
from reidstream_engines.tensorrt.cache import MANIFEST
from reidstream_engines.tensorrt.manifest import Origin, manifest_to_json
from reidstream_engines.tensorrt.messages import Messages
from reidstream_engines.tensorrt.opened_gpu import Gpu, GpuOptions
from reidstream_server import loading
from reidstream_server.config import ConfigError, load_config
from reidstream_server.errors import StartupError
from reidstream_server.loading import loaded_engines
from reidstream_server.metrics.devices import DeviceCollector
from reidstream_server.metrics.series import Series
from tests.support.patience import HANG_S
from tests.unit.engines.cuda.fake_driver import FakeDriver, build_kernel, image
from tests.unit.engines.networks import half
from tests.unit.engines.tensorrt.fake_tensorrt import FakeRuntime, Script
from tests.unit.engines.tensorrt.plan_parts import MANIFEST as PLAN_MANIFEST

MISSING = DeviceUnavailable("this machine has no NVIDIA driver", Missing.DRIVER)
CPU = ("--tune-seconds", "0")


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return build_kernel(tmp_path_factory.mktemp("kernel"))


def lacking(monkeypatch: pytest.MonkeyPatch, error: EnginesError) -> None:
    def fail(*_: object) -> Gpu:
        raise error

    monkeypatch.setattr(gpu_loading, "open_gpu", fail)


def plugged_in(
    monkeypatch: pytest.MonkeyPatch, driver: FakeDriver, script: Script, fault: EnginesError | None = None
) -> list[GpuOptions]:
    """A fake GPU in the place of the real one; what it was asked for is kept."""
    asked = []

    def open_fake(index: int, options: GpuOptions) -> Gpu:
        asked.append(options)
        device = probe(load_library=lambda _: None, open_api=lambda: driver).device(index)

        def make_runtime(messages: Messages) -> tuple[Runtime, object]:
            return FakeRuntime(driver, script, messages), None

        def plan(path: Path, *_: object) -> bytes:
            if fault is not None:
                raise fault
            return path.read_bytes()

        return Gpu(driver, device, options, make_runtime=make_runtime, planner=plan, crop_kernel=image)

    monkeypatch.setattr(gpu_loading, "open_gpu", open_fake)
    return asked


@pytest.mark.needs("g++")
@pytest.mark.parametrize(
    ("flags", "devices"),
    [
        ([], "cuda:0"),
        (["--device", "cuda"], "cuda:0"),
        (["--device", "cuda:1", "--require-gpu"], "cuda:1"),
        (["--device", "cuda:1,cuda:0"], "cuda:1,cuda:0"),
        (["--device", "cuda:0,cuda:0"], "cuda:0"),
    ],
)
def test_a_gpu_is_used(monkeypatch: pytest.MonkeyPatch, kernel: ctypes.CDLL, flags: list[str], devices: str) -> None:
    """Its vectors are the CPU's; everything is given back at the end."""
    driver = FakeDriver(devices=2, kernel=kernel)
    asked = plugged_in(monkeypatch, driver, Script())
    rows = []
    for device in (flags, ["--device", "cpu", *CPU]):
        with loaded_engines(load_config([*device, "--max-batch", "4", "--cores", "5"], {})) as loaded:
            (engine,) = loaded.engines
            boxes = noise_boxes(4)
            with loaded.stager.stage(noise(), boxes) as frame:
                rows.append(engine.submit([BoxCrop(frame=frame, box=box) for box in boxes]).result())
            assert engine.info.device == (devices if device == flags else "cpu")
            assert not engine.info.fallback_reason
    np.testing.assert_allclose(rows[0], rows[1], atol=1e-5)
    assert [(o.max_batch, o.slots, o.cores) for o in asked] == [(4, 2, 5)] * (devices.count(",") + 1)
    assert +driver.live == Counter()


@pytest.mark.parametrize(
    ("flags", "error", "reason"),
    [
        ([], MISSING, ""),
        ([], DeviceUnavailable("no cuda-bindings", Missing.PACKAGE), "no cuda-bindings"),
        ([], UnsupportedProfile("not exact there"), "not exact there"),
        (["--device", "cuda:3"], MISSING, "this machine has no NVIDIA driver"),
        (["--gpu-precision", "fp16"], MISSING, "this machine has no NVIDIA driver"),
    ],
)
def test_the_cpu_is_used_instead(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    flags: list[str],
    error: EnginesError,
    reason: str,
) -> None:
    """Said in the log, to clients and in the metric, unless the machine just has no GPU and nobody asked for one."""
    caplog.set_level(logging.INFO)
    lacking(monkeypatch, error)
    with loaded_engines(load_config([*flags, *CPU], {})) as loaded:
        (engine,) = loaded.engines
        assert engine.info.device == "cpu"
        assert engine.info.fallback_reason == reason
        registry = CollectorRegistry()
        Series(registry).describe(engine)
        name = {"model": engine.spec.name}
        assert registry.get_sample_value("reidstream_engine_fallback", name) == bool(reason)
    events = [record.msg for record in caplog.records]
    assert "cpu_is_used" in events
    assert ("engine_fallback" in events) == bool(reason)


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--device", "cpu"], "device cpu"),
        ([], "this machine has no NVIDIA driver"),
        (["--device", "cuda:1"], "this machine has no NVIDIA driver"),
        (["--jpeg-scale", "2"], "these settings are for the CPU only: jpeg_scale"),
    ],
)
@pytest.mark.parametrize("origin", ["adopted", "built"])
def test_a_plan_is_nothing_for_a_cpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: list[str], why: str, origin: str
) -> None:
    """What the folder is, why the CPU is used, and what to do; before the model beside it is loaded."""
    lacking(monkeypatch, MISSING)
    monkeypatch.setattr(loading, "load_onnx", None)
    manifest = PLAN_MANIFEST if origin == "built" else replace(PLAN_MANIFEST, origin=Origin.ADOPTED, spec="{}")
    (tmp_path / MANIFEST).write_text(manifest_to_json(manifest), "utf-8")
    models = ["--model", str(default_model.PATH), "--model", str(tmp_path)]
    with pytest.raises(StartupError) as refused, loaded_engines(load_config([*models, *flags, *CPU], {})):
        pass
    said = str(refused.value)
    assert f"({tmp_path}) is the folder of a TensorRT plan ({origin}; sm_90, tensorrt " in said
    assert f"the CPU is used here: {why}. " in said
    assert "Give --model the ONNX file" in said
    assert ("--device cuda" in said) == (origin == "adopted")  # a built one is found by its model


@pytest.mark.parametrize("error", [MISSING, UnsupportedProfile("not exact there")])
def test_a_required_gpu_is_required(monkeypatch: pytest.MonkeyPatch, error: EnginesError) -> None:
    """Also where nobody named a device."""
    lacking(monkeypatch, error)
    with (
        pytest.raises(StartupError, match=f"a GPU is required: {error}"),
        loaded_engines(load_config(["--require-gpu"], {})),
    ):
        pass


@pytest.mark.needs("g++")
@pytest.mark.parametrize(
    ("script", "fault", "message"),
    [
        (Script(refuses_plan=True), None, "refuses the plan"),
        (Script(), PlanError("the build failed"), "the build failed"),
        (Script(), ModelError("a strange layer"), "a strange layer"),
        (Script(lost_while_running=True), None, "LAUNCH_FAILED"),
    ],
)
def test_what_goes_wrong_on_a_gpu_is_no_reason_for_the_cpu(
    monkeypatch: pytest.MonkeyPatch, kernel: ctypes.CDLL, script: Script, fault: EnginesError | None, message: str
) -> None:
    """It would hide it; the message names the model, and nothing is left on the device."""
    driver = FakeDriver(kernel=kernel)
    plugged_in(monkeypatch, driver, script, fault)
    with pytest.raises(StartupError, match=f"model 'stripes' .*{message}"), loaded_engines(load_config([], {})):
        pass
    assert driver.lost or +driver.live == Counter()


def test_a_device_without_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """No model is to blame."""
    driver = FakeDriver()
    plugged_in(monkeypatch, driver, Script())
    driver.fail("cuStreamCreate", "OUT_OF_MEMORY")
    config = load_config(["--device", "cuda:0"], {})
    with pytest.raises(StartupError, match="cuda:0: cuStreamCreate: CUDA_ERROR_OUT_OF"), loaded_engines(config):
        pass
    assert +driver.live == Counter()


@pytest.mark.needs("openvino")
def test_settings_of_the_cpu_keep_auto_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """No GPU is even looked for."""
    lacking(monkeypatch, ModelError("never asked"))
    with loaded_engines(load_config(["--runtime", "openvino", *CPU], {})) as loaded:
        assert loaded.engines[0].info.engine == "openvino"
        assert not loaded.engines[0].info.fallback_reason


@pytest.mark.parametrize(
    ("flags", "rule"),
    [
        (["--device", "cuda", "--jpeg-scale", "2"], "only for the CPU, not for a GPU"),
        (["--require-gpu", "--runtime", "openvino"], "only for the CPU, not for a GPU"),
        (["--require-gpu", "--device", "cpu"], "require_gpu needs a GPU"),
        (["--gpu-decode", "--device", "cpu"], "only for a GPU, not for device cpu"),
        (["--device", "gpu"], "auto, cpu, cuda, or cuda:N"),
        (["--device", "cuda,cpu"], "auto, cpu, cuda, or cuda:N"),
    ],
)
def test_settings_that_contradict_each_other(flags: list[str], rule: str) -> None:
    """Found before anything is loaded."""
    with pytest.raises(ConfigError, match=rule):
        load_config(flags, {})


def no_library() -> bool:
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        return True
    return False


@pytest.mark.parametrize("flags", [["--require-gpu"], ["--device", "cuda", "--require-gpu"]])
def test_the_real_thing_on_this_machine(flags: list[str]) -> None:
    """Without a driver: exit code 1 and a sentence, no traceback and no crash."""
    program = Path(sys.executable).with_name("reidstream-server")
    command = [str(program), "--dry-run", "--port", "0", "--metrics-port", "0", *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=HANG_S)
    if no_library():
        assert done.returncode == 1
        assert "a GPU is required: this machine has no NVIDIA driver" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode >= 0


@pytest.mark.needs("g++")
def test_the_precision_is_the_files_too(monkeypatch: pytest.MonkeyPatch, kernel: ctypes.CDLL, tmp_path: Path) -> None:
    """A file of float16 numbers is not called fp32, whatever the GPU computes in."""
    plugged_in(monkeypatch, FakeDriver(kernel=kernel), Script())
    flags = ["--device=cuda", f"--model={half(tmp_path / 'm.onnx')}", "--profile=torchreid", "--max-batch=4"]
    with loaded_engines(load_config(flags, {})) as loaded:
        assert loaded.engines[0].info.precision == "fp16"


@pytest.mark.needs("g++", "nvimgcodec")
def test_the_gpu_decodes(monkeypatch: pytest.MonkeyPatch, kernel: ctypes.CDLL) -> None:
    """JPEG with boxes, where it is asked for. Its CPU decoder has the CPU's pixels, so the vectors are the CPU's."""
    driver = FakeDriver(kernel=kernel)
    plugged_in(monkeypatch, driver, Script())
    monkeypatch.setattr(gpu_loading, "open_nvimgcodec", partial(open_nvimgcodec, on_host=True))
    raw = noise()
    pixels = np.frombuffer(raw.data, np.uint8).reshape(raw.height, raw.width, 3)
    jpeg = parse_encoded(cv2.imencode(".jpg", pixels)[1].tobytes())
    rows = []
    for flags in (["--gpu-decode"], [], ["--device", "cpu", *CPU]):
        with loaded_engines(load_config([*flags, "--max-batch", "4"], {})) as loaded:
            boxes = noise_boxes(4)
            with loaded.stager.stage(jpeg, boxes) as frame:
                rows.append(loaded.engines[0].submit([BoxCrop(frame=frame, box=box) for box in boxes]).result())
            if isinstance(loaded.stager, CudaStager):
                (usage,) = loaded.stager.devices()
                assert (usage.decoded, usage.declined) == (len(flags), 0)
    np.testing.assert_array_equal(rows[0], rows[1])
    np.testing.assert_allclose(rows[0], rows[2], atol=1e-5)
    assert +driver.live == Counter()


@pytest.mark.needs("g++")
def test_operators_see_the_memory_of_each_gpu(monkeypatch: pytest.MonkeyPatch, kernel: ctypes.CDLL) -> None:
    """In use while a frame is staged, idle afterwards, beside the bound; nothing of a CPU."""
    plugged_in(monkeypatch, FakeDriver(devices=2, kernel=kernel), Script())
    name, bound = "reidstream_device_frame_bytes", load_config([], {}).limits.max_staged_bytes
    with loaded_engines(load_config(["--device", "cuda:1,cuda:0", "--max-batch", "4"], {})) as loaded:
        registry = CollectorRegistry()
        registry.register(DeviceCollector(loaded.stager))

        def found(device: str, memory: str, state: str) -> float | None:
            return registry.get_sample_value(name, {"device": device, "memory": memory, "state": state})

        idle = {device: found(device, "device", "idle") or 0.0 for device in ("cuda:0", "cuda:1")}
        with loaded.stager.stage(noise(), []):
            staged = loaded.stager.staged_bytes(noise(), [])
            assert sorted(found(device, "device", "in_use") or 0.0 for device in idle) == [0, staged]
        for device, before in idle.items():
            assert found(device, "device", "in_use") == found(device, "pinned", "in_use") == 0
            assert (found(device, "device", "idle") or 0.0) >= before
            for memory in ("device", "pinned"):
                labels = {"device": device, "memory": memory}
                assert registry.get_sample_value(f"{name}_limit", labels) == bound
            for outcome in ("decoded", "declined"):
                labels = {"device": device, "outcome": outcome}
                assert registry.get_sample_value("reidstream_device_decodes_total", labels) == 0
    registry = CollectorRegistry()
    registry.register(DeviceCollector(CpuStager()))
    assert list(registry.collect()) == []


@pytest.mark.parametrize("error", [PackageMissing("not installed here"), DeviceUnavailable("decodes no JPEG")])
def test_a_gpu_that_cannot_decode(monkeypatch: pytest.MonkeyPatch, error: EnginesError) -> None:
    """Is no reason to compute on the CPU: the server does not start."""

    def fail(*_: object, **__: object) -> None:
        raise error

    driver = FakeDriver()
    plugged_in(monkeypatch, driver, Script())
    monkeypatch.setattr(gpu_loading, "open_nvimgcodec", fail)
    with pytest.raises(StartupError, match=f"gpu_decode: {error}"), loaded_engines(load_config(["--gpu-decode"], {})):
        pass
    assert +driver.live == Counter()
