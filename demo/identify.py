"""The answers of both cameras put together: tracks, similarities, pairs, and how right they are.

Trap: the truth comes last. Similarities and pairs are made from vectors and track numbers only; who the people are is
used afterwards, to say which pairs are right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reidstream_client import FrameEmbeddings

from .clips import Clip
from .matching import Floats, Ids, Pair, Vectors, chance, mean_per_id, pair_up, rank1


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A rank-1 (0 to 1) and what guessing would reach. `queries`: how many; only people whom both cameras saw."""

    rank1: float
    chance: float
    queries: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Identification:
    """How the tracks of both cameras are related.

    `queries` (Q,) and `gallery` (G,) are tracks of camera A and B, `similarity` (Q, G) their cosines; `pairs` index
    into it. `query_people` and `gallery_people` are the truth. `tracks` scores the tracks' means, `boxes` single boxes.
    """

    queries: Ids
    gallery: Ids
    similarity: Floats
    pairs: tuple[Pair, ...]
    query_people: Ids
    gallery_people: Ids
    tracks: Score
    boxes: Score

    def right(self, pair: Pair) -> bool:
        """Both tracks show the same person."""
        return bool(self.query_people[pair.row] == self.gallery_people[pair.column])


def identify(
    clips: tuple[Clip, Clip], answers: tuple[Sequence[FrameEmbeddings], Sequence[FrameEmbeddings]]
) -> Identification:
    """Match the tracks of camera A with those of camera B. `answers`: one for each shot, in order."""
    first, second = (_by_track(clip, got) for clip, got in zip(clips, answers, strict=True))
    query, gallery = mean_per_id(first), mean_per_id(second)
    similarity = query.rows @ gallery.rows.T
    pairs = pair_up(similarity)
    query_people, gallery_people = _people(clips[0], query.ids), _people(clips[1], gallery.ids)
    box_people = _people(clips[0], first.ids), _people(clips[1], second.ids)
    return Identification(
        queries=query.ids,
        gallery=gallery.ids,
        similarity=similarity,
        pairs=pairs,
        query_people=query_people,
        gallery_people=gallery_people,
        tracks=_score(similarity, query_people, gallery_people),
        boxes=_score(first.rows @ second.rows.T, *box_people),
    )


def _by_track(clip: Clip, answers: Sequence[FrameEmbeddings]) -> Vectors:
    """All vectors of a camera, each with its track."""
    shots = list(zip(clip.shots, answers, strict=True))
    dim = answers[0].embeddings.shape[1] if answers else 1
    return Vectors(
        ids=np.concatenate([np.zeros(0, np.int64), *(clip.tracks(shot)[answer.valid] for shot, answer in shots)]),
        rows=np.concatenate(
            [np.zeros((0, dim), np.float32), *(answer.embeddings[answer.valid] for _, answer in shots)]
        ),
    )


def _people(clip: Clip, tracks: Ids) -> Ids:
    return np.array(clip.order, np.int64)[tracks]


def _score(similarity: Floats, queries: Ids, gallery: Ids) -> Score:
    return Score(
        rank1=rank1(similarity, queries, gallery),
        chance=chance(queries, gallery),
        queries=int(np.isin(queries, gallery).sum()),
    )
