"""Every fault that an alert is for, made for real, under a real Prometheus: its alert fires, no other, and it ends.

The rules are those of production with windows of seconds, and an objective of age that only a fault misses.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from deploy.prometheus.alerts import alerting_groups
from deploy.prometheus.command import rules_text
from deploy.prometheus.durations import Duration, Timing, as_written, minutes
from deploy.prometheus.objectives import OBJECTIVES, Objectives
from deploy.prometheus.recording import recording_groups
from deploy.prometheus.rules import Alert, Recording
from tests.support.patience import HANG_S
from tests.support.prometheus import running_prometheus
from tests.support.scenes import PAGE, SCENES, Play, Scene
from tests.support.scraped import LOOK_BACK_STEPS, AlertWatch, Target, listening, write_targets

STEP_S = 0.25
CONFIG = """
global: {{scrape_interval: {step}ms, scrape_timeout: {step}ms, evaluation_interval: {step}ms}}
rule_files: [{folder}/rules.yml]
scrape_configs: [{{job_name: reidstream, file_sd_configs: [{{files: [{folder}/targets.json]}}]}}]
"""
REACHABLE = Objectives(answered=0.999, fresh=0.99, age_s=2.5)


def shorter(step_s: float) -> Timing:
    """Five minutes are eight scrapes, and what is longer is longer, but not in proportion: three days are 25."""

    def timing(duration: Duration) -> Duration:
        return Duration(round(LOOK_BACK_STEPS * step_s * 1000 * (duration.ms / minutes(5).ms) ** 0.2))

    return timing


def configured(folder: Path, step_s: float) -> str:
    """Write the rules; the configuration of a Prometheus with them."""
    (folder / "rules.yml").write_text(rules_text(REACHABLE, shorter(step_s)), encoding="utf-8")
    return CONFIG.format(step=round(step_s * 1000), folder=folder)


def all_alerts() -> set[tuple[str, str]]:
    """By name and severity."""
    groups = alerting_groups(OBJECTIVES, as_written)
    return {(rule.name, rule.severity.value) for group in groups for rule in group.rules if isinstance(rule, Alert)}


def all_records() -> set[str]:
    """The names of all recorded series."""
    groups = recording_groups(OBJECTIVES, as_written)
    return {rule.record for group in groups for rule in group.rules if isinstance(rule, Recording)}


@pytest.mark.needs("prometheus", "openssl")
@pytest.mark.timeout(3 * HANG_S)  # many waits, one after the other
async def test_each_alert_fires_for_its_own_fault_and_for_no_other_and_ends_with_it(tmp_path: Path) -> None:
    """Side by side, a server for each fault. Every alert is seen, every recorded series has data, and every text of an
    alert is whole.
    """
    targets = tmp_path / "targets.json"
    write_targets(targets, ())

    def configure(step_s: float) -> None:
        (tmp_path / "prometheus.yml").write_text(configured(tmp_path, step_s), encoding="utf-8")

    async with AsyncExitStack() as stack:
        starting = running_prometheus(tmp_path, configured(tmp_path, STEP_S))
        prometheus = await asyncio.to_thread(stack.enter_context, starting)
        watch = AlertWatch(prometheus, configure, STEP_S)
        watching = asyncio.create_task(watch.run())
        fired = {("ReidstreamScrapeGone", PAGE)}
        await watch.settled("", fired)  # there is no target yet
        scenes = [(play, await _scene(play, watch, stack, tmp_path)) for play in SCENES]
        write_targets(targets, (scene.target for _, scene in scenes))
        async with asyncio.TaskGroup() as group:
            for play, scene in scenes:
                group.create_task(play(scene))
            group.create_task(watch.settled("", ()))
        for _, scene in scenes:
            fired |= scene.fired
        found = await asyncio.to_thread(prometheus.query, 'last_over_time({__name__=~"reidstream:.*"}[1h])')
        watching.cancel()
    assert fired == all_alerts()
    assert {series["metric"]["__name__"] for series in found} == all_records()
    assert {series["metric"].get("fault") for series in found} == {None, *(play.__name__ for play in SCENES)}
    assert not [text for text in watch.annotations if "<no value>" in text or "error" in text or "NaN" in text]


async def _scene(play: Play, watch: AlertWatch, stack: AsyncExitStack, folder: Path) -> Scene:
    target = await stack.enter_async_context(listening(Target(play.__name__)))
    own = folder / play.__name__
    own.mkdir()
    return Scene(target=target, watch=watch, step_s=STEP_S, folder=own)
