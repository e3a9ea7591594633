"""Track options: what is taken for what, and what is refused, in the client's own words."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import pytest

from reidstream_client import (
    EmbedAtIntervals,
    EmbedEveryFrame,
    EmbedOnce,
    EmbedOnRisk,
    InvalidRequest,
    TrackingStreamOptions,
    TrackOptions,
    TrackVector,
)
from reidstream_client.options import StreamSettings, read_options


def read(given: object) -> TrackOptions | None:
    return read_options(TrackingStreamOptions, StreamSettings, {"tracks": given}, "stream").tracks


def test_without_a_word_there_are_none() -> None:
    """None says the same."""
    assert read(None) is StreamSettings().tracks is None


def test_the_defaults_embed_every_frame() -> None:
    """Nothing is cached that was not asked for."""
    assert read(TrackOptions()) == TrackOptions(
        embed=EmbedEveryFrame(), timeout_s=5.0, vector=TrackVector.ROBUST, representatives=0
    )


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (TrackOptions(vector=cast("Any", "mean")), TrackOptions(vector=TrackVector.MEAN)),
        (TrackOptions(timeout_s=cast("Any", np.float32(2))), TrackOptions(timeout_s=2.0)),
        (TrackOptions(representatives=cast("Any", 3.0)), TrackOptions(representatives=3)),
        (TrackOptions(embed=EmbedOnce()), TrackOptions(embed=EmbedOnce())),
        (
            TrackOptions(embed=EmbedAtIntervals(frames=cast("Any", np.int64(5)), seconds=1)),
            TrackOptions(embed=EmbedAtIntervals(frames=5, seconds=1.0)),
        ),
        (
            TrackOptions(
                embed=EmbedOnRisk(max_overlap=1, max_size_ratio=1, max_shift=cast("Any", np.float16(0.5)), max_age_s=3)
            ),
            TrackOptions(embed=EmbedOnRisk(max_overlap=1.0, max_size_ratio=1.0, max_shift=0.5, max_age_s=3.0)),
        ),
    ],
)
def test_what_can_mean_one_thing_is_taken_for_it(given: TrackOptions, meant: TrackOptions) -> None:
    """As everywhere."""
    assert repr(read(given)) == repr(meant)


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (True, r"tracks must be a TrackOptions, such as TrackOptions\(embed=EmbedOnRisk\(\)\), not True"),
        (EmbedOnce(), "tracks must be a TrackOptions, such as .* not an EmbedOnce"),
        (TrackOptions(embed=cast("Any", "once")), r"tracks.embed must be one of EmbedEveryFrame\(\), .* not 'once'"),
        (TrackOptions(embed=cast("Any", EmbedOnce)), r"tracks.embed must be one of .* not a type"),
        (TrackOptions(timeout_s=0), "tracks.timeout_s must be 0.001 to 3600 s, not 0"),
        (TrackOptions(timeout_s=3601), "tracks.timeout_s must be 0.001 to 3600 s, not 3601"),
        (TrackOptions(timeout_s=math.nan), "tracks.timeout_s must be 0.001 to 3600 s, not nan"),
        (
            TrackOptions(vector=cast("Any", "median")),
            "tracks.vector must be one of TrackVector.ROBUST, TrackVector.MEAN",
        ),
        (TrackOptions(representatives=4), "tracks.representatives must be 0 to 3, not 4"),
        (TrackOptions(embed=EmbedAtIntervals()), "tracks.embed must have frames=, seconds=, or both"),
        (TrackOptions(embed=EmbedAtIntervals(frames=0)), "tracks.embed.frames must be at least 1, not 0"),
        (TrackOptions(embed=EmbedAtIntervals(frames=1 << 32)), r"tracks.embed.frames must lie in 0 to 2\*\*32 - 1"),
        (TrackOptions(embed=EmbedAtIntervals(seconds=0.0001)), "tracks.embed.seconds must be 0.001 to 4294967 s"),
        (TrackOptions(embed=EmbedOnRisk(max_overlap=1.5)), "tracks.embed.max_overlap must lie in 0 to 1, not 1.5"),
        (TrackOptions(embed=EmbedOnRisk(max_size_ratio=0.5)), "max_size_ratio must be at least 1 and finite, not 0.5"),
        (TrackOptions(embed=EmbedOnRisk(max_shift=0)), "max_shift must be above 0 and finite, not 0"),
        (TrackOptions(embed=EmbedOnRisk(max_shift=math.inf)), "max_shift must be above 0 and finite, not inf"),
        (TrackOptions(embed=EmbedOnRisk(min_quality_gain=-1)), "min_quality_gain must lie in 0 to 1, not -1"),
        (TrackOptions(embed=EmbedOnRisk(max_age_s=0)), "tracks.embed.max_age_s must be 0.001 to 4294967 s, not 0"),
    ],
)
def test_what_cannot_be_is_refused_with_the_way_out(given: object, complaint: str) -> None:
    """The argument by its own name, the value, and what to give."""
    with pytest.raises(InvalidRequest, match=complaint):
        read(given)
