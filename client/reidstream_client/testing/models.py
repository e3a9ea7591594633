"""The models of a fake server: a name, a dimension, and an embedding space that looks like a real one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeModel:
    """A model of a fake server."""

    name: str
    dim: int
    space_id: str

    @property
    def version(self) -> str:
        """As servers write it: 12 digits."""
        return self.space_id.rpartition(":")[2][:12]


def space_of(name: str, dim: int) -> str:
    """An embedding space that looks like a real one."""
    return "1:" + hashlib.sha256(f"{name} {dim}".encode()).hexdigest()
