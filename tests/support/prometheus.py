"""A real Prometheus that a test starts, and what it says over its API.

Trap: its log names the port that it got. So the log goes to a file, which a pipe that nobody reads could not replace.
"""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.patience import HANG_S, wait_until


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A running one. Any thread; every method waits for an answer."""

    address: str

    def ask(self, path: str, **parameters: str) -> Any:
        """The data of an answer of `/api/v1/PATH`."""
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"http://{self.address}/api/v1/{path}?{query}", timeout=HANG_S) as answer:
            return json.load(answer)["data"]

    def reload(self) -> None:
        """Have it read its configuration and its rules again."""
        with closing(http.client.HTTPConnection(self.address, timeout=HANG_S)) as connection:
            connection.request("POST", "/-/reload")
            answer = connection.getresponse()
            assert answer.status == http.HTTPStatus.OK, answer.read()

    def query(self, expr: str) -> list[Any]:
        """What an expression gives now."""
        found: list[Any] = self.ask("query", query=expr)["result"]
        return found


@contextmanager
def running_prometheus(folder: Path, config: str, *flags: str) -> Iterator[Prometheus]:
    """One on a free port, with its files in `folder`; ready."""
    file, log = folder / "prometheus.yml", folder / "prometheus.log"
    file.write_text(config, encoding="utf-8")
    command = ["prometheus", f"--config.file={file}", f"--storage.tsdb.path={folder / 'data'}"]
    command += ["--web.listen-address=127.0.0.1:0", "--web.enable-lifecycle", *flags]
    with log.open("w", encoding="utf-8") as stderr, subprocess.Popen(command, stderr=stderr) as process:
        try:
            wait_until(lambda: process.poll() is not None or _port(log.read_text(encoding="utf-8")))
            port = _port(log.read_text(encoding="utf-8"))
            assert port, log.read_text(encoding="utf-8")
            yield Prometheus(f"127.0.0.1:{port}")
        finally:
            process.terminate()


def _port(said: str) -> str:
    """Once it is ready; nothing before that. It says both in either order."""
    found = re.search(r"address=127\.0\.0\.1:([1-9]\d*)", said)
    return found[1] if found is not None and "Server is ready" in said else ""
