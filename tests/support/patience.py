"""How long a test waits for what must happen: only a hang takes so long.

Why one number: machines differ by a factor of ten and run other work beside the tests. A time-out that a slow machine
can reach says nothing about the product. So the product's own time-outs are this long too, wherever a test does not
choose one: in a client by `patient_clients`, in a server by `harness.settings` and `process.server_process`.

Trap: a behaviour that is itself a time-out is not tested with this one; give the product a short time there, and wait
for the event that must follow.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from typing import Any

import pytest

HANG_S = 360.0
"""Seconds. Below pytest's own time-out, so that the test that hangs says where."""


def wait_until(condition: Callable[[], object]) -> None:
    """Return when `condition()` holds, which other threads or processes see to. With an event loop: `harness.until`."""
    deadline = time.monotonic() + HANG_S
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"still not so after {HANG_S:.0f} s")
        time.sleep(0.002)


def forgive_late_events() -> None:
    """Keep out of the log what gRPC says of an event that comes when its event loop, an earlier test's, is closed.

    gRPC hands events of all loops to whichever loop runs. A stream that a test cancels ends a little later, on a slow
    machine within the next test, whose log must not hold it.
    """
    logging.getLogger("asyncio").addFilter(_is_of_this_test)


def _is_of_this_test(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    late = isinstance(error, RuntimeError) and str(error) == "Event loop is closed"
    return not (late and "PollerCompletionQueue" in record.getMessage())


def patient_clients(patch: pytest.MonkeyPatch) -> None:
    """Give the product's clients of this process patience, for every time-out that their caller does not choose.

    A person who waits wants an error after ten seconds; a test wants the answer.
    """
    from reidstream_client import AsyncReidClient, ReidClient  # noqa: PLC0415 - this file needs no client

    defaults = {
        "__init__": ("timeout_s",),
        "stream": ("answer_timeout_s",),
        "resuming_stream": ("answer_timeout_s", "give_up_after_s"),
    }
    for client in (AsyncReidClient, ReidClient):
        for name, options in defaults.items():
            patch.setattr(client, name, _with_patience(getattr(client, name), options))


def _with_patience(function: Callable[..., Any], options: tuple[str, ...]) -> Callable[..., Any]:
    @functools.wraps(function)
    def patient(*arguments: Any, **chosen: Any) -> Any:
        return function(*arguments, **dict.fromkeys(options, HANG_S) | chosen)

    return patient
