"""rules: what can mean one thing is taken for it, and what cannot is refused with the way out."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import pytest

from reidstream_client import (
    AsyncReidClient,
    BoxFilter,
    CallOptions,
    ClientOptions,
    EmbeddingDtype,
    FrameInput,
    FrameOptions,
    InvalidRequest,
    ModelChoice,
    OpenTelemetryTracing,
    Ordering,
    OverloadPolicy,
    Priority,
    ReidError,
    ResumingStreamOptions,
    RetryPolicy,
    TrackingResumingStreamOptions,
    testing,
)
from reidstream_client.checks import FOREVER_S
from reidstream_client.options import ClientSettings, StreamSettings, read_options
from reidstream_client.rules import RULES
from tests.unit.client.samples import BOXES, IMAGE

HALF_A_PAIR = "gate-\udce4"


def test_every_option_has_a_rule() -> None:
    """A new one without a rule would fail when somebody gives it; those of frames are checked with their boxes."""
    streams = TrackingResumingStreamOptions.__annotations__
    named = {*ClientOptions.__annotations__, *streams, *CallOptions.__annotations__}
    assert set(RULES) == named - set(FrameOptions.__annotations__)


SETTINGS: list[tuple[str, object, object]] = [
    ("priority", "high", Priority.HIGH),
    ("priority", "LOW", Priority.LOW),
    ("dtype", "float16", EmbeddingDtype.FLOAT16),
    ("dtype", np.float16, EmbeddingDtype.FLOAT16),
    ("dtype", np.dtype("float32"), EmbeddingDtype.FLOAT32),
    ("latency_budget_s", np.float32(0.5), 0.5),
    ("max_message_bytes", 1e6, 1_000_000),
    ("timeout_s", math.inf, FOREVER_S),
    ("retry", RetryPolicy(attempts=cast("Any", 3.0)), RetryPolicy(attempts=3)),
    (
        "models",
        [ModelChoice(name="a", class_ids=cast("Any", np.array([0.0, 2.0])))],
        (ModelChoice(name="a", class_ids=(0, 2)),),
    ),
    ("box_filter", BoxFilter(class_ids=cast("Any", [np.int8(3)])), BoxFilter(class_ids=(3,))),
]


@pytest.mark.parametrize(("name", "given", "meant"), SETTINGS)
def test_what_can_mean_one_thing_is_taken_for_it(name: str, given: object, meant: object) -> None:
    """Words for members, whole floats for integers, numpy's numbers for Python's."""
    settings = read_options(ClientOptions, ClientSettings, {name: given}, "ReidClient")
    assert getattr(settings, name) == meant
    assert type(getattr(settings, name)) is type(meant)


@pytest.mark.parametrize(
    "word", ["drop-oldest", "DROP_OLDEST", "drop oldest", "DropOldest", OverloadPolicy.DROP_OLDEST]
)
def test_a_word_is_known_in_any_spelling(word: OverloadPolicy) -> None:
    """As a configuration file, a command line or another program writes it."""
    given: dict[str, Any] = {"overload_policy": word, "ordering": "as_completed", "window_frames": 2.0}
    with testing.FakeServer() as server, server.client() as client, client.stream(**cast("Any", given)) as session:
        assert session.opened.overload_policy is OverloadPolicy.DROP_OLDEST
        assert session.opened.ordering is Ordering.AS_COMPLETED
        assert session.opened.window_frames == 2


def test_a_detectors_floats_are_ids() -> None:
    """One array (N, 6) of a detector is taken apart in the call, without a change of its dtype."""
    found = np.array([[1, 2, 13, 14, 0.9, 0], [5, 6, 17, 18, 0.5, 2]], np.float32)
    with testing.FakeServer() as server, server.client() as client:
        client.embed(IMAGE, found[:, :4], scores=found[:, 4], class_ids=found[:, 5], frame_id=cast("Any", 7.0))
    seen = server.frames[0]
    assert seen.frame_id == 7
    assert [(box.class_id, box.score) for box in seen.boxes] == [(0, pytest.approx(0.9)), (2, 0.5)]


NAMED: list[tuple[dict[str, object], str]] = [
    (
        {"priority": 3},
        "priority must be one of Priority.LOW, .*Priority.HIGH, or its name as text, such as .low., not 3",
    ),
    ({"dtype": "fp64"}, "dtype must be one of EmbeddingDtype.FLOAT32, EmbeddingDtype.FLOAT16, .* not 'fp64'"),
    ({"camera_id": 7}, 'camera_id must be text, not 7; camera_id="7" is its text'),
    ({"camera_id": b"gate"}, r"camera_id must be text, not b'gate'; camera_id\.decode\(\) is its text"),
    ({"camera_id": HALF_A_PAIR}, r"camera_id must be text that UTF-8 can write, not 'gate-\\udce4': character 5"),
    ({"timeout_s": "5"}, "timeout_s must be a number, not '5'"),
    ({"timeout_s": None}, "timeout_s must be a number, not None"),
    ({"timeout_s": True}, "timeout_s must be a number, not True"),
    ({"max_message_bytes": "64"}, r"max_message_bytes must be a whole number, not '64'; int\(max_message_bytes\)"),
    ({"max_message_bytes": True}, "max_message_bytes must be a whole number, not True"),
    ({"models": ModelChoice(name="a")}, r"models must be a list of choices: models=\[ModelChoice\("),
    ({"models": ["person"]}, r"models\[0\] must be a ModelChoice, such as ModelChoice\(name=.person.*not 'person'"),
    (
        {"models": [ModelChoice(class_ids=cast("Any", 3))]},
        r"models\[0\]\.class_ids must be a list or a tuple, such as \(0,\)",
    ),
    (
        {"box_filter": {"min_width": 3}},
        r"box_filter must be a BoxFilter, such as BoxFilter\(min_height=32\), not a dict",
    ),
    (
        {"box_filter": BoxFilter(min_width=math.nan)},
        "box_filter.min_width must be 0 or more, not nan; it must be finite",
    ),
    ({"retry": 3}, r"retry must be a RetryPolicy, such as RetryPolicy\(attempts=1\)"),
    ({"tracing": True}, r"tracing must be something that begins spans: tracing=OpenTelemetryTracing\(\), not True"),
    ({"tracing": OpenTelemetryTracing}, r"tracing=OpenTelemetryTracing\(\), not a"),
    ({"tls": True}, r"tls must be a TlsOptions, such as TlsOptions\(ca_file=.*not True"),
    ({"keepalive_s": "30"}, "keepalive_s must be a number, not '30'"),
    ({"camera_id": ""}, "camera_id must be 1 to 128 bytes of UTF-8, not 0: ''"),
    ({"model": "ä" * 65}, "model must be 0 to 128 bytes of UTF-8, not 130: 'ä"),
    ({"expected_space_id": "1" * 129}, "expected_space_id must be 0 to 128 bytes of UTF-8, not 129: '1"),
    ({"models": [ModelChoice(name="a" * 129)]}, r"models\[0\]\.name must be 0 to 128 bytes"),
    (
        {"models": [ModelChoice(name="a", expected_space_id="1" * 129)]},
        r"models\[0\]\.expected_space_id must be 0 to 128 bytes",
    ),
    ({"models": [ModelChoice(name="a")] * 257}, "models must have at most 256 items, not 257"),
    (
        {"models": [ModelChoice(name="a", class_ids=tuple(range(4097)))]},
        r"models\[0\]\.class_ids must have at most 4096 items, not 4097",
    ),
    (
        {"models": [ModelChoice(name=name, class_ids=tuple(range(2049))) for name in "ab"]},
        "models must have at most 4096 class_ids in all choices together, not 4098",
    ),
    (
        {"box_filter": BoxFilter(class_ids=tuple(range(4097)))},
        r"box_filter\.class_ids must have at most 4096 items, not 4097",
    ),
]


@pytest.mark.parametrize(("options", "words"), NAMED)
def test_what_can_mean_several_things_is_refused_with_the_way_out(options: dict[str, Any], words: str) -> None:
    """The argument, the value, and what to give."""
    with pytest.raises(InvalidRequest, match=words):
        AsyncReidClient("localhost:1", **options)


def test_a_token_of_another_kind_is_not_shown() -> None:
    """A secret is in no message."""
    with pytest.raises(InvalidRequest, match=r"token must be text, not bytes; \.decode\(\) gives its text") as refused:
        AsyncReidClient("localhost:1", token=cast("Any", b"secret"))
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        (IMAGE, r"frames must be several of \(image, boxes\) or FrameInput, not an array .*; give \[frame\]"),
        (FrameInput(image=IMAGE, boxes=BOXES), r"frames must be several .*not a FrameInput; give \[frame\]"),
        ([IMAGE], r"each frame must be \(image, boxes\) or FrameInput\(.*not an array of uint8"),
        ([(IMAGE, BOXES, 3)], "each frame must be .*not a tuple"),
    ],
)
def test_what_are_no_frames_is_named(frames: Any, words: str) -> None:
    """A picture's rows are no frames."""
    with testing.FakeServer() as server, server.client() as client, pytest.raises(InvalidRequest, match=words):
        list(client.embed_many(frames))


def test_an_unknown_option_is_an_error_of_ours() -> None:
    """With the option that was probably meant."""
    with pytest.raises(ReidError, match=r"has no option 'timeout'; it has .*\. Did you mean 'timeout_s'\?"):
        AsyncReidClient("localhost:1", **cast("Any", {"timeout": 3}))


def test_settings_are_made_of_what_was_given_only() -> None:
    """The defaults are trusted."""
    assert read_options(ResumingStreamOptions, StreamSettings, {}, "stream") == StreamSettings()
