"""A flood of one event is cut, and a line says how many lines were left out."""

from __future__ import annotations

import logging
import threading

import pytest

from reidstream_server import log_floods
from reidstream_server.log_floods import FloodGate
from reidstream_server.logs import LogFormat, LogLevel, configure, flush, get_logger
from tests.support.patience import HANG_S, wait_until


class Told:
    """What a gate told, and its clock."""

    def __init__(self, most_lines: int = 3) -> None:
        self.now_s = 0.0
        self.lines: list[tuple[str, int]] = []
        self.gate = FloodGate(
            lambda event, lines: self.lines.append((event, lines)),
            most_lines=most_lines,
            window_s=10.0,
            clock=lambda: self.now_s,
        )


def test_so_many_lines_of_an_event_pass_in_a_window() -> None:
    """Each event has its own; when a window is over the next one begins."""
    told = Told()
    assert [told.gate.admits("a") for _ in range(5)] == [True, True, True, False, False]
    assert told.gate.admits("b")
    told.now_s = 9.9
    told.gate.look()
    assert not told.gate.admits("a")
    assert told.lines == []
    told.now_s = 10.0
    told.gate.look()
    assert told.lines == [("a", 3)]
    assert told.gate.admits("a")
    told.gate.look()
    told.gate.close()
    assert told.lines == [("a", 3)]


def test_the_end_of_the_log_tells_what_no_window_has_told() -> None:
    """Each line once."""
    told = Told(most_lines=1)
    assert [told.gate.admits(event) for event in "aabbb"] == [True, False, True, False, False]
    told.gate.close()
    told.gate.close()
    assert told.lines == [("a", 1), ("b", 2)]


def test_a_quiet_event_is_never_cut() -> None:
    """However long it goes on."""
    told = Told(most_lines=1)
    for second in range(0, 1000, 10):
        told.now_s = float(second)
        assert told.gate.admits("a")


def test_a_flood_that_is_the_last_thing_to_happen_is_told_all_the_same() -> None:
    """By a timer, without another line."""
    told = threading.Event()
    gate = FloodGate(lambda *_: told.set(), most_lines=1, window_s=0.01)
    while gate.admits("a"):
        pass
    assert told.wait(HANG_S)
    wait_until(lambda: gate.admits("a"))


@pytest.mark.parametrize("log_format", LogFormat)
def test_the_log_cuts_a_flood(
    log_format: LogFormat, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other events pass; other libraries' records have a limit for each logger."""
    monkeypatch.setattr(log_floods.FloodGate.__init__, "__kwdefaults__", _defaults(most_lines=2, window_s=HANG_S))
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        configure(LogLevel.INFO, log_format)
        log = get_logger("test")
        for number in range(5):
            log.warning("flood", number=number)
        log.warning("quiet")
        for _ in range(3):
            logging.getLogger("one").warning("chatter")
        logging.getLogger("other").warning("chatter")
        flush()
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    lines = capfd.readouterr().err.splitlines()
    told = [line for line in lines if "log_lines_left_out" in line]
    assert (sum("number" in line for line in lines), sum("chatter" in line for line in lines)) == (2, 3)
    assert len(lines) == 2 + 1 + 3 + 2
    assert "flood" in told[0]
    assert "3" in told[0]
    assert "python_log one" in told[1]


def _defaults(**changes: object) -> dict[str, object]:
    return {**(FloodGate.__init__.__kwdefaults__ or {}), **changes}
