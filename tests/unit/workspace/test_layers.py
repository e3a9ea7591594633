"""Arrows point one way: who may import whom, checked on the source.

Every room is declared here, with the rooms of its package that it may look into and the heavy packages that it may
import. A room is a folder of a package; in the server, where the files beside the folders are the ones that put it
together, each of those is a room too. A new room fails until it is declared.
"""

from __future__ import annotations

import ast
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TOP = ""
"""The files of a package that are in none of its rooms, as one room."""


@dataclass(frozen=True, slots=True)
class Room:
    """`sees`: other rooms of the package. `uses`: of the packages that are watched. `pure`: without clocks and I/O."""

    sees: AbstractSet[str] = frozenset()
    uses: AbstractSet[str] = frozenset()
    pure: bool = False


OURS = {"reidstream_proto", "reidstream_engines", "reidstream_server", "reidstream_client", "reidstream_synthetic"}
HEAVY = {
    *("grpc", "grpc_health", "grpc_reflection", "google", "prometheus_client"),
    *("httptools", "orjson"),
    *("cv2", "onnxruntime", "onnx", "openvino", "PIL", "simplejpeg", "cuda", "opentelemetry"),
    *("yaml", "scipy", "trackeval"),
}
CLOCKS_AND_IO = {"asyncio", "threading", "socket", "time", "random"}
WATCHED = OURS | HEAVY | CLOCKS_AND_IO

# The arrows: client -> proto <- server -> engines, and within the server transport -> runtime -> core.
PACKAGES: dict[str, dict[str, Room]] = {
    "proto/reidstream_proto": {
        TOP: Room(),
        "v1": Room(uses={"google", "grpc"}),
        "admin": Room(sees={"v1"}, uses={"google", "grpc"}),
        "kserve": Room(uses={"google", "grpc"}),
    },
    "engines/reidstream_engines": {
        TOP: Room(sees={"commands", "cpu", "default_model", "tensorrt"}, uses={"onnx", "onnxruntime"}),
        "commands": Room(sees={TOP, "cpu", "default_model"}),
        "decoding": Room(sees={TOP}, uses={"cv2", "simplejpeg"}),
        "cpu": Room(sees={TOP, "decoding"}, uses={"cv2", "onnxruntime", "openvino", "PIL"}),
        "cuda": Room(sees={TOP, "decoding"}, uses={"cuda", "cv2"}),
        "default_model": Room(sees={TOP}, uses={"onnx"}),
        "tensorrt": Room(sees={TOP, "decoding", "cuda", "default_model"}, uses={"onnx"}),
    },
    "synthetic/reidstream_synthetic": {
        TOP: Room(sees={"painting", "people", "places"}, uses={"cv2"}),
        "painting": Room(uses={"cv2"}),
        "people": Room(sees={"painting"}),
        "places": Room(sees={"painting"}, uses={"cv2"}),
    },
    "client/reidstream_client": {
        TOP: Room(sees={"connection", "frames", "session"}, uses={"reidstream_proto", "grpc", "opentelemetry"}),
        "connection": Room(sees={TOP}, uses={"reidstream_proto", "grpc"}),
        "frames": Room(sees={TOP}, uses={"reidstream_proto", "google", "grpc"}),
        "session": Room(sees={TOP, "connection", "frames"}, uses={"reidstream_proto", "grpc"}),
        "testing": Room(sees={TOP, "connection", "frames"}, uses={"reidstream_proto", "grpc"}),
        "evaluation": Room(sees={TOP, "frames"}, uses={"PIL", "yaml", "scipy", "trackeval"}),
        "cli": Room(sees={TOP, "connection", "evaluation", "frames", "session"}, uses={"cv2"}),
    },
    "deploy/prometheus": {TOP: Room(uses={"reidstream_server", "prometheus_client"})},
    "server/reidstream_server": {
        "__init__": Room(),
        # Rooms, from the inside out.
        "core": Room(pure=True),
        "tracks": Room(sees={"core"}, pure=True),
        "config": Room(sees={"errors", "logs", "redaction"}),
        "runtime": Room(sees={"core", "tracks", "errors", "logs"}, uses={"reidstream_engines"}),
        "memory": Room(sees={"logs"}, uses={"reidstream_engines"}),
        "metrics": Room(
            sees={"core", "tracks", "memory", "runtime", "errors"}, uses={"reidstream_engines", "prometheus_client"}
        ),
        "identity": Room(sees={"errors", "logs"}),
        "tracing": Room(sees={"core", "runtime", "errors", "logs"}, uses={"reidstream_proto", "opentelemetry"}),
        "intake": Room(
            sees={"core", "tracks", "runtime", "errors", "logs"}, uses={"reidstream_engines", "reidstream_proto"}
        ),
        "transport": Room(
            sees={"core", "tracks", "runtime", "intake", "identity", "memory", "errors", "logs"},
            uses={
                *("reidstream_engines", "reidstream_proto", "google", "grpc", "grpc_health", "grpc_reflection"),
                *("httptools", "orjson"),
            },
        ),
        # What all may use.
        "errors": Room(pure=True),
        "redaction": Room(uses={"reidstream_engines"}),
        "logs": Room(sees={"log_floods", "log_writer", "redaction"}),
        "log_floods": Room(),
        "log_writer": Room(),
        # What puts them together: `bounds`, `starting`, `loading` for `parts`, `doors`, `app`; then `running`, `cli`.
        "stopping": Room(sees={"logs"}),
        "bounds": Room(
            sees={"config", "core", "tracks", "intake", "memory", "transport"},
            uses={"reidstream_engines", "reidstream_proto"},
        ),
        "gpu": Room(sees={"config", "errors", "logs"}, uses={"reidstream_engines"}),
        "starting": Room(sees={"config", "errors", "identity", "tracing", "transport"}, uses={"reidstream_engines"}),
        "loading": Room(sees={"config", "errors", "gpu", "logs"}, uses={"reidstream_engines"}),
        "parts": Room(
            sees={
                *("runtime", "metrics", "identity", "intake", "memory", "tracing", "transport", "config"),
                *("bounds", "loading", "logs", "starting"),
            },
            uses={"prometheus_client"},
        ),
        "doors": Room(
            sees={"__init__", "identity", "memory", "metrics", "transport", "bounds", "parts", "starting"},
        ),
        "accounts": Room(
            sees={"runtime", "memory", "metrics", "transport", "bounds", "parts"}, uses={"prometheus_client"}
        ),
        "app": Room(
            sees={
                *("core", "memory", "metrics", "transport", "config"),
                *("accounts", "doors", "loading", "logs", "parts", "stopping"),
            }
        ),
        "process": Room(uses={"reidstream_engines"}),
        "running": Room(sees={"app", "parts", "bounds", "config", "loading", "logs", "memory", "stopping"}),
        "cli": Room(sees={"config", "errors", "logs", "running", "starting", "stopping"}),
    },
}
# Only the file or the extra that needs them may import these.
ONLY_IN = {
    ("client", "cv2"): ("cli/sources/",),
    ("engines", "onnx"): ("default_model/build.py", "quantize.py", "tensorrt/onnx_graph.py"),
    ("engines", "cuda"): ("cuda/",),
    ("engines", "openvino"): ("cpu/openvino_network.py",),
    ("server", "opentelemetry"): ("tracing/otlp.py",),
    ("server", "httptools"): ("transport/http_server/",),
    ("server", "orjson"): ("transport/rest/", "transport/kserve/http_"),
    ("client", "opentelemetry"): ("tracing.py",),
    ("client", "PIL"): ("evaluation/reports/thumbnails.py",),
    ("client", "yaml"): ("evaluation/spec.py",),
    ("client", "scipy"): ("evaluation/metrics/tracking.py",),
    ("client", "trackeval"): ("evaluation/metrics/tracking.py",),
}

EACH_ROOM = [pytest.param(package, room, id=f"{package}/{room}") for package in PACKAGES for room in PACKAGES[package]]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_room_is_declared(package: str) -> None:
    """A new folder, or a new file of the server, says here what it may know; what is gone is not listed."""
    assert {_room_of(package, path) for path in _files(package)} == set(PACKAGES[package])


@pytest.mark.parametrize(("package", "room"), EACH_ROOM)
def test_a_room_looks_only_where_it_may(package: str, room: str) -> None:
    """Into the rooms of its own package: the core knows nothing of the runtime, and nobody knows the transports."""
    allowed = PACKAGES[package][room].sees | {room}
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path, name in _imports(package, room)
        if (seen := _room_named(package, name)) is not None and seen not in allowed
    ]
    assert wrong == []


@pytest.mark.parametrize(("package", "room"), EACH_ROOM)
def test_a_room_imports_only_what_its_layer_may(package: str, room: str) -> None:
    """Of our packages and of the heavy ones; what is pure has no clock, no thread and no socket either."""
    declared = PACKAGES[package][room]
    allowed = declared.uses | {package.split("/")[1]} | (set() if declared.pure else CLOCKS_AND_IO)
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path, name in _imports(package, room)
        if (top := name.split(".")[0]) in WATCHED and top not in allowed
    ]
    assert wrong == []


def test_the_port_knows_no_service() -> None:
    """It hosts what it is given: nothing in it names a service's room."""
    names = [name for path, name in _imports("server/reidstream_server", "transport") if "grpc_server" in path.parts]
    assert names
    rooms = ("embedding", "admin", "kserve", "rest")
    services = tuple(f"reidstream_server.transport.{room}" for room in rooms)
    assert not [name for name in names if name.startswith(services)]


def test_a_room_without_a_wire_knows_only_the_contracts_facts() -> None:
    """Sizes and names that a field cannot say, and no message: what a door reads it hands over in plain values."""
    names = {name for _, name in _imports("server/reidstream_server", "intake") if name.startswith("reidstream_proto.")}
    assert names == {"reidstream_proto.v1.contract"}


def test_optional_packages_stay_in_their_corner() -> None:
    """The client needs OpenCV for videos only, engines need onnx for model files, and each runtime has its corner."""
    wrong = [
        f"{path.relative_to(ROOT)} imports {heavy}"
        for (folder, heavy), corners in ONLY_IN.items()
        for package in PACKAGES
        if package.startswith(f"{folder}/")
        for path, name in _imports(package)
        if name.split(".")[0] == heavy and not any(corner in path.as_posix() for corner in corners)
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("def f():\n    from grpc import aio\n", ["grpc.aio"]),
        ("import cv2, time\n", ["cv2", "time"]),
        ("from .near import it\n", ["package.room.near.it"]),
        ("from . import near\n", ["package.room.near"]),
        ("from ..other.deep import it\n", ["package.other.deep.it"]),
        ("from .. import other\n", ["package.other"]),
    ],
)
def test_the_reader_of_imports_finds_them(tmp_path: Path, line: str, found: list[str]) -> None:
    """The check itself can fail: within functions, and relative to the file."""
    path = tmp_path / "package/room/module.py"
    path.parent.mkdir(parents=True)
    path.write_text(line, encoding="utf-8")
    assert _imported_by(path, tmp_path) == found


def _files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def _room_of(package: str, path: Path) -> str:
    """The room that a file is in."""
    inside = path.relative_to(ROOT / package)
    if len(inside.parts) > 1:
        return inside.parts[0]
    return TOP if TOP in PACKAGES[package] else inside.stem


def _room_named(package: str, name: str) -> str | None:
    """The room that an imported name is in; None: it is not in this package, or is the version, which all may say."""
    own, _, rest = name.partition(".")
    if own != package.split("/")[1] or rest in {"", "__version__"}:
        return None
    first = rest.split(".")[0]
    return first if first in PACKAGES[package] else TOP


def _imports(package: str, room: str | None = None) -> list[tuple[Path, str]]:
    """(file, dotted name) of every import of a package, or of one of its rooms."""
    return [
        (path, name)
        for path in _files(package)
        if room is None or _room_of(package, path) == room
        for name in _imported_by(path, (ROOT / package).parent)
    ]


@cache
def _imported_by(path: Path, root: Path) -> list[str]:
    """Dotted names, also of imports inside functions; relative ones as they are seen from `root`."""
    found: list[str] = []
    package = path.relative_to(root).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*above, *([node.module] if node.module else [])))
            found += [f"{module}.{alias.name}" for alias in node.names]
    return found
