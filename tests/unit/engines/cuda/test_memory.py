"""Pools keep what is given back, never pass their bound, and hand out nothing that is still read."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reidstream_engines.cuda.driver import Context, PinnedBuffer, Stream
from reidstream_engines.cuda.memory import Pool, device_pool, pinned_pool, size_class
from reidstream_engines.errors import EngineLost, OutOfDeviceMemory
from tests.unit.engines.cuda.fake_driver import FakeDriver

KIB = 1024


@pytest.fixture
def driver() -> FakeDriver:
    return FakeDriver(memory=256 * KIB)


@pytest.fixture
def context(driver: FakeDriver) -> Iterator[Context]:
    with Context(driver, 0) as made:
        yield made


def usage(pool: Pool[PinnedBuffer]) -> tuple[int, int]:
    return pool.usage().in_use // KIB, pool.usage().idle // KIB


@given(st.integers(1, 1 << 40))
def test_classes_waste_at_most_a_quarter(size: int) -> None:
    """And a class is its own class."""
    found = size_class(size)
    assert size <= found <= max(4096, size * 5 // 4 + 1)
    assert size_class(found) == found


def test_a_block_is_used_again(driver: FakeDriver, context: Context) -> None:
    """For another size of its class."""
    pool = pinned_pool(context, 64 * KIB)
    block = pool.take(5000)
    assert usage(pool) == (5, 0)
    pool.give(block, ())
    assert usage(pool) == (0, 5)
    assert pool.take(5100) is block
    assert driver.calls["cuMemHostAlloc"] == 1


def test_the_bound_is_never_passed(context: Context) -> None:
    """What is idle makes room, the class longest unused first; what is in use does not."""
    pool = pinned_pool(context, 16 * KIB)
    first, second = pool.take(8 * KIB), pool.take(4 * KIB)
    pool.give(first, ())
    with pytest.raises(OutOfDeviceMemory, match="pinned memory and the 4096 in use are more than the bound of 16384"):
        pool.take(13 * KIB)
    assert usage(pool) == (4, 8)
    third = pool.take(10 * KIB)
    assert usage(pool) == (14, 0)
    pool.give(second, ())
    pool.give(third, ())
    pool.close()
    assert usage(pool) == (0, 0)


def test_a_device_that_is_full_gets_back_what_is_idle(driver: FakeDriver, context: Context) -> None:
    """The bound may be more than the device has left."""
    pool = device_pool(context, 1 << 30)
    pool.give(pool.take(160 * KIB), ())
    pool.take(128 * KIB)
    assert driver.in_use() == 128 * KIB
    with pytest.raises(OutOfDeviceMemory, match="cuMemAlloc"):
        pool.take(256 * KIB)
    assert pool.usage().in_use == 128 * KIB


@pytest.mark.parametrize("size", [4 * KIB, 6 * KIB], ids=["the same class", "evicted for another"])
def test_nothing_is_handed_out_while_it_is_read(driver: FakeDriver, context: Context, size: int) -> None:
    """The next taker waits for the copy."""
    pool = pinned_pool(context, 7 * KIB)
    there, stream = device_pool(context, 64 * KIB).take(4 * KIB), Stream(context)
    block = pool.take(4 * KIB)
    block.buffer.array[:] = 5
    stream.upload(there.buffer.address, block.buffer.address, 4 * KIB)
    stream.record(block.done)
    pool.give(block, (block.done,))
    assert not driver.copied
    pool.take(size).buffer.array[:] = 6
    assert driver.copied["cuMemcpyHtoDAsync"] == 4 * KIB
    assert (driver.memory_at(there.buffer.address, 4 * KIB) == 5).all()


def test_a_lost_device_while_waiting(driver: FakeDriver, context: Context) -> None:
    """Nothing is counted for what was not handed out."""
    pool = pinned_pool(context, 64 * KIB)
    block = pool.take(4 * KIB)
    pool.give(block, (block.done,))
    driver.lose()
    with pytest.raises(EngineLost):
        pool.take(4 * KIB)
    assert pool.usage().in_use == 0


def test_what_is_dropped_is_freed(driver: FakeDriver, context: Context) -> None:
    """And not counted any more."""
    pool = device_pool(context, 64 * KIB)
    pool.drop(pool.take(4 * KIB))
    assert driver.in_use() == 0
    assert pool.usage().in_use == pool.usage().idle == 0
