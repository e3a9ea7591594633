"""From what was seen to findings: each fault is named, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import grpc
import pytest

from reidstream_client import (
    Budget,
    CallRejected,
    CallTimeout,
    Overloaded,
    ServerFault,
    ServerSessions,
    ServerUnavailable,
    Timing,
)
from reidstream_client.cli.doctor.finding import Verdict
from reidstream_client.cli.doctor.seen import (
    Attempt,
    Certificate,
    Clock,
    Handshake,
    Names,
    Operators,
    Port,
    Reach,
    Seen,
    Speaks,
    Trust,
)
from reidstream_client.connection.protocols import Health
from reidstream_client.errors import ReidError
from tests.unit.client.cli.doctor.sights import (
    CALLS,
    FRAMES,
    INFO,
    NOW_S,
    SEEN,
    WELL,
    answer,
    changed,
    findings,
    operators,
)
from tests.unit.client.cli.top.figures import QUIET, SERVER

DAY_S = 86_400
PLAIN = replace(SEEN, operators=operators(WELL, WELL))


def verdicts(seen: Seen, verdict: Verdict) -> set[str]:
    return {name for name, finding in findings(seen).items() if finding.verdict is verdict}


def wrong(seen: Seen) -> set[str]:
    return verdicts(seen, Verdict.WRONG)


def doubtful(seen: Seen) -> set[str]:
    return verdicts(seen, Verdict.WARNING)


def with_calls(**changes: object) -> Seen:
    return replace(SEEN, calls=replace(CALLS, **changes))  # type: ignore[arg-type]


def with_frames(**changes: object) -> Seen:
    return replace(SEEN, frames=replace(FRAMES, **changes))  # type: ignore[arg-type]


def with_page(*changes: tuple[str, str]) -> Seen:
    """The newest look at the metrics has these values."""
    return replace(SEEN, operators=operators(WELL, changed(*changes)))


def test_what_is_well_gives_no_complaint() -> None:
    """Each check has looked."""
    assert verdicts(SEEN, Verdict.OK) == set(findings(SEEN))


def test_what_nobody_saw_is_no_complaint_either() -> None:
    """Whatever the checks are."""
    blind = Seen(asked=SEEN.asked, now_unix_s=NOW_S)
    assert verdicts(blind, Verdict.NOT_LOOKED_AT) == set(findings(blind)) - {"proxy"}


UNAUTHENTICATED = CallRejected("gate:50051: no token", status=grpc.StatusCode.UNAUTHENTICATED)
BROKEN = ServerFault("gate:50051: it broke", status=grpc.StatusCode.INTERNAL)
GONE = ServerUnavailable("gate:50051: nobody", status=grpc.StatusCode.UNAVAILABLE)


def not_reached(attempts: tuple[Reach, ...], operators: Operators | None = None) -> Seen:
    every = tuple(Attempt(address=f"10.0.0.{i}", port=1, reach=how, error="why") for i, how in enumerate(attempts))
    return replace(SEEN, attempts=every, port=None, calls=None, frames=None, operators=operators)


def shaken(trust: Trust, *, begins_days: float = -10, ends_days: float = 300) -> Seen:
    own = Certificate(
        names=("door", "gate.org"),
        issuer="our ca",
        begins_unix_s=NOW_S + begins_days * DAY_S,
        ends_unix_s=NOW_S + ends_days * DAY_S,
    )
    handshake = Handshake(trust=trust, name="gate", detail="DETAIL", certificate=own)
    asked = replace(SEEN.asked, tls=True)
    if trust is Trust.TRUSTED:
        return replace(SEEN, asked=asked, port=None, handshake=handshake)
    return replace(SEEN, asked=asked, port=None, handshake=handshake, calls=None, frames=None, operators=None)


@pytest.mark.parametrize(
    ("seen", "check", "words"),
    [
        (
            replace(not_reached(()), names=Names(host="gate", error="E"), attempts=None),
            "name",
            "gate has no address: E",
        ),
        (not_reached((Reach.REFUSED, Reach.TIMED_OUT)), "port", "start reidstream-server"),
        (not_reached((Reach.TIMED_OUT, Reach.TIMED_OUT)), "port", "drops the packets"),
        (not_reached((Reach.UNREACHABLE,)), "port", "cannot be reached: why"),
        (not_reached((Reach.REFUSED,), operators(ready="the models are loading", error="503")), "health", "warming up"),
        (not_reached((Reach.OPEN,), operators(alive="an engine is lost: E")), "health", "/healthz says: an engine is"),
        *(
            (replace(not_reached((Reach.OPEN,)), port=Port(speaks=speaks, first="FIRST")), "protocol", words)
            for speaks, words in (
                (Speaks.HTTP, "A web server answers there (FIRST)"),
                (Speaks.OPERATORS, "port of metrics"),
                (Speaks.SILENT, "says nothing within 5 s"),
                (Speaks.CLOSED, "without a word"),
                (Speaks.OTHER, "FIRST"),
            )
        ),
        (replace(not_reached((Reach.OPEN,)), port=Port(speaks=Speaks.TLS)), "tls", "The port speaks TLS"),
        (shaken(Trust.UNKNOWN_AUTHORITY), "tls", "certificate, our ca, is not one that this client trusts"),
        (shaken(Trust.WRONG_NAME), "tls", "for door, gate.org, and not for gate"),
        (shaken(Trust.EXPIRED), "tls", "An authority's certificate is expired"),
        (shaken(Trust.EXPIRED, ends_days=-1), "certificate", "has expired on"),
        (shaken(Trust.NOT_YET_VALID, begins_days=1), "certificate", "is not valid before"),
        (shaken(Trust.CLIENT_REFUSED), "tls", "a client without a certificate: DETAIL"),
        (shaken(Trust.NO_TLS), "tls", "the port does not"),
        (shaken(Trust.NO_HTTP2), "tls", "no HTTP/2"),
        (shaken(Trust.SILENT), "protocol", "does not answer a TLS handshake"),
        (shaken(Trust.FAILED), "tls", "DETAIL"),
        (with_calls(models=UNAUTHENTICATED, info=None, sessions=None), "token", "No token. Give --token-file"),
        (with_calls(health=CallTimeout("T"), models=None, info=None), "health", "T. Give it more time"),
        (with_calls(info=BROKEN), "model", "It broke. Look into the server's log"),
        (with_calls(info=Overloaded("O")), "model", "O. Come back later"),
        (with_calls(info=replace(INFO, model=replace(INFO.model, ready=False))), "model", "is not ready"),
        (with_frames(embed=BROKEN), "frames", "It broke."),
        (with_frames(opened=GONE, answers=()), "frames", "Nobody."),
        (with_frames(broken=CallTimeout("gate:50051: no answer"), answers=(answer(),)), "frames", "No answer."),
    ],
)
def test_what_is_wrong_is_named_alone(seen: Seen, check: str, words: str) -> None:
    """What follows from it is not looked at, or is no complaint."""
    seen = replace(seen, frames=None) if check in {"token", "health", "model"} else seen
    assert wrong(seen) == {check}
    found = findings(seen)[check]
    assert words in f"{found.seen} {found.change}"
    assert found.change


def test_dates_of_a_certificate() -> None:
    """Two weeks are soon; the metrics know it where no handshake was made."""
    assert doubtful(shaken(Trust.TRUSTED, ends_days=13)) == {"certificate"}
    assert doubtful(shaken(Trust.TRUSTED, ends_days=15)) == set()
    series = "reidstream_tls_certificate_expiry_timestamp_seconds"
    assert doubtful(with_page((series, str(NOW_S + 3 * DAY_S)))) == {"certificate"}
    assert wrong(with_page((series, str(NOW_S - 3 * DAY_S)))) == {"certificate"}


def test_a_proxy_takes_the_blame_for_what_it_breaks() -> None:
    """What our own connections met is told, and is no fault: gRPC goes another way."""
    asked = replace(SEEN.asked, proxy="https_proxy")
    broken = replace(with_calls(health=GONE, models=None, info=None), asked=asked, frames=None, operators=None)
    assert wrong(broken) == {"proxy"}
    assert "https_proxy" in findings(broken)["proxy"].seen
    behind = replace(SEEN, asked=asked, names=Names(host="gate", error="E"), attempts=None, port=None)
    assert (wrong(behind), doubtful(behind)) == (set(), {"proxy"})
    assert "Beside the proxy: The name gate has no address" in findings(behind)["name"].seen


@pytest.mark.parametrize(
    ("seen", "check", "words"),
    [
        (
            replace(SEEN, asked=replace(SEEN.asked, version="0.0.1")),
            "versions",
            "server is version 1.2.3, and this client",
        ),
        (with_calls(health=Health.UNKNOWN), "health", "UNKNOWN"),
        (
            with_calls(health=CallRejected("x", status=grpc.StatusCode.UNIMPLEMENTED)),
            "health",
            "does not have grpc.health.v1",
        ),
        (
            with_calls(info=replace(INFO, engine=replace(INFO.engine, fallback_reason="no GPU"))),
            "engine",
            "is: no GPU.",
        ),
        (with_calls(clock=Clock(ahead_s=-1.2, within_s=0.1)), "clock", "1.200 s behind mine"),
        (with_calls(pings=(0.2,) * 16), "round trip", "far away"),
        (with_calls(pings=(0.001,) * 15 + (0.9,)), "round trip", "Now and then"),
        (with_frames(embed=answer(Timing(sent_s=0.01, round_trip_s=0.06))), "uplink", "at most 20.0 of them"),
        (with_frames(embed=CallTimeout("T")), "uplink", "was not answered within 5 s"),
        (with_frames(too_large="the frame's message has 9 bytes, and at most 8 are read: x"), "message size", "has 9"),
        (with_frames(raw_bytes=1 << 27, embed_bytes=1), "window", "a stream takes none"),
        (with_frames(answers=(answer(Timing(sent_s=2.0, round_trip_s=2.1)),)), "window", "8 frames a second at most"),
        (with_frames(own=replace(QUIET, camera_id="mine", paused=True)), "penalty", "mine is not read for some time"),
        (with_page(("reidstream_full_windows", "3")), "windows", "lost: 3."),
        (with_page(("reidstream_paused_clients", "1")), "paused clients", "their share: 1."),
        (with_page(("reidstream_private_memory_bytes", "9.5")), "memory", "memory"),
        (with_page(("process_open_fds", "1000")), "descriptors", "1,000 of 1,024"),
        (with_page(('reidstream_self_test_cosine{model="person"}', "0.9")), "self-test", "person 0.9000"),
        (with_page(('reidstream_self_test_cosine{model="person"}', "NaN")), "self-test", "person nan"),
        (with_page(('reidstream_engine_fallback{model="person"}', "1")), "engine", "For person another engine"),
        (with_page(('reidstream_batch_faults_total{model="person"}', "2")), "batches", "start: 2."),
        (with_page(("reidstream_log_lines_dropped_total", "7")), "log", "start: 7."),
        (with_page(('reidstream_admission_refusals_total{bound="boxes"}', "9")), "refusals", "4 boxes"),
        (with_page(('reidstream_calls_refused_total{reason="too_many_calls"}', "1")), "refusals", "1 too_many_calls"),
        (with_page(('reidstream_frames_total{outcome="over_budget"}', "5")), "losses", "2 over_budget; 0 did"),
        (
            with_page(('reidstream_core_busy_seconds_total{work="staging"}', "20")),
            "cores",
            "95 % of the server's 2 cores",
        ),
        (with_page(("reidstream_event_loop_cpu_seconds_total", "10.5")), "event loop", "95 % of the event loop's"),
    ],
)
def test_what_is_doubtful_is_named_alone(seen: Seen, check: str, words: str) -> None:
    """It works, and the status says so."""
    assert (wrong(seen), doubtful(seen)) == (set(), {check})
    found = findings(seen)[check]
    assert words in found.seen
    assert found.change


def test_counts_that_say_nothing_of_now() -> None:
    """What was counted before the first look, what doctor's own mistakes count, and what gives way to all others."""
    for series in (
        'reidstream_calls_refused_total{reason="unknown_model"}',
        'reidstream_core_busy_seconds_total{work="aside"}',
    ):
        assert doubtful(with_page((series, "1000"))) == set()


def test_a_server_that_started_anew_between_two_looks() -> None:
    """Its counters began again: differences would be of two processes."""
    again = changed(
        ('reidstream_admission_refusals_total{bound="boxes"}', "1"), ("reidstream_event_loop_cpu_seconds_total", "0")
    )
    seen = replace(SEEN, operators=operators(WELL, again))
    assert (wrong(seen), doubtful(seen)) == (set(), set())
    assert findings(seen)["event loop"].verdict is Verdict.NOT_LOOKED_AT


def test_two_looks_that_are_too_near_to_each_other_give_no_rates() -> None:
    """A camera's burst would look like a full machine."""
    busy = changed(("reidstream_event_loop_cpu_seconds_total", "1.1"))
    seen = replace(SEEN, operators=operators(WELL, busy, every_s=0.1))
    assert findings(seen)["event loop"].verdict is Verdict.NOT_LOOKED_AT


def test_bounds_are_known_from_either_side() -> None:
    """From the admin service, or from the metrics where that is not allowed."""
    full = replace(SERVER, budgets=(Budget(name="queue_boxes", used=80, limit=81), Budget(name="new", used=9, limit=9)))
    by_admin = with_calls(sessions=ServerSessions(server=full, sessions=()))
    assert doubtful(by_admin) == {"room"}
    assert "queue_boxes 80 of 81" in findings(by_admin)["room"].seen
    assert "--max-queue-boxes" in findings(by_admin)["room"].change
    page = f"{WELL}reidstream_sessions 8\nreidstream_sessions_limit 8\n"
    refused = CallRejected("no", status=grpc.StatusCode.PERMISSION_DENIED)
    by_metrics = replace(with_calls(sessions=refused), operators=operators(page, page))
    assert doubtful(by_metrics) == {"room"}
    assert "--admin" in findings(by_metrics)["penalty"].seen


def test_the_same_client_under_another_camera_pays_for_both() -> None:
    """A penalty is a client's; that of somebody else is none of this one's business."""
    own = replace(QUIET, client="gate-pc", camera_id="reidstream-doctor")
    other = replace(QUIET, client="gate-pc", camera_id="yard", slowed=True)
    stranger = replace(QUIET, client="lobby-pc", camera_id="lobby", paused=True)

    def seen(*others: object) -> Seen:
        sessions = ServerSessions(server=SERVER, sessions=others)  # type: ignore[arg-type]
        return replace(SEEN, calls=replace(CALLS, sessions=sessions), frames=replace(FRAMES, own=own))

    assert doubtful(seen(own, stranger)) == set()
    assert doubtful(seen(own, other)) == {"penalty"}
    assert "client gate-pc" in findings(seen(own, other))["penalty"].seen


@pytest.mark.parametrize(
    ("given", "verdict"), [(None, Verdict.NOT_LOOKED_AT), ("http://gate:1/metrics", Verdict.WARNING)]
)
def test_metrics_that_are_not_there_matter_only_if_they_were_asked_for(given: str | None, verdict: Verdict) -> None:
    """Most clients cannot reach that port, and need not."""
    missing = Operators(url="http://gate:9464/metrics", error="Connection refused")
    seen = replace(SEEN, asked=replace(SEEN.asked, metrics=given), operators=missing)
    assert findings(seen)["metrics"].verdict is verdict
    assert wrong(seen) == set()


def test_a_server_that_serves_is_well_whatever_its_probes_said() -> None:
    """They were asked a moment before, or are another server's."""
    assert wrong(replace(SEEN, operators=operators(WELL, alive="slow", ready="the models are loading"))) == set()


@pytest.mark.parametrize("error", [ReidError, *ReidError.__subclasses__()])
def test_any_error_has_a_next_step(error: Callable[[str], ReidError]) -> None:
    """Of a call that no check expects to fail so."""
    seen = with_frames(opened=error("it did not work"))
    found = findings(seen)["frames"]
    assert (found.verdict, found.seen) == (Verdict.WRONG, "It did not work.")
    assert found.change
