"""Building: the order of calls, what is asked of TensorRT, and every way in which it says no."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reidstream_engines.errors import DeviceUnavailable, EnginesError, ModelError, PlanError
from reidstream_engines.tensorrt.api import Flavour, TensorType
from reidstream_engines.tensorrt.builder import BuildRequest, build_plan
from reidstream_engines.tensorrt.progress import LoggedProgress
from tests.unit.engines.networks import HEIGHT, WIDTH, convolution, spec
from tests.unit.engines.tensorrt.fake_builder import PLAN, TIMING, FakeTensorRt, Script


def request_for(tmp_path: Path, **changes: Any) -> BuildRequest:
    path = convolution(tmp_path / "m.onnx", changes.pop("batch", "batch"))
    given: dict[str, Any] = {
        "model": path.read_bytes(),
        "path": path,
        "spec": spec(),
        "image": TensorType.FP32,
        "architecture": "sm_90",
        "max_batch": 16,
    }
    return BuildRequest(**(given | changes))


def failing(tmp_path: Path, *fails: str, flavour: Flavour = Flavour.TENSORRT, **script: Any) -> EnginesError:
    trt: Any = FakeTensorRt(Script(fails=frozenset(fails), **script))
    with pytest.raises(EnginesError) as raised:
        build_plan(trt, flavour, request_for(tmp_path, architecture="sm_89"))
    return raised.value


def test_what_comes_out(tmp_path: Path) -> None:
    """Plain bytes, the tensors, and one profile of 1 to the largest batch, tuned for the largest; no TF32."""
    trt: Any = FakeTensorRt()
    request = request_for(tmp_path)
    built = build_plan(trt, Flavour.TENSORRT, request)
    assert built.image == PLAN + request.model
    assert (built.input.name, built.input.dtype, built.input.shape) == (
        "input",
        TensorType.FP32,
        (-1, 3, HEIGHT, WIDTH),
    )
    assert (built.output.name, built.static_batch, built.timing) == ("embedding", None, TIMING)
    rest = (3, HEIGHT, WIDTH)
    assert trt.script.profiles == [("input", (1, *rest), (16, *rest), (16, *rest))]
    assert trt.script.calls == ["network 2", "clear TF32"]  # strongly typed


def test_a_static_batch_needs_no_profile(tmp_path: Path) -> None:
    """And is said."""
    trt: Any = FakeTensorRt()
    built = build_plan(trt, Flavour.TENSORRT, request_for(tmp_path, batch=4))
    assert built.static_batch == 4
    assert trt.script.profiles == []


def test_rtx_is_told_the_target_and_keeps_no_timings(tmp_path: Path) -> None:
    """It builds for a GPU that is not here."""
    trt: Any = FakeTensorRt(Script(version="1.7.1"))
    built = build_plan(trt, Flavour.RTX, request_for(tmp_path, architecture="sm_89"))
    assert trt.script.calls == ["network 2", "clear TF32", "target SM89 0"]
    assert built.timing == b""
    assert trt.script.timing == []


def test_timings_are_used_again_and_dropped_if_they_do_not_fit(tmp_path: Path) -> None:
    """A mismatch costs the measuring, nothing else."""
    for fails, tried in ((frozenset[str](), [b"old"]), (frozenset({"set_timing_cache"}), [b"old", b""])):
        trt: Any = FakeTensorRt(Script(fails=fails))
        built = build_plan(trt, Flavour.TENSORRT, request_for(tmp_path, timing=b"old"))
        assert trt.script.timing == tried
        assert built.timing == tried[-1] + TIMING
    trt = FakeTensorRt(Script(fails=frozenset({"create_timing_cache"})))
    assert build_plan(trt, Flavour.TENSORRT, request_for(tmp_path, timing=b"old")).timing == b""


@pytest.mark.parametrize("call", ["Builder", "create_network", "create_builder_config", "create_optimization_profile"])
def test_a_tensorrt_that_does_not_start(call: str, tmp_path: Path) -> None:
    """None or a TypeError is DeviceUnavailable."""
    assert isinstance(failing(tmp_path, call), DeviceUnavailable)


@pytest.mark.parametrize("how", ["build", "empty"])
def test_a_build_that_fails_says_why_and_what_to_do(how: str, tmp_path: Path) -> None:
    """None and an empty plan are the same."""
    error = failing(tmp_path, how, says="no tactic for node 7")
    assert isinstance(error, PlanError)
    assert "batches of up to 16" in str(error)
    assert "smaller --max-batch" in str(error)
    assert how == "empty" or "no tactic for node 7" in str(error)
    assert "thousand lines" not in str(error)


@pytest.mark.parametrize("call", ["set_shape", "add_optimization_profile"])
def test_a_refused_profile(call: str, tmp_path: Path) -> None:
    """False and -1."""
    error = failing(tmp_path, call)
    assert isinstance(error, PlanError)
    assert "refuses batches of 1 to 16 of input [-1, 3, 32, 16]" in str(error)


def test_parser_errors_name_the_nodes(tmp_path: Path) -> None:
    """The first three, and how many more; else what the logger had."""
    errors = [(f"no importer {index}", f"node{index}", "Exotic") for index in range(5)]
    error = failing(tmp_path, "parse", parser_errors=errors)
    assert isinstance(error, ModelError)
    assert "node node0 (Exotic): no importer 0; " in str(error)
    assert "node3" not in str(error)
    assert str(error).endswith("and 2 more")
    assert "no memory" in str(failing(tmp_path, "parse", says="no memory"))


def test_an_old_tensorrt_builds_nothing(tmp_path: Path) -> None:
    """Its types are hints; rtx counts versions on its own."""
    error = failing(tmp_path, version="8.6.0")
    assert isinstance(error, DeviceUnavailable)
    assert "install TensorRT 10 or newer, or adopt" in str(error)


def test_targets_of_rtx(tmp_path: Path) -> None:
    """One that it has not is refused with those that it has; a refusal of its own is an error."""
    trt: Any = FakeTensorRt(Script(version="1.7"))
    with pytest.raises(DeviceUnavailable, match="cannot build for sm_90, only for sm_89; use tensorrt"):
        build_plan(trt, Flavour.RTX, request_for(tmp_path, architecture="sm_90"))
    assert isinstance(failing(tmp_path, "set_compute_capability", flavour=Flavour.RTX), PlanError)


def test_progress_only_grows_and_ends_at_one(tmp_path: Path) -> None:
    """The inner phase refines the outer one's step."""
    seen: list[tuple[float, str]] = []
    trt: Any = FakeTensorRt()
    build_plan(trt, Flavour.TENSORRT, request_for(tmp_path), lambda fraction, phase: seen.append((fraction, phase)))
    fractions = [fraction for fraction, _ in seen]
    assert fractions == sorted(fractions)
    assert 0.125 in fractions
    assert seen[-1] == (1.0, "built")


class Interrupt(BaseException):
    """As KeyboardInterrupt is, which pytest would take for its own."""


def test_what_progress_raises_stops_the_build_and_is_raised(tmp_path: Path) -> None:
    """It does not travel through TensorRT's frames; an interrupt neither."""
    calls = []

    def interrupt(fraction: float, phase: str) -> None:
        del phase
        calls.append(fraction)
        if fraction > 0:
            raise Interrupt

    trt: Any = FakeTensorRt()
    with pytest.raises(Interrupt):
        build_plan(trt, Flavour.TENSORRT, request_for(tmp_path), interrupt)
    assert sum(fraction > 0 for fraction in calls) == 1


def test_a_tensorrt_without_monitors_builds(tmp_path: Path) -> None:
    """In silence, up to the end."""
    seen: list[float] = []
    trt: Any = FakeTensorRt()
    trt.IProgressMonitor = None
    build_plan(trt, Flavour.TENSORRT, request_for(tmp_path), lambda fraction, _: seen.append(fraction))
    assert seen == [1.0]


def test_a_network_of_another_type_is_refused(tmp_path: Path) -> None:
    """The crop kernel would write something else."""
    trt: Any = FakeTensorRt()
    with pytest.raises(ModelError, match="input is float32; float16 is needed"):
        build_plan(trt, Flavour.TENSORRT, request_for(tmp_path, image=TensorType.FP16))


def test_the_log_is_told_of_every_tenth(caplog: pytest.LogCaptureFixture) -> None:
    """A server that builds a plan as it starts is not silent for minutes, and does not fill its log either."""
    caplog.set_level("INFO")
    told = LoggedProgress("persons")
    for step in range(1000):
        told(step / 999, "tactics")
    assert [record.args[1] for record in caplog.records if isinstance(record.args, tuple)] == list(range(0, 101, 10))
    assert caplog.messages[3] == "the TensorRT plan of persons is being built: 30 %, tactics"
