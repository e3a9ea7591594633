"""Prometheus's text format, version 0.0.4, read strictly.

Why strictly: a page that is no page of metrics must not look like a server without faults. So a line that is no sample
and no comment is an error, not something to step over.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

Labels: TypeAlias = "tuple[tuple[str, str], ...]"

_NAME: Final = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_SAMPLE: Final = re.compile(rf"({_NAME})(?:\{{(.*)\}})?[ \t]+(\S+)(?:[ \t]+-?[0-9]+)?[ \t]*", re.ASCII)
_LABEL: Final = re.compile(r'[ \t]*([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\.)*)"[ \t]*(,|$)', re.ASCII)
_ESCAPES: Final = {r"\\": "\\", r"\"": '"', r"\n": "\n"}


class NotMetrics(ValueError):
    """The page is not in this format. The message has the line."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Every sample of a page, by name."""

    by_name: Mapping[str, Mapping[Labels, float]] = field(default_factory=dict)

    def value(self, name: str) -> float | None:
        """The sum over all labels; None if there is no such series."""
        found = self.by_name.get(name)
        return None if found is None else sum(found.values())

    def by_label(self, name: str, label: str) -> dict[str, float]:
        """The sums by one label's values; empty if there is no such series."""
        sums: dict[str, float] = {}
        for labels, value in self.by_name.get(name, {}).items():
            key = dict(labels).get(label, "")
            sums[key] = sums.get(key, 0.0) + value
        return sums

    def labels(self, name: str) -> Mapping[str, str]:
        """The labels of a series that has one sample, as those that end in `_info`; empty if there is none."""
        return dict(next(iter(self.by_name.get(name, {})), ()))


def parse(page: str) -> Samples:
    """Raises NotMetrics."""
    found: dict[str, dict[Labels, float]] = {}
    for number, line in enumerate(page.split("\n"), 1):
        text = line.strip(" \t\r")
        if not text or text.startswith("#"):
            continue
        sample = _SAMPLE.fullmatch(text)
        if sample is None:
            raise NotMetrics(f"line {number} is no sample: {text[:60]!r}")
        name, labels, value = sample.groups()
        try:
            found.setdefault(name, {})[_labels(labels or "", number)] = float(value)
        except ValueError:
            raise NotMetrics(f"line {number} has no number: {value[:60]!r}") from None
    if not found:
        raise NotMetrics("the page has no samples")
    return Samples(found)


def _labels(text: str, number: int) -> Labels:
    at, found = 0, []
    while at < len(text):
        label = _LABEL.match(text, at)
        if label is None:
            raise NotMetrics(f"line {number} has labels that are none: {text[:60]!r}")
        found.append((label[1], re.sub(r"\\.", lambda escape: _ESCAPES.get(escape[0], escape[0]), label[2])))
        at = label.end()
    return tuple(found)
