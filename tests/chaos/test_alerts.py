"""Every fault that an alert is for, made for real, under a real Prometheus: its alert fires, no other does, and it ends.

The rules are those of production with windows of seconds, and an objective of age that only a fault misses.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import pytest

from deploy.prometheus.alerts import alerting_groups
from deploy.prometheus.command import rules_text
from deploy.prometheus.durations import Duration, as_written, minutes
from deploy.prometheus.objectives import OBJECTIVES, Objectives
from deploy.prometheus.recording import recording_groups
from deploy.prometheus.rules import Alert, Recording
from tests.support.prometheus import Prometheus, running_prometheus
from tests.support.scenes import PAGE, SCENES, Play, Scene
from tests.support.scraped import AlertWatch, Target, listening, write_targets

STEP_S = 0.25
CONFIG = """
global: {{scrape_interval: {step}ms, scrape_timeout: {step}ms, evaluation_interval: {step}ms}}
rule_files: [{rules}]
scrape_configs: [{{job_name: reidstream, file_sd_configs: [{{files: [{targets}]}}]}}]
"""


def shorter(duration: Duration) -> Duration:
    """Five minutes are two seconds, and what is longer is longer, but not in proportion: three days are six."""
    return Duration(round(8 * STEP_S * 1000 * (duration.ms / minutes(5).ms) ** 0.2))


def all_alerts() -> set[tuple[str, str]]:
    """By name and severity."""
    groups = alerting_groups(OBJECTIVES, as_written)
    return {(rule.name, rule.severity.value) for group in groups for rule in group.rules if isinstance(rule, Alert)}


def all_records() -> set[str]:
    """The names of all recorded series."""
    groups = recording_groups(OBJECTIVES, as_written)
    return {rule.record for group in groups for rule in group.rules if isinstance(rule, Recording)}


@contextmanager
def scraping(folder: Path) -> Iterator[tuple[Prometheus, Path]]:
    """A Prometheus with our rules, and the file of its targets, of which there are none yet."""
    rules, targets = folder / "rules.yml", folder / "targets.json"
    rules.write_text(rules_text(Objectives(answered=0.999, fresh=0.99, age_s=2.5), shorter), encoding="utf-8")
    write_targets(targets, ())
    config = CONFIG.format(step=round(STEP_S * 1000), rules=rules, targets=targets)
    with running_prometheus(folder, config) as prometheus:
        yield prometheus, targets


@pytest.mark.needs("prometheus", "openssl")
async def test_each_alert_fires_for_its_own_fault_and_for_no_other_and_ends_with_it(tmp_path: Path) -> None:
    """Side by side, a server for each fault. Every alert is seen, every recorded series has data, and every text of an
    alert is whole.
    """
    look_back_s = shorter(minutes(5)).ms / 1000
    async with AsyncExitStack() as stack:
        prometheus, file = await asyncio.to_thread(stack.enter_context, scraping(tmp_path))
        watch = AlertWatch(prometheus)
        watching = asyncio.create_task(watch.run())
        fired = {("ReidstreamScrapeGone", PAGE)}
        await watch.settled("", fired, look_back_s)  # there is no target yet
        scenes = [(play, await _scene(play, watch, stack, tmp_path)) for play in SCENES]
        write_targets(file, (scene.target for _, scene in scenes))
        async with asyncio.TaskGroup() as group:
            for play, scene in scenes:
                group.create_task(_played(play, scene))
            group.create_task(watch.settled("", (), look_back_s))
        for _, scene in scenes:
            fired |= scene.fired
        found = await asyncio.to_thread(prometheus.query, '{__name__=~"reidstream:.*"}')
        watching.cancel()
    assert fired == all_alerts()
    assert {series["metric"]["__name__"] for series in found} == all_records()
    assert {series["metric"].get("fault") for series in found} == {None, *(play.__name__ for play in SCENES)}
    assert not [text for text in watch.annotations if "<no value>" in text or "error" in text or "NaN" in text]


async def _scene(play: Play, watch: AlertWatch, stack: AsyncExitStack, folder: Path) -> Scene:
    target = await stack.enter_async_context(listening(Target(play.__name__)))
    own = folder / play.__name__
    own.mkdir()
    look_back_s = shorter(minutes(5)).ms / 1000
    return Scene(target=target, watch=watch, step_s=STEP_S, look_back_s=look_back_s, folder=own)


async def _played(play: Play, scene: Scene) -> None:
    t = time.monotonic()
    await play(scene)
    print(play.__name__, time.monotonic() - t)
