"""The engine on a CUDA device: a kernel cuts crops into the network's input, the network runs, vectors are copied back.

Why slots: each has its own stream, network and buffers, so one batch is copied while another computes. `submit` only
enqueues; the thread sleeps in `result`. No thread waits for a frame's upload: the slot's stream does.

Traps: the device reads a slot's pinned memory until the slot's event, so a slot is reused only after its result was
taken. And after an error in the middle of `submit` the stream must be empty before the slot's buffers are used again.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from math import prod
from typing import TypeVar

import numpy as np
from typing_extensions import assert_never, override

from reidstream_engines.cuda.driver import Context, DeviceBuffer, Event, Module, PinnedBuffer, Recording, Stream
from reidstream_engines.cuda.kernel_params import CROP, FRAME, Records, launch_shape, pack_crops, pack_frames, pack_spec
from reidstream_engines.cuda.stager import CudaFrame
from reidstream_engines.errors import EngineFault, EngineLost, EnginesError
from reidstream_engines.protocol import (
    BoxCrop,
    Crop,
    Embeddings,
    Engine,
    EngineInfo,
    EngineLimits,
    Health,
    TensorCrop,
    Ticket,
)
from reidstream_engines.rows import finish_rows
from reidstream_engines.spec import ModelSpec

from .network import DeviceNetwork

_NO_FRAME = -1
"""The kernel makes a black crop for this index; a ready tensor is then copied over it."""

_Kept = TypeVar("_Kept", Stream, Event, PinnedBuffer, DeviceBuffer)


class _Slot:
    """All that one batch needs. `arguments`: the tables of frames and crops. `batch`: the end of the latest batch."""

    def __init__(self, context: Context, network: DeviceNetwork, spec: ModelSpec) -> None:
        self.network = network
        self._context = context
        self._owned: list[Stream | Event | PinnedBuffer | DeviceBuffer] = []
        try:
            self.stream = self._keep(Stream(context))
            self.done = self._keep(Event(context))
            self.batch = Recording(self.done)
            self.crops_at = network.max_batch * FRAME.itemsize
            size = self.crops_at + network.max_batch * CROP.itemsize
            self.arguments = self._keep(DeviceBuffer(context, size))
            self.arguments_here = self._keep(PinnedBuffer(context, size))
            self.row_bytes = spec.output.dim * network.output_dtype.itemsize
            self.rows_here = self._keep(PinnedBuffer(context, network.max_batch * self.row_bytes))
        except BaseException:
            self.close()
            raise
        self._tensors: PinnedBuffer | None = None

    def tensors(self, size: int) -> PinnedBuffer:
        """Pinned memory for ready tensors; made when the first one comes."""
        if self._tensors is None:
            self._tensors = self._keep(PinnedBuffer(self._context, size))
        return self._tensors

    def close(self) -> None:
        """Free everything except the network."""
        for owned in reversed(self._owned):
            owned.close()

    def _keep(self, owned: _Kept) -> _Kept:
        self._owned.append(owned)
        return owned


class TensorRtTicket(Ticket):
    """A batch on its way. `result` is taken once; a second call raises EngineFault."""

    __slots__ = ("_count", "_engine", "_slot")

    def __init__(self, engine: TensorRtEngine, slot: _Slot, count: int) -> None:
        self._engine = engine
        self._slot = [slot]
        self._count = count

    @override
    def result(self) -> Embeddings:
        """Sleeps until the device has finished."""
        try:
            slot = self._slot.pop()  # atomic, so that two threads cannot both get it
        except IndexError:
            raise EngineFault("a ticket's result was taken twice; take it once") from None
        return self._engine._take(slot, self._count)  # noqa: SLF001 - its other half


class TensorRtEngine(Engine):
    """`networks`: one for each slot, all alike. `module`: the crop kernel for their input and the spec's resize.

    It owns both, and closes them also if making the engine fails (UnsupportedProfile, OutOfDeviceMemory). Takes boxes
    of frames that a CudaStager staged on the same device, and tensors.
    """

    def __init__(
        self, context: Context, module: Module, networks: Sequence[DeviceNetwork], spec: ModelSpec, info: EngineInfo
    ) -> None:
        first = networks[0]
        self._context = context
        self._module = module
        self._networks = tuple(networks)
        self._spec = spec
        self._info = info
        self._limits = EngineLimits(max_batch=first.max_batch, slots=len(networks), cores=0)
        self._dtype = first.input_type.dtype
        self._row_shape = (len(spec.input.mean), spec.input.height, spec.input.width)
        self._row_bytes = prod(self._row_shape) * self._dtype.itemsize
        self._lost = ""
        self._closed = False
        self._lock = threading.Lock()
        self._slots: list[_Slot] = []
        context.use()
        try:
            self._packed_spec = pack_spec(spec.input, first.input_type)
            for network in networks:
                self._slots.append(_Slot(context, network, spec))
        except BaseException:
            self._free()
            raise
        self._idle = list(self._slots)

    @property
    @override
    def spec(self) -> ModelSpec:
        return self._spec

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
        return Health.LOST if self._lost or self._closed else Health.SERVING

    @override
    def submit(self, crops: Sequence[Crop]) -> TensorRtTicket:
        """Enqueues everything and returns."""
        self._check_usable()
        if not 1 <= len(crops) <= self._limits.max_batch:
            raise EngineFault(f"a batch has 1 to {self._limits.max_batch} crops, not {len(crops)}")
        try:
            slot = self._idle.pop()
        except IndexError:
            raise EngineFault(f"{self._limits.slots} tickets are open, one a slot; take a result first") from None
        try:
            self._context.use()
            self._enqueue(slot, crops)
        except EngineLost as error:
            self._lose(error)
            raise
        except Exception as error:
            self._empty(slot)
            if isinstance(error, EnginesError):
                raise
            raise EngineFault(f"a batch of {len(crops)} could not be started: {error}") from error
        return TensorRtTicket(self, slot, len(crops))

    @override
    def close(self) -> None:
        with self._lock:
            closed, self._closed = self._closed, True
        if not closed:
            self._free()

    def _check_usable(self) -> None:
        if self._closed:
            raise EngineFault(f"the engine of model {self._spec.name!r} is closed")
        if self._lost:
            raise EngineLost(self._lost)

    def _enqueue(self, slot: _Slot, crops: Sequence[Crop]) -> None:
        frames: list[CudaFrame] = []
        tensors: list[tuple[int, TensorCrop]] = []
        index_of: dict[int, int] = {}
        indices = np.full(len(crops), _NO_FRAME)
        corners = np.zeros((len(crops), 4), np.int64)
        for row, crop in enumerate(crops):
            match crop:
                case BoxCrop(frame=CudaFrame() as frame, box=box) if frame.device == self._context.index:
                    if id(frame) not in index_of:
                        index_of[id(frame)] = len(frames)
                        frames.append(frame)
                    left, top = frame.origin
                    indices[row] = index_of[id(frame)]
                    corners[row] = box.x1 - left, box.y1 - top, box.x2 - left, box.y2 - top
                case BoxCrop():
                    raise EngineFault(f"crop {row}: its frame was not staged for CUDA device {self._context.index}")
                case TensorCrop(tensor=tensor):
                    if tensor.shape != self._row_shape or tensor.dtype != np.float32:
                        raise EngineFault(
                            f"crop {row} is a tensor {tensor.dtype} {tensor.shape}; "
                            f"the network takes float32 {self._row_shape}"
                        )
                    tensors.append((row, crop))
                case _:
                    assert_never(crop)
        if frames:
            self._cut(slot, frames, pack_crops(self._spec.input, frame=indices, boxes=corners))
        if tensors:
            self._copy_tensors(slot, tensors)
        slot.network.enqueue(slot.stream, len(crops))
        slot.stream.download(slot.rows_here.address, slot.network.output_address, len(crops) * slot.row_bytes)
        slot.stream.record(slot.done)
        slot.batch = Recording(slot.done)
        for frame in frames:
            frame.read_until(slot.batch)

    def _cut(self, slot: _Slot, frames: list[CudaFrame], crops: Records) -> None:
        """Cut the crops; a crop without a frame becomes black."""
        stream, here = slot.stream, slot.arguments_here.array
        table = pack_frames([frame.pixels for frame in frames])
        here[: table.nbytes].view(FRAME)[...] = table
        here[slot.crops_at : slot.crops_at + crops.nbytes].view(CROP)[...] = crops
        size = slot.crops_at + crops.nbytes
        stream.upload(slot.arguments.address, slot.arguments_here.address, size)
        for frame in frames:
            stream.wait(frame.ready)
        self._module.launch(
            stream,
            launch_shape(self._spec.input, len(crops)),
            (
                self._packed_spec,
                np.array(slot.arguments.address, np.uint64),
                np.array(len(frames), np.int32),
                np.array(slot.arguments.address + slot.crops_at, np.uint64),
                np.array(slot.network.input_address, np.uint64),
            ),
        )

    def _copy_tensors(self, slot: _Slot, tensors: list[tuple[int, TensorCrop]]) -> None:
        """Copy tensors into their rows of the network's input, after the kernel, which writes there first."""
        here = slot.tensors(self._limits.max_batch * self._row_bytes)
        for row, crop in tensors:
            start = row * self._row_bytes
            here.array[start : start + self._row_bytes].view(self._dtype)[...] = crop.tensor.ravel()
            slot.stream.upload(slot.network.input_address + start, here.address + start, self._row_bytes)

    def _take(self, slot: _Slot, count: int) -> Embeddings:
        if self._lost:
            raise EngineLost(self._lost)
        try:
            self._context.use()
            slot.batch.synchronize()
        except EngineLost as error:
            self._lose(error)
            raise
        except BaseException:
            self._empty(slot)
            raise
        dim = self._spec.output.dim
        found = slot.rows_here.array[: count * slot.row_bytes].view(slot.network.output_dtype)
        rows = found.astype(np.float32).reshape(count, dim)  # a copy, in either type
        self._idle.append(slot)
        return finish_rows(rows, l2_normalize=self._spec.output.l2_normalize)

    def _empty(self, slot: _Slot) -> None:
        """Wait until nothing on the device uses the slot, then make it idle. Raises EngineLost."""
        try:
            slot.stream.synchronize()
        except EngineLost as error:
            self._lose(error)
            raise
        self._idle.append(slot)

    def _lose(self, error: EngineLost) -> None:
        with self._lock:
            self._lost = self._lost or f"CUDA device {self._context.index} is lost: {error}"

    def _free(self) -> None:
        try:
            self._context.use()
            for slot in self._slots:
                slot.stream.synchronize()
        except EnginesError as error:  # then nothing runs on the device any more
            self._lose(EngineLost(str(error)))
        for slot in self._slots:
            slot.close()
        for network in self._networks:
            network.close()
        self._module.close()
