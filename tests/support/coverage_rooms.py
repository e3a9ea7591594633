"""How much of each room the tests run, a line a room: `python -m tests.support.coverage_rooms REPORT.json`.

No threshold: a room without tests is to be seen, and a number to be reached would be reached.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path, PurePosixPath


@dataclass(slots=True)
class Room:
    """Statements of a folder's own files, and how many of them were run. `unseen`: files of which none was."""

    files: int = 0
    statements: int = 0
    run: int = 0
    unseen: int = 0


def rooms_of(report: dict[str, dict[str, dict[str, dict[str, int]]]]) -> dict[str, Room]:
    """By folder, of what `coverage json` writes."""
    rooms: dict[str, Room] = defaultdict(Room)
    for name, file in sorted(report["files"].items()):
        summary = file["summary"]
        if not summary["num_statements"]:
            continue
        room = rooms[str(PurePosixPath(name).parent)]
        room.files += 1
        room.statements += summary["num_statements"]
        room.run += summary["covered_lines"]
        room.unseen += not summary["covered_lines"]
    return dict(rooms)


def table(rooms: dict[str, Room]) -> str:
    """For people."""
    width = max(map(len, rooms))
    lines = [f"{'room':<{width}}  files  statements   run"]
    for name, room in rooms.items():
        unseen = f"  {room.unseen} files not at all" if room.unseen else ""
        lines.append(f"{name:<{width}}  {room.files:>5}  {room.statements:>10}  {_percent(room):>4}{unseen}")
    whole = Room(statements=sum(r.statements for r in rooms.values()), run=sum(r.run for r in rooms.values()))
    files = sum(room.files for room in rooms.values())
    return "\n".join([*lines, f"{'all':<{width}}  {files:>5}  {whole.statements:>10}  {_percent(whole):>4}"])


def _percent(room: Room) -> str:
    return f"{100 * room.run // room.statements} %"


if __name__ == "__main__":
    print(table(rooms_of(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))))  # noqa: T201
