"""What the README shows works as printed."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from reidstream_client.cli import main as client_cli
from tests.integration.harness import encode, picture
from tests.integration.process import server_process

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The README's code blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_python_examples_run() -> None:
    """In order, as one program, against a server on the address that it really has."""
    program = "\n".join(blocks("python"))
    assert program.count("ReidClient(") == 2
    with server_process() as (_, address):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", program.replace("localhost:50051", address)],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("(2, 384) [ True  True] 1:")
    assert done.stdout.count("Timing(") == 10


def test_the_client_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a small sequence under the name that the README uses."""
    folder = tmp_path / "MOT17-04" / "img1"
    folder.mkdir(parents=True)
    for number in (1, 2, 3):
        (folder / f"{number:06d}.jpg").write_bytes(encode(picture(seed=number)))
    (folder.parent / "gt.txt").write_text("".join(f"{n},1,30,20,60,150,1,1,1.0\n" for n in (1, 2, 3)), encoding="utf-8")
    commands = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("reidstream-client")]
    assert len(commands) == 2
    monkeypatch.chdir(tmp_path)
    with server_process() as (_, address):
        monkeypatch.setenv("REIDSTREAM_SERVER", address)
        for command in commands:
            assert client_cli(shlex.split(command)[1:]) == 0
    assert (tmp_path / "vectors.npz").stat().st_size > 0


@pytest.mark.needs("shared-data")
def test_the_server_command_runs(tmp_path: Path, shared_data: Path) -> None:
    """The one with a real model, up to the point where it would listen."""
    (command,) = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("reidstream-server")]
    shutil.copy(shared_data / "models" / "osnet_x0_25_msmt17.onnx", tmp_path / "osnet_x0_25.onnx")
    done = subprocess.run(
        [sys.executable, "-m", "reidstream_server.cli", *shlex.split(command)[1:], "--dry-run"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "dry_run_passed" in done.stderr


def test_every_make_target_that_is_named_exists() -> None:
    """In the README and in the pages beside it."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    pages = [README, *(page.read_text(encoding="utf-8") for page in (ROOT / "docs").glob("*.md"))]
    named = {name for page in pages for name in re.findall(r"(?:^|`)make ([a-z][a-z-]*)\b", page, re.MULTILINE)}
    assert {"demo", "serve", "test"} <= named
    assert [name for name in named if not re.search(rf"^{name}:", makefile, re.MULTILINE)] == []


def test_every_link_leads_somewhere() -> None:
    """Between the project's own pages."""
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
