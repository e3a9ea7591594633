"""A stand-in for `pyds` and GStreamer: batches of frames with their metadata, handed to probes as a pipeline does.

As their documentation says: a buffer is known by its address, which is its hash; lists are linked, their data must be
cast, and the last item's `next` raises StopIteration; a frame's surface is an array of RGBA over memory that is the
pipeline's, whose rows are padded; on a Jetson it must be unmapped again, once.

Trap: what is taken from a surface must be copied, since the pipeline writes the next frame there. So a surface here is
overwritten as soon as the probes have returned.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

_PADDING = 64
_OVERWRITTEN = 77


@dataclass(frozen=True, slots=True)
class Rect:
    """As `NvOSD_RectParams`."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class ObjectMeta:
    """As `NvDsObjectMeta`."""

    object_id: int
    rect_params: Rect
    class_id: int = 0

    @staticmethod
    def cast(data: _Opaque) -> ObjectMeta:
        """What a list's item holds."""
        assert isinstance(data.value, ObjectMeta)
        return data.value


@dataclass(frozen=True, slots=True)
class FrameMeta:
    """As `NvDsFrameMeta`. `pixels`: RGBA, which the metadata itself does not have."""

    source_id: int
    frame_num: int
    batch_id: int
    objects: Sequence[ObjectMeta]
    pixels: Pixels

    @property
    def obj_meta_list(self) -> Node | None:
        """The objects."""
        return linked(self.objects)

    @staticmethod
    def cast(data: _Opaque) -> FrameMeta:
        """What a list's item holds."""
        assert isinstance(data.value, FrameMeta)
        return data.value


@dataclass(frozen=True, slots=True)
class _Opaque:
    """A capsule of C: nothing of it can be used before it is cast."""

    value: object


@dataclass(frozen=True, slots=True)
class Node:
    """As `GList`."""

    data: _Opaque
    rest: Sequence[object]

    @property
    def next(self) -> Node:
        """Raises StopIteration at the end."""
        if not self.rest:
            raise StopIteration
        return Node(_Opaque(self.rest[0]), self.rest[1:])


def linked(values: Sequence[object]) -> Node | None:
    """A list; None if it is empty."""
    return Node(_Opaque(values[0]), values[1:]) if values else None


@dataclass(frozen=True, slots=True)
class BatchMeta:
    """As `NvDsBatchMeta`."""

    frame_meta_list: Node | None


@dataclass(frozen=True, slots=True)
class _Info:
    """As `Gst.PadProbeInfo`."""

    buffer: object

    def get_buffer(self) -> object:
        """The batch."""
        return self.buffer


class PadProbeReturn(Enum):
    """As GStreamer's."""

    OK = 1
    DROP = 0


class PadProbeType(Enum):
    """As GStreamer's."""

    BUFFER = 16


def _require_version(name: str, version: str) -> None:
    """As `gi` has it: a program asks before it imports."""
    assert (name, version) == ("Gst", "1.0")


Probe = Callable[[object, Any], PadProbeReturn]


@dataclass(slots=True)
class Element:
    """An element with its pad `src`."""

    probes: list[Probe] = field(default_factory=list)

    def get_static_pad(self, name: str) -> Element:
        """Its only one."""
        assert name == "src"
        return self

    def add_probe(self, kind: PadProbeType, probe: Probe) -> int:
        """One more."""
        assert kind is PadProbeType.BUFFER
        self.probes.append(probe)
        return len(self.probes)


@dataclass(slots=True)
class Pipeline:
    """`mapped`: surfaces that were taken and not unmapped."""

    element: Element = field(default_factory=Element)
    mapped: list[tuple[int, int]] = field(default_factory=list)
    _buffers: dict[int, Mapping[int, FrameMeta]] = field(default_factory=dict)
    _surfaces: list[Pixels] = field(default_factory=list)

    def push(self, frames: Sequence[FrameMeta]) -> None:
        """A batch through all probes; its memory is used again afterwards."""
        buffer = object()
        address = hash(buffer)
        self._buffers[address] = {frame.batch_id: frame for frame in frames}
        for probe in self.element.probes:
            assert probe(self.element, _Info(buffer)) is PadProbeReturn.OK
        for surface in self._surfaces:
            surface[:] = _OVERWRITTEN
        del self._buffers[address]
        self._surfaces.clear()

    def modules(self) -> Iterator[tuple[str, types.ModuleType]]:
        """To be put into `sys.modules`."""
        pyds, gi, repository = (types.ModuleType(name) for name in ("pyds", "gi", "gi.repository"))
        vars(pyds).update(
            NvDsFrameMeta=FrameMeta,
            NvDsObjectMeta=ObjectMeta,
            gst_buffer_get_nvds_batch_meta=lambda address: BatchMeta(linked([*self._buffers[address].values()])),
            get_nvds_buf_surface=self._surface,
            unmap_nvds_buf_surface=lambda address, batch_id: self.mapped.remove((address, batch_id)),
        )
        gst = types.SimpleNamespace(PadProbeReturn=PadProbeReturn, PadProbeType=PadProbeType)
        vars(repository).update(Gst=gst)
        vars(gi).update(repository=repository, require_version=_require_version)
        yield from (("pyds", pyds), ("gi", gi), ("gi.repository", repository))

    def _surface(self, address: int, batch_id: int) -> Pixels:
        pixels = self._buffers[address][batch_id].pixels
        height, width = pixels.shape[:2]
        padded = np.zeros((height, width + _PADDING, 4), np.uint8)
        surface: Pixels = padded[:, :width]
        surface[:] = pixels
        self._surfaces.append(padded)
        self.mapped.append((address, batch_id))
        return surface
