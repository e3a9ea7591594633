"""What a track's vector is worth: against a crop of the track, and with one wrong crop in it.

- Rank-1: the gallery has one entry for each track, and crops of other frames (or of another camera) are looked up in
  it. The entry is a crop drawn at random, or what a track's end would tell.
- One wrong crop: a crop of somebody else is put into a track, and its vector is compared with the one without.

Tracks are those of the truth, so that a tracker's mistakes are not mixed in. Their rows are those that a policy embeds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from reidstream_server.tracks.rows import TrackRow, TrackRows
from reidstream_server.tracks.terms import EmbedPolicy, EveryFrame, TrackVector

from .answers import Memory
from .assignment import Doubles
from .clips import Clip, Ids, Moment
from .vectors import Rows

_TRIES = 200
_MOST_WRONG = 400
_APART = 1_000_000  # between the numbers of people of two clips


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrackCrops:
    """The rows (n, dim) of one track, in order, with the quality of each."""

    person: int
    rows: Rows
    quality: Doubles


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """Rank-1 errors, 0 to 1, by what stands for a track in the gallery."""

    name: str
    tracks: int
    queries: int
    errors: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Turned:
    """How far one wrong crop turns a vector: cosines to the one without it, over many tracks."""

    name: str
    median: float
    lowest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Queries:
    """Crops (n, dim) and whose they are."""

    rows: Rows
    people: Ids


def tracks_of(
    clip: Clip, policy: EmbedPolicy | None = None, moments: Sequence[Moment] | None = None
) -> list[TrackCrops]:
    """One track for each person of a clip, or of some of its moments: the rows that the policy embeds."""
    memory = Memory(EveryFrame() if policy is None else policy)
    rows: dict[int, list[Rows]] = {}
    quality: dict[int, list[float]] = {}
    for moment in clip.moments if moments is None else moments:
        answered = memory.ask(moment, [owner if owner > 0 else None for owner in moment.owners.tolist()])
        for index, owner in enumerate(moment.owners.tolist()):
            if owner > 0 and answered.fresh[index]:
                rows.setdefault(owner, []).append(moment.rows[index])
                quality.setdefault(owner, []).append(float(answered.quality[index]))
    return [TrackCrops(person=who, rows=np.stack(rows[who]), quality=np.array(quality[who])) for who in sorted(rows)]


def crops_in(moments: Sequence[Moment], every: int = 1) -> Queries:
    """The crops of people in every so many moments."""
    some = moments[::every]
    return Queries(
        rows=np.concatenate([moment.rows[moment.owners > 0] for moment in some]),
        people=np.concatenate([moment.owners[moment.owners > 0] for moment in some]),
    )


def ranked(name: str, tracks: Sequence[TrackCrops], queries: Queries, *, also: Rows | None = None) -> Ranked:
    """Look up each query whose person has a track. `also`: other people's rows, which stand in the gallery, too."""
    people = np.array([track.person for track in tracks])
    asked = np.isin(queries.people, people)
    rows, truth = queries.rows[asked], queries.people[asked]
    rng = np.random.default_rng(0)
    others = np.zeros((0, rows.shape[1]), np.float32) if also is None else also

    def error(entry: Callable[[TrackCrops], Rows]) -> float:
        entries = [entry(track) for track in tracks]  # (k, dim) each
        whose = np.repeat(people, [len(one) for one in entries])
        whose = np.concatenate([whose, np.full(len(others), -1)])
        found = whose[(rows @ np.concatenate([*entries, others]).T).argmax(axis=1)]
        return float((found != truth).mean())

    def drawn(track: TrackCrops) -> Rows:
        return track.rows[[rng.integers(len(track.rows))]]

    return Ranked(
        name=name,
        tracks=len(tracks),
        queries=len(rows),
        errors={
            "a random crop": float(np.mean([error(drawn) for _ in range(_TRIES)])),
            "the first crop": error(lambda track: track.rows[:1]),
            "the best crop": error(lambda track: track.rows[[int(track.quality.argmax())]]),
            "MEAN": error(lambda track: summed(track, TrackVector.MEAN).vector()[None]),
            "ROBUST": error(lambda track: summed(track, TrackVector.ROBUST).vector()[None]),
            "3 representatives": error(lambda track: _representatives(track, 3)),
        },
    )


def later_half(name: str, clips: Sequence[Clip]) -> Ranked:
    """Tracks of the first half of each clip, crops of the other half; all clips in one gallery."""
    tracks, rows, people = [], [], []
    for index, clip in enumerate(clips):
        half, offset = len(clip.moments) // 2, _APART * index
        tracks += [
            TrackCrops(person=track.person + offset, rows=track.rows, quality=track.quality)
            for track in tracks_of(clip, moments=clip.moments[:half])
        ]
        found = crops_in(clip.moments[half:])
        rows.append(found.rows)
        people.append(found.people + offset)
    return ranked(name, tracks, Queries(rows=np.concatenate(rows), people=np.concatenate(people)))


def summed(track: TrackCrops, vector_of: TrackVector) -> TrackRows:
    """The track as a server sums it up."""
    rows = TrackRows(dim=track.rows.shape[1], unit=True, vector_of=vector_of)
    for index, (row, quality) in enumerate(zip(track.rows, track.quality.tolist(), strict=True)):
        rows.add(TrackRow(vector=row, frame_id=index, quality=quality, taken_ns=index))
    return rows


def one_wrong(tracks: Sequence[TrackCrops], least_rows: int = 5) -> tuple[list[Turned], float, float]:
    """How far one wrong crop turns each kind of vector; how often it was found; how often a right row was left out.

    The wrong crop is drawn from all crops of other tracks, with its own quality, and comes anywhere in the track.
    """
    rng = np.random.default_rng(0)
    usable = [index for index, track in enumerate(tracks) if len(track.rows) >= least_rows]
    cosines: dict[TrackVector, list[float]] = {kind: [] for kind in TrackVector}
    found, tries, left_out = 0, 0, 0
    for index in rng.permutation(np.repeat(usable, -(-_MOST_WRONG // max(len(usable), 1))))[:_MOST_WRONG].tolist():
        track = tracks[index]
        other = tracks[int(rng.choice([i for i in range(len(tracks)) if tracks[i].person != track.person]))]
        which, place = int(rng.integers(len(other.rows))), int(rng.integers(len(track.rows) + 1))
        spoilt = TrackCrops(
            person=track.person,
            rows=np.insert(track.rows, place, other.rows[which], axis=0),
            quality=np.insert(track.quality, place, other.quality[which]),
        )
        tries += 1
        for kind in TrackVector:
            cosines[kind].append(float(summed(spoilt, kind).vector() @ summed(track, kind).vector()))
        gone = summed(spoilt, TrackVector.ROBUST).left_out()
        found += gone is not None and gone.frame_id == place
    for index in usable:
        left_out += summed(tracks[index], TrackVector.ROBUST).left_out() is not None
    turned = [
        Turned(name=kind.name, median=float(np.median(values)), lowest=float(np.quantile(values, 0.05)))
        for kind, values in cosines.items()
    ]
    return turned, found / max(tries, 1), left_out / max(len(usable), 1)


def _representatives(track: TrackCrops, most: int) -> Rows:
    return np.stack([row.vector for row in summed(track, TrackVector.ROBUST).representatives(most)])
