"""What a start needs of the machine: checked first, in one order, by a start and by a dry run."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reidstream_engines import default_model
from reidstream_server import cli
from reidstream_server.config import load_config
from reidstream_server.errors import StartupError
from reidstream_server.starting import check_start
from reidstream_server.transport.addresses import GRPC, check_port
from tests.support.certificates import authority, signed
from tests.support.patience import HANG_S

FREE = ("--port", "0", "--metrics-port", "0")


def found(*flags: str) -> list[str]:
    """What keeps a server with these flags from starting."""
    try:
        check_start(load_config([*FREE, *flags], {}))
    except StartupError as error:
        return str(error).split("\n")
    return []


@pytest.fixture
def taken() -> Iterator[str]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield str(other.getsockname()[1])


def test_nothing_keeps_the_defaults_from_starting() -> None:
    """The embedded model, on ports that are free."""
    assert found() == []


def test_all_obstacles_are_told_at_once_in_the_order_of_a_start(taken: str, tmp_path: Path) -> None:
    """Each is one line: the setting, the value, what is wrong and what to do."""
    missing = tmp_path / "missing"
    key, tokens, port = ("--tls-key-file", str(missing)), ("--tokens-file", str(missing)), ("--metrics-port", taken)
    (tmp_path / "file").touch()
    cache = ("--device", "cuda", "--gpu-cache", str(tmp_path / "file" / "cache"))
    files = ("--tls-cert-file", str(missing), *key, *tokens, "--model", str(missing), "--model", str(tmp_path))
    lines = found(*files, *cache, "--host", "192.0.2.7", *port)
    assert lines[:4] == [
        f"tls_cert_file {missing}: cannot be read: No such file or directory",
        f"tokens_file {missing}: cannot be read: No such file or directory",
        f"model 'missing' ({missing}): there is no such file",
        f"gpu_cache {tmp_path}/file/cache: {tmp_path}/file is not a folder; give another --gpu-cache",
    ]
    assert lines[4] == (
        "cannot listen on 192.0.2.7:0: this machine has no such address; choose another --host; "
        "0.0.0.0 is every interface"
    )
    assert lines[5:] == [
        f"cannot listen on 127.0.0.1:{taken} for metrics and probes: the port is in use, perhaps by another "  # noqa: ISC004
        "reidstream-server; stop that, or choose another --metrics-port; 0 takes any free one, or none: "
        "--no-metrics-enabled"
    ]


def test_a_metrics_port_that_nobody_wants_may_be_in_use(taken: str) -> None:
    """It is not opened."""
    assert found("--metrics-port", taken, "--no-metrics-enabled") == []


@pytest.mark.needs("openssl")
def test_good_files_pass(tmp_path: Path) -> None:
    """A certificate with its key, an authority, tokens, a model."""
    root = authority(tmp_path, "root")
    server = signed(root, "server")
    (tmp_path / "tokens").write_text(f"gate {hashlib.sha256(b'x').hexdigest()}\n")
    tls = ("--tls-cert-file", str(server.certificate), "--tls-key-file", str(server.key))
    files = ("--tls-client-ca-file", str(root.certificate), "--tokens-file", str(tmp_path / "tokens"))
    assert found(*tls, *files, "--model", str(default_model.PATH)) == []


def test_a_model_with_a_relative_path_is_looked_for_in_a_folder_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most often the command was typed in another one."""
    monkeypatch.chdir(tmp_path)
    assert found("--model", "net.onnx") == [
        f"model 'net' (net.onnx): there is no such file; the path is relative to {tmp_path}"
    ]


def test_a_model_whose_name_is_nearly_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that is there is named."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "osnet_x0_25.onnx").touch()
    (line,) = found("--model", "osnet_x025.onnx")
    assert line.endswith(f"no such file; the path is relative to {tmp_path}; did you mean osnet_x0_25.onnx?")


def test_a_folder_in_the_place_of_the_tuning_file(tmp_path: Path) -> None:
    """A file that is not there yet, or that may only be read, is none."""
    assert found(f"--tuning-file={tmp_path}") == [
        f"tuning_file {tmp_path}: it is a folder; name a file in it, such as {tmp_path}/tunings.json"
    ]
    assert found(f"--tuning-file={tmp_path}/new/tunings.json") == []


def test_what_this_user_may_not_do_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that leads nowhere, a folder that it may not write to."""
    (tmp_path / "file").touch()
    monkeypatch.setattr(os, "access", lambda *_: False)  # root, as which tests may run, may do everything
    cache = ("--device", "cuda", "--gpu-cache", str(tmp_path / "new" / "cache"))
    assert [line.split(": ", 1)[1] for line in found("--model", str(tmp_path / "file" / "net.onnx"), *cache)] == [
        "cannot be read: Not a directory",
        f"this user may not write to {tmp_path}; give another --gpu-cache",
    ]


def test_an_address_that_the_machine_lacks_does_not_spoil_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name localhost has one of IPv6 where the kernel may have none; but a port in use at either is in use."""
    lacking = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.7", 0))
    local = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [lacking, local])
    check_port("localhost", 0, GRPC)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [lacking])
    with pytest.raises(StartupError, match="no such address"):
        check_port("localhost", 0, GRPC)


@pytest.fixture
def _own_logging() -> Iterator[None]:
    """The command takes the root logger for itself."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(capture=False)


Captured = pytest.CaptureFixture[str]


def said(captured: Captured, *flags: str, code: int) -> list[dict[str, Any]]:
    """The log of a command that ends with a code, all of it in JSON."""
    assert cli.main([*FREE, "--log-format", "json", *flags]) == code
    return [json.loads(line) for line in captured.readouterr().err.splitlines()]


@pytest.mark.usefixtures("_own_logging")
@pytest.mark.parametrize("mode", [[], ["--dry-run"]])
def test_a_dry_run_refuses_what_a_start_refuses(mode: list[str], taken: str, tmp_path: Path, capfd: Captured) -> None:
    """Before any model takes its time, and with the same words."""
    flags = ("--port", taken, "--tokens-file", str(tmp_path / "no"), *mode)
    events = said(capfd, *flags, code=cli.EXIT_STARTUP)
    assert [event["event"] for event in events] == ["configuration", "cannot_start"]
    assert [line.split(" ")[0] for line in events[-1]["fields"]["reason"].split("\n")] == ["tokens_file", "cannot"]


@pytest.mark.usefixtures("_own_logging")
def test_only_what_was_changed_is_logged(tmp_path: Path, capfd: Captured) -> None:
    """Sixty settings hide the one that matters."""
    net = tmp_path / "net.onnx"
    first, _ = said(capfd, "--model", str(net), "--max-batch", "4", "--slots", "0", code=cli.EXIT_STARTUP)
    changed = {"models": f"net={net}", "port": "0", "metrics_port": "0", "max_batch": "4", "log_format": "json"}
    assert (first["event"], first["fields"]) == ("configuration", changed)


@pytest.mark.usefixtures("_own_logging")
def test_variables_that_are_no_settings_are_told_and_the_start_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Captured
) -> None:
    """Once each, with the setting that was meant."""
    variables = {"REIDSTREAM_VERSION": "1.2", "REIDSTREAM_IMAGE": "reg/reidstream:1.2", "REIDSTREAM_MAX_BACH": "4"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    *told, configuration, _ = said(capfd, "--tokens-file", str(tmp_path / "no"), code=cli.EXIT_STARTUP)
    assert [(event["event"], event["level"]) for event in told] == [("variable_ignored", "warning")] * 3
    assert [event["fields"]["variable"] for event in told] == sorted(variables)
    assert "did you mean REIDSTREAM_MAX_BATCH?" in told[1]["fields"]["reason"]
    assert configuration["event"] == "configuration"


@pytest.mark.usefixtures("_own_logging")
def test_a_wrong_configuration_is_lines_for_people_and_one_event_for_programs(capfd: Captured) -> None:
    """A line for each problem, in both."""
    assert cli.main(["--port", "x", "--slots", "y"]) == cli.EXIT_CONFIG
    lines = capfd.readouterr().err.splitlines()
    [event] = said(capfd, "--port", "x", "--slots", "y", code=cli.EXIT_CONFIG)
    assert (event["event"], event["fields"]) == ("cannot_start", {"reason": "\n".join(lines)})
    assert len(lines) == 2


def test_a_refusal_needs_no_heavy_library(tmp_path: Path) -> None:
    """What is wrong is said at once; and gRPC is told to be quiet before it comes."""
    program = f"""
import sys
from reidstream_server import cli
assert cli.main(["--port", "x"]) == 2
assert cli.main(["--port", "0", "--metrics-port", "0", "--tokens-file", {str(tmp_path / "no")!r}]) == 1
print(sorted({{"grpc", "numpy", "onnxruntime", "cv2", "prometheus_client"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=HANG_S)
    assert done.stdout == "[]\n"


def test_whoever_reads_the_printed_settings_may_stop() -> None:
    """`| head -1` is no error."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "reidstream_server.cli", "--dry-run", "--tune-seconds", "0", *FREE]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False, timeout=HANG_S)
    os.close(writing)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
