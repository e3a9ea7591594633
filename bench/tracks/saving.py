"""What policies save, and what that costs a tracker: inferences against IDF1.

Each policy gets the same clips, the same boxes and the same tracker. Trap: one decision of a tracker may move a clip's
IDF1 by several points, whatever the policy is. So clips are pooled, and what a policy loses against embedding every box
comes with an interval: cameras are drawn again and again, with replacement, and both policies see the same ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from reidstream_server.tracks.terms import AtIntervals, EmbedPolicy, EveryFrame, Once, OnRisk

from .answers import EveryNth, Memory, Server
from .clips import Clip
from .idf1 import Identities, identities
from .tracker import Looks, Tracker

FULL = "EveryFrame"
_DRAWS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """What became of one clip. `changed`: boxes that the tracker gave to another track than it had said."""

    camera: str
    found: Identities
    asked: int
    embedded: int
    changed: int
    reasons: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A policy on all clips. `share`: of the boxes that were embedded. `loss`: of IDF1 in points, with its interval."""

    name: str
    share: float
    idf1: float
    loss: float
    low: float
    high: float
    changed: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)

    @property
    def saved(self) -> float:
        """The share of the inferences that every box would have cost."""
        return 1 - self.share


def follow(clip: Clip, server: Server, looks: Looks) -> Followed:
    """Track one clip."""
    answers = server()
    tracker = Tracker(answers, looks)
    given = [tracker.step(moment) for moment in clip.moments]
    truth = [dict(zip(m.people.tolist(), m.boxes.tolist(), strict=True)) for m in clip.moments]
    return Followed(
        camera=clip.name.rpartition("-look")[0] or clip.name,
        found=identities(truth, given),
        asked=tracker.asked,
        embedded=tracker.embedded,
        changed=tracker.changed,
        reasons=dict(answers.reasons) if isinstance(answers, Memory) else {},
    )


def points(
    clips: Sequence[Clip], ways: Mapping[str, Server], looks: Looks, tick: Callable[[], object] = lambda: None
) -> list[Point]:
    """Every way on every clip. The first one embeds all boxes; the others are compared with it."""
    done: dict[str, list[Followed]] = {}
    for name, server in ways.items():
        done[name] = []
        for clip in clips:
            done[name].append(follow(clip, server, looks))
            tick()
    full = next(iter(done.values()))
    return [_point(name, found, full) for name, found in done.items()]


def _point(name: str, found: Sequence[Followed], full: Sequence[Followed]) -> Point:
    asked, embedded = sum(clip.asked for clip in found), sum(clip.embedded for clip in found)
    cameras = sorted({clip.camera for clip in found})
    of = {
        camera: (
            [one.found for one in found if one.camera == camera],
            [one.found for one in full if one.camera == camera],
        )
        for camera in cameras
    }

    def loss(chosen: Sequence[str]) -> float:
        mine = Identities.pooled([one for camera in chosen for one in of[camera][0]])
        all_embedded = Identities.pooled([one for camera in chosen for one in of[camera][1]])
        return 100 * (all_embedded.idf1 - mine.idf1)

    rng = np.random.default_rng(0)
    losses = [loss([cameras[i] for i in rng.integers(len(cameras), size=len(cameras))]) for _ in range(_DRAWS)]
    low, high = np.quantile(losses, [0.025, 0.975])
    reasons: Counter[str] = Counter()
    for clip in found:
        reasons.update(clip.reasons)
    return Point(
        name=name,
        share=embedded / max(asked, 1),
        idf1=Identities.pooled([clip.found for clip in found]).idf1,
        loss=loss(cameras),
        low=float(low),
        high=float(high),
        changed=sum(clip.changed for clip in found),
        reasons=reasons,
    )


def memory(policy: EmbedPolicy) -> Server:
    """A session with this policy."""
    return lambda: Memory(policy)


def every_nth(n: int) -> Server:
    """No memory: all boxes of every n-th frame."""
    return lambda: EveryNth(n)


def scaled(factor: float, policy: OnRisk | None = None) -> OnRisk:
    """The same policy, laxer (above 1) or stricter (below 1): every bound moves away from "always" by this factor."""
    base = OnRisk() if policy is None else policy
    return OnRisk(
        max_overlap=min(1.0, base.max_overlap * factor),
        max_size_ratio=1 + (base.max_size_ratio - 1) * factor,
        max_shift=base.max_shift * factor,
        min_quality_gain=min(1.0, base.min_quality_gain * factor),
        max_age_ns=round(base.max_age_ns * factor),
    )


def ways() -> dict[str, Server]:
    """What the page compares: every box, the default policy and its stricter and laxer kin, intervals, n-th frames."""
    found: dict[str, Server] = {FULL: memory(EveryFrame()), "OnRisk": memory(OnRisk()), "Once": memory(Once())}
    found |= {f"OnRisk x {factor:g}": memory(scaled(factor)) for factor in (0.5, 2.0)}
    found |= {f"AtIntervals {n}": memory(AtIntervals(frames=n)) for n in (3, 8, 30)}
    found |= {f"every {n}. frame": every_nth(n) for n in (2, 4, 8, 16)}
    return found


def looks_of(clips: Sequence[Clip]) -> Looks:
    """What counts as far, and as the same person, for a model: by the distances of crops of clips with every box.

    `far`: 99 % of the crops are nearer to the mean of their person's crops. `same`: 0.3 % of the crops are that near
    to the mean of another person of their clip.
    """
    own, others = [], []
    for clip in clips:
        rows = np.concatenate([moment.rows for moment in clip.moments])
        owners = np.concatenate([moment.owners for moment in clip.moments])
        people = [person for person in np.unique(owners).tolist() if person > 0]
        means = np.stack([rows[owners == person].mean(axis=0) for person in people])
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        for index, person in enumerate(people):
            distances = 1 - rows[owners == person] @ means.T
            own.append(distances[:, index])
            others.append(np.delete(distances, index, axis=1).ravel())
    far = float(np.quantile(np.concatenate(own), 0.99))
    return Looks(far=far, same=min(far, float(np.quantile(np.concatenate(others), 0.003))))
