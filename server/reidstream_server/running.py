"""A checked configuration in, exit code out: models are loaded and served, or a dry run ends before it serves.

Why apart from `cli`: this brings in gRPC and the inference libraries, which takes seconds. `cli` says what is wrong
with a configuration without them, and tells gRPC's core to be quiet before it comes.

Trap: a device may never answer. The process must still end, with its exit code, even if a thread waits for the device.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from typing import NoReturn

from reidstream_server.app import operators_port, serve, tell_budget
from reidstream_server.bounds import scheduler_limits
from reidstream_server.config import ServerConfig, redacted
from reidstream_server.loading import loaded_engines
from reidstream_server.logs import get_logger
from reidstream_server.memory.allocator import keep_freed_memory
from reidstream_server.memory.budget import memory_budget, table
from reidstream_server.memory.collector import leave_out_what_is_there
from reidstream_server.parts import measured_bounds
from reidstream_server.stopping import Stop, ToldToStop

log = get_logger(__name__)


def run(config: ServerConfig, stop: Stop) -> int:
    """Serve until told to stop. Raises StartupError, ToldToStop."""
    keep_freed_memory(scheduler_limits(config).cores)  # before there are threads, each of which would get a heap
    stop.while_loading()
    with operators_port(config) as operators, loaded_engines(config) as loaded:
        stop.hold()
        leave_out_what_is_there()
        ending = asyncio.run(serve(config, loaded, stop, operators))
        if ending.stuck:
            _leave_behind(ending.code)
        return ending.code


def dry_run(config: ServerConfig, stop: Stop) -> int:
    """Everything but serving; prints every setting and the budget of memory, as a file that `--config` reads. Raises
    as `run` does.

    A signal ends it also while it waits for whoever reads what it prints.
    """
    stop.while_loading()
    with loaded_engines(config):
        stop.check()
        budget = memory_budget(measured_bounds(config))
        tell_budget(budget)
        log.info("dry_run_passed")
    try:
        sys.stdout.write(f"{redacted(config)}\n\n")
        sys.stdout.writelines(
            f"# {line}\n" for line in ("The most private memory that the server may have:", *table(budget))
        )
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads it has read enough
        _print_no_more()
    except ToldToStop:
        _print_no_more()
        raise
    return 0


def _print_no_more() -> None:
    """Send what Python still holds back nowhere: to write it would fail, or wait, again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _leave_behind(code: int) -> NoReturn:
    """End the process although a thread is still inside an engine.

    Nothing is closed: to close the engine or the interpreter under that thread could crash, or never end.
    """
    log.warning("threads_left", exit_code=code)
    logging.shutdown()
    os._exit(code)
