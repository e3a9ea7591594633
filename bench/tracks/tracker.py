"""A tracker of the usual kind, the same for every policy: motion, overlap and appearance.

In each frame:

    1. predict        boxes move on with a constant velocity (an alpha-beta filter)
    2. clear pairs    a box and a track that overlap each other by more than CLEAR, and by MARGIN more than any other:
                      the box is sent with that track's id. All other boxes are sent without one.
    3. ask            rows come back for some or all boxes (`answers`)
    4. pairs          boxes and tracks that were seen within NEAR_S are paired for the least cost in all: 1 - IoU, and
                      the distance of the appearances by what counts as far, which has the weight of 0.5 x quality
    5. new tracks     boxes that are left and have a good score. After three frames a track counts.
    6. lost tracks    with each new row of its first YOUNG_S seconds, a track is compared with those that were lost in
                      the last LOST_S seconds. If one looks the same, the young one goes on under its name.

A track's appearance is the mean of its first rows, weighted by quality, and later a running mean, in which a new row
has the weight of 0.2 x its quality. Cached rows say nothing of this frame: they are not compared, and teach nothing.
Nor do rows of boxes that overlap another one.

Trap: nothing in here may be tuned for a policy. `far` and `same` are the model's, chosen with every box embedded.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import count

import numpy as np

from .answers import Answered, Answers
from .assignment import Doubles, assign
from .clips import Moment
from .idf1 import iou
from .vectors import Rows

CLEAR, MARGIN = 0.4, 0.2
TEACHES = 0.3
NEAR_S, LOST_S = 1.0, 30.0
MIN_SCORE, MIN_NEW_SCORE = 0.4, 0.5
COUNTS_AFTER, YOUNG_S = 3, 3.0
_LOOKS, _RATE, _LEAST_QUALITY = 0.5, 0.2, 0.01
_POSITION, _VELOCITY, _SIZE = 0.6, 0.2, 0.4
_LEAST_SHARED, _MOST = 0.1, 0.75  # of near pairs: the overlap, and the cost
_UNSURE_S = 0.2  # a track that does not count yet may be missed for so long
_NEVER = 1e3


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """Cosine distances of a model. `far`: hardly ever the same person. `same`: hardly ever another one."""

    far: float
    same: float


@dataclass(slots=True, kw_only=True, eq=False)
class _Track:
    """`box`: centre, width, height."""

    name: int
    box: Doubles
    seen_ns: int
    born_ns: int
    velocity: Doubles = field(default_factory=lambda: np.zeros(2))
    frames: int = 1
    weight: float = 0.0
    row: Rows | None = None

    def rect(self, now_ns: int) -> Doubles:
        """Where it should be now."""
        ahead = min(now_ns - self.seen_ns, NEAR_S * 1e9) / 1e9
        centre = self.box[:2] + ahead * self.velocity
        return np.concatenate([centre - self.box[2:] / 2, centre + self.box[2:] / 2])

    def saw(self, rect: Doubles, now_ns: int) -> None:
        found = _centred(rect)
        passed = max(now_ns - self.seen_ns, 1) / 1e9
        if passed > NEAR_S:
            self.box, self.velocity = found, np.zeros(2)
        else:
            expected = self.box[:2] + passed * self.velocity
            off = found[:2] - expected
            gain = max(_VELOCITY, 1 / (self.frames + 1))
            self.velocity = self.velocity + gain * off / passed
            self.box = np.concatenate([expected + _POSITION * off, self.box[2:] + _SIZE * (found[2:] - self.box[2:])])
        self.seen_ns = now_ns
        self.frames += 1

    def learn(self, row: Rows, quality: float) -> None:
        self.weight += max(quality, _LEAST_QUALITY)
        rate = max(_RATE, 1 / self.weight) * max(quality, _LEAST_QUALITY)
        mixed = row if self.row is None else (1 - rate) * self.row + rate * row
        self.row = np.asarray(mixed / np.linalg.norm(mixed), np.float32)


@dataclass(slots=True, eq=False)
class Tracker:
    """Follows people through one clip. `asked`, `embedded`: boxes so far."""

    answers: Answers
    looks: Looks
    asked: int = 0
    embedded: int = 0
    changed: int = 0
    _tracks: list[_Track] = field(default_factory=list)
    _names: count[int] = field(default_factory=lambda: count(1))

    def step(self, moment: Moment) -> dict[int, list[float]]:
        """The boxes of the tracks that count, in this frame."""
        now = moment.taken_ns
        moment = moment.only(moment.scores >= MIN_SCORE)
        self._tracks = [track for track in self._tracks if now - track.seen_ns <= _patience_ns(track)]
        near = [track for track in self._tracks if now - track.seen_ns <= NEAR_S * 1e9]
        overlap = iou(_rects(near, now), moment.rects)
        names = _clear(near, overlap)
        answered = self.answers.ask(moment, names)
        self.asked += len(names)
        self.embedded += int(answered.fresh.sum())

        pairs = self._near(near, overlap, answered)
        self.changed += sum(1 for index, track in pairs.items() if names[index] not in {None, track.name})
        for index, track in pairs.items():
            track.saw(moment.rects[index], now)
        left = [index for index in range(len(names)) if index not in pairs]
        pairs |= {
            index: self._born(moment.rects[index], now) for index in left if moment.scores[index] >= MIN_NEW_SCORE
        }
        for index, track in pairs.items():
            if answered.fresh[index] and moment.overlap[index] <= TEACHES:
                track.learn(answered.rows[index], float(answered.quality[index]))
                if now - track.born_ns <= YOUNG_S * 1e9:
                    self._take_over(track, pairs.values())
        counts = {index: track for index, track in pairs.items() if track.frames >= COUNTS_AFTER}
        return {track.name: moment.rects[index].tolist() for index, track in counts.items()}

    def _born(self, rect: Doubles, now_ns: int) -> _Track:
        track = _Track(name=next(self._names), box=_centred(rect), seen_ns=now_ns, born_ns=now_ns)
        self._tracks.append(track)
        return track

    def _near(self, near: Sequence[_Track], shared: Doubles, answered: Answered) -> dict[int, _Track]:
        looks = np.minimum(_distances(near, answered) / self.looks.far, 1.0)
        trust = np.where(np.isnan(looks), 0.0, _LOOKS * answered.quality)
        cost = (1 - trust) * (1 - shared) + trust * np.nan_to_num(looks)
        cost[(shared < _LEAST_SHARED) | (cost > _MOST)] = _NEVER
        return {column: near[row] for row, column in assign(cost) if cost[row, column] < _NEVER}

    def _take_over(self, track: _Track, seen: Collection[_Track]) -> None:
        """A young track may be one that was lost: then it goes on under that name."""
        lost = [other for other in self._tracks if other not in seen and other.frames >= COUNTS_AFTER]
        if track.row is None or not lost:
            return
        looks = np.stack([track.row if other.row is None else other.row for other in lost])
        distances = np.where([other.row is None for other in lost], 2.0, 1 - looks @ track.row)
        if distances.min() <= self.looks.same:
            other = lost[int(distances.argmin())]
            track.name, track.row, track.weight = other.name, other.row, other.weight
            track.born_ns, track.frames = other.born_ns, max(track.frames, other.frames)
            self._tracks.remove(other)


def _patience_ns(track: _Track) -> float:
    return (LOST_S if track.frames >= COUNTS_AFTER else _UNSURE_S) * 1e9


def _clear(near: Sequence[_Track], overlap: Doubles) -> list[int | None]:
    """The id that each box is sent with."""
    names: list[int | None] = [None] * overlap.shape[1]
    for row, column in np.argwhere(overlap > CLEAR).tolist():
        others = np.concatenate([np.delete(overlap[row], column), np.delete(overlap[:, column], row)])
        if others.max(initial=0.0) <= overlap[row, column] - MARGIN:
            names[column] = near[row].name
    return names


def _distances(tracks: Sequence[_Track], answered: Answered) -> Doubles:
    """(tracks, boxes): cosine distances; nan where one of the two has no row."""
    found = np.full((len(tracks), len(answered.fresh)), np.nan)
    for index, track in enumerate(tracks):
        if track.row is not None:
            found[index] = np.where(answered.fresh, 1 - answered.rows @ track.row, np.nan)
    return found


def _centred(rect: Doubles) -> Doubles:
    """Centre, width, height."""
    return np.concatenate([(rect[:2] + rect[2:]) / 2, rect[2:] - rect[:2]])


def _rects(tracks: Sequence[_Track], now_ns: int) -> Doubles:
    return np.array([track.rect(now_ns) for track in tracks]).reshape(-1, 4)
