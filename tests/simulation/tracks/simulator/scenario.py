"""From a seed to a scenario. Each dimension is drawn on its own, so that rare combinations come by themselves."""

from __future__ import annotations

from random import Random

from reidstream_server.core.terms import OverloadPolicy
from reidstream_server.tracks.room import ANSWER_COPIES, ROWS_A_TRACK, TRACK_BYTES, TrackBounds
from reidstream_server.tracks.sighting import Rect, single
from reidstream_server.tracks.terms import (
    AtIntervals,
    EmbedPolicy,
    EveryFrame,
    Once,
    OnRisk,
    TrackTerms,
    TrackVector,
)

from .plan import DIMS, MS, START_NS, BoxPlan, ClientPlan, Cut, Drain, FramePlan, FrameTrouble, Scenario, Style

_WIDE = 10_000_000


def draw(seed: int) -> Scenario:
    """The scenario of a seed; the same one for ever."""
    rng = Random(seed)  # noqa: S311 - it must be repeatable
    style = rng.choice((Style.CALM, Style.CALM, Style.ROUGH, Style.ROUGH, Style.TIGHT))
    clients = tuple(_client(rng, number, style) for number in range(1 if style is Style.CALM else rng.choice((1, 2))))
    return Scenario(
        seed=seed,
        style=style,
        bounds=_bounds(rng, style),
        clients=clients,
        staging_ns=rng.choice((MS // 10, MS, 5 * MS)),
        batch_ns=rng.choice((MS, 4 * MS, 15 * MS, 40 * MS)),
    )


def _bounds(rng: Random, style: Style) -> TrackBounds:
    if style is not Style.TIGHT:
        return TrackBounds(max_tracks=64, max_bytes=_WIDE)
    track = TRACK_BYTES + 4 * max(DIMS) * ROWS_A_TRACK
    answer = 4 * max(DIMS) * ANSWER_COPIES
    by_number = rng.random() < 0.5
    rooms = rng.choice((4, 6, 9, 14))
    most = _WIDE if by_number else max((rooms * track * 4) // 3, 4 * answer)
    return TrackBounds(max_tracks=rng.choice((1, 2, 3, 4)) if by_number else 8, max_bytes=most)


def _client(rng: Random, number: int, style: Style) -> ClientPlan:
    calm = style is Style.CALM
    period = rng.choice((20, 33, 40, 60)) * MS
    timeout = rng.choice((4, 6, 10)) * period + MS
    frames = _frames(rng, period, timeout, style)
    length = frames[-1].captured_ns - START_NS
    moves = rng.choice((0, 1, 1, 2, 3, 4))
    cuts: list[Cut] = []
    drains: list[Drain] = []
    for _ in range(moves):
        at = START_NS + rng.randrange(length)
        if rng.random() < 0.5:
            cuts.append(Cut(at_ns=at, outage_ns=rng.choice((0, MS, 30 * MS, 90 * MS))))
        else:
            drains.append(
                Drain(at_ns=at, deadline_ns=5_000 * MS if calm else rng.choice((0, 2 * MS, 20 * MS, 5_000 * MS)))
            )
    return ClientPlan(
        number=number,
        terms=TrackTerms(
            timeout_ns=timeout,
            policy=_policy(rng, period, calm=calm),
            vector=rng.choice((TrackVector.ROBUST, TrackVector.ROBUST, TrackVector.MEAN)),
            representatives=rng.randint(0, 3),
            snapshots=bool(moves) or rng.random() < 0.5,
        ),
        policy=OverloadPolicy.WAIT if calm else rng.choice(list(OverloadPolicy)),
        window=1000 if calm else rng.choice((1, 2, 3, 5, 8)),
        budget_ns=None if calm else rng.choice((None, None, 30 * MS, 80 * MS)),
        frames=frames,
        cuts=tuple(sorted(cuts, key=lambda cut: cut.at_ns)),
        drains=tuple(sorted(drains, key=lambda drain: drain.at_ns)),
        read_ns=rng.choice((0, MS // 2, 5 * MS, 30 * MS)),
    )


def _policy(rng: Random, period: int, *, calm: bool) -> EmbedPolicy:
    return rng.choice(
        (
            EveryFrame(),
            Once(),
            AtIntervals(frames=rng.randint(1, 4)),
            AtIntervals(interval_ns=rng.randint(1, 4) * period),
            AtIntervals(frames=5, interval_ns=3 * period if calm else 2 * period),
            OnRisk(max_age_ns=6 * period),
            OnRisk(max_overlap=0.5, max_size_ratio=1.2, max_shift=0.3, min_quality_gain=0.1, max_age_ns=20 * period),
        )
    )


def _frames(rng: Random, period: int, timeout: int, style: Style) -> tuple[FramePlan, ...]:
    """People come and go, some for longer than the time-out; ids are used again, and sometimes twice at a time."""
    count = rng.randint(16, 45)
    people = rng.randint(1, 7)
    ids = [rng.choice((person + 1, person + 1, 2**63 + person)) for person in range(people)]
    models = [rng.choice((0, 0, 0, 1)) for _ in range(people)]
    away_until = [rng.randrange(count // 2 + 1) for _ in range(people)]
    rects = [_anywhere(rng) for _ in range(people)]
    frame_id, at = rng.choice((0, 1, 2**40)), START_NS + period
    found = []
    for number in range(count):
        boxes = []
        for person in range(people):
            if number < away_until[person]:
                continue
            if rng.random() < 0.08:  # for a frame or two, or for longer than the time-out
                away_until[person] = number + rng.choice((2, 3, 2 + timeout // period))
                continue
            if rng.random() < 0.03:
                models[person] = 1 - models[person]
            rects[person] = _moved(rng, rects[person])
            boxes.append(_box(rng, ids[person], models[person], rects[person], style))
        rng.shuffle(boxes)
        if boxes and rng.random() < 0.04:
            boxes.append(_box(rng, boxes[0].track_id, boxes[0].model, _anywhere(rng), style))
        ends = tuple(rng.choice((*ids, 999)) for _ in range(rng.choice((1, 2)))) if rng.random() < 0.08 else ()
        trouble = rng.choice(list(FrameTrouble)) if style is not Style.CALM and rng.random() < 0.05 else None
        found.append(FramePlan(frame_id=frame_id, captured_ns=at, boxes=tuple(boxes), trouble=trouble, ends=ends))
        frame_id += 1 if rng.random() < 0.9 or style is Style.CALM else rng.randint(2, 5)
        at += period
    return tuple(found)


def _box(rng: Random, track_id: int | None, model: int, rect: Rect, style: Style) -> BoxPlan:
    return BoxPlan(
        track_id=None if rng.random() < 0.05 else track_id,
        model=model,
        rect=rect,
        quality=single(rng.choice((0.0, rng.random(), 1.0))),
        overlap=rng.choice((0.0, 0.0, 0.2, rng.random())),
        poison=style is not Style.CALM and rng.random() < 0.05,
    )


def _anywhere(rng: Random) -> Rect:
    x, y = rng.randrange(0, 1000), rng.randrange(0, 500)
    return (float(x), float(y), float(x + rng.randint(20, 80)), float(y + rng.randint(50, 200)))


def _moved(rng: Random, rect: Rect) -> Rect:
    if rng.random() < 0.1:
        return _anywhere(rng)
    dx, dy = rng.randint(-6, 6), rng.randint(-3, 3)
    return (rect[0] + dx, rect[1] + dy, rect[2] + dx, rect[3] + dy)
