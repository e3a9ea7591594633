"""Served models for tests that need no scheduler: engines under their names, with the indices 0, 1, ..."""

from __future__ import annotations

from collections.abc import Sequence

from reidstream_engines.protocol import Engine
from reidstream_server.core.terms import ModelIndex
from reidstream_server.runtime.models import ModelTable, ServedModel


def table_of(engines: Sequence[Engine]) -> ModelTable:
    """A table of these engines, the first one the default."""
    table = ModelTable()
    for index, engine in enumerate(engines):
        table.add(ServedModel(index=ModelIndex(index), engine=engine))
    return table
