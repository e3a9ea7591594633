"""The measurements of track memory on a short drawn clip, with the embedded model: what the page says, in small.

The bounds are wide, because the clip is short. They are crossed by what would make the page untrue: a policy that saves
nothing or breaks the tracker, a quality that says nothing, a vector that one wrong crop turns.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench.tracks.answers import EveryNth, Memory
from bench.tracks.clips import Clip, Drawn, drawn
from bench.tracks.command import report
from bench.tracks.quality import crops_of, rejections
from bench.tracks.saving import looks_of, memory, points
from bench.tracks.track_vector import one_wrong, tracks_of
from bench.tracks.vectors import Embedder
from reidstream_engines import default_model
from reidstream_server.tracks.terms import AtIntervals, EveryFrame, Once, OnRisk

FRAMES = 90


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder(default_model.PATH, None)


@pytest.fixture(scope="module")
def clip(embedder: Embedder) -> Clip:
    (found,) = drawn(Drawn(seed=3, camera=0, people=8, frames=FRAMES), embedder, None)
    return found


def test_on_risk_saves_most_inferences_and_the_tracker_loses_little(clip: Clip) -> None:
    """Beside a memory that embeds every box, and one that embeds a track once."""
    found = points(
        [clip], {"all": memory(EveryFrame()), "risk": memory(OnRisk()), "once": memory(Once())}, looks_of([clip])
    )
    full, risk, once = found
    assert (full.share, full.loss) == (1.0, 0.0)
    assert full.idf1 > 0.7
    assert risk.saved > 0.6
    assert abs(risk.loss) < 5
    assert once.share < risk.share
    assert risk.reasons["cached"] > risk.reasons["first"] > 0


def test_what_a_memory_answers_is_the_newest_row_of_the_track(clip: Clip) -> None:
    """By the ids of the truth: a cached row is the one that was last embedded, with its quality."""
    policy = Memory(AtIntervals(frames=4))
    newest: dict[int, np.ndarray[tuple[int, ...], np.dtype[np.float32]]] = {}
    cached = 0
    for moment in clip.moments:
        owners = moment.owners.tolist()
        answered = policy.ask(moment, [owner if owner > 0 else None for owner in owners])
        assert answered.there.all()
        for index, owner in enumerate(owners):
            if owner <= 0:
                assert answered.fresh[index]
            elif answered.fresh[index]:
                newest[owner] = moment.rows[index]
            else:
                cached += 1
            if owner > 0:
                assert answered.rows[index].tolist() == newest[owner].tolist()
    assert cached > FRAMES


def test_every_nth_frame_has_all_rows_or_none(clip: Clip) -> None:
    nth = EveryNth(3)
    asked = [nth.ask(moment, [None] * len(moment.rects)).there for moment in clip.moments[:7]]
    assert [bool(there.all()) for there in asked if len(there)] == [True, False, False, True, False, False, True]
    assert not asked[1].any()


def test_quality_goes_with_visibility(clip: Clip) -> None:
    """And more so with what other boxes hide than without."""
    found = {one.name: one for one in rejections(crops_of([clip], every_ns=300_000_000))}
    assert found["quality"].correlation > found["without what is hidden"].correlation > 0
    assert found["quality"].correlation > 0.4


def test_one_wrong_crop_turns_the_robust_vector_less_than_the_mean(clip: Clip) -> None:
    """It has the weight of its quality, and is often the row that is left out."""
    turned, caught, _ = one_wrong(tracks_of(clip))
    cosines = {one.name: one.median for one in turned}
    assert cosines["ROBUST"] > cosines["MEAN"]
    assert caught > 0.2


def test_the_report_has_its_tables(clip: Clip, embedder: Embedder) -> None:
    """All of them, of two short clips, without real pictures."""
    short = replace(clip, moments=clip.moments[:30], name="drawn-3-c1-look0")
    lines = list(report([short, replace(short, name="drawn-3-c2-look0")], None, embedder, None))
    heads = [line for line in lines if line.startswith("| ") and "|---" not in line]
    assert any(line.startswith("| OnRisk |") for line in heads)
    assert any("rank correlation" in line for line in heads)
    assert any("a random crop" in line for line in heads)
    assert any("one wrong crop" in line for line in heads)
