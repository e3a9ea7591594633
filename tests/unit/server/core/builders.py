"""Small parts for tests of the core: sensible values for whatever a test is not about."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count

from reidstream_server.core.effects import Answer, Effect, Release, Run, Stage
from reidstream_server.core.scheduler import Scheduler
from reidstream_server.core.state import FrameState, SessionState
from reidstream_server.core.terms import (
    Flow,
    FrameKey,
    FrameRequest,
    ModelIndex,
    ModelTerms,
    Ordering,
    OverloadPolicy,
    Priority,
    SchedulerLimits,
    SessionKey,
    SessionTerms,
    Window,
)

MS = 1_000_000
START_NS = 1_000 * MS
ONLY = ModelIndex(0)
OTHER = ModelIndex(1)

_keys = count(1)


def a_flow(camera: str) -> Flow:
    return Flow(client="client", camera_id=camera)


def some_terms(
    camera: str = "camera",
    *,
    priority: Priority = Priority.NORMAL,
    ordering: Ordering = Ordering.IN_ORDER,
    policy: OverloadPolicy = OverloadPolicy.WAIT,
    frames: int = 8,
    window_bytes: int = 10**9,
    budget_ns: int | None = None,
    models: Iterable[ModelIndex] = (ONLY,),
    source: str = "connection",
) -> SessionTerms:
    return SessionTerms(
        flow=a_flow(camera),
        source=source,
        priority=priority,
        ordering=ordering,
        overload_policy=policy,
        window=Window(frames=frames, bytes=window_bytes),
        latency_budget_ns=budget_ns,
        models=frozenset(models),
    )


def a_model(name: str = "osnet", *, max_batch: int = 4, slots: int = 1, cores: int = 1) -> ModelTerms:
    return ModelTerms(name=name, max_batch=max_batch, slots=slots, cores=cores)


def a_request(
    frame_id: int,
    boxes: int = 1,
    *,
    size: int = 100,
    staging_ns: int = 0,
    age_ns: int = 0,
    models: Sequence[ModelIndex] = (ONLY,),
) -> FrameRequest:
    """`boxes` crops, dealt to the models in turn; each has a vector of 4 bytes."""
    crops = tuple(models[index % len(models)] for index in range(boxes))
    return FrameRequest(
        frame_id=frame_id,
        message_bytes=size,
        staged_bytes=size,
        answer_bytes=4 * boxes,
        staging_ns=staging_ns,
        age_ns=age_ns,
        crops=crops,
    )


def some_limits(
    *,
    staging_slots: int = 2,
    cores: int = 16,
    queue_boxes: int = 100,
    queue_bytes: int = 10**6,
    parked_bytes: int = 10**6,
    staged_bytes: int = 10**6,
    answer_bytes: int = 10**6,
    linger_ns: int = 0,
    source_turns: int = 8,
    high_at_once_ns: int = 10**18,
) -> SchedulerLimits:
    return SchedulerLimits(
        staging_slots=staging_slots,
        cores=cores,
        max_queue_boxes=queue_boxes,
        max_queue_bytes=queue_bytes,
        max_parked_bytes=parked_bytes,
        max_staged_bytes=staged_bytes,
        max_held_answer_bytes=answer_bytes,
        heavy_boxes=1000,
        heavy_staging_ns=50 * MS,
        slow_staging_ns=200 * MS,
        staging_timeout_ns=2_000 * MS,
        quantum_boxes=4,
        max_source_turns=source_turns,
        aging_ns=100 * MS,
        high_at_once_ns=high_at_once_ns,
        linger_ns=linger_ns,
        batch_timeout_ns=1_000 * MS,
        stall_timeout_ns=1_000 * MS,
    )


def a_session(camera: str = "camera", **agreed: object) -> SessionState[str]:
    terms = some_terms(camera, **agreed)  # type: ignore[arg-type] # passed through to be checked there
    return SessionState(SessionKey(next(_keys)), terms)


def a_frame(session: SessionState[str], boxes: int = 1, *, size: int = 100, heavy: bool = False) -> FrameState[str]:
    """A frame of a session, open in it."""
    key = FrameKey(next(_keys))
    request = a_request(key, boxes, size=size)
    frame = FrameState(
        key=key,
        session=session,
        request=request,
        priority=session.terms.priority,
        arrived_ns=START_NS,
        payload=f"pixels {key}",
        models=frozenset(request.crops),
        cost_ns=boxes * MS,
        expected_staging_ns=0,
        heavy=heavy,
    )
    frame.outcomes = [None] * boxes
    frame.open_crops = boxes
    session.open_frames[key] = frame
    return frame


class Driver:
    """A scheduler with these models, whose engines and decoder are worked by hand. Payloads are the names of frames."""

    def __init__(
        self, limits: SchedulerLimits | None = None, *, models: Sequence[ModelTerms] = (a_model(slots=2),)
    ) -> None:
        self.now = START_NS
        self.scheduler: Scheduler[str] = Scheduler(limits or some_limits())
        self.models = [self.scheduler.add_model(terms) for terms in models]
        self.effects: list[Effect[str]] = []
        self.staging: dict[str, FrameKey] = {}
        self.running: list[Run[str]] = []
        self.answers: list[Answer[str]] = []
        self.released: list[str] = []
        self._ids = count(1)

    def open(self, terms: SessionTerms) -> SessionKey:
        return self.scheduler.open_session(terms)

    def next_id(self) -> int:
        """A frame id above all before."""
        return next(self._ids)

    def send(
        self, session: SessionKey, name: str, boxes: int = 1, *, frame_id: int | None = None, size: int = 100
    ) -> None:
        request = a_request(self.next_id() if frame_id is None else frame_id, boxes, size=size)
        self.take(self.scheduler.frame_arrived(session, request, name, self.now))

    def stage(self, name: str, invalid: Sequence[int] = ()) -> None:
        self.take(self.scheduler.frame_staged(self.staging.pop(name), self.now, invalid))

    def finish(self) -> None:
        """The batch that has run longest is done."""
        run = self.running.pop(0)
        self.take(self.scheduler.batch_done(run.model, run.batch, self.now))

    def fail(self) -> None:
        """The batch that has run longest fails."""
        run = self.running.pop(0)
        self.take(self.scheduler.batch_failed(run.model, run.batch, "raised", self.now))

    def write(self, session: SessionKey) -> None:
        """The client takes an answer."""
        self.take(self.scheduler.answer_written(session, self.now))

    def wait(self, nanoseconds: int) -> None:
        """Time passes; whatever is due happens."""
        self.now += nanoseconds
        self.take(self.scheduler.on_timer(self.now))

    def work_off(self) -> None:
        """Decode and embed until nothing is left to do."""
        while self.staging or self.running:
            if self.staging:
                self.stage(next(iter(self.staging)))
            else:
                self.finish()

    def take(self, effects: list[Effect[str]]) -> None:
        self.effects.extend(effects)
        for effect in effects:
            match effect:
                case Stage():
                    self.staging[effect.payload] = effect.frame
                case Run():
                    self.running.append(effect)
                case Answer():
                    self.answers.append(effect)
                case Release():
                    self.released.append(effect.payload)
                case _:
                    pass

    def answered(self) -> list[tuple[str | None, str]]:
        """Every answer so far: the frame's name, and why it has no embeddings, or how many."""
        return [
            (answer.payload, answer.fault.reason.value if answer.fault else str(len(answer.outcomes)))
            for answer in self.answers
        ]

    def seen(self, kind: type[object]) -> list[object]:
        """The effects of a kind so far."""
        return [effect for effect in self.effects if isinstance(effect, kind)]
