"""A network on a device, as the engine sees it, whatever library runs it.

Why a Protocol: TensorRT is one library that does; another, or a fake, has the same place. Each has buffers of its own
at addresses that never change, because CUDA graphs hold them, and serves one batch at a time: an engine has one a slot.
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
        """Rows of the buffers that a batch may fill."""
        ...

    @property
    @abstractmethod
    def input_address(self) -> int:
        """On the device."""
        ...

    @property
    @abstractmethod
    def input_type(self) -> OutputType:
        """What the crop kernel writes there."""
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
        """Have the device compute the first `count` rows after what is on the stream. Raises EngineFault, EngineLost.

        Rows behind them may be computed as well.
        """
        ...

    @abstractmethod
    def close(self) -> None:
        """Free everything; nothing is enqueued any more."""
        ...
