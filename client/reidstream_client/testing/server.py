"""`FakeServer`: a reidstream server in memory, to test programs that use the client."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import TracebackType

import grpc
import numpy as np
import numpy.typing as npt
from typing_extensions import Self, Unpack

from reidstream_client.aio import AsyncReidClient
from reidstream_client.checks import at_least_one, member, not_negative, several, shown, text, unsigned
from reidstream_client.connection.protocols import Connection, Health
from reidstream_client.errors import InvalidRequest
from reidstream_client.options import ClientOptions, check_options
from reidstream_client.sync import ReidClient
from reidstream_client.types import ErrorReason, TrackEndCause

from .answers import Embed, unit_vector
from .connection import FakeConnection
from .hub import Hub
from .models import FakeModel, space_of
from .records import ReceivedBox, ReceivedFrame, ReceivedSession
from .script import FrameFault, Refusal


class FakeServer:
    """Answers embed, models, info, ping and streams, without a socket, a server process or a model.

    Only the connection is replaced. Windows, overload policies, resumption, retries and errors are the real client's.
    One class serves `ReidClient` and `AsyncReidClient`, since only the two methods for waiting ever wait.

    Give your program a client from `client()` or `async_client()`. If it makes its own client, let it pass on the
    option `connect=server.connect`. That is an option instead of a patch or a special address, so that a test changes
    nothing outside itself.

    - `embed(frame, box)` returns a vector (dim,), which is scaled to length 1, or an `Outcome`. It runs in the client's
      thread. Default: a vector that depends on the picture's bytes and the box alone.
    - `models`: their names; the first one is the default. All have `dim` numbers, and each has its own space.
    - `window_frames`, `window_bytes`: the largest window.

    Leaving the `with` block ends every open call. If `embed` has raised an error, it is raised again there. Any thread.
    """

    def __init__(
        self,
        *,
        dim: int = 8,
        models: Sequence[str] = ("fake",),
        embed: Embed | None = None,
        window_frames: int = 8,
        window_bytes: int = 64 << 20,
    ) -> None:
        dim = at_least_one("dim", dim)
        names = [text("models", name) for name in several("models", models, example='("person", "vehicle")')]
        if not names:
            raise InvalidRequest("models must name at least one model")
        if embed is not None and not callable(embed):
            raise InvalidRequest(f"embed must be a function of a frame and a box, not {shown(embed)}")

        def default(frame: ReceivedFrame, box: ReceivedBox) -> npt.NDArray[np.float64]:
            del frame
            return unit_vector(box, dim)

        self._hub = Hub(
            {name: FakeModel(name=name, dim=dim, space_id=space_of(name, dim)) for name in names},
            default if embed is None else embed,
            window_frames=at_least_one("window_frames", window_frames),
            window_bytes=at_least_one("window_bytes", window_bytes, 64),
        )
        self.target = "fake:50051"

    def connect(self, target: str) -> Connection:
        """For the option `connect` of a client."""
        return FakeConnection(self._hub, target)

    def client(self, **options: Unpack[ClientOptions]) -> ReidClient:
        """A client of this server; close it, or use it in a `with` block."""
        check_options(ClientOptions, options, "client")
        options["connect"] = self.connect
        return ReidClient(self.target, **options)

    def async_client(self, **options: Unpack[ClientOptions]) -> AsyncReidClient:
        """The same for asyncio."""
        check_options(ClientOptions, options, "async_client")
        options["connect"] = self.connect
        return AsyncReidClient(self.target, **options)

    @property
    def frames(self) -> Sequence[ReceivedFrame]:
        """All frames received, from streams and single calls, in the order of arrival."""
        return tuple(self._hub.arrivals.frames)

    @property
    def sessions(self) -> Sequence[ReceivedSession]:
        """The streams that were opened. A session that resumes opens several."""
        return tuple(self._hub.sessions)

    def wait_for_frames(self, count: int) -> None:
        """Block until the server has received `count` frames in all. Raises TimeoutError after 30 s."""
        self._hub.arrivals.wait(unsigned("count", count, 63))

    async def async_wait_for_frames(self, count: int) -> None:
        """The same for asyncio."""
        await self._hub.arrivals.async_wait(unsigned("count", count, 63))

    def hold(self) -> None:
        """Hold the answers to all frames that come from now on, until `release`."""
        self._hub.hold()

    def release(self, *frame_ids: int) -> None:
        """Send the answers to these frames, in this order. Without ids, send all held answers and stop holding.

        Raises ValueError for a frame that is not held. Wait for it first: `wait_for_frames`.
        """
        self._hub.release(frame_ids)

    @property
    def held(self) -> Sequence[int]:
        """The frames whose answers are held, in the order of arrival."""
        return self._hub.held()

    def fail_frames(
        self,
        reason: ErrorReason,
        message: str = "the fake server was told to fail this frame",
        *,
        count: int = 1,
        frame_ids: Sequence[int] = (),
        retry_after_s: float | None = None,
    ) -> None:
        """Answer the next `count` frames, or those of `frame_ids`, with an error. A single call raises it."""
        reason = member(ErrorReason, "reason", reason)
        if reason is ErrorReason.UNKNOWN:
            raise InvalidRequest("ErrorReason.UNKNOWN is the client's own; choose a reason that a server can give")
        fault = FrameFault(
            reason=reason,
            message=text("message", message),
            count=at_least_one("count", count),
            frame_ids={unsigned("frame_ids", one, 64) for one in several("frame_ids", frame_ids, example="[1]")},
            retry_after_s=_pause(retry_after_s),
        )
        self._tell(lambda: self._hub.script.add(fault))

    def refuse(
        self,
        status: grpc.StatusCode,
        message: str = "the fake server was told to refuse this call",
        *,
        reason: str = "",
        calls: int = 1,
        retry_after_s: float | None = None,
    ) -> None:
        """End the next `calls` calls with a status. Opening a stream is a call; `ping` does not count.

        `reason`: the word in the header `reidstream-reason`, such as "stale_epoch".
        """
        rule = Refusal(
            status=_failing(status),
            message=text("message", message),
            reason=text("reason", reason),
            calls=at_least_one("calls", calls),
            retry_after_s=_pause(retry_after_s),
        )
        self._tell(lambda: self._hub.script.add(rule))

    def unavailable(self, attempts: int) -> None:
        """Be away for the next `attempts` calls, `ping` included, like a server that is starting again."""
        rule = Refusal(
            status=grpc.StatusCode.UNAVAILABLE,
            message="the fake server is away",
            calls=at_least_one("attempts", attempts),
            health=True,
        )
        self._tell(lambda: self._hub.script.add(rule))

    def drain(self) -> None:
        """Leave every open stream: answer what was received, then end the stream. New streams are accepted."""
        self._hub.drain()

    def time_out_tracks(self, *track_ids: int) -> None:
        """End these tracks of every open stream, or all of them, as if they had had no box for `timeout_s`. Each comes
        behind the answers to its frames.

        Time itself ends no track here, so that no test has to wait.
        """
        ids = [unsigned("track_ids", one, 64) for one in track_ids]
        self._hub.end_tracks(ids, TrackEndCause.TIMEOUT)

    def cut(
        self,
        status: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE,
        message: str = "the fake server was told to cut this stream",
    ) -> None:
        """End every open stream at once, and lose the answers that are held."""
        self._hub.cut(_failing(status), text("message", message))

    def change_space(self, space_id: str, model: str = "") -> None:
        """Let new calls and streams of a model answer in another space, as with other weights.

        `model` "" is the default model.
        """
        models = self._hub.models
        space_id = text("space_id", space_id)
        name = text("model", model) or next(iter(models))
        if name not in models:
            raise InvalidRequest(f"there is no model {shown(name)}; this server has {', '.join(models)}")
        self._tell(lambda: models.__setitem__(name, replace(models[name], space_id=space_id)))

    @property
    def health(self) -> Health:
        """What `ping` says."""
        return self._hub.health

    @health.setter
    def health(self, health: Health) -> None:
        self._hub.health = member(Health, "health", health)

    def close(self) -> None:
        """End every open call with ServerUnavailable, and refuse all others. Closing twice is harmless."""
        self._hub.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()
        if exc is None and self._hub.broken is not None:
            raise self._hub.broken

    def _tell(self, change: Callable[[], None]) -> None:
        with self._hub.lock:
            change()


def _failing(status: object) -> grpc.StatusCode:
    found = member(grpc.StatusCode, "status", status)
    if found is grpc.StatusCode.OK:
        raise InvalidRequest("status must be one that fails a call, not StatusCode.OK")
    return found


def _pause(retry_after_s: object) -> float | None:
    return None if retry_after_s is None else not_negative("retry_after_s", retry_after_s)
