"""The engine for ONNX files on the CPU: batch buffers, tickets, and the exceptions that leave it.

Why `submit` prepares and `result` computes: on a CPU both use the caller's own core, so nothing can overlap. A server
with one thread per slot calls one after the other. Trap: a ticket owns a batch buffer until its result was taken, also
if the result was an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from typing_extensions import assert_never, override

from reidstream_engines.errors import EngineFault
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
from reidstream_engines.spec import ModelSpec

from .loaded_network import BatchRunner, LoadedNetwork
from .options import OnnxOptions
from .preprocess import Floats, Preprocessor, Scratch
from .stager import CpuFrame


class _BatchBuffer:
    """`batch`: float32 (capacity, C, H, W), contiguous."""

    __slots__ = ("batch", "scratch")

    def __init__(self, spec: ModelSpec, capacity: int) -> None:
        shape = (capacity, len(spec.input.mean), spec.input.height, spec.input.width)
        self.batch: Floats = np.empty(shape, np.float32)
        self.scratch = Scratch(spec.input)


class OnnxTicket(Ticket):
    """A prepared batch. `result` is taken once; a second call raises EngineFault."""

    __slots__ = ("_buffer", "_count", "_idle", "_runner")

    def __init__(self, runner: BatchRunner, buffer: _BatchBuffer, count: int, idle: list[_BatchBuffer]) -> None:
        self._runner = runner
        self._buffer = [buffer]
        self._count = count
        self._idle = idle

    @override
    def result(self) -> Embeddings:
        """Computes in the calling thread."""
        try:
            buffer = self._buffer.pop()  # atomic, so that two threads cannot both get it
        except IndexError:
            raise EngineFault("a ticket's result was taken twice; take it once") from None
        try:
            return self._runner.run(buffer.batch, self._count)
        finally:
            self._idle.append(buffer)


class OnnxEngine(Engine):
    """Takes boxes of frames staged by a CpuStager, and tensors.

    Batch buffers are made when tickets need them, and reused: there are as many as tickets were ever open at a time.
    `fallback_reason`: why this engine runs the model, if one on a device was preferred.
    Making one raises UnsupportedProfile if the spec's preprocessing cannot be exact here.
    """

    def __init__(
        self, network: LoadedNetwork, spec: ModelSpec, options: OnnxOptions, *, fallback_reason: str = ""
    ) -> None:
        self._spec = spec
        self._limits = EngineLimits(
            max_batch=options.max_batch,
            slots=options.slots,
            cores=options.threads_per_call if network.info.device == "cpu" else 0,
        )
        self._preprocessor = Preprocessor(spec.input)
        self._runner: BatchRunner | None = BatchRunner(network, spec)
        info = network.info
        self._info = replace(info, fallback_reason=info.fallback_reason or fallback_reason)
        self._capacity = self._runner.capacity(options.max_batch)
        self._idle: list[_BatchBuffer] = []

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
        """SERVING until it is closed."""
        return Health.LOST if self._runner is None else Health.SERVING

    @override
    def submit(self, crops: Sequence[Crop]) -> OnnxTicket:
        """Prepares the crops in the calling thread. Their frames may be closed as soon as it returns."""
        runner = self._runner
        if runner is None:
            raise EngineFault(f"the engine of model {self._spec.name!r} is closed")
        if not 1 <= len(crops) <= self._limits.max_batch:
            raise EngineFault(f"a batch has 1 to {self._limits.max_batch} crops, not {len(crops)}")
        buffer = self._take_buffer()
        try:
            for row, crop in enumerate(crops):
                self._prepare(crop, row, buffer)
        except EngineFault:
            self._idle.append(buffer)
            raise
        return OnnxTicket(runner, buffer, len(crops), self._idle)

    @override
    def close(self) -> None:
        self._runner = None
        self._idle.clear()

    def _take_buffer(self) -> _BatchBuffer:
        try:
            return self._idle.pop()
        except IndexError:
            return _BatchBuffer(self._spec, self._capacity)

    def _prepare(self, crop: Crop, row: int, buffer: _BatchBuffer) -> None:
        try:
            self._write(crop, buffer.batch[row], buffer.scratch)
        except Exception as error:
            raise EngineFault(f"crop {row} could not be prepared: {error}") from error

    def _write(self, crop: Crop, slot: Floats, scratch: Scratch) -> None:
        match crop:
            case BoxCrop(frame=CpuFrame() as frame, box=box):
                self._preprocessor.write(frame, box, slot, scratch)
            case BoxCrop():
                raise EngineFault("its frame was not staged by a CpuStager")
            case TensorCrop(tensor=tensor):
                if tensor.shape != slot.shape or tensor.dtype != np.float32:
                    raise EngineFault(
                        f"it is a tensor {tensor.dtype} {tensor.shape}; the network takes float32 {slot.shape}"
                    )
                slot[...] = tensor
            case _:
                assert_never(crop)
