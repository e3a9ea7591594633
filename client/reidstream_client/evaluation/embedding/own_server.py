"""A server that is started for a run, on a free port of this machine, and ended with it.

Why a process: the client knows nothing of the server's code, and the models need none of the client's memory. Trap: a
server whose log nobody reads stands still once the pipe is full, so a thread reads it to the end.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import Final

from reidstream_client.errors import FileError, MissingExtra, ServerUnavailable

_PACKAGE: Final = "reidstream_server"
_LAST_LINES: Final = 5
_END_S: Final = 20.0


@contextmanager
def own_server(model: Path, profile: str | None) -> Iterator[str]:
    """Start a server of one model; gives its address. Raises MissingExtra, FileError, ServerUnavailable."""
    if importlib.util.find_spec(_PACKAGE) is None:
        raise MissingExtra(
            "--model-file starts a server, and its package is not installed: pip install reidstream-server, or start a "
            "server elsewhere and name it with --server"
        )
    if not model.is_file():
        raise FileError(f"{model} is no file")
    command = [sys.executable, "-m", f"{_PACKAGE}.cli", "--port", "0", "--metrics-port", "0", "--log-format", "json"]
    command += ["--model", str(model), *([] if profile is None else ["--profile", profile])]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)  # noqa: S603
    said: Queue[str | None] = Queue()
    last: deque[str] = deque(maxlen=_LAST_LINES)
    reader = threading.Thread(target=_read, args=(process, said, last), daemon=True)
    reader.start()
    try:
        address = said.get()
        if address is None:
            raise ServerUnavailable(f"the server for {model} did not start: {_reason(last)}")
        yield address
    finally:
        process.terminate()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join()


def _read(process: subprocess.Popen[str], said: Queue[str | None], last: deque[str]) -> None:
    """Give the address once the server serves, and None when it has ended."""
    if process.stderr is None:
        said.put(None)
        return
    with process.stderr:
        for line in process.stderr:
            last.append(line.strip())
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if event.get("event") == "serving":
                said.put(str(event["fields"]["address"]))
    said.put(None)


def _reason(last: deque[str]) -> str:
    """The last words of its log, without the log's form."""
    words = []
    for line in last:
        try:
            event = json.loads(line)
        except ValueError:
            words.append(line)
        else:
            fields = event.get("fields", {})
            words.append(" ".join([str(event.get("event", "")), *(str(value) for value in fields.values())]))
    return "; ".join(word for word in words if word) or "it said nothing"
