"""Streams: who loses frames and why, how sessions end, who does not read. No series names a camera; the log does."""

from __future__ import annotations

from deploy.prometheus.alerts import MAX_GIVEN_UP, MAX_STALLED
from deploy.prometheus.outcomes import Whose, outcomes

from .page import Page, Placed, Section
from .panels import LIMIT, NEVER, Query, Steps, lines, number
from .promql import increase, of, rate, share, total, worst

_FRAMES = "reidstream_frames_total"
_LOST = 'outcome!="answered"'
_NO_NAMES = "No series names a camera; `reidstream-client top` and the event session_degraded do (docs/operation.md). "


def sessions() -> Page:
    """The fourth dashboard."""
    return Page(
        name="sessions",
        title="reidstream / 4 Streams and lost frames",
        description="Who loses frames and why, how sessions end, and who does not read?",
        sections=(_now(), _lost(), _sessions(), _windows(), _tracks(), _clients()),
    )


def _now() -> Section:
    given_up = number(
        "Which share of frames is given up?",
        "Frames that were dropped for newer ones, found their window full, or were over their budget, as their "
        f"sessions asked; of all that came. {_NO_NAMES}For long: more frames come than are answered in time.",
        "percentunit",
        Query(share(total(rate(_FRAMES, _any_of(Whose.POLICY))), total(rate(_FRAMES))), "share"),
        steps=Steps(orange=MAX_GIVEN_UP / 2, red=MAX_GIVEN_UP),
        decimals=1,
        alert="ReidstreamFramesGivenUp",
    )
    stalled = number(
        "How many sessions were cut off in 30 minutes?",
        "Sessions that were ended because their client did not read its answers for --stall-timeout-s. Their newest "
        "answers may be lost. Look at these clients and their network; the log has session_stalled.",
        "short",
        Query(total(increase("reidstream_sessions_ended_total", 'cause="stalled"', window="30m")), "sessions"),
        steps=Steps(orange=1, red=MAX_STALLED),
        alert="ReidstreamClientsStalled",
    )
    full = number(
        "How many windows are full?",
        "Sessions that have no room for another frame. Usual for a client that sends a file as fast as it can. "
        "Cameras, while cores are free: the window is too small for the network's delay.",
        "short",
        Query(total(of("reidstream_full_windows")), "windows"),
        steps=NEVER,
    )
    unread = number(
        "How many answers does nobody take?",
        "Answers that are ready and that clients have not taken. Above 0 for long: clients that do not read, or "
        "networks that are too slow.",
        "short",
        Query(total(of("reidstream_unwritten_answers")), "answers"),
        steps=NEVER,
    )
    paused = number(
        "How many clients are paused?",
        "Clients that are not read at present, because they sent what was refused, cost more than it said, or called "
        "more often than is free. Above 0 for long: an attack, or a broken client (docs/security.md).",
        "short",
        Query(total(of("reidstream_paused_clients")), "clients"),
        steps=Steps(orange=1),
    )
    flight = number(
        "What would a SIGKILL lose?",
        "Frames that came and whose answers are not written, of all chosen servers. Single calls are included. Clients "
        "whose streams resume send them again. SIGTERM answers them first.",
        "short",
        Query(total(of("reidstream_frames_in_flight")), "frames"),
        steps=NEVER,
    )
    return Section("Now", 5, [Placed(panel, 4) for panel in (given_up, stalled, full, unread, paused, flight)])


def _lost() -> Section:
    whose = lines(
        "Whose frames are lost?",
        "Frames a second without vectors. `server`: it owed an answer. `policy`: given up for newer ones, or too "
        "old, as the session asked. `client`: no picture, or beyond a limit. The first counts against the objective.",
        "suffix: frames/s",
        *(Query(total(rate(_FRAMES, _any_of(who))), who.value) for who in Whose),
        stacked=True,
    )
    reasons = lines(
        "For which reasons?",
        f"Frames a second without vectors, by reason. {_NO_NAMES}For each reason that page says what to do.",
        "suffix: frames/s",
        Query(total(rate(_FRAMES, _LOST), "outcome"), "{{outcome}}"),
        stacked=True,
    )
    servers = lines(
        "On which servers?",
        "Frames a second without vectors, for each server. One alone: its machine, or its cameras. A client gives up "
        "some frames by itself; they never come here.",
        "suffix: frames/s",
        Query(total(rate(_FRAMES, _LOST), "instance"), "{{instance}}"),
        stacked=True,
    )
    return Section("Lost frames", 9, [Placed(panel, 8) for panel in (whose, reasons, servers)])


def _sessions() -> Section:
    opened = lines(
        "Where are the sessions?",
        "Open sessions of each server; the dashed line is the lowest --max-sessions of them. A server far below the "
        "others: it is new, and streams are long (--max-connection-age-s).",
        "short",
        Query(worst(of("reidstream_sessions"), "instance"), "{{instance}}"),
        Query(f"min({of('reidstream_sessions_limit')})", LIMIT),
    )
    ended = lines(
        "How do sessions end?",
        "Sessions that ended, a minute. `finished` and `closed`: the client was done. `drained`: the server asked it "
        "to go. `vanished`: it said nothing, or was refused. `stalled`: it did not read. Many vanished: a network, "
        "or a proxy with a time-out.",
        "suffix: sessions/min",
        Query(f"60 * {total(rate('reidstream_sessions_ended_total'), 'cause')}", "{{cause}}"),
        stacked=True,
    )
    largest = lines(
        "How much has the largest client?",
        "Open streams of the client that has most, of the most that one client may have, for each server. At 1 its "
        "next camera is refused (too_many_sessions): --max-sessions-per-client.",
        "percentunit",
        Query(
            worst(
                share(of("reidstream_sessions_of_largest_client"), of("reidstream_sessions_per_client_limit")),
                "instance",
            ),
            "{{instance}}",
        ),
        most=1,
    )
    return Section("Sessions", 9, [Placed(panel, 8) for panel in (opened, ended, largest)])


def _windows() -> Section:
    windows = lines(
        "How full are the windows?",
        "Frames that sessions hold of their windows, open ones and answers that are not taken; the dashed line is all "
        "windows together. Single calls are included.",
        "short",
        Query(total(of("reidstream_window_frames")), "frames"),
        Query(total(of("reidstream_window_frames_limit")), LIMIT),
    )
    full = lines(
        "Where are windows full?",
        "Sessions without room for another frame, for each server. What comes next waits, is refused, or takes an "
        "older one's place, as the session asks.",
        "short",
        Query(worst(of("reidstream_full_windows"), "instance"), "{{instance}}"),
    )
    flight = lines(
        "How many frames are in flight?",
        "Frames that came and whose answers are not written, for each server: what a SIGKILL would lose. "
        "It rises while the rate stands still: the server is slower than what comes.",
        "short",
        Query(worst(of("reidstream_frames_in_flight"), "instance"), "{{instance}}"),
        stacked=True,
    )
    return Section("Windows", 8, [Placed(panel, 8) for panel in (windows, full, flight)])


def _tracks() -> Section:
    embedded, cached = (rate("reidstream_boxes_total", f'outcome="{one}"') for one in ("embedded", "cached"))
    saved = lines(
        "Which share of inferences is saved?",
        "Boxes that were answered with their track's row, of those with a row, for each server. Sessions without "
        "track options count as 0. Lower than before: people move more, or trackers lose them (docs/architecture.md).",
        "percentunit",
        Query(
            share(total(cached, "instance"), f"({total(cached, 'instance')} + {total(embedded, 'instance')})"),
            "{{instance}}",
        ),
        most=1,
    )
    open_tracks = lines(
        "How many tracks are open?",
        "Tracks of all sessions, for each server. It rises for ever: clients that use new ids all the time, with a "
        "long time-out.",
        "short",
        Query(worst(of("reidstream_tracks"), "instance"), "{{instance}}"),
    )
    ended = lines(
        "How do tracks end?",
        "Tracks that ended, a second. `evicted`: a session had more than --max-tracks-per-session, or there was no "
        "room for it: raise --max-track-bytes, or let clients end their tracks. `model_changed`: a class that changes.",
        "suffix: tracks/s",
        Query(total(rate("reidstream_tracks_ended_total"), "cause"), "{{cause}}"),
        stacked=True,
    )
    held = lines(
        "How full is the room of tracks?",
        "Bytes of tracks, and of cached vectors that wait to be written, of --max-track-bytes, for each server.",
        "percentunit",
        Query(
            worst(share(of("reidstream_track_bytes"), of("reidstream_track_bytes_limit")), "instance"), "{{instance}}"
        ),
        most=1,
    )
    return Section("Tracks", 8, [Placed(panel, 6) for panel in (saved, open_tracks, ended, held)])


def _clients() -> Section:
    unread = lines(
        "Where do clients not read?",
        "Answers that are ready and that clients have not taken, for each server. They rise, and end with a session "
        "that was cut off (`stalled`): one client. On all servers at once: the network.",
        "short",
        Query(worst(of("reidstream_unwritten_answers"), "instance"), "{{instance}}"),
    )
    held = lines(
        "How many bytes of answers are held?",
        "Vectors of admitted frames whose answers are not written, of --max-held-answer-bytes, for each server. "
        "At 1 new frames wait: clients do not read.",
        "percentunit",
        Query(
            worst(share(of("reidstream_held_answer_bytes"), of("reidstream_held_answer_bytes_limit")), "instance"),
            "{{instance}}",
        ),
        most=1,
    )
    paused = lines(
        "Where are clients paused?",
        "Clients that are not read at present, because they cost more than their share, for each server. "
        "docs/security.md says what is charged.",
        "short",
        Query(worst(of("reidstream_paused_clients"), "instance"), "{{instance}}"),
    )
    return Section("Slow and paused clients", 8, [Placed(panel, 8) for panel in (unread, held, paused)])


def _any_of(who: Whose) -> str:
    return f'outcome=~"{"|".join(outcomes(who))}"'
