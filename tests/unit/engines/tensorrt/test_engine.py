"""The engine on a fake device: the CPU engine's vectors, slots, and every way that a device fails."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from reidstream_engines.cpu.onnx_engine import OnnxEngine
from reidstream_engines.cpu.onnxruntime_network import OnnxRuntimeNetwork, open_onnxruntime
from reidstream_engines.cpu.options import OnnxOptions
from reidstream_engines.cpu.stager import CpuStager
from reidstream_engines.cuda.driver import Context
from reidstream_engines.errors import (
    EngineFault,
    EngineLost,
    EnginesError,
    KernelError,
    ModelError,
    OutOfDeviceMemory,
    UnsupportedProfile,
)
from reidstream_engines.protocol import BoxCrop, Crop, Health, TensorCrop
from reidstream_engines.selftest import self_test
from reidstream_engines.spec import ModelSpec
from tests.unit.engines.cuda.fake_driver import FakeDriver
from tests.unit.engines.cuda.rig import Rig, opened_on, rig
from tests.unit.engines.networks import DIM, HEIGHT, WIDTH, boxes, channel_means, convolution, noise, spec, tensor
from tests.unit.engines.tensorrt.fake_tensorrt import Script

pytestmark = pytest.mark.needs("g++")

MAX_BATCH = 4
CALLS = ("cuMemcpyHtoDAsync", "cuStreamWaitEvent", "cuLaunchKernel", "cuMemcpyDtoHAsync", "cuEventRecord")


@pytest.fixture
def network(tmp_path: Path) -> Path:
    return convolution(tmp_path / "toy.onnx")


@pytest.fixture
def device(kernel_library: ctypes.CDLL, network: Path) -> Iterator[Rig]:
    with rig(kernel_library, network, spec(), max_batch=MAX_BATCH) as made:
        yield made


def cpu_vectors(network: Path, wanted: ModelSpec, crops: list[Crop]) -> NDArray[np.float32]:
    options = OnnxOptions(max_batch=len(crops))
    session = OnnxRuntimeNetwork(open_onnxruntime(network, options), wanted, options.providers)
    return OnnxEngine(session, wanted, options).submit(crops).result()


def mixed(device: Rig, cpu: CpuStager) -> tuple[list[Crop], list[Crop]]:
    """Boxes of two frames and a tensor between them, for this device and for the CPU."""
    box = boxes(3)
    images = noise(), noise(120, 80)
    there = [device.stage(image) for image in images]
    here = [cpu.stage(image, box) for image in images]
    values = TensorCrop(tensor=np.random.default_rng(2).normal(size=(3, HEIGHT, WIDTH)).astype(np.float32))
    return (
        [BoxCrop(frame=there[0], box=box[0]), values, BoxCrop(frame=there[1], box=box[1]), values],
        [BoxCrop(frame=here[0], box=box[0]), values, BoxCrop(frame=here[1], box=box[1]), values],
    )


def one_crop(device: Rig) -> list[Crop]:
    return [BoxCrop(frame=device.stage(noise()), box=boxes(1)[0])]


@pytest.mark.parametrize(
    ("script", "tolerance"),
    [(Script(), 1e-6), (Script(half=True), 2e-3), (Script(batch=3), 1e-6), (Script(batch=1), 1e-6)],
)
def test_vectors_are_the_cpus(kernel_library: ctypes.CDLL, network: Path, script: Script, tolerance: float) -> None:
    """Boxes of several frames and tensors in one batch, for each kind of plan."""
    with rig(kernel_library, network, spec(), script, max_batch=MAX_BATCH) as device:
        there, here = mixed(device, CpuStager())
        found = device.engine.submit(there).result()
        assert found.shape == (4, DIM)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, cpu_vectors(network, spec(), here), atol=tolerance)


def test_it_passes_the_self_test(device: Rig) -> None:
    """Every batch size, alone and together, several times; nothing more is allocated after the first."""
    self_test(device.engine, device.stager)
    allocations = device.driver.calls["cuMemAlloc"] + device.driver.calls["cuMemHostAlloc"]
    self_test(device.engine, device.stager)
    assert device.driver.calls["cuMemAlloc"] + device.driver.calls["cuMemHostAlloc"] == allocations
    assert device.engine.health() is Health.SERVING
    assert device.engine.limits.cores == 0
    assert (device.engine.info.engine, device.engine.info.device) == ("tensorrt", "cuda:0")


def test_two_batches_at_a_time(device: Rig, network: Path) -> None:
    """Each has its own buffers: results in any order, long after the next was submitted."""
    tensors = [tensor(value) for value in (0.1, -0.7, 0.4)]
    first, second = device.engine.submit(tensors[:1]), device.engine.submit(tensors[1:])
    np.testing.assert_allclose(second.result(), cpu_vectors(network, spec(), [*tensors[1:]]), atol=1e-6)
    np.testing.assert_allclose(first.result(), cpu_vectors(network, spec(), [*tensors[:1]]), atol=1e-6)


def test_rows_are_the_callers(device: Rig) -> None:
    """The next batch in the same slot does not write over them."""
    rows = device.engine.submit([tensor(0.5)]).result()
    kept = rows.copy()
    for value in (1.0, 2.0, 3.0):
        device.engine.submit([tensor(value)]).result()
    np.testing.assert_array_equal(rows, kept)


def test_without_l2_rows_come_as_they_are(kernel_library: ctypes.CDLL, tmp_path: Path) -> None:
    """As the spec says."""
    path = channel_means(tmp_path / "means.onnx")
    with rig(kernel_library, path, spec(dim=3, l2_normalize=False)) as device:
        np.testing.assert_allclose(device.engine.submit([tensor(2.5)]).result(), [[2.5, 2.5, 2.5]])


def test_what_is_not_finite_is_a_fault(kernel_library: ctypes.CDLL, tmp_path: Path) -> None:
    """It names the rows, and the engine goes on."""
    path = channel_means(tmp_path / "means.onnx")
    with rig(kernel_library, path, spec(dim=3)) as device:
        with pytest.raises(EngineFault, match=r"not finite in rows \[1\]"):
            device.engine.submit([tensor(1.0), tensor(np.nan)]).result()
        for _ in range(3):
            assert np.isfinite(device.engine.submit([tensor(1.0)]).result()).all()


def test_a_frames_memory_is_kept_until_the_batch_has_read_it(device: Rig, network: Path) -> None:
    """Closed too early, its memory is not given to the next frame before the batch is done."""
    box = boxes(1)[0]
    image = noise()
    frame = device.stage(image)
    ticket = device.engine.submit([BoxCrop(frame=frame, box=box)])
    frame.close()
    other = replace(image, data=bytes(len(image.data)))
    device.stage(other).ready.synchronize()  # its upload is over before the batch has begun
    expected = cpu_vectors(network, spec(), [BoxCrop(frame=CpuStager().stage(image, ()), box=box)])
    np.testing.assert_allclose(ticket.result(), expected, atol=1e-6)


def test_a_frames_memory_does_not_wait_for_later_batches(device: Rig) -> None:
    """A batch that was waited for uses nothing any more, though its slot is at work on another by then."""
    frame = device.stager.stage(noise(), ())
    device.engine.submit([BoxCrop(frame=frame, box=boxes(1)[0])]).result()
    later = [device.engine.submit([tensor(value)]) for value in (0.1, 0.4)]  # as many as there are slots
    waits = device.driver.calls["cuEventSynchronize"]
    frame.close()
    device.stage(noise())  # in the same memory
    assert device.driver.calls["cuEventSynchronize"] == waits + 2  # its own two copies, of pinned memory and from it
    for ticket in later:
        ticket.result()


def test_a_frame_is_uploaded_once(device: Rig) -> None:
    """For all of its boxes and batches."""
    frame = device.stage(noise())
    for _ in range(3):
        device.engine.submit([BoxCrop(frame=frame, box=box) for box in boxes(4)]).result()
    assert device.stager.uploads == 1


def test_a_result_is_taken_once(device: Rig) -> None:
    """Also after it failed."""
    ticket = device.engine.submit([tensor(1.0)])
    ticket.result()
    with pytest.raises(EngineFault, match="twice"):
        ticket.result()


def test_more_tickets_than_slots(device: Rig) -> None:
    """A fault; the open ones are not harmed."""
    tickets = [device.engine.submit([tensor(1.0)]) for _ in range(2)]
    with pytest.raises(EngineFault, match="2 tickets are open"):
        device.engine.submit([tensor(1.0)])
    assert len({ticket.result().tobytes() for ticket in tickets}) == 1
    device.engine.submit([tensor(1.0)]).result()


def wrong_tensor(_: Rig) -> Crop:
    return TensorCrop(tensor=np.zeros((3, HEIGHT, WIDTH + 1), np.float32))


def cpu_frame(_: Rig) -> Crop:
    return BoxCrop(frame=CpuStager().stage(noise(), ()), box=boxes(1)[0])


def closed_frame(device: Rig) -> Crop:
    frame = device.stage(noise())
    frame.close()
    return BoxCrop(frame=frame, box=boxes(1)[0])


def no_tensor(_: Rig) -> Crop:
    return TensorCrop(tensor=None)  # type: ignore[arg-type] # somebody's mistake


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (wrong_tensor, "takes float32"),
        (cpu_frame, "not staged for CUDA device 0"),
        (closed_frame, "after it was closed"),
        (no_tensor, "could not be started"),
    ],
)
def test_crops_that_cannot_be_taken(device: Rig, make: Callable[[Rig], Crop], message: str) -> None:
    """A fault of the batch, however often; the slots stay."""
    for _ in range(3):
        with pytest.raises(EngineFault, match=message):
            device.engine.submit([tensor(1.0), make(device)])
    device.engine.submit([tensor(1.0)]).result()


@pytest.mark.parametrize("count", [0, MAX_BATCH + 1])
def test_batches_of_a_wrong_size(device: Rig, count: int) -> None:
    """A fault."""
    with pytest.raises(EngineFault, match="1 to 4 crops"):
        device.engine.submit([tensor(1.0)] * count)


@pytest.mark.parametrize("call", [*CALLS, "cuGraphLaunch"])
def test_a_call_fails(device: Rig, call: str) -> None:
    """That batch does; the next ones, in every slot, do not."""
    crops = one_crop(device)
    expected = device.engine.submit(crops).result()
    device.driver.fail(call, "INVALID_VALUE")
    with pytest.raises(EngineFault, match=call):
        device.engine.submit(crops).result()
    tickets = [device.engine.submit(crops) for _ in range(2)]
    for ticket in tickets:
        np.testing.assert_array_equal(ticket.result(), expected)
    assert device.engine.health() is Health.SERVING


@pytest.mark.parametrize("call", [*CALLS, "cuGraphLaunch", "cuEventSynchronize"])
def test_the_device_is_lost(device: Rig, call: str) -> None:
    """For good: this batch, the one on its way, and all others."""
    crops = one_crop(device)
    on_its_way = device.engine.submit(crops)
    device.driver.fail(call, "ILLEGAL_ADDRESS")
    with pytest.raises(EngineLost, match=call):
        device.engine.submit(crops).result()
    assert device.engine.health() is Health.LOST
    with pytest.raises(EngineLost, match="CUDA device 0 is lost"):
        on_its_way.result()
    with pytest.raises(EngineLost, match="CUDA device 0 is lost"):
        device.engine.submit(crops)
    with pytest.raises(EngineLost):
        device.stage(noise())


def test_lost_while_the_network_runs(kernel_library: ctypes.CDLL, network: Path) -> None:
    """Found when the result is waited for."""
    script = Script()
    with rig(kernel_library, network, spec(), script, max_batch=MAX_BATCH) as device:
        script.lost_while_running = True
        ticket = device.engine.submit([tensor(1.0)])
        with pytest.raises(EngineLost, match="LAUNCH_FAILED"):
            ticket.result()
        assert device.engine.health() is Health.LOST


def test_lost_by_a_refusal(kernel_library: ctypes.CDLL, network: Path) -> None:
    """TensorRT only says False; the device says why."""
    script = Script(not_capturable=True)
    with rig(kernel_library, network, spec(), script, max_batch=MAX_BATCH) as device:
        script.refused.add("execute_async_v3")
        with pytest.raises(EngineFault, match="execute_async_v3 answered False; TensorRT says"):
            device.engine.submit([tensor(1.0)])
        device.driver.fail("cuStreamSynchronize", "LAUNCH_FAILED")
        with pytest.raises(EngineLost, match="LAUNCH_FAILED"):
            device.engine.submit([tensor(1.0)])
        assert device.engine.health() is Health.LOST


@pytest.mark.parametrize("refusal", ["lacking", "output_shape", "set_input_shape"])
def test_after_a_refused_shape_the_next_batch_has_its_own(
    kernel_library: ctypes.CDLL, network: Path, refusal: str
) -> None:
    """TensorRT has taken the refused one, or a part of it: the next batch is not run with what is left of that."""
    script = Script(not_capturable=True)
    with rig(kernel_library, network, spec(), script, max_batch=MAX_BATCH, slots=1) as device:
        full = [tensor(float(value)) for value in range(MAX_BATCH)]
        other = full[::-1]
        expected = device.engine.submit(other).result()
        device.engine.submit(full).result()  # what is not computed anew would have its vectors
        match refusal:
            case "lacking":
                script.lacking = ["embedding"]
            case "output_shape":
                script.output_shape = (1, DIM + 1)
            case _:
                script.refused.add(refusal)
        with pytest.raises(EngineFault):
            device.engine.submit(full[:1])
        script.lacking, script.output_shape = (), None
        script.refused.clear()
        np.testing.assert_array_equal(device.engine.submit(other).result(), expected)


def test_a_foreign_exception_is_a_fault(kernel_library: ctypes.CDLL, network: Path) -> None:
    """Whatever a library raises."""
    script = Script(not_capturable=True)
    with rig(kernel_library, network, spec(), script, max_batch=MAX_BATCH) as device:
        script.raises = MemoryError("no host memory")
        with pytest.raises(EngineFault, match="no host memory"):
            device.engine.submit([tensor(1.0)])
        script.raises = None
        device.engine.submit([tensor(1.0)]).result()


def test_threads(device: Rig, network: Path) -> None:
    """As many as slots, each batch its own values, from threads that never saw the device."""
    values = np.linspace(-1, 1, 40)

    def embed(value: float) -> NDArray[np.float32]:
        return device.engine.submit([tensor(value), tensor(-value)]).result()

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(embed, values))
    for value, rows in zip(values, found, strict=True):
        np.testing.assert_allclose(rows, cpu_vectors(network, spec(), [tensor(value), tensor(-value)]), atol=1e-5)


def test_a_result_may_be_taken_by_another_thread(device: Rig) -> None:
    """One that never saw the device."""
    ticket = device.engine.submit([tensor(1.0)])
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(ticket.result).result().shape == (1, DIM)


def test_closed(device: Rig) -> None:
    """Closing again does nothing; a batch is refused."""
    device.engine.close()
    device.engine.close()
    assert device.engine.health() is Health.LOST
    with pytest.raises(EngineFault, match="closed"):
        device.engine.submit([tensor(1.0)])


@pytest.mark.parametrize(
    ("script", "wanted", "error", "message"),
    [
        (
            Script(refuses_plan=True),
            spec(),
            ModelError,
            "refuses the plan; TensorRT says: the plan was made",
        ),
        (Script(no_context=True), spec(), EngineFault, "cannot make an execution context; TensorRT says: no memory"),
        (Script(profile=(1, 2)), spec(), ModelError, "1 to 2 crops at a time; 1 to 4 are needed"),
        (Script(profile=(2, 8)), spec(), ModelError, "2 to 8 crops"),
        (Script(), spec(dim=DIM + 1), ModelError, r"the spec needs .* to \(batch, 13\)"),
        (Script(refused={"set_tensor_address"}), spec(), EngineFault, "set_tensor_address answered False"),
        (Script(refused={"set_input_shape"}), spec(), EngineFault, "set_input_shape answered False"),
        (Script(lacking=["input"]), spec(), EngineFault, r"has no shape or address for \['input'\]"),
        (Script(output_shape=(4, 13)), spec(), EngineFault, r"answers \(4, 13\) for 1 crops"),
        (Script(refused={"execute_async_v3"}), spec(), EngineFault, "execute_async_v3 answered False"),
        (Script(lost_while_running=True), spec(), EngineLost, "LAUNCH_FAILED"),
    ],
)
def test_plans_that_cannot_be_served(
    network: Path, script: Script, wanted: ModelSpec, error: type[EnginesError], message: str
) -> None:
    """Found before anybody is served, and nothing is left on the device."""
    driver = FakeDriver()
    with Context(driver, 0) as context, pytest.raises(error, match=message):
        opened_on(context, driver, network, wanted, script, max_batch=MAX_BATCH, slots=2)
    assert driver.lost or +driver.live == {}


def test_a_profile_that_the_kernel_cannot_do(network: Path) -> None:
    """Refused, and nothing is left."""
    driver, wanted = FakeDriver(), spec()
    wanted = replace(wanted, input=replace(wanted.input, jpeg_scale=2))
    with Context(driver, 0) as context, pytest.raises(UnsupportedProfile):
        opened_on(context, driver, network, wanted, Script(), max_batch=MAX_BATCH, slots=2)
    assert +driver.live == {}


@pytest.mark.parametrize("after", range(18))
@pytest.mark.parametrize("call", ["cuMemAlloc", "cuMemHostAlloc", "cuEventCreate", "cuStreamCreate"])
def test_no_memory_at_any_point(network: Path, call: str, after: int) -> None:
    """Whatever was made before is given back."""
    driver = FakeDriver()
    driver.fail(call, "OUT_OF_MEMORY", after=after)
    with Context(driver, 0) as context:
        try:
            opened = opened_on(context, driver, network, spec(), Script(), max_batch=MAX_BATCH, slots=2)
        except OutOfDeviceMemory:
            pass
        else:
            opened.engine.close()
    assert +driver.live == {}


def test_a_kernel_that_cannot_be_loaded(network: Path) -> None:
    """KernelError, and nothing is left."""
    driver = FakeDriver()
    driver.fail("cuModuleLoadData", "INVALID_IMAGE")
    with Context(driver, 0) as context, pytest.raises(KernelError):
        opened_on(context, driver, network, spec(), Script(), max_batch=MAX_BATCH, slots=1)
    assert +driver.live == {}


def test_what_cannot_be_captured_runs_all_the_same(kernel_library: ctypes.CDLL, network: Path) -> None:
    """Kernel by kernel; which sizes, and why, is known."""
    with rig(kernel_library, network, spec(), Script(not_capturable=True), max_batch=MAX_BATCH) as device:
        assert list(device.opened.not_captured) == [1, 2, 4]
        assert "a layer cannot be captured" in device.opened.not_captured[1]
        there, here = mixed(device, CpuStager())
        np.testing.assert_allclose(
            device.engine.submit(there[:3]).result(), cpu_vectors(network, spec(), here[:3]), atol=1e-6
        )


def test_graphs_change_nothing(kernel_library: ctypes.CDLL, network: Path) -> None:
    """Bit for bit, for every batch size."""
    found = []
    for script in (Script(), Script(not_capturable=True)):
        with rig(kernel_library, network, spec(), script, max_batch=MAX_BATCH) as device:
            crops = [BoxCrop(frame=device.stage(noise()), box=box) for box in boxes(MAX_BATCH)]
            found.append([device.engine.submit(crops[:n]).result() for n in range(1, MAX_BATCH + 1)])
    for graphed, eager in zip(*found, strict=True):
        np.testing.assert_array_equal(graphed, eager)


def test_a_thousand_batches_take_no_more_memory(device: Rig) -> None:
    """Of the device, or pinned."""
    live = []
    for _ in range(1000):
        with device.stager.stage(noise(), ()) as frame:
            device.engine.submit([BoxCrop(frame=frame, box=boxes(1)[0])]).result()
        live.append((+device.driver.live, device.driver.in_use()))
    assert live[0] == live[-1]
