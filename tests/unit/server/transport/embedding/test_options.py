"""What a call asks for becomes an agreement, or a refusal that names the field, its value and its range."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from enum import Enum

import pytest

from reidstream_engines.fake import FakeEngine, fake_spec
from reidstream_proto.v1 import contract, frame_pb2, session_pb2
from reidstream_server.core.terms import Flow, Ordering, OverloadPolicy, Priority, Window
from reidstream_server.errors import CallRefused, InvalidCall, NotOffered, UnknownModel, WrongSpace
from reidstream_server.identity.access import Caller
from reidstream_server.intake.limits import WindowLimits
from reidstream_server.runtime.agreement import Agreement, AnswerDtype, BoxFilter
from reidstream_server.transport.embedding.options import parse_session, parse_unary
from tests.support.models import table_of

MODELS = table_of([FakeEngine(fake_spec("person")), FakeEngine(fake_spec("vehicle", dim=8))])
LIMITS = WindowLimits(max_frames=64, max_bytes=1000, default_frames=16)
NOBODY = Caller(client="", source="connection of the test")


def opening() -> session_pb2.SessionOpen:
    """The least that can be said."""
    return session_pb2.SessionOpen(session_id=bytes(16), options=session_pb2.EmbedOptions(camera_id="gate"))


def agreed(message: session_pb2.SessionOpen) -> Agreement:
    return parse_session(message, caller=Caller(client="box-1", source="client box-1"), models=MODELS, window=LIMITS)


def test_what_is_not_said_has_its_documented_default() -> None:
    """Nothing but a name: normal, in order, waiting, the default window and model, float32, no filter, no budget."""
    agreement = agreed(opening())
    terms = agreement.terms
    assert terms.source == "client box-1"
    assert terms.flow == Flow(client="box-1", camera_id="gate")
    assert (terms.priority, terms.ordering) == (Priority.NORMAL, Ordering.IN_ORDER)
    assert (terms.overload_policy, terms.window) == (OverloadPolicy.WAIT, Window(frames=16, bytes=1000))
    assert terms.latency_budget_ns is None
    assert (agreement.dtype, agreement.box_filter) == (AnswerDtype.FLOAT32, None)
    assert (agreement.routes.others, agreement.routes.by_class) == (0, {})


def test_a_session_names_each_model_that_its_boxes_may_go_to() -> None:
    """And no other, because a model that a session names cannot go."""
    assert agreed(opening()).terms.models == {0}
    assert agreed(_models(Choice(name="vehicle", class_ids=[2]))).terms.models == {1}
    assert agreed(_models(Choice(name="vehicle", class_ids=[2, 3]), Choice(name="person"))).terms.models == {0, 1}


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        (session_pb2.Window(), Window(frames=16, bytes=1000)),
        (session_pb2.Window(frames=3, bytes=10), Window(frames=3, bytes=10)),
        (session_pb2.Window(frames=2**32 - 1, bytes=2**64 - 1), Window(frames=64, bytes=1000)),
    ],
)
def test_a_window_is_as_asked_within_the_limits(asked: session_pb2.Window, given: Window) -> None:
    """Zero is the server's choice; more than the limit is lowered to it."""
    message = opening()
    message.window.CopyFrom(asked)
    assert agreed(message).terms.window == given


ENUMS: dict[str, tuple[type[Enum], Callable[[Agreement], object], int]] = {
    "priority": (Priority, lambda agreement: agreement.terms.priority, 3),
    "dtype": (AnswerDtype, lambda agreement: agreement.dtype, 2),
    "ordering": (Ordering, lambda agreement: agreement.terms.ordering, 2),
    "overload_policy": (OverloadPolicy, lambda agreement: agreement.terms.overload_policy, 3),
}


def with_enum(name: str, number: int) -> session_pb2.SessionOpen:
    message = opening()
    setattr(message.options if name in ("priority", "dtype") else message, name, number)
    return message


@pytest.mark.parametrize("name", ENUMS)
def test_every_value_of_an_enum_has_a_meaning_of_its_own(name: str) -> None:
    """Each number of the contract is one member, and no member is left out."""
    kind, of, largest = ENUMS[name]
    field = session_pb2.EmbedOptions.DESCRIPTOR.fields_by_name.get(name)
    field = field or session_pb2.SessionOpen.DESCRIPTOR.fields_by_name[name]
    assert field.enum_type is not None
    assert sorted(value.number for value in field.enum_type.values) == list(range(largest + 1))
    members = [of(agreed(with_enum(name, number))) for number in range(1, largest + 1)]
    assert len(members) == len(kind)
    assert set(members) == set(kind)
    assert of(agreed(with_enum(name, 0))) in members


@pytest.mark.parametrize("number", [-(2**31), -1, 4, 2**31 - 1])
@pytest.mark.parametrize("name", ENUMS)
def test_a_number_that_no_enum_has_is_refused(name: str, number: int) -> None:
    """An open enum's unknown value is never read as "not said"."""
    with pytest.raises(InvalidCall, match=f"{name} is {number}; this server knows 0, 1, 2"):
        agreed(with_enum(name, number))


def _options(**fields: object) -> session_pb2.SessionOpen:
    message = opening()
    for name, value in fields.items():
        setattr(message.options, name, value)
    return message


def _models(*choices: session_pb2.ModelChoice) -> session_pb2.SessionOpen:
    message = opening()
    message.options.models.extend(choices)
    return message


def _filter(**fields: float) -> session_pb2.SessionOpen:
    message = opening()
    for name, value in fields.items():
        setattr(message.options.box_filter, name, value)
    return message


def _filter_classes(class_ids: Iterable[int]) -> session_pb2.SessionOpen:
    message = opening()
    message.options.box_filter.class_ids.extend(class_ids)
    return message


Choice = session_pb2.ModelChoice
REFUSED: dict[str, tuple[session_pb2.SessionOpen, type[CallRefused], str]] = {
    "no session id": (session_pb2.SessionOpen(), InvalidCall, "session_id has 0 bytes; it must have 16"),
    "session id": (session_pb2.SessionOpen(session_id=bytes(17)), InvalidCall, "17 bytes"),
    "no camera": (session_pb2.SessionOpen(session_id=bytes(16)), InvalidCall, "camera_id has 0 bytes"),
    "camera": (_options(camera_id="é" * 65), InvalidCall, "camera_id has 130 bytes; it must have 1 to 128"),
    "budget 0": (_options(latency_budget_ms=0), InvalidCall, "latency_budget_ms is 0; it must be 1 to 3600000"),
    "budget": (_options(latency_budget_ms=2**32 - 1), InvalidCall, "latency_budget_ms is 4294967295"),
    "model": (_models(Choice(name="dog")), UnknownModel, "'dog'; this server has person, vehicle"),
    "space": (_models(Choice(expected_space_id="1:ab")), WrongSpace, "expects 1:ab"),
    "no space": (_models(Choice(expected_space_id="")), WrongSpace, "must not be compared"),
    "class twice": (_models(Choice(class_ids=[7]), Choice(name="vehicle", class_ids=[7])), InvalidCall, "class 7"),
    "class twice in one": (_models(Choice(class_ids=[7, 7])), InvalidCall, "class 7"),
    "two for others": (_models(Choice(), Choice(name="vehicle")), InvalidCall, "two choices have no class_ids"),
    "filter nan": (_filter(min_width=math.nan), InvalidCall, "box_filter.min_width is nan"),
    "filter infinite": (_filter(max_height=math.inf), InvalidCall, "box_filter.max_height is inf"),
    "models": (_models(*[Choice()] * 257), InvalidCall, "models has 257 items; it may have at most 256"),
    "name": (_models(Choice(name="é" * 65)), InvalidCall, "models.name has 130 bytes; it may have at most 128"),
    "space id": (_models(Choice(expected_space_id="1" * 129)), InvalidCall, "models.expected_space_id has 129 bytes"),
    "classes": (
        _models(Choice(class_ids=range(4096)), Choice(class_ids=[4096])),
        InvalidCall,
        "models.class_ids, of all models together, has 4097 items; it may have at most 4096",
    ),
    "filter classes": (
        _filter_classes(range(4097)),
        InvalidCall,
        "box_filter.class_ids has 4097 items; it may have at most 4096",
    ),
    "filter negative": (_filter(min_score=-0.5), InvalidCall, "box_filter.min_score is -0.5"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_agreed_is_refused_by_name(case: str) -> None:
    """With the field, what it was, and what it may be."""
    message, error, words = REFUSED[case]
    with pytest.raises(error) as caught:
        agreed(message)
    assert type(caught.value) is error
    assert words in str(caught.value)


def test_as_much_as_may_be_said_is_agreed() -> None:
    """Each bound is the most that is allowed, not the least that is refused."""
    message = opening()
    message.options.models.add(name="vehicle", class_ids=range(contract.MAX_CLASS_IDS))
    message.options.box_filter.class_ids.extend(range(contract.MAX_CLASS_IDS))
    agreement = agreed(message)
    assert len(agreement.routes.by_class) == contract.MAX_CLASS_IDS
    assert agreement.box_filter is not None
    assert len(agreement.box_filter.class_ids) == contract.MAX_CLASS_IDS


def test_tracks_are_not_offered() -> None:
    """Also when nothing in them is set."""
    message = opening()
    message.track_options.SetInParent()
    with pytest.raises(NotOffered, match="tracks"):
        agreed(message)


@pytest.mark.parametrize("camera_id", ["x", "x" * 128, "\n", "a\x00b", "\U0001f3a5" * 32])
def test_a_camera_may_have_any_name_of_128_bytes(camera_id: str) -> None:
    """It is a key and is logged escaped; nothing else is done with it."""
    assert agreed(_options(camera_id=camera_id)).terms.flow.camera_id == camera_id


def test_a_budget_is_in_milliseconds() -> None:
    """Up to an hour."""
    assert agreed(_options(latency_budget_ms=3_600_000)).terms.latency_budget_ns == 3_600_000_000_000


def test_classes_are_routed_to_their_models() -> None:
    """What no choice names goes to the choice without classes, or nowhere."""
    routes = agreed(_models(Choice(name="vehicle", class_ids=[2, 3]), Choice(name="person"))).routes
    assert [routes.of(class_id) for class_id in (2, 3, 1, None)] == [1, 1, 0, 0]
    routes = agreed(_models(Choice(name="vehicle", class_ids=[2]))).routes
    assert [routes.of(class_id) for class_id in (2, 3, None)] == [1, None, None]
    assert routes.choices == ((1, (2,)),)


def test_a_right_space_is_agreed() -> None:
    """Of the model that is chosen, by name or by default."""
    space = MODELS.models[1].spec.space_id
    assert agreed(_models(Choice(name="vehicle", expected_space_id=space))).routes.others == 1


def passes(
    wanted: BoxFilter,
    *,
    width: float = 5.0,
    height: float = 5.0,
    class_id: int | None = None,
    score: float | None = None,
) -> bool:
    return wanted.passes(width=width, height=height, class_id=class_id, score=score)


def test_a_filter_passes_what_is_within_its_bounds() -> None:
    """The bounds themselves are within. What is no number is within nothing."""
    assert passes(BoxFilter(), width=math.nan, height=math.inf, class_id=9, score=-1.0)
    least, most = BoxFilter(min_width=10, min_height=20), BoxFilter(max_width=10, max_height=20)
    assert passes(least, width=10, height=20)
    assert passes(most, width=10, height=20)
    for wanted, worse in ((least, -0.01), (most, 0.01), (least, math.nan), (most, math.nan), (most, math.inf)):
        assert not passes(wanted, width=10 + worse, height=20)
        assert not passes(wanted, width=10, height=20 + worse)


def test_a_filter_by_score_passes_boxes_without_one_and_a_filter_by_class_does_not() -> None:
    """A detector may have no scores; a box without a class is of no class that was named."""
    scored, classed = BoxFilter(min_score=0.5), BoxFilter(class_ids=frozenset({1}))
    assert [passes(scored, score=score) for score in (None, 0.5, 0.49, math.nan)] == [True, True, False, False]
    assert [passes(classed, class_id=class_id) for class_id in (None, 1, 2)] == [False, True, False]


def test_a_filter_comes_as_it_was_said() -> None:
    """Floats are the wire's float32; zero is a bound, absent is none."""
    message = opening()
    message.options.box_filter.CopyFrom(session_pb2.BoxFilter(min_width=0, min_score=0.25, class_ids=[3, 3, 1]))
    assert agreed(message).box_filter == BoxFilter(min_width=0.0, min_score=0.25, class_ids=frozenset({1, 3}))


def test_a_single_call_is_rejected_rather_than_kept_waiting() -> None:
    """A window of its one frame, whatever its size; its options are those of a stream."""
    options = session_pb2.EmbedOptions(camera_id="c", dtype=frame_pb2.EMBEDDING_DTYPE_FLOAT16)
    options.priority = session_pb2.PRIORITY_HIGH
    agreement = parse_unary(options, caller=NOBODY, models=MODELS, window=LIMITS)
    assert agreement.terms.overload_policy is OverloadPolicy.REJECT
    assert (agreement.terms.window, agreement.terms.priority) == (Window(frames=1, bytes=1000), Priority.HIGH)
    assert agreement.dtype is AnswerDtype.FLOAT16
    with pytest.raises(InvalidCall, match="camera_id"):
        parse_unary(session_pb2.EmbedOptions(), caller=NOBODY, models=MODELS, window=LIMITS)


def test_the_first_that_is_wrong_is_what_the_client_is_told() -> None:
    """In this order, in every release: each is mended in turn, and the next one is told."""
    message = session_pb2.SessionOpen()
    for field in ("ordering", "overload_policy"):
        setattr(message, field, 99)
    message.track_options.SetInParent()
    message.options.latency_budget_ms = 0
    message.options.models.add(name="dog")
    message.options.box_filter.min_width = -1
    for field in ("priority", "dtype"):
        setattr(message.options, field, 99)
    mend: list[tuple[str, Callable[[], object]]] = [
        ("session_id", lambda: setattr(message, "session_id", bytes(16))),
        ("track_options", lambda: message.ClearField("track_options")),
        ("ordering", lambda: message.ClearField("ordering")),
        ("overload_policy", lambda: message.ClearField("overload_policy")),
        ("camera_id", lambda: setattr(message.options, "camera_id", "c")),
        ("latency_budget_ms", lambda: message.options.ClearField("latency_budget_ms")),
        ("priority", lambda: message.options.ClearField("priority")),
        ("unknown model 'dog'", lambda: message.options.ClearField("models")),
        ("box_filter.min_width", lambda: message.options.ClearField("box_filter")),
        ("dtype", lambda: message.options.ClearField("dtype")),
    ]
    for name, repair in mend:
        with pytest.raises(CallRefused, match=name):
            agreed(message)
        repair()
    agreed(message)
