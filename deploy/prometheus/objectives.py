"""What is promised to whoever sends frames. Change it here, then `make rules`.

Trap: age is read from a histogram, so its objective must be an edge of a bucket. And an alert that fires when the
budget burns 14.4 times too fast can never fire if the budget is more than a fourteenth of all frames.
"""

from __future__ import annotations

from dataclasses import dataclass

from reidstream_server.metrics.series import SECONDS_BUCKETS

FASTEST_BURN = 14.4
"""Of a budget for 30 days: a fiftieth of it in an hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objectives:
    """`answered`: the share of frames that are not lost by the server's fault. `fresh`: the share of frames that are
    no older than `age_s` when their answers are ready.
    """

    answered: float
    fresh: float
    age_s: float

    def __post_init__(self) -> None:
        if self.age_s not in SECONDS_BUCKETS:
            edges = ", ".join(f"{edge:g}" for edge in SECONDS_BUCKETS)
            raise ValueError(f"age_s is {self.age_s:g}, and no bucket ends there; choose one of {edges}")
        lowest = 1 - 1 / FASTEST_BURN
        for name, share in (("answered", self.answered), ("fresh", self.fresh)):
            if not lowest < share < 1:
                raise ValueError(f"{name} is {share:g}; choose a share above {lowest:.3f} and below 1")


OBJECTIVES = Objectives(answered=0.999, fresh=0.99, age_s=0.25)

RUNBOOKS = "docs/runbooks.md"
"""Where the runbooks are, for the links of alerts: a path in a checkout. If you publish the page, its address."""
