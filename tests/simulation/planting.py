"""Plants a fault in a room, in memory, and runs its simulator against it.

Why in memory: a mutant on disk can be left behind. The room and its simulator are imported once more, under their own
names, with one snippet of one module's source replaced. Afterwards the old modules are put back. Trap: two copies of an
enum are not equal, so everything that shares types with the room must be imported again along with it.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Protocol


class Broken(Protocol):
    """An invariant that did not hold."""

    @property
    def invariant(self) -> str:
        """Which."""
        ...


class Found(Protocol):
    """What a simulator says of a seed."""

    @property
    def violation(self) -> Broken | None:
        """None if every invariant held."""
        ...


@dataclass(frozen=True, slots=True)
class Ground:
    """A room, and what simulates it: a package with a module `run` that has `run_seed`."""

    room: str
    simulator: str


CORE = Ground("reidstream_server.core", "tests.simulation.simulator")
TRACKS = Ground("reidstream_server.tracks", "tests.simulation.tracks.simulator")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A fault: in the source of `module` of a room, `old`, which occurs once, becomes `new`.

    `found_by`: a seed that finds it; tests try that one first.
    """

    name: str
    module: str
    old: str
    new: str
    found_by: int = 0
    ground: Ground = CORE


class SnippetError(Exception):
    """A mutant's snippet does not occur exactly once: the core has changed under it."""


def mutate(mutant: Mutant, source: str) -> str:
    """The faulty source. Raises SnippetError."""
    if source.count(mutant.old) != 1:
        raise SnippetError(f"{mutant.name}: the snippet occurs {source.count(mutant.old)} times in {mutant.module}")
    return source.replace(mutant.old, mutant.new)


class _Loader(SourceFileLoader):
    def __init__(self, fullname: str, path: str, mutant: Mutant) -> None:
        super().__init__(fullname, path)
        self._mutant = mutant

    def get_code(self, fullname: str) -> CodeType | None:  # noqa: ARG002 - the loader's interface
        """Compile from the changed source, past any cache."""
        source = mutate(self._mutant, Path(self.path).read_text(encoding="utf-8"))
        code: CodeType = compile(source, self.path, "exec", dont_inherit=True)
        return code


class _Finder(MetaPathFinder):
    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Only for the mutant's module."""
        if fullname != f"{self._mutant.ground.room}.{self._mutant.module}":
            return None
        found = PathFinder.find_spec(fullname, path, target)
        if found is None or found.origin is None:
            raise SnippetError(f"{self._mutant.name}: there is no module {fullname}")
        return importlib.util.spec_from_file_location(
            fullname, found.origin, loader=_Loader(fullname, found.origin, self._mutant)
        )


@contextmanager
def planted(mutant: Mutant) -> Iterator[Callable[[int], Found]]:
    """Within the block, a function that runs a seed against the faulty room."""
    finder = _Finder(mutant)
    kept = _take_out(mutant.ground)
    sys.meta_path.insert(0, finder)
    try:
        yield importlib.import_module(f"{mutant.ground.simulator}.run").run_seed
    finally:
        sys.meta_path.remove(finder)
        _take_out(mutant.ground)
        sys.modules.update(kept)
        for name, module in kept.items():
            parent, _, own = name.rpartition(".")
            if parent in sys.modules:
                setattr(sys.modules[parent], own, module)


def _take_out(ground: Ground) -> dict[str, ModuleType]:
    """Forget the room and its simulator; what was forgotten."""
    names = [name for name in sys.modules if _within(name, ground.room) or _within(name, ground.simulator)]
    return {name: sys.modules.pop(name) for name in names}


def _within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")
