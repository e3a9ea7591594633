"""`reidstream-server`: configuration in, exit code out.

    0   stopped; every accepted frame was answered
    1   a file, a model or a port cannot be had
    2   the configuration is wrong; every problem is printed
    70  an engine cannot continue
    75  the drain took too long
    130 SIGINT came before the server served; a server that serves drains instead
    143 SIGTERM came before the server served

Trap: a device may never answer. The process must still end, with its exit code, even if a thread waits for the device.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from reidstream_server.allocator import keep_freed_memory
from reidstream_server.app import operators_port, serve
from reidstream_server.config import (
    ConfigError,
    ServerConfig,
    changed_settings,
    load_config,
    redacted,
    unread_variables,
)
from reidstream_server.errors import StartupError
from reidstream_server.loading import loaded_engines
from reidstream_server.logs import LogFormat, LogLevel, configure, get_logger
from reidstream_server.starting import check_start
from reidstream_server.stopping import Stop, ToldToStop, stoppable

log = get_logger(__name__)

EXIT_STARTUP = 1
EXIT_CONFIG = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the server until it is told to stop."""
    try:
        config = load_config(sys.argv[1:] if argv is None else argv, os.environ)
    except ConfigError as error:
        _refuse(error)
        return EXIT_CONFIG
    configure(config.log.log_level, config.log.log_format)
    for unread in unread_variables(os.environ):
        log.warning("variable_ignored", variable=unread.variable, reason=unread.reason)
    log.info("configuration", **(changed_settings(config) or {"all": "default"}))
    try:
        with stoppable() as stop:
            check_start(config)
            return _dry_run(config, stop) if config.lifecycle.dry_run else _serve(config, stop)
    except StartupError as error:
        log.error("cannot_start", reason=str(error))  # noqa: TRY400 - the message says everything
        return EXIT_STARTUP
    except ToldToStop as told:
        told.tell()
        return told.exit_code


def _serve(config: ServerConfig, stop: Stop) -> int:
    with operators_port(config) as operators, loaded_engines(config) as loaded:
        stop.check()
        keep_freed_memory()  # after loading: what loading freed goes back to the system
        ending = asyncio.run(serve(config, loaded, operators))
        if ending.stuck:
            _leave_behind(ending.code)
        return ending.code


def _dry_run(config: ServerConfig, stop: Stop) -> int:
    """Everything but serving; prints every setting, as a file that `--config` reads."""
    with loaded_engines(config):
        stop.check()
        log.info("dry_run_passed")
    try:
        print(redacted(config), flush=True)
    except BrokenPipeError:  # whoever reads it has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _refuse(error: ConfigError) -> None:
    """For people a line for each problem; for programs one event, where that much was understood."""
    if error.log_format == LogFormat.JSON.value:
        configure(LogLevel.INFO, LogFormat.JSON)
        log.error("cannot_start", reason=str(error))
    else:
        print(error, file=sys.stderr)


def _leave_behind(code: int) -> NoReturn:
    """End the process although a thread is still inside an engine.

    Nothing is closed: to close the engine or the interpreter under that thread could crash, or never end.
    """
    log.warning("threads_left", exit_code=code)
    logging.shutdown()
    os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
