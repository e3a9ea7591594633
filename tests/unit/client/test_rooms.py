"""The rooms of the client look one way, and none has a module that is too long to read."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import reidstream_client

ROOT = Path(reidstream_client.__file__).parent
FLOOR = {"errors", "checks", "choices", "models", "types", "options", "tracing", "track_terms"}
# Room -> what of this package it may import, beside itself.
ROOMS = {
    "frames": FLOOR,
    "connection": {"errors", "checks", "choices", "redaction", "process"},
    "session": FLOOR | {"frames", "connection", "loop_thread", "process"},
    "testing": FLOOR | {"frames", "connection", "aio", "sync"},
    "evaluation": FLOOR | {"__version__", "frames", "sync"},
    "cli": FLOOR
    | {"__version__", "redaction", "frames", "connection", "session", "sync", "aio", "admin", "evaluation"},
}
LONGEST = 300


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_looks_one_way(room: str) -> None:
    """Sessions know frames and connections, which know neither sessions nor each other."""
    assert _imported(ROOT / room) - {room} <= ROOMS[room]


def test_nothing_needs_the_command_or_the_fake_server() -> None:
    """They use the client as anybody would."""
    modules = [*ROOT.glob("*.py"), *(ROOT / room for room in ("frames", "connection", "session"))]
    assert not {"cli", "testing"} & {name for path in modules for name in _imported(path)}


def test_a_module_can_be_read_in_one_go() -> None:
    """Whatever grows beyond this has two reasons to change."""
    long = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in ROOT.rglob("*.py")}
    assert {name: lines for name, lines in long.items() if lines > LONGEST} == {}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_names_its_modules(room: str) -> None:
    """Its docstring is the map that a newcomer reads first."""
    doc = ast.get_docstring(ast.parse((ROOT / room / "__init__.py").read_text(encoding="utf-8"))) or ""
    modules = {path.stem for path in (ROOT / room).iterdir() if not path.name.startswith("__")}
    assert {name for name in modules if name not in doc} == set()


def _imported(path: Path) -> set[str]:
    """The modules and rooms at the top of the package that a file, or the files of a folder, import."""
    names: set[str] = set()
    for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                module = node.module.split(".")
                if node.level == 0 and module[0] == "reidstream_client":
                    names |= {module[1]} if len(module) > 1 else {alias.name for alias in node.names}
                elif node.level and not path.is_dir():
                    names.add(module[0])
    return names
