"""The inside of a fake server: models, streams, held answers, and what was received.

Why a lock and no event loop: a test tells the server what to do from its own thread, and each client calls from the
thread of its loop. Trap: the caller's `embed` runs without the lock, so that it may wait for another thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import grpc
from typing_extensions import override

from reidstream_client.choices import ModelChoice
from reidstream_client.connection.protocols import HEALTH_CHECK, Health
from reidstream_client.errors import ReidError
from reidstream_client.types import ErrorReason, TrackEndCause
from reidstream_proto.v1 import frame_pb2, service_pb2, session_pb2

from . import answers
from .answers import Embed
from .arrivals import Arrivals
from .connection import Backend, FakeCall, Reply
from .models import FakeModel
from .published import limits, model_details, model_summary, session_opened
from .records import ReceivedFrame, ReceivedSession, parse_frame, parse_options, parse_session
from .script import FrameFault, Refusal, Script, call_error, frame_error, unknown_model
from .streams import Stream
from .tracks import FakeTracks, TrackedFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """An answer that waits for `release`."""

    frame: ReceivedFrame
    of: FakeCall | Reply
    send: Callable[[], None]


class Hub(Backend):
    """Behind the methods of `FakeServer`. Any thread."""

    def __init__(self, models: Mapping[str, FakeModel], embed: Embed, *, window_frames: int, window_bytes: int) -> None:
        self.models = dict(models)
        self.embed = embed
        self.health = Health.SERVING
        self.arrivals = Arrivals()
        self.sessions: list[ReceivedSession] = []
        self.script = Script()
        self.broken: Exception | None = None  # what the caller's `embed` raised
        self._window = session_pb2.Window(frames=window_frames, bytes=window_bytes)
        self._streams: dict[FakeCall, Stream] = {}
        self._held: list[_Held] = []
        self._holding = False
        self.lock = threading.RLock()

    @override
    def call(self, method: str, request: bytes, reply: Reply) -> None:
        with self.lock:
            refusal = self.script.refusal(health=method == HEALTH_CHECK)
        if refusal is not None:
            reply.fail(refusal.error())
            return
        match method.rpartition("/")[2]:
            case "Check":
                reply.give(self.health.value)
            case "ListModels":
                found = [model_summary(model, default=name == self._default) for name, model in self.models.items()]
                reply.give(service_pb2.ListModelsResponse(models=found).SerializeToString())
            case "GetModel":
                self._get_model(service_pb2.GetModelRequest.FromString(request).name, reply)
            case "Embed":
                self._embed(service_pb2.EmbedRequest.FromString(request), reply)
            case other:
                reply.fail(call_error(grpc.StatusCode.UNIMPLEMENTED, f"the fake server has no {other}"))

    @override
    def message(self, call: FakeCall, request: service_pb2.EmbedStreamRequest) -> None:
        with self.lock:
            if request.HasField("session_open"):
                self._open(call, request.session_open)
                return
            if request.HasField("close"):
                self._forget([call])
                call.end(None)
                return
            stream = self._streams.get(call)
            if stream is None or stream.leaving:
                return  # what comes after the end, or after Drain, is not accepted
            if request.HasField("end_tracks"):
                self._end_tracks(stream, request.end_tracks)
                return
            frame = parse_frame(request.frame, options=stream.session.options, session=stream.session)
            tracked = stream.accept(frame)
            fault = self.script.fault(frame.frame_id)
        answer = self._answer(frame, stream.models, fault, tracked)

        def send() -> None:
            stream.answer(answer, tracked)
            self._end_if_done(stream)

        self._deliver(_Held(frame=frame, of=call, send=send))

    @override
    def half_closed(self, call: FakeCall) -> None:
        with self.lock:
            stream = self._streams.get(call)
            if stream is not None:
                stream.finished = not stream.leaving
                stream.leaving = True
                self._end_if_done(stream)

    @override
    def cancelled(self, call: FakeCall) -> None:
        with self.lock:
            self._forget([call])

    def hold(self) -> None:
        """See `FakeServer`."""
        with self.lock:
            self._holding = True

    def release(self, frame_ids: Sequence[int]) -> None:
        """See `FakeServer`."""
        with self.lock:
            if not frame_ids:
                self._holding = False
            going = [self._first_held(frame_id) for frame_id in frame_ids] if frame_ids else list(self._held)
            for held in going:
                self._held.remove(held)
                held.send()

    def held(self) -> tuple[int, ...]:
        """See `FakeServer`."""
        with self.lock:
            return tuple(held.frame.frame_id for held in self._held)

    def drain(self) -> None:
        """See `FakeServer`."""
        with self.lock:
            for stream in tuple(self._streams.values()):
                stream.drain()
                self._end_if_done(stream)

    def end_tracks(self, track_ids: Sequence[int], cause: TrackEndCause) -> None:
        """See `FakeServer`."""
        with self.lock:
            for stream in self._streams.values():
                stream.end_tracks(track_ids, cause)

    def cut(self, status: grpc.StatusCode, message: str) -> None:
        """See `FakeServer`."""
        with self.lock:
            calls = tuple(self._streams)
            self._forget(calls)
            for call in calls:
                call.end(call_error(status, message))

    def close(self) -> None:
        """Cut every stream, fail every call that waits, and refuse all others."""
        with self.lock:
            self.script.clear()
            gone = Refusal(
                status=grpc.StatusCode.UNAVAILABLE, message="the fake server is closed", calls=None, health=True
            )
            self.script.add(gone)
            replies = [held.of for held in self._held if isinstance(held.of, Reply)]
            self.cut(gone.status, gone.message)
            for reply in replies:
                reply.fail(gone.error())
            self._held.clear()

    @property
    def _default(self) -> str:
        return next(iter(self.models))

    def _get_model(self, name: str, reply: Reply) -> None:
        model = self.models.get(name or self._default)
        if model is None:
            reply.fail(unknown_model(name, self.models))
            return
        answer = service_pb2.GetModelResponse(
            model=model_details(model, default=model.name == self._default), limits=limits(self._window)
        )
        reply.give(answer.SerializeToString())

    def _embed(self, request: service_pb2.EmbedRequest, reply: Reply) -> None:
        frame = parse_frame(request.frame, options=parse_options(request.options), session=None)
        with self.lock:
            models = self._choose(frame.options.models)
            fault = None if isinstance(models, ReidError) else self.script.fault(frame.frame_id)
        if isinstance(models, ReidError):
            reply.fail(models)
            return
        answer = self._answer(frame, models, fault)

        def send() -> None:
            if answer.HasField("error"):
                reply.fail(frame_error(answer.error))
            else:
                upright = frame.options.apply_exif_orientation
                response = service_pb2.EmbedResponse(result=answer, apply_exif_orientation=upright)
                reply.give(response.SerializeToString())

        self._deliver(_Held(frame=frame, of=reply, send=send))

    def _open(self, call: FakeCall, asked: session_pb2.SessionOpen) -> None:
        session = parse_session(asked)
        refusal = self.script.refusal()
        models = self._choose(session.options.models)
        if refusal is not None:
            call.end(refusal.error())
            return
        if isinstance(models, ReidError):
            call.end(models)
            return
        try:
            tracks = FakeTracks(asked.track_options, models) if session.tracks is not None else None
        except LookupError as why:
            call.end(call_error(grpc.StatusCode.FAILED_PRECONDITION, str(why), reason="wrong_space"))
            return
        self.sessions.append(session)
        self._streams[call] = Stream(call=call, session=session, models=models, tracks=tracks)
        opened = session_opened(asked, models, self._window)
        if tracks is not None:
            opened.track_options.CopyFrom(tracks.agreed)
        call.post(service_pb2.EmbedStreamResponse(session_opened=opened))

    def _choose(self, choices: Sequence[ModelChoice]) -> Sequence[FakeModel] | ReidError:
        """The models beside the choices, or the error of the call."""
        found = []
        for choice in choices:
            model = self.models.get(choice.name or self._default)
            if model is None:
                return unknown_model(choice.name, self.models)
            if choice.expected_space_id not in {None, model.space_id}:
                message = f"model {model.name!r} has space {model.space_id}, expected was {choice.expected_space_id}"
                return call_error(grpc.StatusCode.FAILED_PRECONDITION, message, reason="wrong_space")
            found.append(model)
        return found

    def _end_tracks(self, stream: Stream, message: session_pb2.EndTracks) -> None:
        if stream.tracks is not None:
            if message.track_ids:
                stream.end_tracks(message.track_ids, TrackEndCause.CLIENT)
            return
        self._forget([stream.call])
        stream.call.end(
            call_error(grpc.StatusCode.FAILED_PRECONDITION, "EndTracks: this session was opened without track_options")
        )

    def _answer(
        self,
        frame: ReceivedFrame,
        models: Sequence[FakeModel],
        fault: FrameFault | None,
        tracked: TrackedFrame | None = None,
    ) -> frame_pb2.FrameResult:
        if fault is not None:
            return answers.failure(frame.frame_id, fault.reason, fault.message, fault.retry_after_s)
        budget_s = frame.options.latency_budget_s
        if budget_s is not None and frame.age_s > budget_s:
            message = f"the frame is {frame.age_s:.3f} s old, its latency budget is {budget_s} s"
            return answers.failure(frame.frame_id, ErrorReason.OVER_BUDGET, message, None)
        try:
            return answers.result(frame, models, self.embed, tracked)
        except Exception as error:  # noqa: BLE001 - it is the test's own, and is raised where the server is closed
            self.broken = error
            return answers.failure(
                frame.frame_id, ErrorReason.INTERNAL, f"the fake server's embed raised {error!r}", None
            )

    def _deliver(self, held: _Held) -> None:
        """Answer, or hold the answer. The frame is shown before it is answered, and not before it can be released."""
        with self.lock:
            holding = self._holding
            if holding:
                self._held.append(held)
            self.arrivals.add(held.frame)
            if not holding:
                held.send()

    def _first_held(self, frame_id: int) -> _Held:
        for held in self._held:
            if held.frame.frame_id == frame_id:
                return held
        raise ValueError(f"frame {frame_id} is not held; held are {self.held()}")

    def _end_if_done(self, stream: Stream) -> None:
        if stream.done and self._streams.pop(stream.call, None) is not None:
            stream.end()

    def _forget(self, calls: Iterable[FakeCall]) -> None:
        gone = set(calls)
        self._held = [held for held in self._held if held.of not in gone]
        for call in gone:
            self._streams.pop(call, None)
