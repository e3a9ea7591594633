"""The last step of every engine: from the rows that a network gives to the vectors that callers get.

Why in a place of its own: what must be true of a vector does not depend on what computed it. Engines on the CPU and on
a GPU both end here.
"""

from __future__ import annotations

import numpy as np

from .errors import EngineFault
from .protocol import Embeddings


def finish_rows(rows: Embeddings, *, l2_normalize: bool) -> Embeddings:
    """Check the network's rows (n, dim), float32, and normalise them in place. Raises EngineFault for rows with NaN or
    infinity.
    """
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        raise EngineFault(f"the network's answer is not finite in rows {np.flatnonzero(~finite).tolist()}")
    if l2_normalize:
        # In float64, so that neither large nor tiny numbers leave its range when they are squared.
        norms = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
        norms[norms == 0.0] = 1.0
        np.divide(rows, norms[:, np.newaxis], out=rows, casting="same_kind")
    return rows
