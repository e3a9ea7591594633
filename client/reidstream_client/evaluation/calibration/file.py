"""A threshold as a small JSON file, beside a gallery or in the configuration of a matcher.

Trap: a threshold means nothing in another space, and the numbers look alike. So whoever reads one says for which space,
and another one is refused.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

from reidstream_client.errors import FileError, SpaceMismatch

_KIND: Final = "reidstream-threshold"
_VERSION: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """Two vectors whose cosine is at least `threshold` count as the same person.

    low, high                         the interval of the threshold
    wanted_rate                       the false-match rate that was asked for
    false_match_rate, _low, _high     of the pairs that it was made of, and the interval for others of the kind
    false_non_match_rate              of pairs of one person
    people, impostor_pairs, genuine_pairs  what it was made of
    origin                            "labels" or "recorded stream"
    """

    space_id: str
    model: str
    distance: str
    threshold: float
    low: float
    high: float
    confidence: float
    wanted_rate: float
    false_match_rate: float
    false_match_rate_low: float
    false_match_rate_high: float
    false_non_match_rate: float | None
    people: int
    impostor_pairs: int
    genuine_pairs: int
    origin: str

    def check(self, space_id: str) -> None:
        """Raises SpaceMismatch if the vectors are of another space."""
        if space_id != self.space_id:
            raise SpaceMismatch(
                f"the threshold is of the space {self.space_id} (model {self.model}), and the vectors are of "
                f"{space_id}; make one for them: reidstream-client calibrate"
            )


def write_threshold(path: Path, threshold: Threshold) -> None:
    """Raises FileError."""
    unfinished = path.with_name(f".{path.name}.part")
    try:
        unfinished.write_text(json.dumps({_KIND: _VERSION, **asdict(threshold)}, indent=2) + "\n", encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        raise FileError(f"{path} cannot be written: {error.strerror}") from None


def read_threshold(path: Path, *, space_id: str) -> Threshold:
    """The threshold for vectors of a space. Raises FileError, SpaceMismatch."""
    try:
        read: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise FileError(f"{path} is no JSON: {error}") from None
    names = [field.name for field in fields(Threshold)]
    if not isinstance(read, dict) or read.get(_KIND) != _VERSION or any(name not in read for name in names):
        raise FileError(f"{path} is no threshold of `reidstream-client calibrate`, or of a newer version")
    number = read["threshold"]
    if not isinstance(number, int | float) or not math.isfinite(number):
        raise FileError(f"{path}: threshold is {number!r}, and must be a number")
    threshold = Threshold(**{name: read[name] for name in names})
    threshold.check(space_id)
    return threshold
