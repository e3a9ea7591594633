"""`reidstream-server` whose engine is slow between one SIGUSR1 and the next: an incident, on order.

    python -m tests.support.dashboards.slow_server FLAGS

It tells its ports on stdout. All else is the real server with the embedded model.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from typing_extensions import override

from reidstream_engines.protocol import Crop, Embeddings, Engine, EngineInfo, EngineLimits, Health, Ticket
from reidstream_engines.spec import ModelSpec
from reidstream_server import app, cli, running
from reidstream_server.config import ServerConfig
from reidstream_server.loading import Engines, loaded_engines

_DELAY_S = 0.25
_slow = threading.Event()


class _LateTicket(Ticket):
    """A batch that takes longer while the engine is slow."""

    __slots__ = ("_inner",)

    def __init__(self, inner: Ticket) -> None:
        self._inner = inner

    @override
    def result(self) -> Embeddings:
        if _slow.is_set():
            time.sleep(_DELAY_S)
        return self._inner.result()


class _LateEngine(Engine):
    """An engine that can be made slow."""

    def __init__(self, inner: Engine) -> None:
        self._inner = inner

    @property
    @override
    def spec(self) -> ModelSpec:
        return self._inner.spec

    @property
    @override
    def limits(self) -> EngineLimits:
        return self._inner.limits

    @property
    @override
    def info(self) -> EngineInfo:
        return self._inner.info

    @override
    def health(self) -> Health:
        return self._inner.health()

    @override
    def submit(self, crops: Sequence[Crop]) -> Ticket:
        return _LateTicket(self._inner.submit(crops))

    @override
    def close(self) -> None:
        self._inner.close()


@contextmanager
def _loaded(config: ServerConfig) -> Iterator[Engines]:
    with loaded_engines(config) as loaded:
        yield replace(loaded, engines=tuple(_LateEngine(engine) for engine in loaded.engines))


_start = app.RunningServer.start


async def _start_and_tell(self: app.RunningServer) -> None:
    await _start(self)
    print(self.port, self.metrics_port, flush=True)  # noqa: T201 - whoever started it reads this


def _turn(_: int, __: object) -> None:
    if _slow.is_set():
        _slow.clear()
    else:
        _slow.set()


def main() -> int:
    """Serve."""
    signal.signal(signal.SIGUSR1, _turn)
    running.loaded_engines = _loaded  # type: ignore[attr-defined]
    app.RunningServer.start = _start_and_tell  # type: ignore[method-assign]
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
