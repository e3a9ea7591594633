"""Structured logs on stderr: one event, one line, as text or as JSON.

    2026-01-31T12:00:00.000Z info session_opened camera_id=gate-1 models=1
    {"ts": ..., "level": "info", "logger": "...", "event": "session_opened", "fields": {"camera_id": "gate-1", ...}}

An error is for a person where a person reads: as text on a terminal, its long values stand below it, on lines that are
indented.

Why on top of the standard library's logging: gRPC, asyncio and the warnings module log there. Their records come out in
the same form, as the event `python_log`. gRPC's C core writes to stderr by itself, such as a line for each handshake of
TLS that fails. A person can read that between our lines, a program that reads JSON cannot, so there the core is silent.
Why its lines are not caught instead: a pipe in the place of stderr would lose what a library says just before it kills
the process.

Nobody waits for whoever reads the log (`log_writer`), and a flood of one event is cut (`log_floods`).

Trap: values come from clients. A camera_id with a line break or an escape sequence must not become a line of its own,
or a command to a terminal. So every character that is not printable is escaped here, in tracebacks too.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import sys
import traceback
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum
from typing import assert_never

from typing_extensions import override

from reidstream_server.log_floods import FloodGate
from reidstream_server.log_writer import LineWriter, never_wait_for, stderr
from reidstream_server.redaction import without_secrets

Value = str | int | float | None | BaseException
"""What a field may hold. An exception is written as its type and message."""

_FIELDS = "reidstream_fields"
_CHATTER = "grpc._cython.cygrpc"  # at DEBUG it writes at least one record per call, about its own event loop only
_CORE_VERBOSITY = "GRPC_VERBOSITY"  # gRPC's C core reads it when gRPC is imported
_LONG = 60
_BARE = re.compile(r"[A-Za-z0-9_.:/@%+-]+")
_SHORT_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_LAST_BMP = 0xFFFF


class LogLevel(Enum):
    """The least severe events that are written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(Enum):
    """How an event is written."""

    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Logger:
    """Writes events. Thread-safe. `event` is snake_case and fixed in the code; values that vary are fields."""

    _log: logging.Logger

    def debug(self, event: str, /, **fields: Value) -> None:
        """For a developer who looks for a fault."""
        self._write(logging.DEBUG, event, fields)

    def info(self, event: str, /, **fields: Value) -> None:
        """A part of normal work."""
        self._write(logging.INFO, event, fields)

    def warning(self, event: str, /, **fields: Value) -> None:
        """Something that an operator may want to change."""
        self._write(logging.WARNING, event, fields)

    def error(self, event: str, /, **fields: Value) -> None:
        """Something failed that should not fail."""
        self._write(logging.ERROR, event, fields)

    def failure(self, event: str, error: BaseException, /, **fields: Value) -> None:
        """An error whose cause is in the code: adds the fields `error` and `traceback`."""
        self._write(logging.ERROR, event, fields, error)

    def _write(self, level: int, event: str, fields: dict[str, Value], error: BaseException | None = None) -> None:
        if self._log.isEnabledFor(level):
            self._log.log(level, event, exc_info=error, extra={_FIELDS: fields})


def get_logger(name: str) -> Logger:
    """The logger of a module: `get_logger(__name__)`. May be called before `configure`."""
    return Logger(logging.getLogger(name))


def configure(level: LogLevel, log_format: LogFormat) -> None:
    """Send every log record and warning of the process to its current stderr. A later call replaces an earlier one.

    Before gRPC is imported: beside JSON its C core is silent, unless GRPC_VERBOSITY is set.
    """
    file = stderr()
    if file is not None:
        never_wait_for(file)
    logging.basicConfig(force=True, handlers=[_Handler(file, _formatter(log_format))], level=level.name)
    logging.getLogger(_CHATTER).setLevel(max(logging.INFO, logging.getLogger().level))
    logging.captureWarnings(capture=True)
    if log_format is LogFormat.JSON:
        os.environ.setdefault(_CORE_VERBOSITY, "NONE")


def flush() -> None:
    """Wait until what was logged is written, but below a second. `logging.shutdown` does it too."""
    for handler in _handlers():
        handler.flush()


def lines_dropped() -> int:
    """How many lines could not be written since `configure`. Any thread."""
    return sum(handler.dropped for handler in _handlers())


def _handlers() -> list[_Handler]:
    return [handler for handler in logging.getLogger().handlers if isinstance(handler, _Handler)]


class _Handler(logging.Handler):
    """Formats a record where it is logged, since what it tells of may change, and leaves the writing to a thread."""

    def __init__(self, file: int | None, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
        self._writer = LineWriter(file, lambda n: self._own_line("log_lines_dropped", lines=n), encoding=encoding)
        left_out = "log_lines_left_out"
        self._gate = FloodGate(lambda event, n: self._writer.write(self._own_line(left_out, event=event, lines=n)))

    @property
    def dropped(self) -> int:
        return self._writer.dropped

    @override
    def emit(self, record: logging.LogRecord) -> None:
        try:
            event = str(record.msg) if hasattr(record, _FIELDS) else f"python_log {record.name}"
            if self._gate.admits(event):
                self._writer.write(self.format(record))
        except Exception:  # noqa: BLE001 - logging's own way: whoever logs goes on
            self.handleError(record)

    @override
    def flush(self) -> None:
        self._gate.close()
        self._writer.flush()

    @override
    def close(self) -> None:
        self.flush()
        self._writer.close()
        super().close()

    def _own_line(self, event: str, /, **fields: Value) -> str:
        record = logging.LogRecord(__name__, logging.WARNING, __file__, 0, event, None, None)
        setattr(record, _FIELDS, fields)
        return self.format(record)


def _formatter(log_format: LogFormat) -> logging.Formatter:
    match log_format:
        case LogFormat.TEXT:
            on_terminal = sys.stderr is not None and sys.stderr.isatty()  # it is None where stderr is closed
            return _TerminalFormatter() if on_terminal else _TextFormatter()
        case LogFormat.JSON:
            return _JsonFormatter()
        case _:
            assert_never(log_format)


def quoted(text: str) -> str:
    r"""The text in double quotes, on one line, with no character that moves a cursor or hides another.

    A character that is not printable becomes \\uXXXX or \\UXXXXXXXX. The result is a basic string of TOML.
    """
    return f'"{"".join(_escaped(character) for character in text)}"'


def _escaped(character: str) -> str:
    if character in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[character]
    if character.isprintable():
        return character
    return f"\\u{ord(character):04x}" if ord(character) <= _LAST_BMP else f"\\U{ord(character):08x}"


class _TextFormatter(logging.Formatter):
    """`ts level event key=value`."""

    def format(self, record: logging.LogRecord) -> str:
        return _line(record, *_event(record))


class _TerminalFormatter(logging.Formatter):
    """The same, but the long values of an error stand below it, each of their lines indented.

    So no line that begins with a time can come from a client.
    """

    def format(self, record: logging.LogRecord) -> str:
        event, fields = _event(record)
        if record.levelno < logging.ERROR:
            return _line(record, event, fields)
        texts = {key: str(_plain(value)) for key, value in fields.items()}
        below = {key: text for key, text in texts.items() if len(text) > _LONG or "\n" in text}
        lines = [_line(record, event, {key: value for key, value in fields.items() if key not in below})]
        for key, text in below.items():
            if len(below) > 1:
                lines.append(f"  {key}:")
            lines += [f"  {_shown(line)}" for line in text.rstrip("\n").split("\n")]
        return "\n".join(lines)


class _JsonFormatter(logging.Formatter):
    """One object per line. Fields are nested, so they cannot hide ts, level, logger or event."""

    def format(self, record: logging.LogRecord) -> str:
        event, fields = _event(record)
        line = {
            "ts": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": event,
            "fields": {key: _plain(value) for key, value in fields.items()},
        }
        return json.dumps(line, ensure_ascii=True, default=str)


def _event(record: logging.LogRecord) -> tuple[str, dict[str, Value]]:
    """Name and fields of a record. A record that did not come through a Logger is a `python_log` with its message."""
    own: dict[str, Value] | None = getattr(record, _FIELDS, None)
    fields: dict[str, Value] = {"message": _message(record)} if own is None else dict(own)
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        fields |= {"error": error, "traceback": "".join(traceback.format_exception(error))}
    return "python_log" if own is None else record.msg, fields


def _message(record: logging.LogRecord) -> str:
    """A library's words, also if its values do not fit them: Python would write a traceback to stderr by itself."""
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - whatever a library's value does when it is written
        return f"{record.msg} {record.args!r}"


def _line(record: logging.LogRecord, event: str, fields: dict[str, Value]) -> str:
    if not hasattr(record, _FIELDS):
        fields = {"logger": record.name, **fields}
    words = [_time(record), record.levelname.lower(), event]
    words += [f"{key}={_text(value)}" for key, value in fields.items()]
    return " ".join(words)


def _shown(line: str) -> str:
    """A line for a person to read: what is printable as it is, and all else escaped."""
    return "".join(character if character.isprintable() else _escaped(character) for character in line)


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, timezone.utc)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def _plain(value: Value) -> str | int | float | None:
    """As JSON can hold it; JSON has neither exceptions nor infinities."""
    if isinstance(value, BaseException):
        return without_secrets(f"{type(value).__name__}: {value}")
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _text(value: Value) -> str:
    match _plain(value):
        case None:
            return "none"
        case bool() as switch:
            return "true" if switch else "false"
        case other:
            text = str(other)
            return text if _BARE.fullmatch(text) else quoted(text)
