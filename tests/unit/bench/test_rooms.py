"""The rooms of the benchmarks: on their maps, and looking one way."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[3] / "bench"
SHARED = {"ceilings", "load", "machine"}
# Room -> which rooms it may look into.
ROOMS = {
    "machine": set[str](),
    "load": {"machine"},
    "ceilings": {"load", "machine"},
    "serving": SHARED,
    "overload": SHARED,
    "soak": SHARED,
    "observing": SHARED,
    "web": {"machine"},
    "triton": {"load", "machine"},
    "gpu": SHARED,
    "retrieval": {"machine"},
    "accuracy": set[str](),
    "tracks": set[str](),
    "backends": {"accuracy"},
}


def imported(path: Path) -> set[str]:
    """Rooms of bench that a module imports from, also inside functions."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    names = [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level]
    return {name.split(".")[1] for name in names if name.startswith("bench.")}


def test_every_room_is_known() -> None:
    """A new folder gets its arrows here."""
    assert {path.parent.name for path in BENCH.glob("*/__init__.py")} == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_look_one_way(room: str) -> None:
    """What measures uses what is shared, and not each other."""
    wrong = {path.name: seen for path in (BENCH / room).glob("*.py") if (seen := imported(path) - ROOMS[room] - {room})}
    assert wrong == {}


def test_every_module_is_on_its_map() -> None:
    """The docstring of bench names every room, and that of each room every module."""
    for init in [BENCH / "__init__.py", *BENCH.glob("*/__init__.py")]:
        told = ast.get_docstring(ast.parse(init.read_text(encoding="utf-8")), clean=False) or ""
        modules = {path.stem for path in init.parent.glob("*.py")} - {"__init__", "__main__"}
        rooms = {f"{path.parent.name}/" for path in init.parent.glob("*/__init__.py")}
        assert [name for name in modules | rooms if f"\n    {name} " not in told] == [], init
