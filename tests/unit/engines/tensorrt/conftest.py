"""The TensorRT of child processes, and of this one where a test asks for it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SITE = Path(__file__).parent / "site"

IMAGE = ("input", "INPUT", "FLOAT", [-1, 3, 32, 16], 1, 16)
VECTOR = ("embedding", "OUTPUT", "FLOAT", [-1, 12])

PlanFile = Callable[..., Path]


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    """`tensorrt` is the scripted one of `site`, here and in children."""
    monkeypatch.syspath_prepend(str(SITE))
    path = os.pathsep.join(filter(None, (str(SITE), os.environ.get("PYTHONPATH"))))
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)


@pytest.fixture
def plan_file(tmp_path: Path, scripted: None) -> PlanFile:
    """Writes a plan for the scripted TensorRT."""
    del scripted

    def write(*tensors: Any, name: str = "m.engine", **script: Any) -> Path:
        path = tmp_path / name
        path.write_text(json.dumps({"tensors": tensors or (IMAGE, VECTOR), **script}), "utf-8")
        return path

    return write
