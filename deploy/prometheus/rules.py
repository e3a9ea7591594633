"""What Prometheus evaluates: recorded series and alerts, in groups. Within a group, one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from .durations import Duration

JOB = "reidstream"
"""The name of the scrape job. Our own series need no name of a job; `up` and `process_...` are everybody's."""


class Severity(Enum):
    """PAGE: wake somebody, frames are being lost now. TICKET: somebody looks at it on a working day."""

    PAGE = "page"
    TICKET = "ticket"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A series that is computed again and again, under a name of its own."""

    record: str
    expr: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """What fires while `expr` has a result, once it has had one for `lasting`.

    `summary` and `description` are templates, with the value in them. The section of the runbook has the alert's name.
    """

    name: str
    severity: Severity
    expr: str
    lasting: Duration
    summary: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Rules that are evaluated together."""

    name: str
    rules: tuple[Recording | Alert, ...]
