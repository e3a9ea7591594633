"""One table says what a client is told; nothing may be missing from it, and nothing of ours may leak through it."""

from __future__ import annotations

import grpc
import pytest

from reidstream_proto.v1 import frame_pb2
from reidstream_server import errors
from reidstream_server.core.faults import FaultReason, FrameFault
from reidstream_server.errors import CallRefused, Refusal
from reidstream_server.transport.embedding.answers import frame_error
from reidstream_server.transport.grpc_server.calls import status_details
from reidstream_server.transport.status import CALLS, FRAMES, STALLED, Status

REFUSED = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, CallRefused) and kind is not CallRefused
]
# What frame.proto says beside each reason.
CODES = {
    **dict.fromkeys(range(1, 8), grpc.StatusCode.INVALID_ARGUMENT),
    **dict.fromkeys((8, 9, 10), grpc.StatusCode.RESOURCE_EXHAUSTED),
    11: grpc.StatusCode.DEADLINE_EXCEEDED,
    **dict.fromkeys((12, 13), grpc.StatusCode.UNAVAILABLE),
    14: grpc.StatusCode.INTERNAL,
    15: grpc.StatusCode.INVALID_ARGUMENT,
}


def test_every_way_to_refuse_is_one_row() -> None:
    """Each exception has a word of its own, and the table has all of them."""
    assert len({kind.refusal for kind in REFUSED}) == len(REFUSED)
    assert {kind.refusal for kind in REFUSED} == set(Refusal) == set(CALLS)
    assert set(FRAMES) == set(FaultReason)


@pytest.mark.parametrize("status", [*CALLS.values(), *FRAMES.values(), STALLED])
def test_both_columns_blame_the_same_side(status: Status) -> None:
    """A client that may come back with the same request is told so by either kind of door."""
    later = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
    assert (status.grpc in later) == (status.http in (408, 429, 503, 504))
    assert (status.grpc is grpc.StatusCode.INTERNAL) == (status.http == 500)
    assert (status.grpc is grpc.StatusCode.UNIMPLEMENTED) == (status.http == 501)
    assert (status.grpc is grpc.StatusCode.UNAUTHENTICATED) == (status.http == 401)
    assert (status.grpc is grpc.StatusCode.NOT_FOUND) == (status.http == 404)
    assert (status.grpc is grpc.StatusCode.INVALID_ARGUMENT) == (status.http in (400, 413, 415))


@pytest.mark.parametrize("refusal", Refusal)
def test_every_refusal_has_a_status(refusal: Refusal) -> None:
    """None is OK, and none is what gRPC says by itself when a program is at fault."""
    assert CALLS[refusal].grpc not in (
        grpc.StatusCode.OK,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.CANCELLED,
    )


@pytest.mark.parametrize("reason", FaultReason)
def test_every_fault_has_the_reason_and_the_code_of_the_contract(reason: FaultReason) -> None:
    """By the same name on the wire; the code is that of a unary call."""
    fault = FrameFault(reason=reason, message="why", retry_after_ms=7)
    error = frame_error(fault)
    assert frame_pb2.ErrorReason.Name(error.reason) == f"ERROR_REASON_{reason.name}"
    assert (error.message, error.retry_after_ms) == ("why", 7)
    assert FRAMES[reason].grpc is CODES[error.reason]
    assert error.code == CODES[error.reason].value[0]


def test_every_reason_of_the_contract_is_used() -> None:
    """None of them is promised in vain."""
    used = {frame_error(FrameFault(reason=reason, message="")).reason for reason in FaultReason}
    assert used == set(frame_pb2.ErrorReason.values()) - {frame_pb2.ERROR_REASON_UNSPECIFIED}


def test_a_retry_is_absent_where_it_makes_no_sense() -> None:
    """Absent is not zero."""
    assert not frame_error(FrameFault(reason=FaultReason.DROPPED, message="")).HasField("retry_after_ms")


@pytest.mark.parametrize("text", ["", "short", "x" * 2000, "é" * 1000])
def test_a_short_message_is_told_whole(text: str) -> None:
    """Up to two thousand bytes."""
    assert status_details(text) == text


@pytest.mark.parametrize("text", ["x" * 10**6, "é" * 1001, "x" + "é" * 1000, "\U0001f3a5" * 501, "a" * 1999 + "é"])
def test_a_long_message_is_cut_between_characters(text: str) -> None:
    """Headers that are too long would cost the client the status itself."""
    told = status_details(text)
    assert told.endswith("...")
    assert text.startswith(told.removesuffix("..."))
    assert 1990 <= len(told.encode()) <= 2003
