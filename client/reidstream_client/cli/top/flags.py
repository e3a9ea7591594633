"""The flags of `top`, and its help."""

from __future__ import annotations

import argparse
from typing import Final

from reidstream_client.cli.ranges import number, whole

from .columns import BY_KEY, COLUMNS, DEFAULT

TOP: Final = (
    """\
On a terminal, the table is live. Keys: up and down select a session, Enter shows it in detail, Esc goes back, left and
right choose the column to sort by, r turns the order round, space looks now, q leaves.
Elsewhere, and with --once or --json, it is plain text or JSON: one table, or one line of JSON, for each interval.
Rates are of the interval between two looks, so the first table comes after one interval.

columns, and what --sort takes:
"""
    + "".join(f"  {column.key:<13}{column.help}\n" for column in COLUMNS)
    + """
examples:
  reidstream-client top
  reidstream-client top --sort p99 --server gate-server:50051 --tls-ca ca.pem --token-file ops.token
  reidstream-client top --once --json | jq '.sessions[] | select(.rates.lost_fps > 0) | .camera_id'
"""
)


def add_top(parser: argparse.ArgumentParser) -> None:
    """Add them."""
    add = parser.add_argument
    add("--sort", choices=list(BY_KEY), default=DEFAULT, metavar="COLUMN", help=f"see above; default: {DEFAULT}")
    add("--reverse", action="store_true", help="the other way round")
    add("--interval", type=number(0.1, 3600), default=2.0, metavar="S", help="between two looks; default: 2 s")
    add("--once", action="store_true", help="one table of one interval, and leave")
    add("--json", action="store_true", help="a line of JSON for each interval; see docs/client.md for the fields")
    add("--session", type=whole(0, 2**64 - 1), metavar="NUMBER", help="one session in detail, as text or JSON")
