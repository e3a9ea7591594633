"""A real Alertmanager that a test starts, and what it says over its API."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.patience import HANG_S, wait_until


def alertmanager() -> str | None:
    """The program: Debian gives it another name."""
    return shutil.which("alertmanager") or shutil.which("prometheus-alertmanager")


@dataclass(frozen=True, slots=True)
class Alertmanager:
    """A running one."""

    address: str

    def post(self, alerts: Iterable[Mapping[str, str]]) -> None:
        """Tell it of alerts that fire, by their labels."""
        body = json.dumps([{"labels": labels} for labels in alerts]).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://{self.address}/api/v2/alerts", data=body, headers=headers)
        urllib.request.urlopen(request, timeout=HANG_S).close()  # noqa: S310

    def alerts(self) -> list[Any]:
        """What it knows, with what silences each."""
        with urllib.request.urlopen(f"http://{self.address}/api/v2/alerts", timeout=HANG_S) as answer:
            found: list[Any] = json.load(answer)
        return found


@contextmanager
def running_alertmanager(folder: Path, config: Path) -> Iterator[Alertmanager]:
    """One on a free port, ready, that knows no other."""
    program, log = alertmanager(), folder / "alertmanager.log"
    assert program is not None
    command = [program, f"--config.file={config}", f"--storage.path={folder / 'alertmanager'}"]
    command += ["--web.listen-address=127.0.0.1:0", "--cluster.listen-address="]
    with log.open("w", encoding="utf-8") as stderr, subprocess.Popen(command, stderr=stderr) as process:
        try:
            wait_until(lambda: process.poll() is not None or _port(log.read_text(encoding="utf-8")))
            port = _port(log.read_text(encoding="utf-8"))
            assert port, log.read_text(encoding="utf-8")
            yield Alertmanager(f"127.0.0.1:{port}")
        finally:
            process.terminate()


def _port(said: str) -> str:
    found = re.search(r"address=127\.0\.0\.1:([1-9]\d*)", said)
    return found[1] if found is not None else ""
