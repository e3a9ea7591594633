"""The table: who suffers is first, what fits is shown, and a foreign name cannot write on the terminal."""

from __future__ import annotations

import json

import pytest

from reidstream_client.cli.top.columns import BY_KEY, COLUMNS, GAP, Column, Sorting, shown_columns, sorted_rows
from reidstream_client.cli.top.detail import detail
from reidstream_client.cli.top.looks import DetailLook, Look, Seen
from reidstream_client.cli.top.record import detail_record, look_record
from reidstream_client.cli.top.table import HEAD_LINES, header, row, table
from reidstream_client.cli.top.writing import columns_of, count, cut, duration, milliseconds, name, padded
from tests.unit.client.cli.top.figures import SERVER, details, rates, seen, sessions

MANY = [
    seen(rates(10.0, 0.0), number=1, camera_id="calm", age_p99_s=0.1),
    seen(rates(1.0, 5.0), number=2, camera_id="worst", age_p99_s=0.2),
    seen(rates(9.0, 0.0), number=3, camera_id="old", age_p99_s=0.9),
    seen(None, number=4, camera_id="new"),
]


def cameras(found: list[Seen]) -> list[str]:
    return [one.session.camera_id for one in found]


def look(*found: Seen) -> Look:
    return Look(answer=sessions(*(one.session for one in found)), seen=found)


def test_who_loses_most_is_first_and_then_who_is_slowest() -> None:
    """That is the question; what is not known yet comes last."""
    assert cameras(sorted_rows(MANY, Sorting())) == ["worst", "old", "calm", "new"]
    assert cameras(sorted_rows(MANY, Sorting(reverse=True))) == ["old", "calm", "worst", "new"]


def test_names_begin_with_a() -> None:
    """Of figures the largest come first."""
    assert cameras(sorted_rows(MANY, Sorting(key="camera"))) == ["calm", "new", "old", "worst"]
    assert cameras(sorted_rows(MANY, Sorting(key="camera", reverse=True))) == ["worst", "old", "new", "calm"]
    assert cameras(sorted_rows(MANY, Sorting(key="number"))) == ["new", "old", "worst", "calm"]


@pytest.mark.parametrize("key", BY_KEY)
@pytest.mark.parametrize("reverse", [False, True])
def test_every_column_sorts(key: str, *, reverse: bool) -> None:
    """By its value, with every row once."""
    column = BY_KEY[key]
    found = sorted_rows(MANY, Sorting(key=key, reverse=reverse))
    assert sorted(cameras(found)) == sorted(cameras(MANY))
    known = [value for value in map(column.value, found) if value is not None]
    assert known == sorted(known, reverse=column.ascending == reverse)


@pytest.mark.parametrize("width", [1, 20, 40, 80, 120, 200])
@pytest.mark.parametrize("key", BY_KEY)
def test_what_it_is_sorted_by_is_shown_however_narrow_it_is(width: int, key: str) -> None:
    """And no line is wider than the terminal, if that is as wide as one column."""
    columns = shown_columns(width, Sorting(key=key))
    titles = header(columns, Sorting(key=key)).text
    if width >= 22:
        assert key in {column.key for column in columns}
        assert columns_of(titles) <= width
        assert columns_of(row(MANY[0], columns).text) <= width


def test_a_file_has_every_column() -> None:
    """It has no width; a terminal of 80 columns has those that tell who suffers."""
    assert shown_columns(None, Sorting()) == list(COLUMNS)
    assert {"camera", "state", "lost", "p99", "fps", "window"} <= {c.key for c in shown_columns(80, Sorting())}


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.key)
def test_a_title_and_its_mark_fit_their_column(column: Column) -> None:
    """Which way round it is sorted can be read."""
    marks = {
        header([column], Sorting(key=column.key, reverse=reverse)).text.strip().removesuffix(column.title)
        for reverse in (False, True)
    }
    assert marks == {"v", "^"}


def test_cells_stand_below_their_titles() -> None:
    """Also below a name of wide letters."""
    wide = seen(camera_id="正门摄像机", client="操作员")
    lines = [line.text for line in table("host:1", look(wide, *MANY), Sorting())]
    width = sum(column.width + GAP for column in COLUMNS) - GAP
    assert {columns_of(line) for line in lines[HEAD_LINES - 1 :]} == {width}


def test_a_name_cannot_write_on_the_terminal() -> None:
    """Whatever a client calls its camera: no escape, no line end and no turned text comes out."""
    evil = "a\x1b[2J\r\nb\u202ec\x9b"
    lines = table("host:1", look(seen(camera_id=evil, client=evil, peer=evil)), Sorting())
    one = seen(camera_id=evil, client=evil, peer=evil, models=(evil,), losses={evil: 1})
    lines += detail("host:1", DetailLook(answer=details(one.session), seen=one))
    assert all(line.text.isprintable() for line in lines)
    assert name(evil) == "a\\x1b[2J\\r\\nb\\u202ec\\x9b"


def test_the_head_says_what_the_server_holds() -> None:
    """Bounds that this client knows, models, and whether it leaves."""
    first, second, third, fourth, *_ = (line.text for line in table("host:1", look(*MANY), Sorting()))
    assert first == "reidstream 1.2.3 at host:1, up 1h01m, sessions 3/512"
    assert second.startswith("frames/s 20.0, lost/s 5.0, MiB/s 0.0, 1 of 4 suffer")
    assert third == "used: queue boxes 12k/82k, queue MiB 3/512"
    assert fourth == "models: osnet 2 batches, 7 crops wait, old (retiring) LOST 0 batches, 0 crops wait"


def test_a_server_without_sessions_has_a_table() -> None:
    """Of nothing."""
    assert len(table("host:1", look(), Sorting())) == HEAD_LINES


@pytest.mark.parametrize(
    ("text", "columns", "found"),
    [("abc", 3, "abc"), ("abcd", 3, "ab~"), ("abc", 0, ""), ("正门", 4, "正门"), ("正门", 3, "正~"), ("正门", 2, "~")],
)
def test_a_text_is_cut_to_its_columns(text: str, columns: int, found: str) -> None:
    """With a mark where something is missing."""
    assert cut(text, columns) == found
    assert columns_of(padded(text, columns)) == columns


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.0, "0.0s"), (59.94, "59.9s"), (60, "1m00s"), (3599, "59m59s"), (3600, "1h00m"), (90_000, "1d01h")],
)
def test_times_are_short(seconds: float, said: str) -> None:
    """Two units at most."""
    assert duration(seconds) == said


def test_figures_are_short() -> None:
    """A millisecond has a tenth where it matters."""
    assert [milliseconds(value) for value in (None, 0.0123, 1.5)] == ["-", "12.3", "1500"]
    assert [count(value) for value in (7, 9999, 12_345, 12_345_678)] == ["7", "9999", "12k", "12M"]


def test_a_detail_has_rates_losses_and_open_frames() -> None:
    """As text."""
    one = seen(rates(3.0, 1.0), losses={"over_budget": 2, "dropped_by_queue": 5}, age_p50_s=0.1, latency_budget_s=0.2)
    text = [line.text for line in detail("host:1", DetailLook(answer=details(one.session, frames=2), seen=one))]
    assert text[0] == "camera gate of client - at host:1"
    assert "losses        dropped_by_queue 5, over_budget 2" in text
    assert any("3.0 frames/s with vectors, 1.0 given up/s" in line for line in text)
    assert text[-1].split() == ["1", "queued", "500.0", "750.0", "2", "2.0"]


def test_json_has_the_names_that_are_documented() -> None:
    """Numbers as numbers, and null for what is not known."""
    found = json.loads(json.dumps(look_record(look(*MANY), Sorting())))
    assert [one["camera_id"] for one in found["sessions"]] == ["worst", "old", "calm", "new"]
    assert found["sessions"][0]["rates"]["lost_fps"] == 5.0
    assert found["sessions"][3]["rates"] is None
    assert found["server"]["version"] == SERVER.version
    one = json.loads(json.dumps(detail_record(DetailLook(answer=details(MANY[0].session, 3), seen=MANY[0]))))
    assert [frame["frame_id"] for frame in one["open_frames"]] == [0, 1, 2]
