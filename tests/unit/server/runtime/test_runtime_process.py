"""The process ends, with its code and one reason, whatever its threads wait for and whatever it was given to load."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reidstream_engines import default_model
from reidstream_engines.decoding.turbojpeg import TurboJpeg, find_turbojpeg
from reidstream_proto.v1 import frame_pb2
from reidstream_server import cli, loading
from reidstream_server.config import load_config
from tests.support.harness import RawStream, frame, stub_of
from tests.support.process import ServerProcess

# A server whose engine never answers.
STUCK_SERVER = """
import sys, threading
from contextlib import contextmanager
from reidstream_engines.fake import FakeEngine, FakeScript, FakeStager
from reidstream_server import cli, running
from reidstream_server.loading import Engines
from reidstream_server.logs import get_logger

def never_answer(_):
    get_logger("engine").info("batch_taken")
    threading.Event().wait()

@contextmanager
def loaded(config):
    script = FakeScript(seconds_per_batch=1.0, sleep=never_answer)
    yield Engines(engines=(FakeEngine(script=script),), stager=FakeStager())

running.loaded_engines = loaded
sys.exit(cli.main())
"""


@contextmanager
def stuck_server(*arguments: str) -> Iterator[tuple[ServerProcess, int]]:
    """Started, with its port; killed at the end if it still runs."""
    command = [sys.executable, "-c", STUCK_SERVER, "--port", "0", "--no-metrics-enabled", "--log-format", "json"]
    with subprocess.Popen([*command, *arguments], stderr=subprocess.PIPE, text=True) as process:
        server = ServerProcess(process)
        reader = threading.Thread(target=server.read_log)
        reader.start()
        try:
            yield server, int(str(server.wait_for("serving")["address"]).rpartition(":")[2])
        finally:
            process.kill()
            reader.join()


@pytest.mark.parametrize(
    ("arguments", "terminated", "reason", "code"),
    [
        (("--batch-timeout-s", "0.1"), False, frame_pb2.ERROR_REASON_ENGINE_LOST, 70),
        (("--drain-timeout-s", "0.1"), True, frame_pb2.ERROR_REASON_SHUTTING_DOWN, 75),
    ],
    ids=["lost", "told to stop"],
)
async def test_a_process_ends_beside_an_engine_that_never_answers(
    arguments: tuple[str, str], *, terminated: bool, reason: int, code: int
) -> None:
    """Its client is answered first, and the exit code says what it was."""
    with stuck_server(*arguments) as (server, port):
        async with stub_of(port) as stub:
            stream = RawStream(stub.EmbedStream())
            await stream.open()
            await stream.call.write(frame(1))
            await asyncio.to_thread(server.wait_for, "batch_taken")
            if terminated:
                server.terminate()
            results = await stream.results()
        assert [result.error.reason for result in results] == [reason]
        assert await asyncio.to_thread(server.wait) == code
    assert [event["exit_code"] for event in server.log if event["event"] == "threads_left"] == [code]


# A server whose model is loaded by a library that never returns, and looks at no signal.
STUCK_LOADING = """
import ctypes, sys
from contextlib import contextmanager
from functools import partial
from reidstream_server import cli, running
from reidstream_server.logs import get_logger

@contextmanager
def loaded(config):
    mutex = ctypes.create_string_buffer(64)
    lock = ctypes.CDLL(None).pthread_mutex_lock
    lock(mutex)
    get_logger("engine").info("loading")
    lock(mutex)
    yield

running.loaded_engines = loaded
cli.stoppable = partial(cli.stoppable, PATIENCE)
sys.exit(cli.main())
"""


@contextmanager
def starting_server(*arguments: str) -> Iterator[ServerProcess]:
    """A process that does not serve yet; killed at the end if it still runs."""
    ports = ("--port", "0", "--metrics-port", "0", "--log-format", "json")
    with subprocess.Popen([sys.executable, *arguments, *ports], stderr=subprocess.PIPE, text=True) as process:
        server = ServerProcess(process)
        reader = threading.Thread(target=server.read_log)
        reader.start()
        try:
            yield server
        finally:
            process.kill()
            reader.join()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_server_that_is_told_to_stop_while_it_loads_says_so_in_one_line(number: signal.Signals) -> None:
    """With 128 + the signal, since it never served; no traceback."""
    with starting_server("-m", "reidstream_server.cli", "--device", "cpu", "--tune-seconds", "30") as server:
        server.wait_for("jpeg_decoder")
        server.terminate(number)
        assert server.wait() == 128 + number
    names = [event["event"] for event in server.log]
    assert names[-1] == "stopped_before_serving"
    assert not {"serving", "text"} & set(names)  # text is what is no event: a traceback
    assert server.log[-1]["signal"] == number.name


# One that imports a library which never returns, and looks at no signal.
STUCK_IMPORT = """
import ctypes, sys
from functools import partial
from reidstream_server import cli
from reidstream_server.logs import get_logger

class Stuck:
    def find_spec(self, name, path=None, target=None):
        if name == "numpy":
            mutex = ctypes.create_string_buffer(64)
            lock = ctypes.CDLL(None).pthread_mutex_lock
            lock(mutex)
            get_logger("library").info("importing")
            lock(mutex)

sys.meta_path.insert(0, Stuck())
cli.stoppable = partial(cli.stoppable, 3600.0)
sys.exit(cli.main())
"""


def test_a_signal_while_libraries_are_imported_ends_the_process_at_once() -> None:
    """Nothing is raised in a library, which could make another error of it, and nothing is there to be released."""
    with starting_server("-c", STUCK_IMPORT) as server:
        server.wait_for("importing")
        server.terminate()
        assert server.wait() == 143
    assert [event["event"] for event in server.log] == ["configuration", "importing", "stopped_before_serving"]


# One whose model is loaded by a library that makes an error of its own of what a handler raises within it.
TURNING = """
import os, signal, sys
from contextlib import contextmanager
from reidstream_server import cli, errors, running

@contextmanager
def loaded(config):
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()
    except BaseException as error:
        raise ERROR("initialization failed") from error
    yield

running.loaded_engines = loaded
sys.exit(cli.main())
"""


@pytest.mark.parametrize("error", ["ImportError", "errors.StartupError"])
def test_a_library_that_makes_another_error_of_the_signal_is_not_blamed(error: str) -> None:
    """The server was told to stop: that is what it says."""
    with starting_server("-c", TURNING.replace("ERROR", error)) as server:
        assert server.wait() == 143
    assert [event["event"] for event in server.log] == ["configuration", "stopped_before_serving"]


# One whose model is loaded by a library that swallows what a handler raises within it.
SWALLOWING = """
import os, signal, sys
from contextlib import contextmanager
from reidstream_server import cli, running
from reidstream_server.logs import get_logger

loaded_engines = running.loaded_engines

@contextmanager
def loaded(config):
    with loaded_engines(config) as engines:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            get_logger("engine").error("not told")
        except BaseException:
            get_logger("engine").info("swallowed")
        yield engines

running.loaded_engines = loaded
sys.exit(cli.main())
"""


def test_a_library_that_swallows_the_signal_does_not_have_the_server_serve() -> None:
    """What was lost is raised again when loading is over."""
    with starting_server("-c", SWALLOWING, "--tune-seconds", "0") as server:
        assert server.wait() == 143
    names = [event["event"] for event in server.log]
    assert names[-2:] == ["swallowed", "stopped_before_serving"]


@pytest.mark.parametrize(("patience", "signals"), [("0.0", 1), ("3600.0", 2)], ids=["patience", "second signal"])
def test_a_library_that_looks_at_no_signal_does_not_hold_the_process(patience: str, signals: int) -> None:
    """A build takes minutes. It gets its time, unless a second signal comes."""
    with starting_server("-c", STUCK_LOADING.replace("PATIENCE", patience)) as server:
        server.wait_for("loading")
        for number in (signal.SIGINT, signal.SIGTERM)[:signals]:
            server.terminate(number)
        assert server.wait() in (130, 143)[:signals]  # of two at once the kernel may begin with either
    assert [event["event"] for event in server.log] == ["configuration", "loading", "stopped_before_serving"]


def test_a_signal_that_comes_while_the_log_is_locked_ends_the_process() -> None:
    """What a signal raises inside Python's logging may leave its lock taken. Only the last word is lost."""
    locked = STUCK_LOADING.replace(
        "    lock(mutex)\n    yield", "    logging.root.handlers[0].acquire()\n    lock(mutex)\n    yield"
    )
    with starting_server("-c", f"import logging{locked}".replace("PATIENCE", "0.0")) as server:
        server.wait_for("loading")
        server.terminate()
        assert server.wait() == 143
    assert [event["event"] for event in server.log] == ["configuration", "loading"]


@pytest.fixture
def _own_logging() -> Iterator[None]:
    """The command takes the root logger for itself."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(capture=False)


@pytest.fixture
def taken_port() -> Iterator[str]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield str(taken.getsockname()[1])


def refusal(capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Why the command would not start, which must be one line; whatever else it says is not an error."""
    assert cli.main([*arguments, "--log-format", "json"]) == cli.EXIT_STARTUP
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
    errors = [line for line in lines if line["level"] == "error"]
    assert [line["event"] for line in errors] == ["cannot_start"]
    assert list(errors[0]["fields"]) == ["reason"]
    return str(errors[0]["fields"]["reason"])


@pytest.mark.usefixtures("_own_logging")
def test_a_port_that_is_taken_is_named(taken_port: str, capfd: pytest.CaptureFixture[str]) -> None:
    """With the flag that chooses another; both ports."""
    reason = refusal(capfd, "--port", taken_port, "--metrics-port", "0")
    assert f"127.0.0.1:{taken_port}" in reason
    assert "--port" in reason
    reason = refusal(capfd, "--port", "0", "--metrics-port", taken_port)
    assert f"127.0.0.1:{taken_port} for metrics" in reason
    assert "--metrics-port" in reason


@pytest.mark.usefixtures("_own_logging")
@pytest.mark.parametrize("kind", ["garbage", "truncated", "empty", "folder", "missing", "profile"])
def test_a_model_that_cannot_be_had_is_named(kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """With its file, and nothing was started."""
    path = tmp_path / "net.onnx"
    good = default_model.PATH.read_bytes()
    match kind:
        case "garbage":
            path.write_bytes(os.urandom(3000))
        case "truncated":
            path.write_bytes(good[: len(good) // 2])
        case "empty":
            path.touch()
        case "folder":
            path.mkdir()
        case "profile":
            path.write_bytes(good)
    profile = "no-such" if kind == "profile" else "torchreid"
    reason = refusal(capfd, "--model", str(path), "--profile", profile, "--port", "0", "--metrics-port", "0")
    assert "model 'net'" in reason
    assert str(path) in reason
    if kind == "profile":
        assert "no-such" in reason


@pytest.mark.usefixtures("_own_logging")
def test_a_dry_run_loads_and_leaves(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """It logs what a start logs, and prints every setting as a file that can be started again."""
    flags = ["--device", "cpu", "--port", "0", "--metrics-port", "0", "--log-format", "json"]
    assert cli.main(["--dry-run", *flags]) == 0
    said = capfd.readouterr()
    events = [json.loads(line)["event"] for line in said.err.splitlines()]
    loaded = ["model_tuned", "model_loaded", "model_engine", "model_warm"]
    assert events == [
        "configuration",
        "cores",
        "jpeg_decoder",
        "cpu_is_used",
        *loaded,
        "memory_budget",
        "dry_run_passed",
    ]
    (tmp_path / "printed.toml").write_text(said.out)
    assert load_config(["--config", str(tmp_path / "printed.toml")], {}) == load_config(["--dry-run", *flags], {})
    told = next(item["fields"] for item in map(json.loads, said.err.splitlines()) if item["event"] == "memory_budget")
    table = [line.removeprefix("# ").split() for line in said.out.splitlines() if line.startswith("# ")]
    assert table[-1][:3] == ["total", str(told["total_mib"]), str(told["one_client_mib"])]


@pytest.mark.parametrize(
    ("found", "words"),
    [
        pytest.param(find_turbojpeg, "region", marks=pytest.mark.needs("turbojpeg")),
        (lambda: None, "pip install 'reidstream-engines[region]'"),
    ],
)
@pytest.mark.usefixtures("_own_logging")
def test_the_log_says_how_jpeg_is_decoded(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    found: Callable[[], TurboJpeg | None],
    words: str,
) -> None:
    """And what would do it faster. A smaller scale is another space."""
    monkeypatch.setattr(loading, "find_turbojpeg", found)
    spaces = []
    for flags in ([], ["--jpeg-scale", "2"]):
        assert cli.main(["--dry-run", "--port", "0", "--metrics-port", "0", "--log-format", "json", *flags]) == 0
        said = {item["event"]: item for item in map(json.loads, capfd.readouterr().err.splitlines())}
        assert words in str(said["jpeg_decoder"])
        spaces.append(said["model_loaded"]["fields"]["space_id"])
    assert len(set(spaces)) == 2


@pytest.mark.usefixtures("_own_logging")
def test_whole_frames_may_be_asked_for(capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing needs to be installed then."""
    assert cli.main(["--dry-run", "--port", "0", "--metrics-port", "0", "--no-jpeg-region"]) == 0
    line = next(line for line in capfd.readouterr().err.splitlines() if "jpeg_decoder" in line)
    assert "whole frames" in line
    assert "pip" not in line
