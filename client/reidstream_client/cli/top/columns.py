"""What the table may show of a session, and by what it is sorted.

Why an order of need beside the order of place: a narrow terminal shows fewer columns, and those that it leaves out are
those that answer "which camera suffers?" the least. Trap: whatever the table is sorted by is shown, or nobody knows
why a row is first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from .looks import Seen
from .writing import NOTHING, duration, mebibytes, milliseconds, name, percent, rate

Value: TypeAlias = float | str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """`need`: the lower, the sooner it is shown. `value`: what rows are sorted by; None comes last. `left`: text."""

    key: str
    title: str
    width: int
    need: int
    value: Callable[[Seen], Value]
    text: Callable[[Seen], str]
    help: str
    left: bool = False

    @property
    def ascending(self) -> bool:
        """Names begin with a; of figures the largest come first."""
        return self.left


def _models(seen: Seen) -> str:
    names = ",".join(map(name, seen.session.models))
    return names + (f",+{seen.session.more_models}" if seen.session.more_models else "")


COLUMNS: Final[Sequence[Column]] = (
    Column(
        key="client",
        title="CLIENT",
        width=12,
        need=5,
        value=lambda seen: seen.session.client,
        text=lambda seen: name(seen.session.client),
        help="identity: the name of its token or certificate",
        left=True,
    ),
    Column(
        key="camera",
        title="CAMERA",
        width=18,
        need=0,
        value=lambda seen: seen.session.camera_id,
        text=lambda seen: name(seen.session.camera_id),
        help="camera_id",
        left=True,
    ),
    Column(
        key="state",
        title="STATE",
        width=11,
        need=1,
        value=lambda seen: seen.state,
        text=lambda seen: seen.state,
        help="what to look at",
        left=True,
    ),
    Column(
        key="fps",
        title="FPS",
        width=6,
        need=2,
        value=lambda seen: None if seen.rates is None else seen.rates.answered_fps,
        text=lambda seen: rate(None if seen.rates is None else seen.rates.answered_fps),
        help="frames a second that got vectors",
    ),
    Column(
        key="lost",
        title="LOST/S",
        width=7,
        need=1,
        value=lambda seen: None if seen.rates is None else seen.rates.lost_fps,
        text=lambda seen: rate(None if seen.rates is None else seen.rates.lost_fps),
        help="frames a second that got none: given up or failed",
    ),
    Column(
        key="lost-percent",
        title="LOST%",
        width=6,
        need=6,
        value=lambda seen: None if seen.rates is None else seen.rates.lost_percent,
        text=lambda seen: percent(None if seen.rates is None else seen.rates.lost_percent),
        help="the share of those",
    ),
    Column(
        key="p50",
        title="P50ms",
        width=7,
        need=4,
        value=lambda seen: seen.session.age_p50_s,
        text=lambda seen: milliseconds(seen.session.age_p50_s),
        help="age of frames when answered, newest 256 of the last minute",
    ),
    Column(
        key="p99",
        title="P99ms",
        width=7,
        need=2,
        value=lambda seen: seen.session.age_p99_s,
        text=lambda seen: milliseconds(seen.session.age_p99_s),
        help="the same, the 99th percentile",
    ),
    Column(
        key="window",
        title="WINDOW",
        width=7,
        need=3,
        value=lambda seen: seen.session.window_frames / max(1, seen.session.max_window_frames),
        text=lambda seen: f"{seen.session.window_frames}/{seen.session.max_window_frames}",
        help="unanswered frames, and how many there may be",
    ),
    Column(
        key="waiting",
        title="WAIT",
        width=5,
        need=7,
        value=lambda seen: seen.session.waiting_frames,
        text=lambda seen: str(seen.session.waiting_frames),
        help="frames that wait to be decoded",
    ),
    Column(
        key="running",
        title="RUN",
        width=4,
        need=8,
        value=lambda seen: seen.session.running_frames,
        text=lambda seen: str(seen.session.running_frames),
        help="frames that are being decoded or embedded",
    ),
    Column(
        key="mib",
        title="MiB/S",
        width=6,
        need=9,
        value=lambda seen: None if seen.rates is None else seen.rates.received_bytes_per_s,
        text=lambda seen: NOTHING if seen.rates is None else mebibytes(seen.rates.received_bytes_per_s),
        help="received from its client",
    ),
    Column(
        key="open",
        title="OPEN",
        width=6,
        need=10,
        value=lambda seen: seen.session.open_s,
        text=lambda seen: duration(seen.session.open_s),
        help="how long it has been open",
    ),
    Column(
        key="resumed",
        title="RES",
        width=4,
        need=11,
        value=lambda seen: seen.session.resumed,
        text=lambda seen: str(seen.session.resumed),
        help="how often it was resumed after a cut",
    ),
    Column(
        key="priority",
        title="PRIO",
        width=6,
        need=12,
        value=lambda seen: seen.session.priority,
        text=lambda seen: seen.session.priority,
        help="priority",
        left=True,
    ),
    Column(
        key="policy",
        title="POLICY",
        width=11,
        need=13,
        value=lambda seen: seen.session.overload_policy,
        text=lambda seen: seen.session.overload_policy,
        help="overload policy",
        left=True,
    ),
    Column(
        key="model",
        title="MODEL",
        width=14,
        need=14,
        value=_models,
        text=_models,
        help="the models that it agreed on",
        left=True,
    ),
    Column(
        key="peer",
        title="PEER",
        width=22,
        need=15,
        value=lambda seen: seen.session.peer,
        text=lambda seen: name(seen.session.peer),
        help="the other end of its connection",
        left=True,
    ),
    Column(
        key="number",
        title="NUMBER",
        width=8,
        need=16,
        value=lambda seen: seen.session.number,
        text=lambda seen: str(seen.session.number),
        help="for --session",
    ),
)

BY_KEY: Final = {column.key: column for column in COLUMNS}
DEFAULT: Final = "lost"
GAP: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sorting:
    """By which column, and whether the other way round."""

    key: str = DEFAULT
    reverse: bool = False

    @property
    def column(self) -> Column:
        """What it sorts by."""
        return BY_KEY[self.key]


def sorted_rows(rows: Iterable[Seen], sorting: Sorting) -> list[Seen]:
    """Who suffers most comes first among those that the column does not tell apart; what is not known comes last."""
    found = sorted(rows, key=lambda seen: (seen.session.client, seen.session.camera_id, seen.session.number))
    for key in ("p99", "lost", sorting.key):
        column = BY_KEY[key]
        descending = column.ascending == sorting.reverse if key == sorting.key else True
        known = [seen for seen in found if column.value(seen) is not None]
        unknown = [seen for seen in found if column.value(seen) is None]
        known.sort(key=column.value, reverse=descending)  # type: ignore[arg-type]  # values of one column are of one type
        found = known + unknown
    return found


def shown_columns(width: int | None, sorting: Sorting) -> list[Column]:
    """As many as fit, by need, in the order of the table; None: all. The sorted one is always among them."""
    if width is None:
        return list(COLUMNS)
    chosen: set[str] = set()
    left = width + GAP
    for column in sorted(COLUMNS, key=lambda column: (column.key != sorting.key, column.need)):
        if column.width + GAP <= left:
            chosen.add(column.key)
            left -= column.width + GAP
        elif chosen:
            break
    return [column for column in COLUMNS if column.key in chosen]
