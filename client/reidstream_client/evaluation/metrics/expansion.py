"""Query expansion: a query becomes the mean of itself and of its nearest pictures in the gallery (Chum et al., 2007).

Trap: it looks at the gallery before the gallery is ranked, so it must not look at labels. Pictures that the query may
not find count here as any others do, since a search would not know which they are.
"""

from __future__ import annotations

import numpy as np

from reidstream_client.errors import InvalidRequest

from .distances import Distance, Floats, Rows, prepare, scores_of

_BLOCK = 1024


def expanded(query: Rows, gallery: Rows, count: int) -> Rows:
    """Queries that are averaged with their `count` nearest. Raises InvalidRequest."""
    if not 1 <= count <= len(gallery):
        raise InvalidRequest(f"query expansion must be 1 to {len(gallery)}, the pictures of the gallery, not {count}")
    mixed = np.empty_like(query.values)
    for first in range(0, len(query), _BLOCK):
        own: Floats = query.values[first : first + _BLOCK]
        scores = scores_of(own, gallery)
        near = np.argpartition(-scores, count - 1, axis=1)[:, :count]
        mixed[first : first + _BLOCK] = (own + gallery.values[near].sum(axis=1)) / (count + 1)
    return prepare(mixed, Distance(query.distance))
