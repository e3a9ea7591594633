"""Two looks at the metrics, compared: what is so now, and what happened meanwhile.

Traps: a counter that went down belongs to another process, so nothing is said of it. And on a machine with two servers
the usual port may be that of the other one: metrics that name other models than the server does are not believed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from reidstream_client.cli.doctor.finding import Finding, ok, unseen, warning
from reidstream_client.cli.doctor.gather.exposition import Samples
from reidstream_client.cli.doctor.seen import Operators, Seen
from reidstream_client.errors import ReidError

from .words import listed, sentence

SHORTEST_S: Final = 1.0
"""Rates of less time say little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How the metrics went from one look to the next."""

    newest: Samples
    oldest: Samples
    seconds: float

    def rate(self, name: str, *, without: tuple[str, str] | None = None) -> float | None:
        """A counter's, a second; None if there was too little time. `without`: a label and the value to leave out."""
        grown = self.grown(name, *(() if without is None else (without[0],)))
        if self.seconds < SHORTEST_S or grown is None:
            return None
        return sum(value for key, value in grown.items() if without is None or key != without[1]) / self.seconds

    def grown(self, name: str, label: str = "") -> dict[str, float] | None:
        """By how much a counter went up, by a label's values; None where it is not there, or began anew."""
        if name not in self.newest.by_name:
            return None
        before, after = self.oldest.by_label(name, label), self.newest.by_label(name, label)
        found = {key: value - before.get(key, 0.0) for key, value in after.items()}
        return None if any(value < 0 for value in found.values()) else found


def metrics(seen: Seen) -> Finding:
    """There are metrics, and they are this server's."""
    operators = seen.operators
    if operators is None:
        return unseen("metrics", "Nobody knows where they are; --metrics URL says so.")
    if _of_another(seen):
        return warning(
            "metrics",
            f"The metrics at {operators.url} are of another server: its models are {listed(_models_of(operators))}.",
            "Give this server's own: --metrics http://HOST:PORT/metrics. Its log names the port (serving).",
        )
    if operators.looks:
        return ok("metrics", f"They are at {operators.url}.")
    why = sentence(f"there are no metrics at {operators.url}: {operators.error}")
    if seen.asked.metrics is None or operators.ready:
        return unseen("metrics", why)
    return warning(
        "metrics", why, "Check the address; the port is --metrics-port (9464), and --metrics-host opens it to others."
    )


def newest(seen: Seen) -> Samples | None:
    """The metrics as they are now; None if there are none of this server."""
    course = course_of(seen)
    return None if course is None else course.newest


def course_of(seen: Seen) -> Course | None:
    """Both looks; the same one twice, if there was no second."""
    operators = seen.operators
    if operators is None or not operators.looks or _of_another(seen):
        return None
    first, last = operators.looks[0], operators.looks[-1]
    return Course(newest=last.samples, oldest=first.samples, seconds=last.at_s - first.at_s)


def _of_another(seen: Seen) -> bool:
    models = None if seen.calls is None else seen.calls.models
    if seen.operators is None or models is None or isinstance(models, ReidError):
        return False
    told = _models_of(seen.operators)
    return bool(told) and any(told.get(model.name) != model.space_id for model in models)


def _models_of(operators: Operators) -> Mapping[str, str]:
    """The space of each model that the metrics name."""
    if not operators.looks:
        return {}
    series = map(dict, operators.looks[-1].samples.by_name.get("reidstream_model_info", {}))
    return {labels.get("model", ""): labels.get("space_id", "") for labels in series}
