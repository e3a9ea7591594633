"""Arrows within the drawing point one way: scene -> camera -> moment -> people, places -> painting."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import reidstream_synthetic

PACKAGE = Path(reidstream_synthetic.__file__).parent
# Room -> which rooms it may look into.
ROOMS: dict[str, set[str]] = {"painting": set(), "people": {"painting"}, "places": {"painting"}}


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_look_one_way(room: str) -> None:
    """What is painted knows the brush; the brush knows nothing of what is painted."""
    wrong = []
    for path in sorted((PACKAGE / room).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("reidstream_synthetic"):
                seen = node.module.split(".")[1]
                if seen not in ROOMS[room] | {room}:
                    wrong.append(f"{path.name} imports {node.module}")
    assert wrong == []


def test_every_module_is_on_the_map() -> None:
    """The docstring of the package, and of each room, names all modules in it."""
    for init in PACKAGE.rglob("__init__.py"):
        told = ast.get_docstring(ast.parse(init.read_text(encoding="utf-8")), clean=False) or ""
        modules = {path.stem for path in init.parent.glob("*.py")} - {"__init__", "__main__", "cli"}
        rooms = {f"{path.parent.name}/" for path in init.parent.glob("*/__init__.py")}
        missing = [name for name in modules | rooms if f"\n    {name} " not in told]
        assert missing == [], init
