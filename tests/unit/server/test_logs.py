"""Structured logs, on the real stderr of a process."""

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reidstream_server.logs import LogFormat, LogLevel, quoted

STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ")

PRELUDE = """
import asyncio, logging, sys, warnings
from reidstream_server.logs import LogFormat, LogLevel, configure, get_logger
log = get_logger("reidstream_server.test")
"""


def stderr_lines(log_format: LogFormat, code: str, level: LogLevel = LogLevel.INFO) -> list[str]:
    """What a process writes to stderr that configures its logs and runs the code."""
    program = f"{PRELUDE}\nconfigure({level}, {log_format})\n{textwrap.dedent(code)}"
    command = [sys.executable, "-X", "utf8", "-c", program]
    result = subprocess.run(command, check=True, capture_output=True)
    assert result.stdout == b""
    text = result.stderr.decode()
    assert text == "" or text.endswith("\n")
    return text.split("\n")[:-1]


ONE_OF_EACH = """
log.debug("hidden")
log.info("server_started", port=50051, ratio=0.5, ready=True, none=None, host="::1", empty="", odd="a b=c")
log.warning("forged", camera_id='gate"\\n2026-01-01T00:00:00.000Z info fake x=1\\r\\x1b[2J\\u2028\\u202e\\x85\\\\')
log.error("batch_failed", error=ValueError("line one\\nline two"))
try:
    raise KeyError("k\\n")
except KeyError as error:
    log.failure("unexpected", error, model="m")
logging.getLogger("grpc._channel").warning("lost %s\\nconnection", "the")
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("grpc").exception("callback failed")
warnings.warn("old\\nthing", stacklevel=1)
log.info("numbers", nan=float("nan"), inf=float("-inf"), big=10**30)
log.info("named", level="x", event="y", logger="z", ts="t", msg="m", args="a", self="s")
"""


@pytest.mark.parametrize(
    ("level", "events"),
    [(LogLevel.DEBUG, ["looking", "telling", "grpc.aio", "told"]), (LogLevel.WARNING, ["warned"])],
)
def test_grpc_does_not_drown_what_is_looked_for(level: LogLevel, events: list[str]) -> None:
    """Of its core's own records, those of every call are left out; a higher level counts there as well."""
    code = """
    core = logging.getLogger("grpc._cython.cygrpc")
    log.debug("looking")
    core.debug("[_cygrpc] Loaded running loop: id(loop)=1")
    log.info("telling")
    logging.getLogger("grpc.aio").debug("grpc.aio")
    core.info("told")
    core.warning("warned")
    """
    lines = stderr_lines(LogFormat.TEXT, code, level)
    words = [line.split("message=")[-1].split()[-1] for line in lines]
    assert words == list(dict.fromkeys([*events, "warned"]))


@pytest.fixture(scope="module")
def text_lines() -> list[str]:
    lines = stderr_lines(LogFormat.TEXT, ONE_OF_EACH)
    assert all(STAMP.match(line) for line in lines)
    return [STAMP.sub("", line, count=1) for line in lines]


@pytest.fixture(scope="module")
def json_lines() -> list[dict[str, object]]:
    return [json.loads(line, parse_constant=pytest.fail) for line in stderr_lines(LogFormat.JSON, ONE_OF_EACH)]


def test_text_is_one_event_a_line(text_lines: list[str]) -> None:
    """`ts level event key=value`; what is not one plain word is quoted."""
    assert len(text_lines) == 9
    assert (
        text_lines[0] == 'info server_started port=50051 ratio=0.5 ready=true none=none host=::1 empty="" odd="a b=c"'
    )
    assert text_lines[2] == r'error batch_failed error="ValueError: line one\nline two"'
    assert text_lines[7] == "info numbers nan=nan inf=-inf big=1000000000000000000000000000000"
    assert text_lines[8] == "info named level=x event=y logger=z ts=t msg=m args=a self=s"


def test_a_client_cannot_forge_a_line(text_lines: list[str]) -> None:
    """Line breaks, quotes, escape sequences, and characters that turn or break a line are escaped."""
    expected = r'"gate\"\n2026-01-01T00:00:00.000Z info fake x=1\r\u001b[2J\u2028\u202e\u0085\\"'
    assert text_lines[1] == f"warning forged camera_id={expected}"


def test_exceptions_are_on_one_line(text_lines: list[str]) -> None:
    """The cause by type and message, and the traceback with its line breaks escaped."""
    cause = r"KeyError: 'k\\n'"
    assert text_lines[3].startswith(f'error unexpected model=m error="{cause}" traceback="Traceback (most recent')
    assert text_lines[3].endswith(rf'\n{cause}\n"')


def test_records_of_other_libraries_come_out_in_the_same_form(text_lines: list[str]) -> None:
    """gRPC's, with their exceptions, and warnings; the logger says whose they are."""
    assert text_lines[4] == r'warning python_log logger=grpc._channel message="lost the\nconnection"'
    assert text_lines[5].startswith('error python_log logger=grpc message="callback failed" error="ZeroDivisionError: ')
    assert text_lines[6].startswith("warning python_log logger=py.warnings message=")
    assert r"UserWarning: old\nthing" in text_lines[6]


def test_json_says_the_same(text_lines: list[str], json_lines: list[dict[str, object]]) -> None:
    """Every line is an object of ts, level, logger, event and fields; no field can take the place of those."""
    assert len(json_lines) == len(text_lines)
    for text, line in zip(text_lines, json_lines, strict=True):
        assert list(line) == ["ts", "level", "logger", "event", "fields"]
        assert STAMP.fullmatch(f"{line['ts']} ")
        assert text.startswith(f"{line['level']} {line['event']}")
    started, forged, failed, unexpected, grpc, _, _, numbers, named = json_lines
    assert started["logger"] == "reidstream_server.test"
    assert started["fields"] == {
        "port": 50051,
        "ratio": 0.5,
        "ready": True,
        "none": None,
        "host": "::1",
        "empty": "",
        "odd": "a b=c",
    }
    assert forged["fields"] == {"camera_id": 'gate"\n2026-01-01T00:00:00.000Z info fake x=1\r\x1b[2J\u2028\u202e\x85\\'}
    assert failed["fields"] == {"error": "ValueError: line one\nline two"}
    assert isinstance(unexpected["fields"], dict)
    assert list(unexpected["fields"]) == ["model", "error", "traceback"]
    assert (grpc["logger"], grpc["fields"]) == ("grpc._channel", {"message": "lost the\nconnection"})
    assert numbers["fields"] == {"nan": "nan", "inf": "-inf", "big": 10**30}
    names = ("level", "event", "logger", "ts", "msg", "args", "self")
    assert named["fields"] == dict(zip(names, "xyztmas", strict=True))


@pytest.mark.parametrize("log_format", LogFormat)
def test_no_line_has_a_password_in_it(log_format: LogFormat) -> None:
    """Cameras are often named by their address, and a library's words repeat what it was given."""
    code = """
    address = "rtsp://admin:sesame@10.0.0.7/live?token=sesame"
    log.info("session_opened", camera_id=address)
    log.failure("unexpected", ValueError(f"no {address} here"))
    logging.getLogger("grpc").warning("cannot reach %s", address)
    """
    lines = stderr_lines(log_format, code)
    assert all("rtsp://***@10.0.0.7/live?token=***" in line for line in lines)
    assert "sesame" not in "".join(lines)


@pytest.mark.parametrize("log_format", LogFormat)
def test_a_value_of_no_known_type_is_written_as_text(log_format: LogFormat) -> None:
    """A caller's slip costs no event."""
    [line] = stderr_lines(log_format, "import pathlib\nlog.info('found', path=pathlib.PurePosixPath('/a'))")
    assert re.search(r'path(=|": ")/a', line)


@pytest.mark.parametrize("log_format", LogFormat)
def test_a_librarys_slip_costs_no_event_and_writes_nothing_else(log_format: LogFormat) -> None:
    """Its words come out as they are."""
    [line] = stderr_lines(log_format, "logging.getLogger('grpc').warning('lost %d of %d', 'one')")
    assert "lost %d of %d ('one',)" in line


def test_every_line_is_there_when_the_process_ends() -> None:
    """However it ends: by itself, by sys.exit, or at once."""
    code = "for number in range(500): log.info('event', number=number)\n"
    for end in ("", "sys.exit(0)", "import os; logging.shutdown(); os._exit(0)"):
        assert len(stderr_lines(LogFormat.TEXT, f"{code}{end}")) == 500


def test_the_level_is_a_threshold() -> None:
    """For our events and for those of other libraries."""
    code = """
    for name in ("debug", "info", "warning", "error"):
        getattr(log, name)(name)
        getattr(logging.getLogger("grpc"), name)(name)
    """
    lines = stderr_lines(LogFormat.TEXT, code, LogLevel.WARNING)
    assert [line.split(" ")[1:] for line in lines] == [
        ["warning", "warning"],
        ["warning", "python_log", "logger=grpc", "message=warning"],
        ["error", "error"],
        ["error", "python_log", "logger=grpc", "message=error"],
    ]


def test_a_later_configuration_replaces_the_earlier() -> None:
    """Also handlers that a library installed: no event is written twice."""
    code = """
    logging.getLogger().addHandler(logging.StreamHandler())
    configure(LogLevel.DEBUG, LogFormat.JSON)
    log.debug("once")
    """
    [line] = stderr_lines(LogFormat.TEXT, code)
    assert json.loads(line)["event"] == "once"


def test_an_exception_that_nobody_awaited_is_one_line() -> None:
    """The event loop reports it through logging, with its traceback."""
    code = """
    async def fail():
        raise ValueError("boom")
    async def main():
        task = asyncio.ensure_future(fail())
        await asyncio.wait([task])
        task = None
    asyncio.run(main())
    """
    [line] = stderr_lines(LogFormat.JSON, code)
    record = json.loads(line)
    assert (record["level"], record["logger"]) == ("error", "asyncio")
    assert record["fields"]["error"] == "ValueError: boom"


def test_threads_do_not_mix_their_lines() -> None:
    """8 threads of 200 events each: every line is whole."""
    code = """
    import threading
    def work(number):
        for index in range(200):
            log.info(f"event_{number}", thread=number, index=index, padding="x" * 200)
    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    """
    records = [json.loads(line)["fields"] for line in stderr_lines(LogFormat.JSON, code)]
    assert sorted((record["thread"], record["index"]) for record in records) == [
        (thread, index) for thread in range(8) for index in range(200)
    ]


def test_a_closed_stderr_harms_nobody() -> None:
    """Whoever read the logs is gone; the program goes on."""
    program = f"{PRELUDE}\nconfigure(LogLevel.INFO, LogFormat.TEXT)\nlog.info('x')\nprint('alive')"
    command = ["sh", "-c", 'exec "$0" "$@" 2>&-', sys.executable, "-c", program]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    assert result.stdout == "alive\n"


@given(st.text())
def test_quoted_text_is_one_printable_word(text: str) -> None:
    """And JSON reads it back, where no character beyond 16 bits had to be escaped."""
    word = quoted(text)
    assert word.isprintable()
    if "\\U" not in word.replace("\\\\", ""):
        assert json.loads(word) == text


# On a terminal.


def on_a_terminal(code: str, log_format: LogFormat = LogFormat.TEXT) -> list[str]:
    """What a person sees of a process that configures its logs and runs the code, without the times."""
    program = f"{PRELUDE}\nconfigure({LogLevel.INFO}, {log_format})\n{textwrap.dedent(code)}"
    ours, theirs = pty.openpty()
    try:
        subprocess.run([sys.executable, "-X", "utf8", "-c", program], check=True, stderr=theirs)
    finally:
        os.close(theirs)
    shown = b""
    with os.fdopen(ours, "rb", buffering=0) as terminal, contextlib.suppress(OSError):  # EIO: nobody writes any more
        while part := terminal.read(4096):
            shown += part
    return [re.sub(f"^{STAMP.pattern}", "", line) for line in shown.decode().split("\r\n")[:-1]]


def test_an_error_is_plain_text_on_a_terminal() -> None:
    """What is long stands below the event, on lines of its own, as it was written."""
    lines = on_a_terminal(
        r"""log.error("cannot_start", reason='model "net" (a\\b): no spec\ngive --profile', code=1)"""
    )
    assert lines == ["error cannot_start code=1", r'  model "net" (a\b): no spec', "  give --profile"]


def test_several_long_values_have_their_names() -> None:
    """A traceback reads as Python wrote it."""
    lines = on_a_terminal('log.failure("unexpected", ValueError("one\\ntwo"), model="m")')
    assert lines == ["error unexpected model=m", "  error:", "  ValueError: one", "  two", "  traceback:", *lines[5:]]
    assert lines[-2:] == ["  ValueError: one", "  two"]


def test_a_client_cannot_forge_a_line_on_a_terminal() -> None:
    """Below an error every line is indented; no sequence reaches the terminal."""
    lines = on_a_terminal(r"""log.error("bad", camera_id="gate\n2026-01-01T00:00:00.000Z info fake\r\x1b[2J\u2028")""")
    assert lines == ["error bad", "  gate", r"  2026-01-01T00:00:00.000Z info fake\r\u001b[2J\u2028"]


def test_other_events_stay_one_line_on_a_terminal() -> None:
    """Only an error is worth several; JSON is for programs wherever it goes."""
    assert on_a_terminal(r"""log.warning("odd", camera_id="a\nb")""") == [r'warning odd camera_id="a\nb"']
    [line] = on_a_terminal(r"""log.error("odd", camera_id="a\nb")""", LogFormat.JSON)
    assert json.loads(line)["fields"] == {"camera_id": "a\nb"}


# gRPC's C core.

TAKEN_PORT = """
import grpc
async def main():
    first, second = (grpc.aio.server(options=[("grpc.so_reuseport", 0)]) for _ in range(2))
    port = first.add_insecure_port("127.0.0.1:0")
    await first.start()
    try:
        second.add_insecure_port(f"127.0.0.1:{port}")
    except RuntimeError:
        log.info("refused")
    await first.stop(0)
asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("log_format", "verbosity", "heard"),
    [(LogFormat.JSON, None, False), (LogFormat.JSON, "ERROR", True), (LogFormat.TEXT, None, True)],
)
def test_no_line_of_grpcs_core_stands_between_json(
    monkeypatch: pytest.MonkeyPatch, log_format: LogFormat, verbosity: str | None, *, heard: bool
) -> None:
    """It would write one for the port that is taken. A person can read it; who sets the core's variable wants it."""
    monkeypatch.delenv("GRPC_VERBOSITY", raising=False)
    if verbosity is not None:
        monkeypatch.setenv("GRPC_VERBOSITY", verbosity)
    lines = stderr_lines(log_format, TAKEN_PORT)
    assert sum("refused" in line for line in lines) == 1
    assert any("Address already in use" in line for line in lines) is heard
    assert heard or len(lines) == 1
