"""Which frames are recorded, and what a traceparent may look like."""

from __future__ import annotations

import random

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Decision, ParentBased, TraceIdRatioBased
from opentelemetry.sdk.trace.sampling import Sampler as TheirSampler
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from reidstream_server.tracing.sampling import SAMPLERS, Sampler, new_span_id
from reidstream_server.tracing.traceparent import TraceParent, parse_traceparent

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
ABOVE = TraceParent(int(TRACE, 16), int(PARENT, 16), sampled=True)


@pytest.mark.parametrize(
    ("text", "flag"),
    [
        (f"00-{TRACE}-{PARENT}-01", 1),
        (f"00-{TRACE}-{PARENT}-00", 0),
        (f"00-{TRACE}-{PARENT}-03", 1),
        (f"00-{TRACE}-{PARENT}-fe", 0),
        (f"01-{TRACE}-{PARENT}-01", 1),
        (f"cc-{TRACE}-{PARENT}-01-what-comes-later", 1),
    ],
)
def test_a_traceparent_is_read_as_far_as_it_is_known(text: str, flag: int) -> None:
    """Later versions may have more flags, and more fields."""
    assert parse_traceparent(text) == TraceParent(int(TRACE, 16), int(PARENT, 16), bool(flag))


@pytest.mark.parametrize(
    "text",
    [
        "",
        TRACE,
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE}-{PARENT}-1",
        f"00-{TRACE}-{PARENT}-01-more",
        f"cc-{TRACE}-{PARENT}-01more",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-0g",
        f" 00-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01\n",
        f"00-{TRACE}-{PARENT}-\u0660\u0661",
        "0" * 10_000,
    ],
)
def test_what_the_standard_has_ignored_is_no_traceparent(text: str) -> None:
    """Its length, its letters and its zeros count."""
    assert parse_traceparent(text) is None


THEIRS: dict[str, TheirSampler] = {
    "always_on": ALWAYS_ON,
    "always_off": ALWAYS_OFF,
    "traceidratio": TraceIdRatioBased(0.3),
    "parentbased_always_on": ParentBased(ALWAYS_ON),
    "parentbased_always_off": ParentBased(ALWAYS_OFF),
    "parentbased_traceidratio": ParentBased(TraceIdRatioBased(0.3)),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_our_samplers_decide_as_opentelemetrys(name: str) -> None:
    """About the same traces, with a parent that is recorded, with one that is not, and without one."""
    ours, theirs, draw = SAMPLERS[name](0.3), THEIRS[name], random.Random(7)  # noqa: S311 - it must be repeatable
    for _ in range(2000):
        trace_id, flag = draw.getrandbits(128) or 1, draw.choice([None, False, True])
        above = None if flag is None else TraceParent(trace_id, 5, flag)
        if above is None:
            bits = {0: trace_id & (2**64 - 1), 1: trace_id >> 64}
            chosen = ours.trace_id(None, lambda _, bits=bits: bits.pop(min(bits)))  # type: ignore[misc]
            context = Context()
        else:
            chosen = ours.trace_id(above)
            flags = TraceFlags(TraceFlags.SAMPLED if flag else TraceFlags.DEFAULT)
            span = NonRecordingSpan(SpanContext(trace_id, 5, is_remote=True, trace_flags=flags))
            context = set_span_in_context(span, Context())
        decided = theirs.should_sample(context, trace_id, "frame").decision is Decision.RECORD_AND_SAMPLE
        assert chosen == (trace_id if decided else None)


def test_so_many_are_recorded_as_the_share_says() -> None:
    """One in a hundred by default, all with 1, none with 0."""
    draw = random.Random(1)  # noqa: S311 - it must be repeatable
    assert 60 < sum(Sampler().trace_id(None, draw.getrandbits) is not None for _ in range(10_000)) < 140
    assert all(Sampler(ratio=1.0).trace_id(None) for _ in range(1000))
    assert not any(Sampler(ratio=0.0).trace_id(None) for _ in range(1000))


def test_ids_are_never_zero() -> None:
    """That means none."""
    assert Sampler(ratio=1.0).trace_id(None, lambda _: 0) == 1
    assert all(new_span_id() for _ in range(1000))


def test_a_client_that_decides_is_followed_into_its_trace() -> None:
    """Whatever the share."""
    assert Sampler(ratio=0.0).trace_id(ABOVE) == int(TRACE, 16)
