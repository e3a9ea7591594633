"""Sentences that several checks need: an error in words, and what to do about each kind of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from reidstream_client.cli.doctor.finding import Finding, Verdict, unseen, wrong
from reidstream_client.cli.doctor.seen import Frames, Seen, is_lacking
from reidstream_client.errors import (
    CallRejected,
    CallTimeout,
    FrameTooLarge,
    Overloaded,
    ProtocolFault,
    ReidError,
    ServerFault,
    ServerUnavailable,
)
from reidstream_client.redaction import without_secrets

NOT_REACHED: Final = "The server was not reached."
_STRANGER: Final = frozenset({"UNAUTHENTICATED", "PERMISSION_DENIED"})
_NEXT: Final[Mapping[type[ReidError], str]] = MappingProxyType(
    {
        FrameTooLarge: "Send the picture encoded, or raise both limits: --max-message-bytes and max_message_bytes.",
        Overloaded: "Come back later, or ask the server's operator for more room: its log and metrics name the bound.",
        CallTimeout: "Give it more time (--timeout), and look whether the server is overloaded or frozen.",
        ServerUnavailable: "Try again in a moment; if that does not help, look into the server's log.",
        ServerFault: "Look into the server's log: it has the details.",
        ProtocolFault: "Look for something between client and server that changes messages; else report it.",
        CallRejected: "Change what the server names, or ask its operator.",
        ReidError: "Try again; if that does not help, look into the server's log.",
    }
)


def said(seen: Seen, error: ReidError) -> str:
    """An error as a sentence, without the target, which stands above all."""
    text = without_secrets(" ".join(str(error).split())).removeprefix(f"{seen.asked.target}: ")
    return sentence(text)


def sentence(text: str) -> str:
    """With a capital and an end."""
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "?", "!")) else f"{text}."


def failed(check: str, seen: Seen, error: ReidError) -> Finding:
    """A call that ended with an error that no other check explains."""
    change = next(text for kind, text in _NEXT.items() if isinstance(error, kind))
    return wrong(check, said(seen, error), change)


def is_stranger(answer: object) -> bool:
    """Whether a call was refused because of who calls."""
    return isinstance(answer, ReidError) and answer.status is not None and answer.status.name in _STRANGER


def met_nobody(answer: object) -> bool:
    """Whether a call found no server, or no answer."""
    return isinstance(answer, ServerUnavailable | CallTimeout)


def raw_was_late(frames: Frames) -> bool:
    """Whether the single call was of raw pixels, and had no answer in its time: the line may be too slow for it."""
    return isinstance(frames.embed, CallTimeout) and frames.embed_bytes == frames.raw_bytes


def silence(seen: Seen) -> str:
    """Why the server's methods say nothing; "" if they answer."""
    if seen.calls is None:
        return NOT_REACHED
    if met_nobody(seen.calls.health):
        return "The server's methods do not answer."
    if any(is_stranger(answer) for answer in (seen.calls.health, seen.calls.models)):
        return "The server does not know this client."
    if is_lacking(seen.calls.models) and is_lacking(seen.calls.info):
        return "It is no reidstream-server."
    return ""


def unless_proxied(seen: Seen, found: Finding) -> Finding:
    """With a proxy, gRPC does not take the way that was looked at: what fails there is told, and is no fault."""
    if seen.asked.proxy is None or found.verdict is not Verdict.WRONG:
        return found
    return unseen(found.check, f"Beside the proxy: {found.seen}")


def milliseconds(seconds: float) -> str:
    """For a sentence."""
    return f"{seconds * 1000:.1f} ms"


def number(value: float) -> str:
    """With commas."""
    return f"{value:,.0f}"


def listed(names: Iterable[str]) -> str:
    """Several words, or "none"."""
    return ", ".join(names) or "none"
