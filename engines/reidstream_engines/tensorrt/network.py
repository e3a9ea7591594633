"""A network on a device, as the engine uses it, whichever library runs it.

Why a Protocol: TensorRT can be replaced by another library, or by a fake. A network has its own buffers, whose
addresses never change because CUDA graphs contain them. It runs one batch at a time, so an engine has one network for
each slot.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Protocol

import numpy as np

from reidstream_engines.cuda.driver import Stream
from reidstream_engines.cuda.kernel_params import OutputType


class DeviceNetwork(Protocol):
    """Input (max_batch, C, H, W) and output (max_batch, dim), both contiguous. One thread at a time."""

    __slots__ = ()

    @property
    @abstractmethod
    def max_batch(self) -> int:
        """The most rows of a batch."""
        ...

    @property
    @abstractmethod
    def input_address(self) -> int:
        """On the device."""
        ...

    @property
    @abstractmethod
    def input_type(self) -> OutputType:
        """The type that the crop kernel writes there."""
        ...

    @property
    @abstractmethod
    def output_address(self) -> int:
        """On the device."""
        ...

    @property
    @abstractmethod
    def output_dtype(self) -> np.dtype[np.generic]:
        """float32 or float16."""
        ...

    @abstractmethod
    def enqueue(self, stream: Stream, count: int) -> None:
        """Enqueue the computing of the first `count` rows, after the work that is on the stream already.

        The rows after them may be computed, too. Raises EngineFault or EngineLost.
        """
        ...

    @abstractmethod
    def close(self) -> None:
        """Free everything. Nothing may be enqueued any more."""
        ...
