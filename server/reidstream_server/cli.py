"""`reidstream-server`: configuration in, exit code out.

    0   stopped; every accepted frame was answered
    1   a file, a model or a port cannot be had
    2   the configuration is wrong; every problem is printed
    70  an engine cannot continue
    75  the drain took too long
    130 SIGINT came before the server served; a server that serves drains instead
    143 SIGTERM came before the server served
    129 SIGHUP came before the server served, because its terminal is gone

Trap: nothing heavy is imported before the configuration is read and the machine was looked at: see `running`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from reidstream_server.config import ConfigError, ServerConfig, changed_settings, load_config, unread_variables
from reidstream_server.errors import StartupError
from reidstream_server.logs import LogFormat, LogLevel, configure, flush, get_logger
from reidstream_server.starting import check_start
from reidstream_server.stopping import Stop, ToldToStop, stoppable

log = get_logger(__name__)

EXIT_STARTUP = 1
EXIT_CONFIG = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the server until it is told to stop."""
    try:
        return _run(sys.argv[1:] if argv is None else argv)
    finally:
        flush()


def _run(argv: Sequence[str]) -> int:
    try:
        config = load_config(argv, os.environ)
    except ConfigError as error:
        _refuse(error)
        return EXIT_CONFIG
    configure(config.log.log_level, config.log.log_format)
    try:
        with stoppable() as stop:  # before the first line of the log, by which a supervisor may go
            return _start(config, stop)
    except ToldToStop as told:
        told.tell()
        return told.exit_code


def _start(config: ServerConfig, stop: Stop) -> int:
    for unread in unread_variables(os.environ):
        log.warning("variable_ignored", variable=unread.variable, reason=unread.reason)
    log.info("configuration", **(changed_settings(config) or {"all": "default"}))
    try:
        check_start(config)
        from reidstream_server import running  # noqa: PLC0415 - see the module

        return running.dry_run(config, stop) if config.lifecycle.dry_run else running.run(config, stop)
    except StartupError as error:
        stop.check()  # a signal may be its cause
        log.error("cannot_start", reason=str(error))  # noqa: TRY400 - the message says everything
        return EXIT_STARTUP


def _refuse(error: ConfigError) -> None:
    """For people a line for each problem; for programs one event, where that much was understood."""
    if error.log_format == LogFormat.JSON.value:
        configure(LogLevel.INFO, LogFormat.JSON)
        log.error("cannot_start", reason=str(error))
    else:
        print(error, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
