"""`reidstream-client top`: one look for a script, looks without end for a file, or the live table for a terminal.

Why each prints only from its second look on: rates are of the time between two looks. Trap: a pipe or a file gets whole
lines and nothing that a terminal would obey.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Final

from reidstream_client.choices import RetryPolicy
from reidstream_client.cli.reaching import make_client
from reidstream_client.sync import ReidClient

from .columns import Sorting
from .detail import detail
from .lines import as_text
from .looks import Looks
from .record import detail_record, look_record
from .table import table

_ONCE: Final = RetryPolicy(attempts=1)  # whoever looks wants to know that nobody answers


def top(arguments: argparse.Namespace) -> int:
    """Run it; returns the exit status. Raises ReidError."""
    with make_client(arguments, retry=_ONCE) as client:
        if _for_people(arguments):
            from .live import live  # noqa: PLC0415 - not every system has terminals as this needs them
            from .terminal import Terminal  # noqa: PLC0415

            first = client.server_sessions()
            terminal = Terminal(sys.stdin.fileno(), sys.stdout.fileno())
            live(client, terminal, first, sorting=_sorting(arguments), interval_s=arguments.interval)
            return 0
        look = _reader(client, arguments)
        look()
        while True:
            time.sleep(arguments.interval)
            print(look(), flush=True)
            if arguments.once:
                return 0
            if not arguments.json:
                print()


def _for_people(arguments: argparse.Namespace) -> bool:
    """Whether there is a terminal to draw on, with a keyboard."""
    plain = arguments.once or arguments.json or arguments.session is not None
    terminal = os.name == "posix" and os.environ.get("TERM", "") not in ("", "dumb")
    return not plain and terminal and sys.stdin.isatty() and sys.stdout.isatty()


def _sorting(arguments: argparse.Namespace) -> Sorting:
    return Sorting(key=arguments.sort, reverse=arguments.reverse)


def _reader(client: ReidClient, arguments: argparse.Namespace) -> Callable[[], str]:
    """What looks once, and gives what is to be printed."""
    looks, sorting, as_json = Looks(), _sorting(arguments), arguments.json

    def read() -> str:
        if arguments.session is not None:
            one = looks.look_at(client.server_session(arguments.session))
            return json.dumps(detail_record(one)) if as_json else as_text(detail(client.target, one))
        every = looks.look(client.server_sessions())
        return json.dumps(look_record(every, sorting)) if as_json else as_text(table(client.target, every, sorting))

    return read
