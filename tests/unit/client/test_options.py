"""An option is written in one place, and every entry point takes it from there."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import pytest

from reidstream_client import (
    AsyncReidClient,
    AsyncSession,
    CallOptions,
    ClientOptions,
    EmbedOnRisk,
    FrameInput,
    FrameOptions,
    InvalidRequest,
    Ordering,
    OverloadPolicy,
    ReidClient,
    ResumingSession,
    ResumingStreamOptions,
    Session,
    StreamOptions,
    TrackingResumingStreamOptions,
    TrackingStreamOptions,
    TrackOptions,
)
from reidstream_client.options import CallInput, ClientSettings, StreamSettings
from reidstream_client.session.opener import Opener

PAIRS: list[tuple[type[Any], type[Any], set[str]]] = [
    (ClientOptions, ClientSettings, set()),
    (StreamOptions, StreamSettings, {"give_up_after_s", "tracks"}),
    (ResumingStreamOptions, StreamSettings, {"tracks"}),
    (TrackingStreamOptions, StreamSettings, {"give_up_after_s"}),
    (TrackingResumingStreamOptions, StreamSettings, set()),
    (FrameOptions, FrameInput, {"image", "boxes"}),
    (CallOptions, CallInput, {"image", "boxes"}),
]
# Entry point -> where its options are written.
ENTRIES: list[tuple[Callable[..., Any], type[Any]]] = [
    (AsyncReidClient, ClientOptions),
    (ReidClient, ClientOptions),
    (AsyncReidClient.stream, TrackingStreamOptions),
    (AsyncReidClient.resuming_stream, TrackingResumingStreamOptions),
    (ReidClient.stream, TrackingStreamOptions),
    (ReidClient.resuming_stream, TrackingResumingStreamOptions),
    (ReidClient.embed_many, TrackingStreamOptions),
    (AsyncSession.send, FrameOptions),
    (ResumingSession.send, FrameOptions),
    (Session.send, FrameOptions),
    (AsyncReidClient.embed, CallOptions),
    (ReidClient.embed, CallOptions),
]


@pytest.mark.parametrize(("options", "settings", "more"), PAIRS)
def test_an_option_has_one_type_and_a_default(options: type[Any], settings: type[Any], more: set[str]) -> None:
    """The two lines of an option stand beside each other and say the same."""
    fields = {field.name: field for field in dataclasses.fields(settings)}
    assert set(fields) - more == set(options.__annotations__)
    for name in set(fields) - more:
        assert fields[name].default is not dataclasses.MISSING
    of_options = inspect.get_annotations(options)
    for kind in reversed(settings.__mro__):
        for name, annotation in inspect.get_annotations(kind).items():
            assert name in more or str(_text(of_options[name])) == str(_text(annotation))


@pytest.mark.parametrize(("entry", "options"), ENTRIES, ids=lambda value: getattr(value, "__qualname__", ""))
def test_an_entry_point_shows_exactly_the_options(entry: Callable[..., Any], options: type[Any]) -> None:
    """`help()` has each by name and with its default; there is no list of its own that could lack one."""
    code = entry.__init__ if isinstance(entry, type) else entry  # type: ignore[misc]
    assert inspect.get_annotations(inspect.unwrap(code))["options"] == f"Unpack[{options.__name__}]"
    shown = inspect.signature(entry).parameters.values()
    assert {one.name for one in shown if one.kind is inspect.Parameter.KEYWORD_ONLY} == set(options.__annotations__)


STREAM = {
    "camera_id": "door",
    "ordering": Ordering.IN_ORDER,
    "overload_policy": OverloadPolicy.REJECT,
    "window_frames": 3,
    "window_bytes": 4000,
    "answer_timeout_s": 5.0,
    "budget_grace_s": 0.25,
    "shared_memory": True,
    "tracks": TrackOptions(embed=EmbedOnRisk(max_shift=0.25), timeout_s=2.0, representatives=1),
}


class Stop(Exception):
    """The settings have arrived."""


@pytest.fixture
def arrived(monkeypatch: pytest.MonkeyPatch) -> list[StreamSettings]:
    """The settings of the streams that were asked for; none is opened."""
    found: list[StreamSettings] = []

    def opener(_: AsyncReidClient, settings: StreamSettings) -> Opener:
        found.append(settings)
        raise Stop

    monkeypatch.setattr(AsyncReidClient, "_opener", opener)
    return found


async def test_every_option_of_a_stream_arrives(arrived: list[StreamSettings]) -> None:
    """From all five entry points."""
    assert set(STREAM) == set(TrackingStreamOptions.__annotations__)
    client = AsyncReidClient("localhost:1")
    for context in (client.stream(**STREAM), client.resuming_stream(**STREAM, give_up_after_s=60.0)):  # type: ignore[call-overload]
        with pytest.raises(Stop):
            async with context:
                pytest.fail("there is no session")
    with ReidClient("localhost:1") as blocking:
        resuming = blocking.resuming_stream(**STREAM, give_up_after_s=60.0)  # type: ignore[call-overload]
        for entered in (blocking.stream(**STREAM), resuming):  # type: ignore[call-overload]
            with pytest.raises(Stop):
                entered.__enter__()
        with pytest.raises(Stop):
            next(iter(blocking.embed_many([], **STREAM)))  # type: ignore[call-overload]
    assert arrived == [StreamSettings(**STREAM)] * 5  # type: ignore[arg-type]


@pytest.mark.parametrize(("entry", "options"), ENTRIES[2:], ids=lambda value: getattr(value, "__qualname__", ""))
async def test_an_unknown_option_is_refused(entry: Callable[..., Any], options: type[Any]) -> None:
    """At once, with the ones that there are."""
    first = next(iter(options.__annotations__))
    with ReidClient("localhost:1") as client:
        given: list[object] = [client] if entry.__qualname__.startswith("ReidClient") else [None]
        given += [None] * (len(inspect.signature(entry).parameters) - len(options.__annotations__) - 1)

        async def call() -> None:
            result = entry(*given, windw=3)
            if inspect.isawaitable(result):
                await result

        with pytest.raises(TypeError, match=rf"{entry.__name__}\(\) has no option 'windw'; it has {first}"):
            await call()


@pytest.mark.parametrize("client", [AsyncReidClient, ReidClient])
def test_an_unknown_option_of_a_client_is_refused(client: type[AsyncReidClient | ReidClient]) -> None:
    """By the name of the class."""
    with pytest.raises(TypeError, match=rf"{client.__name__}\(\) has no option 'time_out'; it has camera_id, model"):
        client("localhost:1", time_out=3)  # type: ignore[call-arg]


@pytest.mark.parametrize("keepalive_s", [0, 9.99, -1, float("nan"), 1e6])
def test_pings_are_no_more_frequent_than_servers_allow(keepalive_s: float) -> None:
    """A server would end the connection."""
    with pytest.raises(InvalidRequest, match=r"keepalive_s must be 10 to 86400 s, or None for no pings, not"):
        AsyncReidClient("localhost:1", keepalive_s=keepalive_s)


def _text(annotation: object) -> object:
    """An annotation as it is written; TypedDict wraps it."""
    return getattr(annotation, "__forward_arg__", annotation)
