"""From a filled batch to finished rows, whichever runtime computes them: pieces, checks, L2.

Why apart: what a batch may look like and what must be true of its rows does not depend on the runtime. A runtime is a
`Session`, which is all that differs. Trap: a session may let any exception out; here it becomes an EngineFault.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from reidstream_engines.errors import EngineFault
from reidstream_engines.protocol import Embeddings, EngineInfo
from reidstream_engines.spec import ModelSpec


class Session(Protocol):
    """A model loaded in some runtime. Any number of threads."""

    @property
    def info(self) -> EngineInfo:
        """What really runs the model."""
        ...

    @property
    def fixed_batch(self) -> int | None:
        """The only batch size that it takes; None where any will do."""
        ...

    def run(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The network's answer to a batch (n, C, H, W), contiguous: the caller's to keep. May raise anything."""
        ...


class Network:
    """A loaded model as a function from batches to rows. Any number of threads."""

    def __init__(self, session: Session, spec: ModelSpec) -> None:
        self._session = session
        self._spec = spec
        self._piece = session.fixed_batch

    @property
    def info(self) -> EngineInfo:
        """What really runs the model."""
        return self._session.info

    def capacity(self, count: int) -> int:
        """Rows that a batch array needs for `count` crops: more than `count` where the model's batch size is fixed."""
        if self._piece is None:
            return count
        return -(-count // self._piece) * self._piece

    def run(self, batch: npt.NDArray[np.float32], count: int) -> Embeddings:
        """Embed the first `count` rows of `batch`, (capacity(n), C, H, W) with n >= count; the others are scratch.

        Returns (count, dim) float32, the caller's. Raises EngineFault.
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
            rows = self._session.run(batch)
        except Exception as error:  # the runtimes' exceptions share no base
            raise EngineFault(f"{self.info.engine} failed on a batch of {len(batch)}: {error}") from error
        if rows.shape != (len(batch), dim) or rows.dtype != np.float32:
            raise EngineFault(
                f"the network answered {rows.dtype} {rows.shape} to a batch of {len(batch)}, "
                f"not float32 ({len(batch)}, {dim})"
            )
        return rows


def finish_rows(rows: Embeddings, *, l2_normalize: bool) -> Embeddings:
    """The network's rows (n, dim) float32, checked and normalised in place. Raises EngineFault if one is not finite."""
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        raise EngineFault(f"the network's answer is not finite in rows {np.flatnonzero(~finite).tolist()}")
    if l2_normalize:
        # In float64, so that neither large nor tiny numbers leave its range when they are squared.
        norms = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
        norms[norms == 0.0] = 1.0
        np.divide(rows, norms[:, np.newaxis], out=rows, casting="same_kind")
    return rows
