"""What the screen shows, and what a key changes. Knows no terminal.

Why the selected session is kept by its number: rows change places at every look, and the mark must stay on the camera.
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum, auto
from typing import Final

from typing_extensions import assert_never

from .columns import COLUMNS, Sorting, shown_columns, sorted_rows
from .detail import detail
from .keys import Key
from .lines import Line, Style
from .looks import DetailLook, Look, Seen
from .table import HEAD_LINES, head, header, row
from .writing import cut, padded

_TABLE_KEYS: Final = "q quit  up/down select  Enter detail  left/right sort by  r reverse  space look now"
_DETAIL_KEYS: Final = "q quit  up/down scroll  Esc back  space look now"
_MORE: Final = 1  # the line of keys


class Wish(Enum):
    """What follows from a key."""

    STAY = auto()
    LOOK = auto()
    LEAVE = auto()


class View:
    """The table, or one session. `note`: a sentence that stays until the next answer. `asked`: the number of the
    session that is shown in detail; None for the table.
    """

    def __init__(self, target: str, sorting: Sorting) -> None:
        self.sorting = sorting
        self.note = ""
        self.asked: int | None = None
        self._target = target
        self._look: Look | None = None
        self._detail: DetailLook | None = None
        self._rows: list[Seen] = []
        self._selected = 0
        self._top = 0
        self._page = 1

    def take(self, look: Look | DetailLook) -> None:
        """A new look."""
        self.note = ""
        match look:
            case Look():
                self._look = look
                self._sort()
            case DetailLook():
                if look.seen.session.number == self.asked:
                    self._detail = look
            case _:
                assert_never(look)

    def press(self, key: Key) -> Wish:
        """A key was pressed."""
        if key is Key.QUIT:
            return Wish.LEAVE
        if key is Key.LOOK:
            return Wish.LOOK
        return self._press_table(key) if self.asked is None else self._press_detail(key)

    def close_detail(self, note: str = "") -> None:
        """Show the table again."""
        self.asked, self._detail, self._top, self.note = None, None, 0, note

    def lines(self, width: int, height: int) -> list[Line]:
        """What a screen of this size shows: every line fits, and there are no more than it has."""
        self._page = max(1, height - HEAD_LINES - _MORE)
        found = self._table_lines(width, height) if self.asked is None else self._detail_lines(height)
        keys = _TABLE_KEYS if self.asked is None else _DETAIL_KEYS
        last = Line(self.note, Style.ALERT) if self.note else Line(keys, Style.FAINT)
        found = [*found[: max(0, height - _MORE)], last]
        return [Line(_fit(line, width), line.style) for line in found[-height:]]

    def _press_table(self, key: Key) -> Wish:
        here = self._place()
        places = {
            Key.UP: here - 1,
            Key.DOWN: here + 1,
            Key.PAGE_UP: here - self._page,
            Key.PAGE_DOWN: here + self._page,
            Key.FIRST: 0,
            Key.LAST: len(self._rows) - 1,
        }
        self._select(places.get(key, here))
        match key:
            case Key.SORT_LEFT | Key.SORT_RIGHT:
                columns = [column.key for column in COLUMNS]
                step = -1 if key is Key.SORT_LEFT else 1
                self.sorting = Sorting(key=columns[(columns.index(self.sorting.key) + step) % len(columns)])
                self._sort()
            case Key.REVERSE:
                self.sorting = replace(self.sorting, reverse=not self.sorting.reverse)
                self._sort()
            case Key.OPEN:
                if self._rows:
                    self.asked, self._detail, self._top = self._rows[here].session.number, None, 0
                    return Wish.LOOK
            case _:
                pass
        return Wish.STAY

    def _press_detail(self, key: Key) -> Wish:
        match key:
            case Key.BACK:
                self.close_detail()
                return Wish.LOOK
            case Key.UP:
                self._top -= 1
            case Key.DOWN:
                self._top += 1
            case Key.PAGE_UP:
                self._top -= self._page
            case Key.PAGE_DOWN:
                self._top += self._page
            case Key.FIRST:
                self._top = 0
            case _:
                pass
        return Wish.STAY

    def _sort(self) -> None:
        place = self._place()
        self._rows = [] if self._look is None else sorted_rows(self._look.seen, self.sorting)
        if self._rows and self._selected not in {seen.session.number for seen in self._rows}:
            self._select(place)

    def _place(self) -> int:
        """Of the selected row."""
        numbers = [seen.session.number for seen in self._rows]
        return numbers.index(self._selected) if self._selected in numbers else 0

    def _select(self, place: int) -> None:
        if self._rows:
            self._selected = self._rows[min(max(place, 0), len(self._rows) - 1)].session.number

    def _table_lines(self, width: int, height: int) -> list[Line]:
        if self._look is None:
            return [Line(f"asking {self._target} ...")]
        columns = shown_columns(width, self.sorting)
        room, place = max(0, height - HEAD_LINES - _MORE), self._place()
        self._top = min(max(self._top, place - room + 1, 0), place)
        rows = [row(seen, columns) for seen in self._rows[self._top : self._top + room]]
        if 0 <= place - self._top < len(rows):
            rows[place - self._top] = Line(rows[place - self._top].text, Style.MARKED)
        above = head(self._target, self._look.answer.server, self._look.seen)
        return [*above, header(columns, self.sorting), *rows]

    def _detail_lines(self, height: int) -> list[Line]:
        if self._detail is None:
            return [Line(f"asking {self._target} ...")]
        found = detail(self._target, self._detail)
        self._top = min(max(self._top, 0), max(0, len(found) - (height - _MORE)))
        return found[self._top :]


def _fit(line: Line, width: int) -> str:
    """Cut to the screen; what has a background fills its line."""
    return padded(line.text, width) if line.style is Style.MARKED else cut(line.text, width)
