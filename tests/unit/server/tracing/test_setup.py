"""When a server traces: its own settings, and OpenTelemetry's variables."""

from __future__ import annotations

import logging

import pytest

from reidstream_server.errors import StartupError
from reidstream_server.tracing import setup
from reidstream_server.tracing.sampling import Sampler
from reidstream_server.tracing.setup import TracingPlan, tracing_plan

HERE = "http://localhost:4317"
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": HERE}


def test_it_is_off_until_somebody_names_a_collector() -> None:
    """By our setting, or by a variable; an empty one is none."""
    assert tracing_plan(None, 1.0, {"OTEL_EXPORTER_OTLP_ENDPOINT": "", "OTEL_SERVICE_NAME": "gate"}) is None
    assert tracing_plan(HERE, None, {}) == TracingPlan(endpoint=HERE, sampler=Sampler(ratio=0.01))
    assert tracing_plan(None, None, ENDPOINT) == TracingPlan(endpoint=None, sampler=Sampler(ratio=0.01))
    assert tracing_plan(None, None, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": HERE}) is not None


@pytest.mark.parametrize("off", [{"OTEL_SDK_DISABLED": "True"}, {"OTEL_TRACES_EXPORTER": "none"}])
def test_opentelemetrys_switches_turn_it_off(off: dict[str, str]) -> None:
    """Both ways of turning it on."""
    assert tracing_plan(HERE, 1.0, off) is None
    assert tracing_plan(None, 1.0, ENDPOINT | off) is None


@pytest.mark.parametrize(
    ("ratio", "variables", "sampler"),
    [
        (0.5, {"OTEL_TRACES_SAMPLER": "always_on"}, Sampler(ratio=0.5)),
        (None, {"OTEL_TRACES_SAMPLER": "always_on"}, Sampler(ratio=1.0, heeds_clients=False)),
        (None, {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio"}, Sampler(ratio=1.0)),
        (
            None,
            {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.25"},
            Sampler(ratio=0.25, heeds_clients=False),
        ),
        (None, {"OTEL_TRACES_SAMPLER_ARG": "0.25"}, Sampler(ratio=0.01)),
    ],
)
def test_our_share_comes_before_their_sampler(ratio: float | None, variables: dict[str, str], sampler: Sampler) -> None:
    """And theirs before our default."""
    plan = tracing_plan(HERE, ratio, variables)
    assert plan is not None
    assert plan.sampler == sampler


@pytest.mark.parametrize(
    "variables",
    [
        {"OTEL_TRACES_SAMPLER": "jaeger_remote"},
        {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "many"},
        {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "nan"},
    ],
)
def test_a_sampler_that_is_none_is_told_and_left_out(
    variables: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """OpenTelemetry's variables stop no start."""
    plan = tracing_plan(HERE, None, variables)
    assert plan is not None
    assert plan.sampler == Sampler(ratio=0.01)
    assert [record.msg for record in caplog.records] == ["tracing_variable_ignored"]


def test_a_variable_that_cannot_be_followed_is_told_and_our_own_setting_stops_the_start(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the extra, and for a protocol that is not gRPC."""
    caplog.set_level(logging.WARNING)
    assert tracing_plan(None, None, ENDPOINT | {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}) is None
    assert tracing_plan(HERE, None, {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}) is not None
    assert tracing_plan(None, None, ENDPOINT | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}) is not None
    monkeypatch.setattr(setup, "_NEEDED", ("opentelemetry.nowhere.at_all",))
    assert tracing_plan(None, None, ENDPOINT) is None
    reasons = [record.reidstream_fields["reason"] for record in caplog.records]  # type: ignore[attr-defined]
    assert [record.msg for record in caplog.records] == ["tracing_off", "tracing_off"]
    assert "4317" in reasons[0]
    assert "pip install" in reasons[1]
    with pytest.raises(StartupError, match="pip install"):
        tracing_plan(HERE, None, {})


async def test_what_the_library_cannot_read_is_an_error_of_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the way out."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "brotli")
    with pytest.raises(StartupError, match=r"OpenTelemetry cannot export: .*brotli.*OTEL_EXPORTER_"):
        async with setup.running_tracer(HERE, None, {}):
            pass
