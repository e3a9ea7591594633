"""`reidstream-server`: configuration in, exit code out.

    0   stopped; every accepted frame was answered
    1   a model cannot be loaded, or a port cannot be opened
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
from reidstream_server.app import serve
from reidstream_server.bounds import scheduler_limits
from reidstream_server.config import ConfigError, ServerConfig, load_config, redacted
from reidstream_server.errors import StartupError
from reidstream_server.loading import loaded_engines
from reidstream_server.logs import configure, get_logger
from reidstream_server.stopping import ToldToStop, stoppable

log = get_logger(__name__)

EXIT_STARTUP = 1
EXIT_CONFIG = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the server until it is told to stop."""
    try:
        config = load_config(sys.argv[1:] if argv is None else argv, os.environ)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EXIT_CONFIG
    configure(config.log.log_level, config.log.log_format)
    log.info("configuration", **_fields(config))
    try:
        with stoppable() as stop, loaded_engines(config) as loaded:
            stop.check()
            if config.lifecycle.dry_run:
                log.info("dry_run_passed")
                return 0
            # After loading: what loading freed goes back to the system.
            keep_freed_memory(scheduler_limits(config).cores)
            ending = asyncio.run(serve(config, loaded))
            if ending.stuck:
                _leave_behind(ending.code)
            return ending.code
    except StartupError as error:
        log.error("cannot_start", reason=str(error))  # noqa: TRY400 - the message says everything
        return EXIT_STARTUP
    except ToldToStop as told:
        told.tell()
        return told.exit_code


def _leave_behind(code: int) -> NoReturn:
    """End the process although a thread is still inside an engine.

    Nothing is closed: to close the engine or the interpreter under that thread could crash, or never end.
    """
    log.warning("threads_left", exit_code=code)
    logging.shutdown()
    os._exit(code)


def _fields(config: ServerConfig) -> dict[str, str]:
    """The configuration as fields of one event; models by name."""
    settings, _, _ = redacted(config).partition("[[models]]")
    fields = dict(line.split(" = ", 1) for line in settings.splitlines() if " = " in line)
    models = ", ".join(f"{model.name}={model.path}" for model in config.models)
    return {name: value.strip('"') for name, value in fields.items()} | {"models": models or "the embedded one"}


if __name__ == "__main__":
    sys.exit(main())
