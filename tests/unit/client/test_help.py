"""What `help()` says of the client: enough to use each method without another page."""

from __future__ import annotations

import inspect
import pydoc
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from reidstream_client import AsyncReidClient, AsyncSession, ReidClient, ResumingSession, Session, options
from reidstream_client.option_help import with_options

CLASSES = (ReidClient, AsyncReidClient, Session, AsyncSession, ResumingSession)
OPTIONS = (
    *("ClientOptions", "FrameOptions", "CallOptions"),
    *("StreamOptions", "ResumingStreamOptions", "TrackingStreamOptions", "TrackingResumingStreamOptions"),
)


def methods() -> Iterator[object]:
    for kind in CLASSES:
        shown = ("__init__",) if kind in {ReidClient, AsyncReidClient} else ()  # sessions are made by the client
        for name, method in vars(kind).items():
            if inspect.isfunction(method) and (not name.startswith("_") or name in shown):
                yield pytest.param(method, id=f"{kind.__name__}.{name}")


@pytest.mark.parametrize("method", [*methods()])
def test_a_method_teaches_by_itself(method: object) -> None:
    """It has words of its own and sends nobody to another method for its errors. Each option has its meaning there."""
    text = pydoc.plain(pydoc.render_doc(method))
    assert "as for `" not in text
    assert "As `" not in text
    parameters = inspect.signature(method).parameters.values()  # type: ignore[arg-type]
    shown = [one.name for one in parameters if one.kind is inspect.Parameter.KEYWORD_ONLY]
    assert [name for name in shown if f"\n      {name}: " not in text] == []


def test_help_of_a_stream_says_what_its_options_mean() -> None:
    """In the words that editors show."""
    text = " ".join(pydoc.plain(pydoc.render_doc(ReidClient.stream)).split())
    assert "Open a session for one camera, in a `with` block" in text
    assert "overload_policy: What happens to a frame while the window is full. Default: WAIT." in text
    assert "camera_id: Instead of the client's." in text
    assert "tracks: A memory of tracks: boxes with a track id are embedded where" in text


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_has_a_meaning(name: str) -> None:
    """Inherited ones too, and the first."""
    text = with_options("What it does.", options, name)
    assert text is not None
    assert [one for one in getattr(options, name).__annotations__ if f"\n  {one}: " not in text] == []


def test_without_sources_help_has_the_rest() -> None:
    """As in a program that was frozen; and -OO has no docstrings at all."""
    assert with_options("What it does.", ModuleType("frozen"), "StreamOptions") == "What it does."
    assert with_options("What it does.", sys.modules["builtins"], "StreamOptions") == "What it does."
    assert with_options(None, options, "StreamOptions") is None
