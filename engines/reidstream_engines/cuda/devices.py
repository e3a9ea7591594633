"""Several devices as one: a stager over their stagers, and an engine over their engines.

Why with the same Protocols: the scheduler need not know how many devices there are. A frame is staged on the device
with the fewest staged bytes. A batch is cut into parts by the devices of its frames, and the parts run at the same
time. If a device is lost, its frames are staged again on another one, from the picture, which is kept until the frame
is closed.

Traps: each device may get a part of every batch, so `slots` is the smallest of the devices' slots, not their sum. And a
result first collects the parts of the other devices and then starts the lost part again, so that it never holds two
slots of one device.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType

import numpy as np
from typing_extensions import Self, assert_never, override

from reidstream_engines.errors import EngineFault, EngineLost
from reidstream_engines.image import Image, PixelBox
from reidstream_engines.protocol import (
    BoxCrop,
    Crop,
    DeviceUsage,
    Embeddings,
    Engine,
    EngineInfo,
    EngineLimits,
    Health,
    StagedFrame,
    Stager,
    TensorCrop,
    Ticket,
)
from reidstream_engines.spec import ModelSpec

_log = logging.getLogger(__name__)


class Members:
    """The devices of the group that are not lost, and how many bytes are staged on each. Any thread."""

    def __init__(self, count: int) -> None:
        self._lock = threading.Lock()
        self._staged = dict.fromkeys(range(count), 0)  # without the lost ones

    def alive(self, member: int) -> bool:
        """Whether this device is not lost."""
        return member in self._staged

    def present(self) -> list[int]:
        """The devices that are not lost, that with the fewest staged bytes first. Raises EngineLost if all are lost."""
        with self._lock:
            found = sorted(self._staged, key=self._staged.__getitem__)
        if not found:
            raise EngineLost("every device is lost")
        return found

    def count(self, member: int, staged: int) -> None:
        """Add `staged` bytes, which may be negative, to what is staged on a device."""
        with self._lock:
            if member in self._staged:
                self._staged[member] += staged

    def lose(self, member: int) -> None:
        """Take a device out of the group."""
        with self._lock:
            here = self._staged.pop(member, None) is not None
        if here:
            _log.warning("device %d of the group is lost; %d are left", member, len(self._staged))


class GroupFrame(StagedFrame):
    """A frame on one of the devices."""

    def __init__(self, group: GroupStager, image: Image, boxes: Sequence[PixelBox]) -> None:
        self._group = group
        self._image: Image | None = image
        self._boxes = boxes
        self._lock = threading.Lock()
        self._bytes = group.staged_bytes(image, boxes)
        self._member, self._frame = group.place(image, boxes, self._bytes)

    def there(self) -> tuple[int, StagedFrame]:
        """The device and the frame on it; staged again if its device was lost. Raises what `stage` raises."""
        with self._lock:
            if self._image is None:
                raise EngineFault("a staged frame was used after it was closed")
            if not self._group.members.alive(self._member):
                self._frame.close()
                self._member, self._frame = self._group.place(self._image, self._boxes, self._bytes)
            return self._member, self._frame

    @override
    def close(self) -> None:
        """Give the pixels back."""
        with self._lock:
            image, self._image = self._image, None
            if image is not None:
                self._frame.close()
                self._group.members.count(self._member, -self._bytes)

    @override
    def __enter__(self) -> Self:
        return self

    @override
    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()


class GroupStager(Stager):
    """`stagers`: one for each device, all alike. `members`: shared with the engines of the group."""

    def __init__(self, stagers: Sequence[Stager], members: Members) -> None:
        self._stagers = tuple(stagers)
        self.members = members

    @override
    def stage(self, image: Image, boxes: Sequence[PixelBox]) -> GroupFrame:
        """Raises EngineLost if every device is lost."""
        return GroupFrame(self, image, boxes)

    @override
    def instant(self, image: Image) -> bool:
        return self._stagers[0].instant(image)

    @override
    def staged_bytes(self, image: Image, boxes: Sequence[PixelBox]) -> int:
        return self._stagers[0].staged_bytes(image, boxes)

    @override
    def staging_ns(self, image: Image, boxes: Sequence[PixelBox]) -> int:
        return self._stagers[0].staging_ns(image, boxes)

    @override
    def devices(self) -> list[DeviceUsage]:
        """Lost devices are included."""
        return [usage for stager in self._stagers for usage in stager.devices()]

    def place(self, image: Image, boxes: Sequence[PixelBox], size: int) -> tuple[int, StagedFrame]:
        """Stage on the device with the fewest staged bytes; on the next one if that device is lost."""
        while True:
            member = self.members.present()[0]
            self.members.count(member, size)
            try:
                return member, self._stagers[member].stage(image, boxes)
            except EngineLost:
                self.members.lose(member)
            except BaseException:
                self.members.count(member, -size)
                raise


class _Part:
    """The rows of a batch that one device computes."""

    def __init__(self, rows: list[int], crops: list[Crop]) -> None:
        self.rows = rows
        self.crops = crops
        self.ticket: Ticket | None = None


class GroupTicket(Ticket):
    """A batch on its way on several devices."""

    def __init__(self, engine: GroupEngine, parts: dict[int, _Part], count: int) -> None:
        self._engine = engine
        self._parts = parts
        self._count = count

    @override
    def result(self) -> Embeddings:
        """The part of a lost device is computed by the others."""
        found = np.empty((self._count, self._engine.spec.output.dim), np.float32)
        parts, again = self._parts, _Part([], [])
        fault: EngineFault | None = None
        while parts:
            for member, part in parts.items():
                try:
                    found[part.rows] = self._engine.finish(member, part)
                except EngineLost:
                    again.rows += part.rows
                    again.crops += part.crops
                except EngineFault as error:
                    fault = error  # the other parts' slots are given back first
            if fault is not None:
                raise fault
            again, lost = _Part([], []), again
            parts = self._engine.start(lost.rows, lost.crops)
        return found


class GroupEngine(Engine):
    """`engines`: one for each device, all alike, in the order of the stagers."""

    def __init__(self, engines: Sequence[Engine], members: Members) -> None:
        self._engines = tuple(engines)
        self._members = members
        limits = [engine.limits for engine in engines]
        self._limits = EngineLimits(
            max_batch=min(limit.max_batch for limit in limits), slots=min(limit.slots for limit in limits), cores=0
        )
        infos = [engine.info for engine in engines]
        self._info = replace(infos[0], device=",".join(info.device for info in infos))

    @property
    @override
    def spec(self) -> ModelSpec:
        return self._engines[0].spec

    @property
    @override
    def limits(self) -> EngineLimits:
        return self._limits

    @property
    @override
    def info(self) -> EngineInfo:
        return self._info

    @override
    def health(self) -> Health:
        """LOST if every device is lost."""
        alive = any(self._members.alive(member) for member in range(len(self._engines)))
        return Health.SERVING if alive else Health.LOST

    @override
    def submit(self, crops: Sequence[Crop]) -> GroupTicket:
        if not 1 <= len(crops) <= self._limits.max_batch:
            raise EngineFault(f"a batch has 1 to {self._limits.max_batch} crops, not {len(crops)}")
        parts = self.start(range(len(crops)), crops)
        return GroupTicket(self, parts, len(crops))

    @override
    def close(self) -> None:
        for engine in self._engines:
            engine.close()

    def start(self, rows: Sequence[int], crops: Sequence[Crop]) -> dict[int, _Part]:
        """Submit the crops to the devices of their frames. A part whose device refuses for good has no ticket."""
        parts: dict[int, _Part] = {}
        for row, crop in zip(rows, crops, strict=True):
            part = parts.setdefault(self._member_of(crop), _Part([], []))
            part.rows.append(row)
            part.crops.append(crop)
        try:
            for member, part in parts.items():
                self._submit(member, part)
        except EngineFault:
            for member, part in parts.items():
                if part.ticket is not None:
                    self._discard(member, part)
            raise
        return parts

    def finish(self, member: int, part: _Part) -> Embeddings:
        """The part's rows. Raises EngineLost if its device is lost; the group then remembers it."""
        if part.ticket is None:
            raise EngineLost(f"device {member} was lost before it had the batch")
        try:
            return part.ticket.result()
        except EngineLost:
            self._members.lose(member)
            raise

    def _submit(self, member: int, part: _Part) -> None:
        try:
            part.ticket = self._engines[member].submit([_of_member(crop) for crop in part.crops])
        except EngineLost:
            self._members.lose(member)

    def _discard(self, member: int, part: _Part) -> None:
        try:
            self.finish(member, part)
        except (EngineFault, EngineLost):
            return

    def _member_of(self, crop: Crop) -> int:
        match crop:
            case BoxCrop(frame=GroupFrame() as frame):
                return frame.there()[0]
            case BoxCrop():
                raise EngineFault("a crop's frame was not staged for this group of devices")
            case TensorCrop():
                return self._members.present()[0]
            case _:
                assert_never(crop)


def _of_member(crop: Crop) -> Crop:
    """The crop as the device's own engine takes it."""
    if isinstance(crop, BoxCrop) and isinstance(crop.frame, GroupFrame):
        return BoxCrop(frame=crop.frame.there()[1], box=crop.box)
    return crop
