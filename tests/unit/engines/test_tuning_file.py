"""Tunings that are remembered: recalled for the same model, machine and versions, and for nothing else."""

from __future__ import annotations

import json
import multiprocessing
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from reidstream_engines import default_model
from reidstream_engines.errors import TuningFileUnusable
from reidstream_engines.tuning import FixedFigures, RunPlan, Tuning
from reidstream_engines.tuning_file import TunedFor, cpu_name, recall, remember, tuned, tuned_for

PLAN = RunPlan(threads_per_call=2, slots=3, max_batch=16)
MEASURED = Tuning(plan=PLAN, crops_per_s={PLAN: 812.34})
KEY = TunedFor(
    model_sha256="0" * 64,
    cpu="Any Processor",
    cores=4,
    library="onnxruntime 1.31.1",
    precision="fp32",
    engines="0.1.0",
    fixed=FixedFigures(),
)
OTHERS = (
    replace(KEY, model_sha256="1" * 64),
    replace(KEY, cpu="Another Processor"),
    replace(KEY, cores=2),
    replace(KEY, library="openvino 2026.4.1"),
    replace(KEY, precision="bf16"),
    replace(KEY, engines="0.2.0"),
    replace(KEY, fixed=FixedFigures(max_batch=16)),
)


def test_what_is_remembered_is_recalled(tmp_path: Path) -> None:
    """In a folder that is made for it; nothing before, and nothing for any other key."""
    file = tmp_path / "new/tunings.json"
    assert recall(file, KEY) is None
    remember(file, KEY, MEASURED)
    assert recall(file, KEY) == PLAN
    assert [recall(file, other) for other in OTHERS] == [None] * len(OTHERS)
    assert [path.name for path in file.parent.iterdir()] == ["tunings.json"]


def test_a_later_measurement_replaces_an_earlier_one(tmp_path: Path) -> None:
    """Of its key only; the others stay."""
    file = tmp_path / "tunings.json"
    for number, key in enumerate((KEY, *OTHERS)):
        remember(file, key, Tuning(plan=replace(PLAN, slots=number + 1)))
    remember(file, KEY, MEASURED)
    assert recall(file, KEY) == PLAN
    assert [recall(file, other) for other in OTHERS] == [replace(PLAN, slots=number) for number in range(2, 9)]


def test_the_oldest_go_first(tmp_path: Path) -> None:
    """So that the file does not grow for ever."""
    file = tmp_path / "tunings.json"
    keys = [replace(KEY, cores=number + 1) for number in range(500)]
    plans = [{"for": key.as_fields(), "plan": asdict(PLAN), "crops_per_s": None} for key in keys]
    file.write_text(json.dumps({"reidstream_tuning": 1, "plans": plans}))
    remember(file, replace(KEY, cores=1000), MEASURED)
    assert recall(file, keys[0]) is None
    assert recall(file, keys[1]) == recall(file, replace(KEY, cores=1000)) == PLAN


@pytest.mark.parametrize(
    "content",
    [
        b"half of {",
        b"\xff\xfe\x00",
        b"[]",
        b'{"reidstream_tuning": 2, "plans": []}',
        b'{"reidstream_tuning": 1, "plans": [3]}',
        b'{"name": "a package of somebody else"}',
        b'profile = "torchreid"\n',
        b"[" * 100_000,
    ],
)
def test_a_damaged_or_foreign_file_is_told_and_left_alone(tmp_path: Path, content: bytes) -> None:
    """The model is measured as if there were none; nobody's file is written over."""
    file = tmp_path / "theirs.json"
    file.write_bytes(content)
    with pytest.raises(TuningFileUnusable, match=r"theirs\.json"):
        recall(file, KEY)
    with pytest.raises(TuningFileUnusable, match=r"theirs\.json"):
        remember(file, KEY, MEASURED)
    told: list[str] = []
    assert tuned(file, lambda: KEY, lambda: MEASURED, told.append) == MEASURED
    assert len(told) == 1
    assert file.read_bytes() == content


@pytest.mark.parametrize(
    "plan", [None, {}, {"threads_per_call": 1, "slots": 0, "max_batch": 4}, {"slots": 2}, [1, 2, 3]]
)
def test_a_plan_that_is_none(tmp_path: Path, plan: object) -> None:
    """Somebody has edited the file."""
    file = tmp_path / "tunings.json"
    file.write_text(json.dumps({"reidstream_tuning": 1, "plans": [{"for": KEY.as_fields(), "plan": plan}]}))
    with pytest.raises(TuningFileUnusable, match="is damaged: a plan is"):
        recall(file, KEY)
    assert recall(file, OTHERS[0]) is None


def test_an_empty_file_is_a_beginning(tmp_path: Path) -> None:
    """As `touch` or a configuration's tool makes one."""
    file = tmp_path / "tunings.json"
    file.touch()
    assert recall(file, KEY) is None
    remember(file, KEY, MEASURED)
    assert recall(file, KEY) == PLAN


def test_it_is_measured_once(tmp_path: Path) -> None:
    """The second start does not measure; what was not measured is not remembered."""
    file, measured = tmp_path / "tunings.json", [Tuning(plan=replace(PLAN, slots=1)), MEASURED]
    told: list[str] = []
    assert tuned(file, lambda: KEY, lambda: measured.pop(0), told.append).plan.slots == 1
    assert not file.exists()
    assert tuned(file, lambda: KEY, lambda: measured.pop(0), told.append) == MEASURED
    assert tuned(file, lambda: KEY, lambda: measured.pop(0), told.append) == Tuning(plan=PLAN, remembered=True)
    assert (measured, told) == ([], [])


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """A folder in its place, a file in the place of its folder: the measurement counts all the same."""
    (tmp_path / "file").touch()
    for file in (tmp_path, tmp_path / "file/tunings.json"):
        told: list[str] = []
        assert tuned(file, lambda: KEY, lambda: MEASURED, told.append) == MEASURED
        assert len(told) == 1
        assert str(file) in told[0]


def _remember(file: Path, first: int) -> None:
    for number in range(first, first + 30):
        remember(file, replace(KEY, cores=number), MEASURED)


def test_several_processes_never_leave_half_a_file(tmp_path: Path) -> None:
    """Servers that start at the same time: an entry may be lost, the file is whole."""
    file = tmp_path / "tunings.json"
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=_remember, args=(file, first)) for first in (1000, 2000)]
    for other in others:
        other.start()
    while any(other.is_alive() for other in others):
        recall(file, KEY)
    for other in others:
        other.join()
    assert [other.exitcode for other in others] == [0, 0]
    assert recall(file, replace(KEY, cores=1029)) or recall(file, replace(KEY, cores=2029))


def test_the_key_of_a_real_model(tmp_path: Path) -> None:
    """The bytes count, not the name; a model that is not there has no key."""

    def key(path: Path, package: str = "onnxruntime") -> TunedFor:
        return tuned_for(path, cores=2, package=package, precision="fp32", fixed=FixedFigures())

    shutil.copy(default_model.PATH, tmp_path / "copy.onnx")
    assert key(tmp_path / "copy.onnx") == key(default_model.PATH)
    with (tmp_path / "copy.onnx").open("ab") as file:
        file.write(b"\n")
    assert key(tmp_path / "copy.onnx") != key(default_model.PATH)
    assert key(default_model.PATH).library.startswith("onnxruntime 1.")
    assert key(default_model.PATH, "no-such-package").library == "no-such-package of unknown version"
    assert cpu_name() == key(default_model.PATH).cpu != ""
    with pytest.raises(TuningFileUnusable, match="cannot be read: No such file"):
        key(tmp_path / "none.onnx")
