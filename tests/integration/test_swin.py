"""A Swin Transformer behind the HTTP door, as users of such a service start it and call it.

CI has one with the operations of Swin-B and few parameters. `make swin` runs the same tests with the whole one, and
curl's lines exactly as they are printed, on the port that they name.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from tests.support.curl import USUAL, said_by
from tests.support.harness import encode, picture
from tests.support.process import server_process
from tests.support.swin import SWIN_BASE, SWIN_SMALL, Swin, operations, swin_export

WHOLE = os.environ.get("SWIN", "") == "base"
SWIN = SWIN_BASE if WHOLE else SWIN_SMALL
NAME = "reid_swinb_1024"


@dataclass(frozen=True, slots=True)
class Exported:
    """`parameters`: how many."""

    path: Path
    parameters: int


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exported]:
    """The file, which may be large, so it is not left."""
    path = tmp_path_factory.mktemp("swin") / f"{NAME}.onnx"
    yield Exported(path, swin_export(path, SWIN))
    path.unlink()


def test_it_has_the_size_of_the_real_one(exported: Exported) -> None:
    """Swin-B has 87 million parameters without its classifier."""
    if WHOLE:
        assert 86.0e6 < exported.parameters < 88.0e6
        assert exported.path.stat().st_size > 4 * exported.parameters
    assert SWIN_BASE.dim == 1024


def test_batches_of_it_are_single_crops_and_windows_matter(exported: Exported) -> None:
    """A network in which something is wired wrongly may still run: it must tell crops apart, and not mix them."""
    session = onnxruntime.InferenceSession(exported.path, providers=["CPUExecutionProvider"])
    crops = np.random.default_rng(3).normal(size=(2, 3, 256, 128)).astype(np.float32)
    both = np.asarray(session.run(["fc_pred"], {"input": crops})[0])
    one = np.asarray(session.run(["fc_pred"], {"input": crops[:1]})[0])
    assert both.shape == (2, SWIN.dim)
    np.testing.assert_allclose(both[:1], one, rtol=1e-3, atol=1e-4)
    assert np.abs(both[0] - both[1]).max() > 1e-2
    moved = crops[:1].copy()
    moved[:, :, -8:] = 0  # the last rows lie in windows that are padded
    assert np.abs(np.asarray(session.run(["fc_pred"], {"input": moved})[0]) - one).max() > 1e-4


@pytest.mark.needs("curl", "jq")
def test_the_usual_lines_run_against_it(exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Started by the variables of such services; with `make swin` not a letter of the lines is changed."""
    (tmp_path / "person_001.png").write_bytes(encode(picture(64, 160, seed=1), ".png"))
    monkeypatch.chdir(tmp_path)
    variables = {"MODEL_PATH": str(exported.path), "ORT_PROVIDERS": "CPUExecutionProvider"}
    http = ("--http-port", "8080" if WHOLE else "0")
    with server_process(*http, environment={**os.environ, **variables}) as (server, _):
        port = next(event["http_port"] for event in server.log if event["event"] == "serving")
        said = [said_by(line, port) for line in USUAL]
    dim, first = said[0].split("\n", 1)
    assert (int(dim), len(json.loads(first))) == (SWIN.dim, 8)
    answer = json.loads(said[1])
    assert (answer["dim"], answer["model"]) == (SWIN.dim, NAME)
    assert np.isfinite(json.loads(first)).all()


def test_the_small_one_has_the_operations_of_the_whole_one() -> None:
    """So CI would notice one that the server cannot load."""
    assert operations(SWIN_SMALL) == operations(Swin(width=32, depths=SWIN_BASE.depths, heads=(1, 2, 4, 8)))
