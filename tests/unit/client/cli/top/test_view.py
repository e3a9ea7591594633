"""What the screen shows, and what a key changes; without a terminal."""

from __future__ import annotations

import grpc
import pytest

from reidstream_client import CallRejected, OpenSession, ServerUnavailable
from reidstream_client.cli.top.columns import COLUMNS, Sorting
from reidstream_client.cli.top.keys import Key, keys_in
from reidstream_client.cli.top.lines import Style
from reidstream_client.cli.top.live import take
from reidstream_client.cli.top.looks import Looks
from reidstream_client.cli.top.view import View, Wish
from reidstream_client.cli.top.writing import columns_of
from tests.unit.client.cli.top.figures import details, session, sessions

TEN = [session(number=number, camera_id=f"camera {number}", answered=0) for number in range(1, 11)]


def view_of(*found: OpenSession) -> tuple[View, Looks]:
    view, looks = View("host:1", Sorting(key="camera")), Looks()
    view.take(looks.look(sessions(*(found or TEN))))
    return view, looks


def marked(view: View, width: int = 80, height: int = 24) -> str:
    """The camera of the row that is marked."""
    rows = [line.text for line in view.lines(width, height) if line.style is Style.MARKED][1:]
    assert len(rows) == 1
    return next(name for name in (f"camera {number}" for number in range(10, 0, -1)) if name in rows[0])


@pytest.mark.parametrize("width", [20, 33, 80, 250])
@pytest.mark.parametrize("height", [3, 5, 6, 10, 24, 50])
@pytest.mark.parametrize("asked", [False, True])
def test_every_line_fits_the_screen(width: int, height: int, *, asked: bool) -> None:
    """However small it is, at every size that it is given, with the table and with one session."""
    view, looks = view_of()
    if asked:
        view.press(Key.OPEN)
        view.take(looks.look_at(details(TEN[0], frames=30)))
    for _ in range(12):
        view.press(Key.DOWN)
        lines = view.lines(width, height)
        assert 0 < len(lines) <= height
        assert max(columns_of(line.text) for line in lines) <= width


def test_the_mark_stays_on_its_camera() -> None:
    """While rows change places, and the screen scrolls to where it is."""
    view, looks = view_of()
    view.press(Key.DOWN)
    assert marked(view) == "camera 10"
    view.press(Key.REVERSE)
    assert marked(view) == "camera 10"
    view.take(looks.look(sessions(*TEN[5:])))
    assert marked(view) == "camera 10"
    view.press(Key.FIRST)
    assert marked(view, height=8) == "camera 9"


def test_the_mark_goes_to_the_next_row_when_its_camera_leaves() -> None:
    """And not back to the top."""
    view, looks = view_of()
    for _ in range(3):
        view.press(Key.DOWN)
    assert marked(view) == "camera 3"
    view.take(looks.look(sessions(*(one for one in TEN if one.camera_id != "camera 3"))))
    assert marked(view) == "camera 4"
    view.take(looks.look(sessions()))
    assert view.lines(80, 24)


@pytest.mark.parametrize(
    ("keys", "camera"),
    [
        ([Key.LAST], "camera 9"),
        ([Key.UP], "camera 1"),
        ([Key.LAST, Key.DOWN], "camera 9"),
        ([Key.LAST, Key.PAGE_UP], "camera 1"),
        ([Key.PAGE_DOWN], "camera 9"),
        ([Key.DOWN, Key.DOWN, Key.UP], "camera 10"),
    ],
)
def test_keys_move_the_mark_within_the_table(keys: list[Key], camera: str) -> None:
    """Never beyond its ends."""
    view, _ = view_of()
    view.lines(80, 24)
    for key in keys:
        assert view.press(key) is Wish.STAY
    assert marked(view) == camera


def test_keys_choose_the_column_and_its_direction() -> None:
    """Each once, and round again."""
    view, _ = view_of()
    chosen = []
    for _ in COLUMNS:
        view.press(Key.SORT_RIGHT)
        chosen.append(view.sorting.key)
    assert sorted(chosen) == sorted(column.key for column in COLUMNS)
    assert view.sorting.key == "camera"
    view.press(Key.SORT_LEFT)
    assert view.sorting.key == "client"
    view.press(Key.REVERSE)
    assert view.sorting.reverse


def test_one_session_opens_and_closes() -> None:
    """Enter asks for it, Escape asks for the table again. A late answer about another session is not shown."""
    view, looks = view_of()
    assert view.press(Key.OPEN) is Wish.LOOK
    assert view.asked == 1
    assert view.lines(80, 24)[0].text.startswith("asking")
    view.take(looks.look_at(details(TEN[4])))
    assert view.lines(80, 24)[0].text.startswith("asking")
    view.take(looks.look_at(details(TEN[0])))
    assert view.lines(80, 24)[0].text.startswith("camera camera 1 of client")
    assert view.press(Key.BACK) is Wish.LOOK
    assert marked(view) == "camera 1"
    assert view.press(Key.QUIT) is Wish.LEAVE


def test_a_session_that_is_over_closes_with_a_word() -> None:
    """The table comes back."""
    view, looks = view_of()
    view.press(Key.OPEN)
    take(CallRejected("no open session", status=grpc.StatusCode.NOT_FOUND), view, looks)
    assert view.asked is None
    assert view.lines(80, 24)[-1].text == "session 1 is over"


def test_a_server_that_is_gone_is_asked_again_and_said_to_be_gone() -> None:
    """The figures stay until the next answer; what will not mend itself ends the command."""
    view, looks = view_of()
    take(ServerUnavailable("host:1: nobody answers"), view, looks)
    assert view.lines(80, 24)[-1].text == "no answer, trying again: host:1: nobody answers"
    assert marked(view) == "camera 1"
    take(sessions(*TEN), view, looks)
    assert view.lines(80, 24)[-1].text.startswith("q quit")
    with pytest.raises(CallRejected):
        take(CallRejected("no", status=grpc.StatusCode.PERMISSION_DENIED), view, looks)


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"q", [Key.QUIT]),
        (b"\x1b", [Key.BACK]),
        (b"\x1b[A\x1b[B", [Key.UP, Key.DOWN]),
        (b"\x1bOC\x1bOD", [Key.SORT_RIGHT, Key.SORT_LEFT]),
        (b"\x1b[5~\x1b[6~", [Key.PAGE_UP, Key.PAGE_DOWN]),
        (b"\x1b[1;5A\x1b[<0;1;1Mx\xff\xc3\xa9", []),
        (b"\r r", [Key.OPEN, Key.LOOK, Key.REVERSE]),
    ],
)
def test_keys_are_what_terminals_send(data: bytes, keys: list[Key]) -> None:
    """What means nothing here is passed over."""
    assert list(keys_in(data)) == keys
