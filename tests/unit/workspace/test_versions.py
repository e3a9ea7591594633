"""One version for all: it is written in each package, and read from there by its command and its distribution."""

from __future__ import annotations

import importlib
import re
from importlib.metadata import version
from pathlib import Path

import pytest

import reidstream_client
import reidstream_client.cli
import reidstream_engines
import reidstream_engines.cli
import reidstream_server
import reidstream_server.cli

ROOT = Path(__file__).parents[3]
PARTS = ("client", "engines", "proto", "server", "synthetic")


@pytest.mark.parametrize("part", PARTS)
def test_a_package_knows_its_version(part: str) -> None:
    """Also where it was copied and not installed."""
    assert importlib.import_module(f"reidstream_{part}").__version__ == version(f"reidstream-{part}")


@pytest.mark.parametrize("part", PARTS)
def test_parts_ask_for_the_same_version_of_each_other(part: str) -> None:
    """They are released together."""
    lists = (ROOT / part / "pyproject.toml").read_text(encoding="utf-8")
    asked = re.findall(r"reidstream-\w+(?:\[\w+\])?==([\w.]+)", lists)
    assert set(asked) <= {reidstream_client.__version__}
    assert 'dynamic = ["version"]' in lists


@pytest.mark.parametrize(
    ("package", "command"),
    [
        (reidstream_client, reidstream_client.cli.main),
        (reidstream_engines, reidstream_engines.cli.main),
        (reidstream_server, reidstream_server.cli.main),
    ],
)
def test_a_command_says_its_version(package: object, command: object, capsys: pytest.CaptureFixture[str]) -> None:
    """And its name, on one line, with success."""
    assert callable(command)
    try:
        status = command(["--version"])
    except SystemExit as end:
        status = end.code
    name = getattr(package, "__name__", "").replace("_", "-")
    assert (status, capsys.readouterr().out) == (0, f"{name} {getattr(package, '__version__', '')}\n")
