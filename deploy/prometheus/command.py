"""Writes the rules of production beside this file."""

from __future__ import annotations

from pathlib import Path

from .alerts import alerting_groups
from .durations import Timing, as_written
from .objectives import OBJECTIVES, Objectives
from .recording import recording_groups
from .yaml import rules_file

RULES = Path(__file__).with_name("reidstream.rules.yml")


def rules_text(objectives: Objectives = OBJECTIVES, timing: Timing = as_written) -> str:
    """All rules, recorded series first."""
    return rules_file((*recording_groups(objectives, timing), *alerting_groups(objectives, timing)))


def main() -> None:
    """Write the file that Prometheus reads."""
    RULES.write_text(rules_text(), encoding="utf-8")
