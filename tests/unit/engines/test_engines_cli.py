"""`reidstream-engines`: what it prints, and its exit codes."""

from __future__ import annotations

import fcntl
import os
import pty
import shutil
import struct
import subprocess
import sys
import termios
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from reidstream_engines import default_model, process
from reidstream_engines.cli import main
from reidstream_engines.cores import find_cores
from reidstream_engines.profiles import PROFILES
from reidstream_server.config import load_config
from reidstream_server.loading import loaded_engines
from tests.unit.engines.networks import only_one

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """The default model's network with nothing that says how its input is made."""
    path = tmp_path / "bare.onnx"
    model = onnx.load(default_model.PATH)
    del model.metadata_props[:]
    onnx.save(model, path)
    return path


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A network that answers not-a-number."""
    path = tmp_path / "broken.onnx"
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["input"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["flat"]),
            helper.make_node("Mul", ["flat", "nothing"], ["embedding"]),
        ],
        "broken",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, 32, 16])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", 3])],
        [onnx.numpy_helper.from_array(np.array([np.nan], np.float32), "nothing")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def fields(output: str) -> dict[str, str]:
    return {key: value.strip() for key, _, value in (line.partition(" ") for line in output.splitlines())}


def test_it_is_installed_under_its_name() -> None:
    """The console script takes care of Ctrl-C before it loads anything."""
    (script,) = entry_points(group="console_scripts", name="reidstream-engines")
    assert script.load() is process.main


def test_help_teaches(capsys: Captured) -> None:
    """Every profile, where a spec comes from, examples, exit codes."""
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    for word in (*PROFILES, "inspect", "selftest", "TOML", "metadata", "space_id", "exit codes"):
        assert word in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "required: COMMAND; see reidstream-engines --help"),
        (["inspect"], "required: MODEL; see reidstream-engines inspect --help"),
        (["polish", "default"], "invalid choice: 'polish' (choose from inspect, selftest, tune"),
        (["selftset", "default"], "did you mean selftest? See reidstream-engines --help"),
        (["selftest", "default", "--max-batch", "x"], "invalid int value: 'x'"),
        (["selftest", "default", "--max-bacth", "4"], "unknown option --max-bacth; did you mean --max-batch? See"),
        (["selftest", "default", "--runtime", "opnvino"], "did you mean openvino? See"),
        (["quantize", "a.onnx", "--calibraton", "c", "-o", "b.onnx"], "did you mean --calibration? See"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str], said: str, capsys: Captured) -> None:
    """With one line on stderr: what is wrong, what was meant, and where to read on."""
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_an_option_can_be_abbreviated(capsys: Captured) -> None:
    """As it always could."""
    assert main(["selftest", "default", "--max-b", "1", "--thr=1"]) == 0
    assert "passed" in capsys.readouterr().out


def test_a_password_in_a_path_is_hidden(capsys: Captured) -> None:
    """Somebody gives the address of a model where its file is asked for."""
    assert main(["inspect", "https://me:sesame@hub/osnet.onnx"]) == 1
    error = capsys.readouterr().err
    assert "***@hub/osnet.onnx" in error
    assert "sesame" not in error


def test_inspect_default(capsys: Captured) -> None:
    """The word stands for the embedded model; its spec is in its metadata."""
    assert main(["inspect", "default"]) == 0
    found = fields(capsys.readouterr().out)
    assert found["name"].startswith(default_model.NAME)
    assert found["file"] == str(default_model.PATH)
    assert found["profile"] == "metadata"
    assert found["input"].startswith("input tensor(float) [?, 3,")
    assert found["here"] == "can be served"
    assert len(found["artifact"]) == 64
    assert found["space_id"].startswith("1:")


def test_inspect_without_a_spec_lists_what_is_missing(bare: Path, capsys: Captured) -> None:
    """The tensors are shown all the same, and the profiles to choose from; that is no failure."""
    assert main(["inspect", str(bare)]) == 0
    out = capsys.readouterr().out
    found = fields(out)
    assert found["metadata"] == "none"
    assert found["input"].startswith("input tensor(float)")
    assert found["spec"].startswith("none:")
    assert "space_id" not in found
    for profile in PROFILES:
        assert profile in out


def test_inspect_with_a_profile(bare: Path, capsys: Captured) -> None:
    """The whole spec."""
    assert main(["inspect", str(bare), "--profile", "torchreid"]) == 0
    found = fields(capsys.readouterr().out)
    assert found["name"].startswith("bare")
    assert found["profile"] == "torchreid"
    assert (found["color"], found["resize"]) == ("rgb", "opencv_bilinear, stretch")
    assert found["mean"] == "0.485, 0.456, 0.406"


def test_inspect_says_when_a_profile_cannot_be_exact_here(
    bare: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The spec is shown, with what to install."""
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert main(["inspect", str(bare), "--profile", "paddleclas"]) == 0
    found = fields(capsys.readouterr().out)
    assert found["here"].startswith("cannot be served: ")
    assert "pip install" in found["here"]


def test_a_spec_that_is_there_but_wrong_is_a_failure(bare: Path, capsys: Captured) -> None:
    """A misspelt TOML is not the same as none."""
    bare.with_suffix(".toml").write_text('profile = "torchread"\n')
    assert main(["inspect", str(bare)]) == 1
    assert "torchread" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["inspect", "selftest"])
def test_failures_are_exit_code_1_and_one_message(command: str, bare: Path, tmp_path: Path, capsys: Captured) -> None:
    """No file, no model, no such profile: no traceback."""
    (tmp_path / "text.onnx").write_text("no model")
    for arguments in (["missing.onnx"], [str(tmp_path / "text.onnx")], [str(bare), "--profile", "nope"]):
        assert main([command, *arguments]) == 1
        assert capsys.readouterr().err.startswith("reidstream-engines: ")


def test_selftest_prints_a_row_per_batch_size(capsys: Captured) -> None:
    """Batch, milliseconds, milliseconds per crop, crops per second."""
    assert main(["selftest", "default", "--max-batch", "3", "--threads", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{default_model.NAME}: onnxruntime on cpu, fp32, 2 thread(s)"
    assert lines[1].split() == ["batch", "ms", "ms/crop", "crops/s"]
    assert [line.split()[0] for line in lines[2:5]] == ["1", "2", "3"]
    assert lines[5].startswith("passed")


@pytest.mark.needs("openvino")
def test_the_other_runtime(capsys: Captured) -> None:
    """Inspect and selftest say what would run the model; a precision that it has not is refused."""
    assert main(["selftest", "default", "--runtime", "openvino", "--max-batch", "1"]) == 0
    assert "openvino on cpu, fp32, 1 thread(s)" in capsys.readouterr().out
    assert main(["inspect", "default", "--runtime", "openvino"]) == 0
    assert fields(capsys.readouterr().out)["engine"] == "openvino on cpu, fp32"
    assert main(["selftest", "default", "--precision", "bf16"]) == 1
    assert "bf16 needs runtime openvino" in capsys.readouterr().err


def test_inspect_without_the_runtime_says_how_to_get_it(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    """The spec is shown all the same."""
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert main(["inspect", "default", "--runtime", "openvino"]) == 0
    assert "pip install 'reidstream-engines[openvino]'" in fields(capsys.readouterr().out)["here"]


def test_selftest_fails_with_the_reason(broken: Path, capsys: Captured) -> None:
    """A network that answers nonsense, and options that make none."""
    assert main(["selftest", str(broken), "--profile", "torchreid"]) == 1
    assert "not finite" in capsys.readouterr().err
    assert main(["selftest", "default", "--max-batch", "0"]) == 1
    assert "max_batch must be at least 1" in capsys.readouterr().err


def test_tune_prints_every_plan_and_the_flags_of_the_best(capsys: Captured) -> None:
    """In so little time some may be left out, with the reason; a model that cannot be loaded is a failure."""
    assert main(["tune", "default", "--seconds", "0.1"]) == 0
    cores, head, *rows, flags = capsys.readouterr().out.splitlines()
    assert cores == f"cores: {find_cores().count} ({find_cores().why})"
    assert head.split() == ["threads", "slots", "batch", "crops/s"]
    assert {int(row.split()[2]) for row in rows} == {4, 8, 16}
    (chosen,) = (row.split() for row in rows if row.endswith("chosen"))
    assert flags == f"reidstream-server --threads-per-call {chosen[0]} --slots {chosen[1]} --max-batch {chosen[2]}"
    assert float(chosen[3]) > 0
    assert main(["tune", "missing.onnx", "--profile", "torchreid"]) == 1
    assert "no model file at missing.onnx" in capsys.readouterr().err


def test_tune_with_other_cores_and_a_file_for_the_result(tmp_path: Path, capsys: Captured) -> None:
    """The server finds there what was measured; a file that is somebody else's is a failure, after the result."""
    file = tmp_path / "tunings.json"
    assert main(["tune", "default", "--seconds", "0.1", "--cores", "1", "--tuning-file", str(file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "cores: 1 (as set)"
    assert [line.split()[:3] for line in lines[2:5]] == [["1", "1", size] for size in ("4", "8", "16")]
    assert lines[-1] == f"reidstream-server --tuning-file {file}"
    with loaded_engines(load_config(["--cores=1", f"--tuning-file={file}", "--tune-seconds=0"], {})) as loaded:
        assert f"--max-batch {loaded.engines[0].limits.max_batch}" in lines[-2]
    file.write_text("my notes")
    assert main(["tune", "default", "--seconds", "0.1", "--cores", "1", "--tuning-file", str(file)]) == 1
    printed = capsys.readouterr()
    assert "chosen" in printed.out
    assert "not a file of remembered tunings" in printed.err


def test_tune_has_a_progress_bar_on_a_terminal() -> None:
    """On stderr, gone at the end; where there is no terminal, there is none (the tests above)."""
    terminal, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    program = str(Path(sys.executable).with_name("reidstream-engines"))
    command = [program, "tune", "default", "--seconds=0.5", "--cores=1"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=other, text=True, check=True)
    shown = os.read(terminal, 1 << 16).decode()
    os.close(other)
    os.close(terminal)
    assert "measuring   0% |" in shown
    assert "chosen" in done.stdout


def test_tune_says_which_batch_works(tmp_path: Path, capsys: Captured) -> None:
    """Where a network fails in batches: the refusal names the one that is served, and selftest shows that it is."""
    path = str(only_one(tmp_path / "one.onnx"))
    for command in ("tune", "selftest"):
        assert main([command, path, "--profile", "torchreid", "--cores", "1"]) == 1
        assert "--max-batch 1 serves this file" in capsys.readouterr().err
    assert main(["selftest", path, "--profile", "torchreid", "--max-batch", "1"]) == 0


@pytest.mark.parametrize("cores", ["0", "-1", "1.5", "many", "1025"])
def test_cores_that_are_none(cores: str, capsys: Captured) -> None:
    """Wrong usage, with the range."""
    with pytest.raises(SystemExit) as stopped:
        main(["tune", "default", f"--cores={cores}"])
    assert stopped.value.code == 2
    assert f"'{cores}' must be a whole number, 1 to 1024" in capsys.readouterr().err


@pytest.mark.parametrize("profile", [*sorted(set(PROFILES) - {"deepstream"}), "deepstream:scale=0.0173,color=bgr"])
def test_spec_writes_a_file_that_is_read_back(bare: Path, capsys: Captured, profile: str) -> None:
    """In the same space as with the profile, to the last bit; the shell has made the empty file before."""
    toml = bare.with_suffix(".toml")
    toml.touch()
    assert main(["spec", str(bare), "--profile", profile]) == 0
    text = capsys.readouterr().out
    assert main(["inspect", str(bare), "--profile", profile]) == 0
    wanted = fields(capsys.readouterr().out)
    toml.write_text(text)
    assert main(["inspect", str(bare)]) == 0
    found = fields(capsys.readouterr().out)
    assert found["space_id"] == wanted["space_id"]
    assert found["profile"] == "toml"
    assert main(["spec", str(bare)]) == 0
    assert capsys.readouterr().out == text.replace(f"from: {profile}", "from: toml")


def test_spec_shows_what_to_fill_in(tmp_path: Path, capsys: Captured) -> None:
    """Sizes that the network leaves open, and which of several outputs."""
    path = tmp_path / "open.onnx"
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["x"], ["a"], axes=[2, 3], keepdims=0),
            helper.make_node("Identity", ["a"], ["b"]),
        ],
        "open",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, "height", "width"])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3]) for name in ("a", "b")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    assert main(["spec", str(path), "--profile", "torchreid"]) == 0
    text = capsys.readouterr().out
    for line in ('# output = "NAME"  # the network has several outputs', "# height = PIXELS", "# width = PIXELS"):
        assert line in text
    filled = text.replace('# output = "NAME"', 'output = "b"').replace("# height = PIXELS", "height = 64")
    path.with_suffix(".toml").write_text(filled.replace("# width = PIXELS", "width = 32"))
    assert main(["inspect", str(path)]) == 0
    assert fields(capsys.readouterr().out)["size"] == "32 x 64 (width x height)"


def test_spec_without_a_source_lists_the_profiles(bare: Path, capsys: Captured) -> None:
    """And a spec that does not fit the network is refused, not written."""
    assert main(["spec", str(bare)]) == 1
    assert "torchreid" in capsys.readouterr().err
    assert main(["spec", str(bare), "--profile", "deepstream:scale=1,color=gray"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "channels" in printed.err


@pytest.mark.parametrize("command", ["inspect", "selftest", "tune"])
def test_what_a_profile_replaces_is_said(command: str, bare: Path, capsys: Captured) -> None:
    """Once, on stderr, with the file and its values."""
    bare.with_suffix(".toml").write_text("mean = [0.5, 0.5, 0.5]\nstd = [0.25, 0.25, 0.25]\n")
    more = ["--seconds", "0.05", "--cores", "1"] if command == "tune" else []
    assert main([command, str(bare), "--profile", "torchreid", *more]) == 0
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note:")]
    said = "says mean = [0.5, 0.5, 0.5], std = [0.25, 0.25, 0.25]; the profile torchreid is used instead"
    assert notes == [f"note: {bare.with_suffix('.toml')} {said}"]


def test_a_file_called_default_is_reached_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    """The word wins over a file of that name; a path to it does not."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(default_model.PATH, tmp_path / "default")
    assert main(["inspect", "./default"]) == 0
    assert fields(capsys.readouterr().out)["name"].startswith("default,")
