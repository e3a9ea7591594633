"""Every name of a series, wherever it stands (rules, alerts, dashboards, pages, code), is one that there is."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from deploy.prometheus.alerts import alerting_groups
from deploy.prometheus.durations import as_written
from deploy.prometheus.objectives import OBJECTIVES
from deploy.prometheus.recording import recording_groups
from deploy.prometheus.rules import Recording
from reidstream_engines.fake import FakeStager
from reidstream_engines.protocol import DeviceUsage, PoolUsage
from tests.support.certificates import authority, signed
from tests.support.harness import serving
from tests.support.promql import names_of

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
RUNBOOKS = (ROOT / "docs" / "runbooks.md").read_text(encoding="utf-8")
CODE = ("server/reidstream_server", "bench", "demo", "client/reidstream_client")
PACKAGES = {path.name for path in ROOT.glob("*/reidstream_*")}
OTHERS = {"up", "ALERTS", "scrape_duration_seconds", "scrape_samples_scraped"}
"""What Prometheus itself adds."""
NO_SERIES = {"reidstream_fields"}
"""An attribute of log records."""
GROUPS = (*recording_groups(OBJECTIVES, as_written), *alerting_groups(OBJECTIVES, as_written))


@cache
def recorded() -> set[str]:
    """The names that our rules give."""
    return {rule.record for group in GROUPS for rule in group.rules if isinstance(rule, Recording)}


@pytest.fixture
async def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The names of all samples of a server that has everything: TLS, and a GPU."""
    pool = PoolUsage(in_use=1, idle=2, bound=4)
    usage = DeviceUsage(device="cuda:0", memory=pool, pinned=pool, decoded=5, declined=6)
    monkeypatch.setattr(FakeStager, "devices", lambda _: (usage,))
    pair = await asyncio.to_thread(signed, authority(tmp_path, "ca"), "gate")
    tls = {"tls_cert_file": pair.certificate, "tls_key_file": pair.key}
    async with serving(metrics_enabled=True, **tls) as server:
        server.parts.series.self_tested("fake", 0.99999)
        return {sample.name for family in server.parts.registry.collect() for sample in family.samples}


def files(folder: Path) -> Iterator[tuple[Path, str]]:
    """Every text below a folder."""
    for path in sorted(folder.rglob("*")):
        if path.suffix in {".py", ".yml", ".yaml", ".json", ".md", ".sh", ".conf", ".toml"}:
            yield path, path.read_text(encoding="utf-8")


def named(text: str) -> set[str]:
    """Names of our series in any text: counted ones, and recorded ones. Names of packages are none."""
    found = set(re.findall(r"\breidstream_[a-z0-9_]*[a-z0-9]\b(?!_)", text)) - PACKAGES
    return found | set(re.findall(r"\breidstream:[a-z0-9_:]*[a-z0-9]\b", text))


def expressions(value: Any) -> Iterator[str]:
    """Every query in a dashboard."""
    if isinstance(value, dict):
        if isinstance(value.get("expr"), str):
            yield value["expr"]
        for each in value.values():
            yield from expressions(each)
    elif isinstance(value, list):
        for each in value:
            yield from expressions(each)


async def test_every_name_in_deploy_and_in_the_pages_is_there(served: set[str]) -> None:
    """Whatever kind of file it is."""
    known = served | recorded()
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in served}
    texts = [*files(ROOT / "deploy"), *((page, page.read_text(encoding="utf-8")) for page in PAGES)]
    wrong = {
        f"{path.relative_to(ROOT)}: {name}"
        for path, text in texts
        for name in named(text) - known - families
        if not _is_template(path, name, known)
    }
    assert wrong == set()


def _is_template(path: Path, name: str, known: set[str]) -> bool:
    """In code, a name may be put together: what stands there is how one begins."""
    return path.suffix == ".py" and any(whole.startswith(name) for whole in known)


async def test_every_query_asks_for_series_that_are_there(served: set[str]) -> None:
    """Of rules and alerts, of dashboards, and of pages; those of other exporters are named here."""
    queries = [rule.expr for group in GROUPS for rule in group.rules]
    for path in (ROOT / "deploy").rglob("*.json"):
        queries += expressions(json.loads(path.read_text(encoding="utf-8")))
    for page in PAGES:
        queries += re.findall(r"^```promql\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    asked = {name for query in queries for name in names_of(query)}
    assert asked - served - recorded() - OTHERS == set()
    assert {"reidstream_frames_total", "up", "process_open_fds", "reidstream:frames_lost:ratio_rate5m"} <= asked


async def test_every_name_in_code_is_there(served: set[str]) -> None:
    """A counter has no `_total` where it is made."""
    bases = served | {re.sub(r"_(total|bucket|sum|count|info)$", "", name) for name in served}
    wrong = {
        f"{path.relative_to(ROOT)}: {name}"
        for folder in CODE
        for path, text in files(ROOT / folder)
        if path.suffix == ".py"
        for name in re.findall(r"[\"'`](reidstream_[a-z0-9_]*[a-z0-9])[\"'`{ ]", text)
        if name not in bases | PACKAGES | NO_SERIES
    }
    assert wrong == set()


def test_a_name_that_is_nowhere_is_seen() -> None:
    """The checks themselves can fail."""
    assert named("`reidstream_no_such_total` in reidstream_server, reidstream:no:such5m.") == {
        "reidstream_no_such_total",
        "reidstream:no:such5m",
    }
    query = """
        sum without (outcome) (rate(a_total{outcome=~"b|c", d='e'}[5m])) / on (instance, model) group_left (f) g:h:i5m
        or label_replace(max by (x) (j), "part", "k l", "", "") and ignoring (m) n offset 5m # o
        unless absent(up{job="q"} == bool 0) > 1e3 * 0x1F
    """
    assert names_of(query) == {"a_total", "g:h:i5m", "j", "n", "up"}
    assert list(expressions({"panels": [{"targets": [{"expr": "a"}, {"expr": "b"}]}]})) == ["a", "b"]


@pytest.mark.needs("curl")
async def test_the_first_command_of_every_runbook_says_something(tmp_path: Path) -> None:
    """It is run as printed, against a running server; every word that it looks for is there."""
    commands = re.findall(r"^## (\w+)\n\n```sh\n(.*?)^```", RUNBOOKS, re.MULTILINE | re.DOTALL)
    assert len(commands) == RUNBOOKS.count("\n## ")
    pair = await asyncio.to_thread(signed, authority(tmp_path, "ca"), "gate")
    async with serving(metrics_enabled=True, tls_cert_file=pair.certificate, tls_key_file=pair.key) as server:
        environment = os.environ | {"INSTANCE": f"localhost:{server.metrics_port}"}
        for name, command in commands:
            run = ["bash", "-o", "pipefail", "-c", command]
            done = await asyncio.to_thread(
                subprocess.run, run, env=environment, capture_output=True, text=True, check=False
            )
            assert (done.returncode, done.stderr) == (0, ""), name
            assert done.stdout.strip(), name
            (pattern,) = re.findall(r"grep -E '(.*)'", command) or ("",)
            for word in re.findall(r"[a-z_]{5,}", pattern.replace("reidstream_(", "")):
                assert word in done.stdout, (name, word)
