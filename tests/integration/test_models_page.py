"""What docs/models.md shows works as printed, but for the export, which needs PyTorch."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from reidstream_engines import default_model
from reidstream_engines.onnx_file import read_signature
from reidstream_engines.spec_fields import SpecFields
from reidstream_engines.spec_source import resolve_spec

PAGE = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(autouse=True)
def free_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have a server of his own."""
    for name in ("REIDSTREAM_PORT", "REIDSTREAM_METRICS_PORT"):
        monkeypatch.setenv(name, "0")


@pytest.fixture
def person(tmp_path: Path) -> Path:
    """The page's model, with nothing in it that says how it is preprocessed."""
    path = tmp_path / "person.onnx"
    model = onnx.load(default_model.PATH)
    del model.metadata_props[:]
    onnx.save(model, path)
    return path


def test_the_commands_run(person: Path) -> None:
    """In order, in a shell; the server up to the point where it would listen."""
    commands = "".join(blocks("sh")).splitlines()
    assert [command.split()[:2] for command in commands] == [
        ["reidstream-engines", "inspect"],
        ["reidstream-engines", "selftest"],
        ["reidstream-engines", "spec"],
        ["reidstream-engines", "tune"],
        ["reidstream-server", "--model"],
    ]
    said = []
    for command in commands:
        line = command.replace("--seconds 10", "--seconds 0.2")
        if line.startswith("reidstream-server"):
            line += " --dry-run"
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(  # noqa: S602 - our own page
            line,
            shell=True,
            cwd=person.parent,
            env=os.environ | {"PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        said.append(done.stdout + done.stderr)
    assert "can be served" in said[0]
    assert "tuning_recalled" in said[-1]


def test_the_toml_of_the_page_is_served(person: Path) -> None:
    """As the file beside the model: the profile, with other means and deviations."""
    (text,) = blocks("toml")
    plain = resolve_spec(path=person, signature=read_signature(person), name=None, profile="torchreid")
    person.with_suffix(".toml").write_text(text, encoding="utf-8")
    spec = resolve_spec(path=person, signature=read_signature(person), name=None, profile=None)
    assert spec.input == dataclasses.replace(plain.input, mean=(0.5,) * 3, std=(0.5,) * 3)


def test_the_page_has_every_key() -> None:
    """Of the TOML file, and no other."""
    (table,) = re.findall(r"^All keys:\n\n(.*?)\n\n", PAGE, re.MULTILINE | re.DOTALL)
    rows = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    named = {key for row in rows for key in re.findall(r"`(\w+)`", row)}
    assert named == {"profile", *(field.name for field in dataclasses.fields(SpecFields))}


def test_the_numbers_of_the_page_are_exact() -> None:
    """Scales in full, so that they name the space that a profile names."""
    assert f"`{1 / 255!r}` (1/255)" in PAGE
    assert f"| `x / 127.5 - 1` | `{1 / 127.5!r}` |" in PAGE


def test_without_its_spec_the_model_is_refused_with_a_way_to_this_page(person: Path) -> None:
    """The error that most people meet first."""
    program = shutil.which("reidstream-server", path=str(Path(sys.executable).parent))
    assert program is not None
    done = subprocess.run([program, "--model", str(person), "--dry-run"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "docs/models.md" in done.stderr
