"""Arrows point one way: who may import whom, checked on the source."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

# Package -> what of ours, and which heavy third parties, it may import.
ALLOWED = {
    "proto/reidstream_proto": {"google", "grpc"},
    "engines/reidstream_engines": {"cv2", "onnxruntime", "onnx", "openvino", "PIL", "simplejpeg", "cuda"},
    "client/reidstream_client": {"reidstream_proto", "grpc", "cv2", "google", "grpc_health"},
    "synthetic/reidstream_synthetic": {"cv2"},
    "server/reidstream_server/core": set(),
    "server/reidstream_server/config": set(),
    "server/reidstream_server/runtime": {"reidstream_engines"},
    "server/reidstream_server/identity": set(),
    "server/reidstream_server/intake": {"reidstream_engines", "reidstream_proto"},
    "server/reidstream_server/metrics": {"reidstream_engines", "prometheus_client"},
    "server/reidstream_server/transport": {
        *("reidstream_engines", "reidstream_proto", "grpc", "grpc_health", "grpc_reflection"),
    },
}
WATCHED = {
    *("reidstream_proto", "reidstream_engines", "reidstream_server", "reidstream_client", "reidstream_synthetic"),
    *("reidstream_training",),
    *("grpc", "grpc_health", "grpc_reflection", "google", "prometheus_client"),
    *("cv2", "onnxruntime", "onnx", "openvino", "PIL", "simplejpeg", "cuda"),
    *("asyncio", "threading", "socket", "time", "random"),
}
# Rooms of the server that the room on the left may look into.
ROOMS = {
    "core": set(),
    "config": {"errors", "logs"},
    "runtime": {"core", "errors", "logs"},
    "metrics": {"core", "runtime", "errors"},
    "identity": {"errors", "logs"},
    "intake": {"core", "runtime", "errors"},
    "transport": {"core", "runtime", "intake", "identity", "errors", "logs"},
}
CLOCKS_AND_IO = {"asyncio", "threading", "socket", "time", "random"}
# Only the file or the extra that needs them may import these.
ONLY_IN = {
    ("client", "cv2"): ("cli/sources/",),
    ("engines", "onnx"): ("default_model/build.py", "quantize.py", "tensorrt/onnx_graph.py"),
    ("engines", "cuda"): ("cuda/",),
    ("engines", "openvino"): ("cpu/openvino_network.py",),
}


@pytest.mark.parametrize("package", ALLOWED)
def test_package_imports_only_what_its_layer_may(package: str) -> None:
    """The arrows: client -> proto <- server -> engines, and within the server transport -> runtime -> core."""
    own = package.split("/")[1]
    allowed = ALLOWED[package] | {own} | (set() if package.endswith("core") else CLOCKS_AND_IO)
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path, name in _imports(package)
        if (top := name.split(".")[0]) in WATCHED and top not in allowed
    ]
    assert wrong == []


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_of_the_server_look_one_way(room: str) -> None:
    """The core knows nothing of the runtime, and nobody knows the transports."""
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path, name in _imports(f"server/reidstream_server/{room}")
        if name.startswith("reidstream_server.") and name.split(".")[1] not in ROOMS[room] | {room}
    ]
    assert wrong == []


def test_optional_packages_stay_in_their_corner() -> None:
    """The client needs OpenCV for videos only, engines need onnx for model files, and each runtime has its corner."""
    wrong = [
        f"{path.relative_to(ROOT)} imports {package}"
        for (folder, package), corners in ONLY_IN.items()
        for path, name in _imports(folder)
        if name.split(".")[0] == package and not any(corner in path.as_posix() for corner in corners)
    ]
    assert wrong == []


def test_the_reader_of_imports_finds_them(tmp_path: Path) -> None:
    """The check itself can fail."""
    (tmp_path / "bad.py").write_text("def f():\n    from grpc import aio\n", encoding="utf-8")
    assert [name for _, name in _imports(str(tmp_path))] == ["grpc.aio"]


def _imports(folder: str) -> list[tuple[Path, str]]:
    """(file, dotted name) of every import below a folder, also those inside functions."""
    found: list[tuple[Path, str]] = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found += [(path, alias.name) for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                found += [(path, f"{node.module}.{alias.name}") for alias in node.names]
    return found
