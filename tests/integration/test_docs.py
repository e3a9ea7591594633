"""What the README shows works as printed."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reidstream_client import ReidError, errors
from reidstream_client.cli import main as client_cli
from reidstream_engines import default_model
from reidstream_synthetic.cli import main as synthetic_cli
from tests.support.harness import encode, picture
from tests.support.process import server_process

ROOT = Path(__file__).parents[2]
FREE_PORTS = ("--port", "0", "--metrics-port", "0")
README = (ROOT / "README.md").read_text(encoding="utf-8")
CLIENT = (ROOT / "docs" / "client.md").read_text(encoding="utf-8")


def blocks(language: str, page: str = README) -> list[str]:
    """A page's code blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def run(program: str, address: str) -> str:
    """What a program prints that talks to a server on the address that it really has."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program.replace("localhost:50051", address)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_python_examples_run() -> None:
    """In order, as one program, against a server on the address that it really has."""
    program = "\n".join(blocks("python"))
    assert program.count("ReidClient(") == 2
    with server_process() as (_, address):
        printed = run(program, address)
    assert printed.startswith("(2, 384) [ True  True] 1:")
    assert printed.count("Timing(") == 10


def test_the_examples_of_the_clients_page_run() -> None:
    """In order, as one program, against a server with the models that the page names."""
    models = [f"--model={name}={default_model.PATH}" for name in ("person", "vehicle")]
    with server_process(*models) as (_, address):
        printed = run("\n".join(blocks("python", CLIENT)), address).splitlines()
    assert printed[0].startswith("(2, 384) [ True  True] 1:")
    assert printed[1:11] == [f"{number} 2" for number in range(10)]
    resumed, *rest, several, checked, shared, crops, times, error = printed[21:]
    late, tracks = rest[:2], rest[2:]
    assert (resumed, len(late)) == ("[0]", 2)
    assert [line.partition(" [")[0] for line in tracks] == [
        *("frame 0", "frame 1", "frame 2", "track 7 CLIENT 1 True", "frame 3"),
        *("track 7 SESSION 1 True", "track 8 SESSION 1 True"),
    ]
    assert tracks[2].startswith("frame 2 [ True False] [0 2] [")
    assert several == "(2, 384) [False  True]"
    assert checked == "True"
    assert shared.startswith("[0]")
    assert crops == "[ True  True]"
    assert len(times.split()) == 3
    assert error.startswith("CallRejected StatusCode.INVALID_ARGUMENT ")


def test_the_tests_of_the_clients_page_pass() -> None:
    """Those of a program, with the client's fake server and the picture and boxes of the page's beginning."""
    first, *_, last = blocks("python", CLIENT)
    names: dict[str, Any] = {}
    exec(first.partition("client = ")[0] + last, names)  # noqa: S102 - our own page
    tests = [value for name, value in names.items() if name.startswith("test_")]
    assert len(tests) == 3
    for test in tests:
        test()


def test_the_clients_page_names_every_error() -> None:
    """In its table."""
    kinds = (kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ReidError))
    rows = "".join(re.findall(r"^\| (`\w+`.*?) \|", CLIENT, re.MULTILINE))
    assert {kind.__name__ for kind in kinds} - set(re.findall(r"`(\w+)`", rows)) == {"ReidError"}


@pytest.mark.parametrize(("page", "count"), [(README, 5), (CLIENT, 6)], ids=["README", "client"])
def test_the_client_commands_run(page: str, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a small sequence, and a picture, under the names that the page uses."""
    folder = tmp_path / "MOT17-04" / "img1"
    folder.mkdir(parents=True)
    for number in (1, 2, 3):
        (folder / f"{number:06d}.jpg").write_bytes(encode(picture(seed=number)))
    (folder.parent / "gt.txt").write_text("".join(f"{n},1,30,20,60,150,1,1,1.0\n" for n in (1, 2, 3)), encoding="utf-8")
    lines = "".join(blocks("sh", page)).splitlines()
    commands = [line for line in lines if line.startswith(("reidstream-client", "python -m reidstream_synthetic"))]
    assert len(commands) == count
    (tmp_path / "person.jpg").write_bytes(encode(picture()))
    monkeypatch.chdir(tmp_path)
    with server_process() as (_, address):
        monkeypatch.setenv("REIDSTREAM_SERVER", address)
        for command in commands:
            words = shlex.split(command.replace("--frames 100", "--frames 2"))
            run = synthetic_cli(words[3:]) if words[0] == "python" else client_cli(words[1:])
            assert run == 0
    assert (tmp_path / "vectors.npz").stat().st_size > 0


@pytest.mark.needs("shared-data")
def test_the_server_command_runs(tmp_path: Path, shared_data: Path) -> None:
    """The one with a real model, up to the point where it would listen."""
    (command,) = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("reidstream-server")]
    shutil.copy(shared_data / "models" / "osnet_x0_25_msmt17.onnx", tmp_path / "osnet_x0_25.onnx")
    done = subprocess.run(
        [sys.executable, "-m", "reidstream_server.cli", *shlex.split(command)[1:], "--dry-run", *FREE_PORTS],
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
