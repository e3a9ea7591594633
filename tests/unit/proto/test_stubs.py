"""The committed stubs are what the .proto files say, and the contract only grows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

ROOT = Path(__file__).parents[3]
PROTO = ROOT / "proto"


def test_stubs_are_fresh(tmp_path: Path) -> None:
    """`make proto` would change nothing."""
    _generator("generate", tmp_path)
    generated = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*_pb2*"))
    assert len(generated) == 20
    for path in generated:
        assert (tmp_path / path).read_bytes() == (PROTO / path).read_bytes(), f"{path} is stale: run make proto"


FOLDERS = {
    "reidstream.v1": "reidstream_proto/v1",
    "reidstream.admin.v1": "reidstream_proto/admin/v1",
    "inference": "reidstream_proto/kserve",
}
"""Of each package. The last one's names are a public protocol's."""


@pytest.mark.parametrize("package", FOLDERS)
def test_contract_is_compatible_with_the_released_one(tmp_path: Path, package: str) -> None:
    """Nothing that was released is gone, renumbered, renamed or of another type. Each package has all of its names."""
    now = tmp_path / "now.binpb"
    _generator("descriptor_set", now, FOLDERS[package])
    released = (PROTO / "released" / f"{package}.binpb").read_bytes()
    assert {name.rpartition(".")[0].rpartition(".")[0] for name in _facts(released)} == {package}
    assert _breaks(released, now.read_bytes()) == []


def test_every_package_of_the_contract_is_released() -> None:
    """One that is not would be compared with nothing."""
    folders = {path.parent.relative_to(PROTO).as_posix() for path in PROTO.rglob("*.proto")}
    assert folders == set(FOLDERS.values())
    assert set(FOLDERS) == {path.name.removesuffix(".binpb") for path in (PROTO / "released").iterdir()}


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        ("del", "reidstream.v1.Frame.age_ns"),
        ("number", "reidstream.v1.Frame.age_ns"),
        ("type", "reidstream.v1.Frame.age_ns"),
    ],
)
def test_a_breaking_change_is_found(edit: str, complaint: str) -> None:
    """The comparison itself can fail."""
    released = (PROTO / "released" / "reidstream.v1.binpb").read_bytes()
    changed = descriptor_pb2.FileDescriptorSet.FromString(released)
    frame = next(m for f in changed.file for m in f.message_type if m.name == "Frame")
    field = next(f for f in frame.field if f.name == "age_ns")
    match edit:
        case "del":
            frame.field.remove(field)
        case "number":
            field.number = 99
        case _:
            field.type = descriptor_pb2.FieldDescriptorProto.TYPE_FIXED64
    assert any(complaint in line for line in _breaks(released, changed.SerializeToString()))


def _breaks(released: bytes, now: bytes) -> list[str]:
    before, after = _facts(released), _facts(now)
    return [f"{name}: was {fact}, is {after.get(name)}" for name, fact in before.items() if after.get(name) != fact]


def _facts(data: bytes) -> dict[str, tuple[object, ...]]:
    """Every message field, enum value and method by its full name, with what the wire depends on."""
    facts: dict[str, tuple[object, ...]] = {}
    for file in descriptor_pb2.FileDescriptorSet.FromString(data).file:
        for message in file.message_type:
            for field in message.field:
                oneof = message.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else ""
                name = f"{file.package}.{message.name}.{field.name}"
                facts[name] = (field.number, field.type, field.type_name, field.label, oneof)
        for enum in file.enum_type:
            for value in enum.value:
                facts[f"{file.package}.{enum.name}.{value.name}"] = (value.number,)
        for service in file.service:
            for method in service.method:
                name = f"{file.package}.{service.name}.{method.name}"
                streams = (method.client_streaming, method.server_streaming)
                facts[name] = (method.input_type, method.output_type, *streams)
    return facts


def _generator(function: str, out: Path, *more: str) -> None:
    """Call a function of proto/generate.py; its compiler looks for plugins on the PATH."""
    code = f"import generate, pathlib; generate.{function}(pathlib.Path({str(out)!r}), *{more!r})"
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "PYTHONPATH": str(PROTO)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
