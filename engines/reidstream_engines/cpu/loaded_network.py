"""A network loaded on the CPU, whichever library runs it, and how batches are run on it.

Why apart from the libraries: how a batch may be cut, and what must be true of its rows, does not depend on them. Trap:
a `LoadedNetwork` may raise anything; `BatchRunner` makes an EngineFault of it.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Protocol

import numpy as np
import numpy.typing as npt

from reidstream_engines.errors import EngineFault
from reidstream_engines.protocol import Embeddings, EngineInfo
from reidstream_engines.rows import finish_rows
from reidstream_engines.spec import ModelSpec


class LoadedNetwork(Protocol):
    """A network in an inference library, ready to run. Any number of threads."""

    __slots__ = ()

    @property
    @abstractmethod
    def info(self) -> EngineInfo:
        """What really runs the network."""
        ...

    @property
    @abstractmethod
    def fixed_batch(self) -> int | None:
        """The only batch size that it takes; None if it takes any."""
        ...

    @abstractmethod
    def run(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The network's answer to a batch (n, C, H, W), contiguous. The caller may keep it. May raise anything."""
        ...


class BatchRunner:
    """Runs batches of any size on a loaded network. Any number of threads."""

    def __init__(self, network: LoadedNetwork, spec: ModelSpec) -> None:
        self._network = network
        self._spec = spec
        self._piece = network.fixed_batch

    @property
    def info(self) -> EngineInfo:
        """What really runs the network."""
        return self._network.info

    def capacity(self, count: int) -> int:
        """Rows that a batch array needs for `count` crops: more than `count` if the network's batch size is fixed."""
        if self._piece is None:
            return count
        return -(-count // self._piece) * self._piece

    def run(self, batch: npt.NDArray[np.float32], count: int) -> Embeddings:
        """Embed the first `count` rows of `batch`, (capacity(n), C, H, W) with n >= count; the others are scratch.

        Returns (count, dim) float32, which the caller may keep. Raises EngineFault.
        """
        if self._piece is None:
            rows = self._call(batch[:count])
        else:
            end = self.capacity(count)
            batch[count:end] = 0.0
            pieces = [self._call(batch[at : at + self._piece]) for at in range(0, end, self._piece)]
            rows = np.concatenate(pieces)[:count]
        return finish_rows(rows, l2_normalize=self._spec.output.l2_normalize)

    def _call(self, batch: npt.NDArray[np.float32]) -> Embeddings:
        dim = self._spec.output.dim
        try:
            rows = self._network.run(batch)
        except Exception as error:  # the libraries' exceptions share no base
            raise EngineFault(f"{self.info.engine} failed on a batch of {len(batch)}: {str(error).strip()}") from error
        if rows.shape != (len(batch), dim) or rows.dtype != np.float32:
            raise EngineFault(
                f"the network answered {rows.dtype} {rows.shape} to a batch of {len(batch)}; "
                f"float32 ({len(batch)}, {dim}) is expected"
            )
        return rows
