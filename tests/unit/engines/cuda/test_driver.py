"""Owners give back once, statuses become errors, and order is kept by events only."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from reidstream_engines.cuda.driver import Context, DeviceBuffer, Event, Graph, Module, PinnedBuffer, Stream
from reidstream_engines.cuda.kernel_params import OutputType
from reidstream_engines.errors import EngineFault, EngineLost, EnginesError, KernelError, OutOfDeviceMemory
from reidstream_engines.spec import Resize
from tests.unit.engines.cuda.fake_driver import FakeDriver, image


@pytest.fixture
def driver() -> FakeDriver:
    return FakeDriver()


@pytest.fixture
def context(driver: FakeDriver) -> Iterator[Context]:
    with Context(driver, 0) as made:
        yield made


MAKERS: list[Callable[[Context], Context | Stream | Event | DeviceBuffer | PinnedBuffer | Module]] = [
    Stream,
    Event,
    lambda context: DeviceBuffer(context, 10),
    lambda context: PinnedBuffer(context, 10),
    lambda context: Module(context, image(Resize.OPENCV_BILINEAR, OutputType.FP32), "crop"),
    lambda context: Context(context.api, 0),
]


@pytest.mark.parametrize("make", MAKERS)
def test_given_back_once(driver: FakeDriver, context: Context, make: Callable[[Context], Stream]) -> None:
    """Closing again does nothing."""
    before = driver.live.copy()
    made = make(context)
    assert driver.live != before
    made.close()
    made.close()
    assert +driver.live == +before


@pytest.mark.parametrize("make", MAKERS)
def test_closing_on_a_lost_device_is_no_error(
    driver: FakeDriver, context: Context, make: Callable[[Context], Stream]
) -> None:
    """It took everything with it."""
    made = make(context)
    driver.lose()
    made.close()


@pytest.mark.parametrize(
    ("call", "status", "error"),
    [
        ("cuStreamCreate", "INVALID_VALUE", EngineFault),
        ("cuStreamCreate", "OUT_OF_MEMORY", OutOfDeviceMemory),
        ("cuStreamCreate", "ILLEGAL_ADDRESS", EngineLost),
        ("cuStreamCreate", "LAUNCH_FAILED", EngineLost),
        ("cuStreamCreate", "ECC_UNCORRECTABLE", EngineLost),
    ],
)
def test_statuses(driver: FakeDriver, context: Context, call: str, status: str, error: type[EnginesError]) -> None:
    """The error has the call's name, the code's, and its text."""
    driver.fail(call, status)
    with pytest.raises(error) as caught:
        Stream(context)
    assert type(caught.value) is error
    assert str(caught.value) == f"{call}: CUDA_ERROR_{status} ({status.replace('_', ' ').lower()})"


def test_a_copy_there_and_back(context: Context) -> None:
    """What was written before the upload comes back; what is written after it must not be seen."""
    here, back, there = PinnedBuffer(context, 64), PinnedBuffer(context, 64), DeviceBuffer(context, 64)
    stream, done = Stream(context), Event(context)
    here.array[:] = 7
    stream.upload(there.address, here.address, 64)
    stream.download(back.address, there.address, 64)
    stream.record(done)
    assert not (back.array == 7).any()
    done.synchronize()
    assert (back.array == 7).all()


def test_a_stream_waits_for_another(context: Context) -> None:
    """Without the event, the copy back would run before the upload."""
    here, back, there = PinnedBuffer(context, 8), PinnedBuffer(context, 8), DeviceBuffer(context, 8)
    uploads, work, ready, done = Stream(context), Stream(context), Event(context), Event(context)
    here.array[:] = 3
    uploads.upload(there.address, here.address, 8)
    uploads.record(ready)
    work.wait(ready)
    work.download(back.address, there.address, 8)
    work.record(done)
    done.synchronize()
    assert (back.array == 3).all()


def test_the_fake_notices_a_missing_wait(context: Context) -> None:
    """The one above can fail."""
    here, back, there = PinnedBuffer(context, 8), PinnedBuffer(context, 8), DeviceBuffer(context, 8)
    uploads, work = Stream(context), Stream(context)
    here.array[:] = 3
    uploads.upload(there.address, here.address, 8)
    work.download(back.address, there.address, 8)
    work.synchronize()
    assert not (back.array == 3).any()


def test_a_wild_address_loses_the_device(context: Context) -> None:
    """And everything after it says so."""
    there, stream = DeviceBuffer(context, 8), Stream(context)
    stream.zero(there.address, 9)
    with pytest.raises(EngineLost, match="ILLEGAL_ADDRESS"):
        stream.synchronize()
    with pytest.raises(EngineLost, match="ILLEGAL_ADDRESS"):
        DeviceBuffer(context, 8)


def test_a_context_is_current_per_thread(driver: FakeDriver) -> None:
    """A thread that does not say so is told."""
    with pytest.raises(EngineLost, match="INVALID_CONTEXT"):
        Stream(Context(driver, 0))


@pytest.mark.parametrize("bytes_of", [b"rubbish", b""])
def test_a_module_that_is_none(driver: FakeDriver, context: Context, bytes_of: bytes) -> None:
    """KernelError, and nothing is left."""
    with pytest.raises(KernelError, match="cuModuleLoadData"):
        Module(context, bytes_of, "crop")
    assert not driver.live["module"]


def test_a_module_without_the_entry(driver: FakeDriver, context: Context) -> None:
    """The module is unloaded again."""
    with pytest.raises(KernelError, match="cuModuleGetFunction"):
        Module(context, image(Resize.OPENCV_BILINEAR, OutputType.FP32), "another")
    assert not driver.live["module"]


def test_a_graph_does_again_what_was_captured(driver: FakeDriver, context: Context) -> None:
    """Capturing does none of it."""
    there, back, stream = DeviceBuffer(context, 4), PinnedBuffer(context, 4), Stream(context)

    def work() -> None:
        stream.download(back.address, there.address, 4)

    graph = Graph(stream, work)
    back.array[:] = 1
    stream.zero(there.address, 4)
    stream.synchronize()
    assert (back.array == 1).all()
    for _ in range(2):
        back.array[:] = 1
        graph.launch(stream)
        stream.synchronize()
        assert (back.array == 0).all()
    graph.close()
    graph.close()
    assert not driver.live["graph"]
    assert not driver.live["executable graph"]


@pytest.mark.parametrize("call", ["cuStreamBeginCapture", "cuStreamEndCapture", "cuGraphInstantiate"])
def test_what_cannot_be_captured(driver: FakeDriver, context: Context, call: str) -> None:
    """A fault, and nothing is left of it."""
    driver.fail(call, "INVALID_VALUE")
    with pytest.raises(EngineFault, match=call):
        Graph(Stream(context), lambda: None)
    assert not driver.live["graph"]


def test_half_a_graph_is_given_back(driver: FakeDriver, context: Context) -> None:
    """What raises while it is captured need not make the capture invalid."""

    def work() -> None:
        raise EngineFault("refused")

    with pytest.raises(EngineFault, match="refused"):
        Graph(Stream(context), work)
    assert not driver.live["graph"]


def test_a_wait_cannot_be_captured(context: Context) -> None:
    """The stream can be used afterwards."""
    stream = Stream(context)
    with pytest.raises(EngineFault, match="CAPTURE_UNSUPPORTED"):
        Graph(stream, stream.synchronize)
    stream.synchronize()


def test_an_event_that_was_given_back_does_not_wait(context: Context) -> None:
    """Blocks of memory may outlive the engine that read them."""
    event = Event(context)
    event.close()
    event.synchronize()


def test_time_between_events(context: Context) -> None:
    """In milliseconds."""
    first, second = Event(context, timing=True), Event(context, timing=True)
    assert np.isfinite(second.ms_since(first))
