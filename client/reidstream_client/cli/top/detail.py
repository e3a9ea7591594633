"""One session, as lines: what it agreed on, what became of its frames, and where its open frames are."""

from __future__ import annotations

from .lines import Line, Style
from .looks import DetailLook
from .writing import NOTHING, columns_of, duration, mebibytes, milliseconds, name, percent, rate

_LABEL = 14


def detail(target: str, look: DetailLook) -> list[Line]:
    """All of it."""
    seen, server = look.seen, look.answer.server
    session, rates = seen.session, seen.rates
    who = f"camera {name(session.camera_id)} of client {name(session.client)} at {name(target)}"
    budget = NOTHING if session.latency_budget_s is None else f"{milliseconds(session.latency_budget_s)} ms"
    models = ", ".join(map(name, session.models)) + (f" and {session.more_models} more" if session.more_models else "")
    losses = ", ".join(f"{name(reason)} {count}" for reason, count in sorted(session.losses.items())) or "none"
    lines = [Line(who, Style.BOLD), Line("")]
    lines += [
        _field("state", seen.state, Style.ALERT if seen.suffers else Style.PLAIN),
        _field("session", f"number {session.number}, open {duration(session.open_s)}, resumed {session.resumed} times"),
        _field("peer", name(session.peer)),
        _field("models", models),
        _field(
            "agreed on",
            f"priority {session.priority}, policy {session.overload_policy}, {session.ordering}, budget {budget}",
        ),
    ]
    if rates is None:
        lines.append(_field("rates", "come with the second answer"))
    else:
        lines.append(
            _field(
                "rates",
                f"{rate(rates.answered_fps)} frames/s with vectors, {rate(rates.given_up_fps)} given up/s, "
                f"{rate(rates.failed_fps)} failed/s (lost {percent(rates.lost_percent)} %), "
                f"{mebibytes(rates.received_bytes_per_s)} MiB/s, over {rates.interval_s:.1f} s",
            )
        )
    lines += [
        _field("age", f"p50 {milliseconds(session.age_p50_s)} ms, p99 {milliseconds(session.age_p99_s)} ms"),
        _field(
            "since opened",
            f"{session.frames} frames, {mebibytes(session.received_bytes)} MiB; {session.answered} answered, "
            f"{session.given_up} given up, {session.failed} failed",
        ),
        _field("losses", losses),
        _field(
            "window",
            f"{session.window_frames} of {session.max_window_frames} frames, {mebibytes(session.window_bytes)} of "
            f"{mebibytes(session.max_window_bytes)} MiB",
        ),
        _field(
            "open frames",
            f"{session.waiting_frames} wait, {session.running_frames} run, {session.done_frames} done; the oldest "
            f"{duration(session.oldest_frame_s)}",
        ),
        _field("unread", f"{session.unwritten_answers} answers, for {duration(session.unread_s)}"),
        _field("server", f"up {duration(server.uptime_s)}, oldest queued frame {duration(server.oldest_waiting_s)}"),
    ]
    if look.answer.open_frames:
        lines += [Line(""), Line(_frame_row(("FRAME", "PHASE", "HERE ms", "AGE ms", "CROPS", "KiB")), Style.MARKED)]
    lines += [
        Line(
            _frame_row(
                (
                    str(frame.frame_id),
                    frame.phase,
                    milliseconds(frame.here_s),
                    milliseconds(frame.age_at_arrival_s + frame.here_s),
                    str(frame.crops),
                    f"{frame.message_bytes / 1024:.1f}",
                )
            )
        )
        for frame in look.answer.open_frames
    ]
    return lines


def _field(label: str, text: str, style: Style = Style.PLAIN) -> Line:
    return Line(label + " " * max(1, _LABEL - columns_of(label)) + text, style)


def _frame_row(cells: tuple[str, str, str, str, str, str]) -> str:
    return "{:>12} {:<8}{:>10}{:>10}{:>7}{:>10}".format(*cells)
