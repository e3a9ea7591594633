"""Two runs over the same queries and the same gallery, figure by figure.

Trap: two runs over different queries, or under different protocols, have figures with the same names. They are refused,
by the digest of what was asked of whom.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reidstream_client.errors import FileError
from reidstream_client.evaluation.metrics.paired import LEVEL, Difference, compare

from .stored import StoredRun


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """`first` and `second`: the runs in words. `differences`: the second's figures minus the first's."""

    first: str
    second: str
    confidence: float
    differences: Mapping[str, Difference]

    def lines(self) -> list[str]:
        """For people."""
        lines = [f"first:  {self.first}", f"second: {self.second}", "second minus first:"]
        lines += [f"  {name:<8}{difference_text(found)}" for name, found in self.differences.items()]
        return lines

    def as_json(self) -> dict[str, Any]:
        """In JSON's own types."""
        return {
            "first": self.first,
            "second": self.second,
            "confidence": self.confidence,
            "level": LEVEL,
            "differences": {
                name: {
                    "value": found.value,
                    "low": found.low,
                    "high": found.high,
                    "p": found.p,
                    "distinguishable": found.distinguishable,
                }
                for name, found in self.differences.items()
            },
        }


def compare_reports(first: StoredRun, second: StoredRun, *, confidence: float = 0.95, seed: int = 0) -> Comparison:
    """Raises FileError if they are not of the same queries and gallery."""
    if first.digest != second.digest:
        raise FileError(
            "the two runs cannot be compared: their queries, gallery or protocol differ; evaluate both on the same "
            "data set with the same --protocol, --split, --identities and --seed"
        )
    return Comparison(
        first=first.what,
        second=second.what,
        confidence=confidence,
        differences=compare(first.identities, first.columns, second.columns, confidence=confidence, seed=seed),
    )


def difference_text(found: Difference) -> str:
    """One difference in points of a hundred: `+0.42 (-0.80 to +1.64), p 0.49: not distinguishable`."""
    interval = (
        "" if found.low is None or found.high is None else f" ({100 * found.low:+.2f} to {100 * found.high:+.2f})"
    )
    return f"{100 * found.value:+.2f}{interval}, p {found.p:.2g}: {found.words()}"
