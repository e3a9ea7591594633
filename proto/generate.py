"""Generate the Python stubs, with type information, from the .proto files (`make proto`).

Why a script: the stubs are committed, so an installation needs no compiler. A test regenerates them and compares.

Trap: generated code runs only on the protobuf major version of its compiler and on the next one. So the compiler is
pinned to an old version.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from grpc_tools import protoc

HERE = Path(__file__).parent
RELEASED = {
    "reidstream_proto/v1": HERE / "released" / "reidstream.v1.binpb",
    "reidstream_proto/admin/v1": HERE / "released" / "reidstream.admin.v1.binpb",
    "reidstream_proto/kserve": HERE / "released" / "inference.binpb",
}
"""The contract as released, by the folder of its package."""


def proto_files(folder: str = "reidstream_proto") -> list[str]:
    """Paths of the .proto files in and below a folder, relative to this one, sorted."""
    return sorted(str(path.relative_to(HERE)) for path in (HERE / folder).glob("**/*.proto"))


def generate(out: Path) -> None:
    """Write below `out`: `_pb2.py` and `_pb2.pyi` for every file, and gRPC stubs for each file with a service."""
    flags = [f"--python_out={out}", f"--mypy_out=quiet:{out}"]
    _protoc([*flags, *proto_files()])
    services = [name for name in proto_files() if "\nservice " in (HERE / name).read_text(encoding="utf-8")]
    _protoc([f"--grpc_python_out={out}", f"--mypy_grpc_out=quiet:{out}", *services])


def descriptor_set(out: Path, folder: str) -> None:
    """Write the FileDescriptorSet of one package to `out`."""
    out.parent.mkdir(parents=True, exist_ok=True)
    _protoc([f"--descriptor_set_out={out}", *proto_files(folder)])


def _protoc(arguments: list[str]) -> None:
    if protoc.main(["protoc", f"-I{HERE}", *arguments]) != 0:
        sys.exit(1)


def main() -> None:
    """Regenerate the committed stubs. With --release also write the descriptor set of the released contract."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--release", action="store_true", help="also record the contracts as released")
    arguments = parser.parse_args()
    generate(HERE)
    if arguments.release:
        for folder, released in RELEASED.items():
            descriptor_set(released, folder)


if __name__ == "__main__":
    main()
