"""How models are run: as the settings say; what they leave open is measured, and the log says what came out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import pytest

from reidstream_engines.cores import usable_cores
from reidstream_engines.cpu import onnx_loading
from reidstream_engines.cpu.onnx_engine import OnnxEngine
from reidstream_engines.cpu.options import OnnxOptions
from reidstream_engines.errors import ModelError
from reidstream_engines.protocol import EngineLimits
from reidstream_server import loading
from reidstream_server.bounds import scheduler_limits
from reidstream_server.config import ServerConfig, load_config
from reidstream_server.errors import StartupError
from reidstream_server.loading import loaded_engines
from tests.unit.engines.networks import convolution, half, only_one

Captured = pytest.LogCaptureFixture


def limits(*flags: str) -> EngineLimits:
    """Of the embedded model, loaded with these flags."""
    with loaded_engines(load_config(flags, {})) as loaded:
        return loaded.engines[0].limits


def logged(caplog: Captured, event: str) -> list[dict[str, object]]:
    return [record.reidstream_fields for record in caplog.records if record.msg == event]  # type: ignore[attr-defined]


@pytest.fixture
def _logged(caplog: Captured) -> None:
    caplog.set_level(logging.INFO)


def test_what_the_self_test_found_is_kept() -> None:
    """For each model by its name: one call of one thread gives the same vectors in a batch and alone."""
    with loaded_engines(ServerConfig()) as loaded:
        assert list(loaded.self_tests) == [engine.spec.name for engine in loaded.engines]
        assert loaded.self_tests["stripes"].min_cosine == pytest.approx(1.0, abs=1e-6)


@pytest.mark.usefixtures("_logged")
def test_what_was_measured_is_one_event(caplog: Captured) -> None:
    """The plan that is served, and crops/s of every plan, or why it has none."""
    found = limits("--tune-seconds", "0.2")
    (event,) = logged(caplog, "model_tuned")
    assert event["model"] == "stripes"
    assert (event["slots"], event["max_batch"], event["threads_per_call"]) == (
        *(found.slots, found.max_batch),
        found.cores,
    )
    figures = {name: value for name, value in event.items() if name.startswith("crops_per_s_")}
    assert {f"crops_per_s_1x{usable_cores()}x{size}" for size in (4, 8, 16)} <= set(figures)
    chosen = figures[f"crops_per_s_{found.cores}x{found.slots}x{found.max_batch}"]
    assert isinstance(chosen, int)
    assert chosen > 0


@pytest.mark.usefixtures("_logged")
@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--tune-seconds", "0"], EngineLimits(max_batch=8, slots=2, cores=max(1, usable_cores() // 2))),
        (
            ["--tune-seconds", "0", "--slots", "3"],
            EngineLimits(max_batch=8, slots=3, cores=max(1, usable_cores() // 3)),
        ),
        (
            ["--threads-per-call", "2", "--slots", "3", "--max-batch", "5"],
            EngineLimits(max_batch=5, slots=3, cores=2),
        ),
    ],
)
def test_where_nothing_is_measured_nothing_is_said(flags: list[str], expected: EngineLimits, caplog: Captured) -> None:
    """Tuning is off, or everything was given."""
    assert limits(*flags) == expected
    assert logged(caplog, "model_tuned") == []


@pytest.mark.usefixtures("_logged")
def test_a_setting_that_is_given_is_not_measured(caplog: Captured) -> None:
    """Only the batches are."""
    found = limits("--tune-seconds", "0.2", "--threads-per-call", "2", "--slots", "1")
    assert (found.cores, found.slots) == (2, 1)
    (event,) = logged(caplog, "model_tuned")
    assert {name for name in event if name.startswith("crops")} == {f"crops_per_s_2x1x{size}" for size in (4, 8, 16)}


@pytest.mark.usefixtures("_logged", "_opencv_threads")
def test_the_cores_that_are_set_count_everywhere(caplog: Captured) -> None:
    """Slots and threads of the engine, OpenCV's threads, and the scheduler's bounds; the log says why so many."""
    given = ["--cores", "3", "--tune-seconds", "0"]
    assert limits(*given) == EngineLimits(max_batch=8, slots=2, cores=1)
    assert cv2.getNumThreads() == 3
    assert logged(caplog, "cores") == [{"count": 3, "because": "as set"}]
    assert limits("--cores", "6", "--tune-seconds", "0") == EngineLimits(max_batch=8, slots=2, cores=3)
    bounds = scheduler_limits(load_config(given, {}))
    assert (bounds.cores, bounds.staging_slots) == (3, 3)
    assert scheduler_limits(load_config([*given, "--decode-threads", "5"], {})).staging_slots == 5
    assert scheduler_limits(load_config([], {})).cores == usable_cores()


@pytest.fixture
def _opencv_threads() -> Iterator[None]:
    before = cv2.getNumThreads()
    yield
    cv2.setNumThreads(before)


def failing(condition: Callable[[OnnxOptions], bool]) -> Callable[..., OnnxEngine]:
    def load(*arguments: object, options: OnnxOptions, **others: object) -> OnnxEngine:
        if condition(options):
            raise ModelError("no such luck")
        return onnx_loading.load_onnx(*arguments, options=options, **others)  # type: ignore[arg-type]

    return load


@pytest.mark.usefixtures("_logged")
def test_a_plan_that_fails_is_skipped(caplog: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the server starts; the event says why it was."""
    monkeypatch.setattr(loading, "load_onnx", failing(lambda options: options.threads_per_call == 1))
    assert limits("--tune-seconds", "0.2", "--cores", "2").cores == 2
    (event,) = logged(caplog, "model_tuned")
    assert event["crops_per_s_1x2x4"] == "no such luck"


def test_where_all_plans_fail_the_model_is_at_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its error is that of loading it."""
    monkeypatch.setattr(loading, "load_onnx", failing(lambda _: True))
    with pytest.raises(StartupError, match=r"model 'stripes' \(.*\): no such luck"), loaded_engines(ServerConfig()):
        pass


@pytest.mark.usefixtures("_logged")
def test_a_network_of_a_fixed_batch_size_gets_whole_batches(tmp_path: Path, caplog: Captured) -> None:
    """Measured or not: it computes sixteen crops for every one."""
    flags = [f"--model={convolution(tmp_path / 'sixteen.onnx', 16)}", "--profile=torchreid", "--cores=2"]
    assert limits(*flags, "--tune-seconds=0").max_batch == 16
    assert limits(*flags, "--tune-seconds=0.2").max_batch == 16
    (event,) = logged(caplog, "model_tuned")
    assert {name for name in event if name.startswith("crops")} == {"crops_per_s_1x2x16", "crops_per_s_2x1x16"}
    assert logged(caplog, "batches_are_padded") == []


@pytest.mark.usefixtures("_logged")
def test_an_operators_batch_that_wastes_a_networks_is_told(tmp_path: Path, caplog: Captured) -> None:
    """It is used all the same."""
    flags = [f"--model={convolution(tmp_path / 'sixteen.onnx', 16)}", "--profile=torchreid", "--tune-seconds=0"]
    assert limits(*flags, "--max-batch=24").max_batch == 24
    (event,) = logged(caplog, "batches_are_padded")
    assert (event["model"], event["max_batch"]) == ("sixteen", 24)
    assert "always computes 16 crops" in str(event["reason"])


@pytest.mark.usefixtures("_logged")
def test_a_tuning_that_is_remembered(tmp_path: Path, caplog: Captured) -> None:
    """The second start measures nothing and runs the same plan; other cores are measured anew."""
    flags = ["--tune-seconds=0.2", f"--tuning-file={tmp_path / 'tunings.json'}", "--cores=2"]
    first = limits(*flags)
    assert (len(logged(caplog, "model_tuned")), logged(caplog, "tuning_recalled")) == (1, [])
    assert limits(*flags) == first
    (event,) = logged(caplog, "tuning_recalled")
    assert len(logged(caplog, "model_tuned")) == 1
    assert (event["slots"], event["max_batch"], event["threads_per_call"]) == (
        *(first.slots, first.max_batch),
        first.cores,
    )
    limits(*flags[:2], "--cores=1")
    assert len(logged(caplog, "model_tuned")) == 2


@pytest.mark.usefixtures("_logged")
def test_a_tuning_file_that_is_none_is_told(tmp_path: Path, caplog: Captured) -> None:
    """The server starts, and the file stays as it is."""
    file = tmp_path / "notes.txt"
    file.write_text("my notes")
    limits("--tune-seconds=0.2", f"--tuning-file={file}")
    (event,) = logged(caplog, "tuning_file_unusable")
    assert "notes.txt is damaged, or not a file of remembered tunings" in str(event["reason"])
    assert len(logged(caplog, "model_tuned")) == 1
    assert file.read_text() == "my notes"


def test_where_batches_fail_the_refusal_names_the_batch_that_is_served(tmp_path: Path) -> None:
    """And that one is."""
    path = only_one(tmp_path / "one.onnx")
    flags = [f"--model={path}", "--profile=torchreid", "--cores=1"]
    with (
        pytest.raises(StartupError, match=r"--max-batch 1 serves this file.*failed on a batch of 2"),
        loaded_engines(load_config(flags, {})),
    ):
        pass
    assert limits(*flags, "--max-batch=1").max_batch == 1


@pytest.mark.usefixtures("_logged")
def test_what_a_profile_replaces_is_logged(tmp_path: Path, caplog: Captured) -> None:
    """With the file and its values; nothing where the TOML agrees."""
    path = convolution(tmp_path / "own.onnx")
    flags = [f"--model={path}", "--profile=torchreid", "--tune-seconds=0"]
    path.with_suffix(".toml").write_text("mean = [0.485, 0.456, 0.406]\n")
    limits(*flags)
    assert logged(caplog, "profile_overrides") == []
    path.with_suffix(".toml").write_text("mean = [0.5, 0.5, 0.5]\n")
    limits(*flags)
    (event,) = logged(caplog, "profile_overrides")
    reason = f"{path.with_suffix('.toml')} says mean = [0.5, 0.5, 0.5]; the profile torchreid is used instead"
    assert event == {"model": "own", "reason": reason}


@pytest.mark.usefixtures("_logged")
@pytest.mark.parametrize(("make", "precision"), [(half, "fp16"), (convolution, "fp32")])
def test_the_precision_of_the_file_is_logged(
    tmp_path: Path, caplog: Captured, make: Callable[[Path], Path], precision: str
) -> None:
    """A file of float16 is not called fp32."""
    limits(f"--model={make(tmp_path / 'm.onnx')}", "--profile=torchreid", "--tune-seconds=0")
    assert [event["precision"] for event in logged(caplog, "model_engine")] == [precision]
