"""How alerts reach people: a real Alertmanager with our configuration, and what it silences."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.alertmanager import running_alertmanager
from tests.support.patience import wait_until

CONFIG = Path(__file__).parents[2] / "deploy" / "prometheus" / "alertmanager.yml"


def alert(name: str, severity: str, instance: str = "gate:9464", **labels: str) -> dict[str, str]:
    """The labels of an alert of a server."""
    return {"alertname": f"Reidstream{name}", "severity": severity, "job": "reidstream", "instance": instance} | labels


@pytest.mark.needs("alertmanager")
def test_what_explains_another_alert_silences_it(tmp_path: Path) -> None:
    """A server that is gone silences whatever else is said of it, and a page its ticket; of other servers, nothing."""
    loud = [
        alert("ScrapeGone", "page"),
        alert("FramesLost", "page", "yard:9464"),
        alert("FramesLost", "ticket", "lobby:9464"),
        alert("MemoryHigh", "ticket", "yard:9464"),
        alert("EngineFailing", "page", "yard:9464", model="a"),
        {"alertname": "SomebodyElses", "severity": "page", "job": "reidstream", "instance": "gate:9464"},
    ]
    silent = [
        alert("NotReady", "page"),
        alert("FramesLost", "page"),
        alert("EngineFailing", "page", model="a"),
        alert("FramesLost", "ticket", "yard:9464"),
    ]
    with running_alertmanager(tmp_path, CONFIG) as manager:
        manager.post([*loud, *silent])
        # Until a route has taken it, an alert is unprocessed.
        wait_until(lambda: all(found["status"]["state"] != "unprocessed" for found in manager.alerts()))
        states = {frozenset(found["labels"].items()): found["status"] for found in manager.alerts()}
        receivers = {
            (found["labels"]["severity"], receiver["name"])
            for found in manager.alerts()
            for receiver in found["receivers"]
        }
    assert len(states) == len(loud) + len(silent)
    assert [labels for labels in loud if states[frozenset(labels.items())]["inhibitedBy"]] == []
    assert [labels for labels in silent if not states[frozenset(labels.items())]["inhibitedBy"]] == []
    assert receivers == {("page", "page"), ("ticket", "ticket")}


@pytest.mark.needs("alertmanager")
def test_amtool_finds_nothing_to_complain_of() -> None:
    """It comes with Alertmanager."""
    done = subprocess.run(["amtool", "check-config", CONFIG], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
