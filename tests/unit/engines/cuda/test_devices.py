"""Two fake devices as one: frames spread, batches cut, and a lost one's work done by the other."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from reidstream_engines.cuda.devices import GroupEngine, GroupStager, Members
from reidstream_engines.cuda.driver import Context
from reidstream_engines.errors import EngineFault, EngineLost
from reidstream_engines.protocol import BoxCrop, Crop, Health
from reidstream_engines.selftest import self_test
from tests.unit.engines.cuda.fake_driver import FakeDriver
from tests.unit.engines.cuda.rig import opened_on, stager_on
from tests.unit.engines.networks import boxes, convolution, noise, spec, tensor
from tests.unit.engines.tensorrt.fake_tensorrt import Script

pytestmark = pytest.mark.needs("g++")


@dataclass(frozen=True, kw_only=True)
class Group:
    driver: FakeDriver
    stager: GroupStager
    engine: GroupEngine
    frames: ExitStack

    def crops(self, count: int) -> list[Crop]:
        """Each of a frame of its own."""
        staged = [self.frames.enter_context(self.stager.stage(noise(90 + i, 70), ())) for i in range(count)]
        return [BoxCrop(frame=frame, box=boxes(1)[0]) for frame in staged]


@pytest.fixture
def group(kernel_library: ctypes.CDLL, tmp_path: Path) -> Iterator[Group]:
    path = convolution(tmp_path / "toy.onnx")
    driver = FakeDriver(devices=2, kernel=kernel_library)
    with ExitStack() as stack:
        contexts = [Context(driver, index) for index in range(2)]
        stagers, engines = [], []
        for context in contexts:
            context.use()
            stagers.append(stager_on(context))
            opened = opened_on(context, driver, path, spec(), Script(), max_batch=8, slots=2)
            engines.append(opened.engine)
        members = Members(2)
        engine = GroupEngine(engines, members)
        with ExitStack() as frames:
            yield Group(driver=driver, stager=GroupStager(stagers, members), engine=engine, frames=frames)
        engine.close()
        for stager in stagers:
            stager.close()
        for context in contexts:
            stack.callback(context.close)
    assert driver.lost or +driver.live == {}


def test_it_is_an_engine(group: Group) -> None:
    """One that passes the self-test."""
    self_test(group.engine, group.stager)
    assert group.engine.info.device == "cuda:0,cuda:1"
    assert (group.engine.limits.max_batch, group.engine.limits.slots) == (8, 2)


def test_frames_are_spread_and_rows_are_in_order(group: Group) -> None:
    """A batch of both devices gives what each crop gives alone."""
    crops = [*group.crops(6), tensor(0.5)]
    assert {crop.frame.there()[0] for crop in crops if isinstance(crop, BoxCrop)} == {0, 1}  # type: ignore[attr-defined]
    together = group.engine.submit(crops).result()
    for row, crop in zip(together, crops, strict=True):
        np.testing.assert_allclose(row, group.engine.submit([crop]).result()[0], atol=1e-6)


@pytest.mark.parametrize("moment", ["before submit", "after submit"])
@pytest.mark.parametrize("device", [0, 1])
def test_a_lost_devices_work_is_done_by_the_other(group: Group, device: int, moment: str) -> None:
    """Batches on their way and staged frames, which are staged again once each."""
    crops = [*group.crops(6), tensor(0.5)]
    expected = group.engine.submit(crops).result()
    if moment == "before submit":
        group.driver.lose(device)
    ticket = group.engine.submit(crops)
    group.driver.lose(device)
    np.testing.assert_allclose(ticket.result(), expected, atol=1e-6)
    assert group.engine.health() is Health.SERVING
    np.testing.assert_allclose(group.engine.submit(crops).result(), expected, atol=1e-6)
    assert {crop.frame.there()[0] for crop in group.crops(3) if isinstance(crop, BoxCrop)} == {1 - device}  # type: ignore[attr-defined]


def test_all_are_lost(group: Group) -> None:
    """Then the group is."""
    crops = group.crops(2)
    ticket = group.engine.submit(crops)
    group.driver.lose(0)
    group.driver.lose(1)
    with pytest.raises(EngineLost, match="every device is lost"):
        ticket.result()
    assert group.engine.health() is Health.LOST
    with pytest.raises(EngineLost):
        group.engine.submit(crops)
    with pytest.raises(EngineLost):
        group.stager.stage(noise(), ())


@pytest.mark.parametrize("call", ["cuLaunchKernel", "cuMemcpyDtoHAsync", "cuEventSynchronize"])
def test_a_fault_of_one_part_is_the_batchs(group: Group, call: str) -> None:
    """And costs no slot of either device."""
    crops = group.crops(4)
    expected = group.engine.submit(crops).result()
    for after in (0, 1):
        group.driver.fail(call, "INVALID_VALUE", after=after)
        with pytest.raises(EngineFault, match=call):
            group.engine.submit(crops).result()
    tickets = [group.engine.submit(crops) for _ in range(2)]
    for ticket in tickets:
        np.testing.assert_allclose(ticket.result(), expected, atol=1e-6)


def test_a_closed_frame(group: Group) -> None:
    """Closing twice is harmless; using it is a fault."""
    (crop,) = group.crops(1)
    assert isinstance(crop, BoxCrop)
    crop.frame.close()
    crop.frame.close()
    with pytest.raises(EngineFault, match="closed"):
        group.engine.submit([crop])
