"""The single call: one frame, one answer, without a session.

Why apart from the client: a call knows nothing of streams. Trap: the answer to a frame without vectors names no model,
and the caller's arrays need its dimension all the same. So the model is asked for then, once.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from reidstream_proto.v1 import frame_pb2, service_pb2, session_pb2

from .choices import ModelChoice, RetryPolicy
from .connection.protocols import Connection
from .connection.retries import with_retries
from .errors import ProtocolFault
from .frames.framing import PreparedFrame
from .frames.results import answering_models, parse_result, without_vectors
from .models import AgreedModel
from .session.opening import check_spaces, check_upright
from .session.spans import EMBED, Sending
from .tracing import TraceHeaders
from .types import FrameEmbeddings, Timing


class SingleCalls:
    """One event loop. `model_of(name, timeout_s)`: asks the server for a model."""

    def __init__(
        self,
        connection: Connection,
        options: session_pb2.EmbedOptions,
        *,
        choices: Sequence[ModelChoice],
        retry: RetryPolicy,
        model_of: Callable[[str, float], Awaitable[service_pb2.GetModelResponse]],
    ) -> None:
        self._connection = connection
        self._prefix = service_pb2.EmbedRequest(options=options).SerializeToString()
        self._upright = options.apply_exif_orientation
        self._choices = choices
        self._retry = retry
        self._model_of = model_of
        self._known: dict[str, AgreedModel] = {}

    async def embed(self, frame: PreparedFrame, sending: Sending, *, timeout_s: float) -> FrameEmbeddings:
        """The answer to a frame with boxes. Raises what the call's status says, ProtocolFault, SpaceMismatch."""
        result, round_trip_s = await self._call(frame, sending.headers, timeout_s=timeout_s)
        agreed = await self._agreed(answering_models(result), timeout_s=timeout_s)
        return parse_result(result, boxes=frame.boxes, models=agreed, round_trip_s=round_trip_s)

    async def nothing(self, frame: PreparedFrame, *, timeout_s: float) -> FrameEmbeddings:
        """The answer to a frame without boxes, which is not sent."""
        agreed = await self._agreed({}, timeout_s=timeout_s)
        return without_vectors(frame.frame_id, 0, agreed, error=None, timing=Timing(), local=True)

    async def _call(
        self, frame: PreparedFrame, headers: TraceHeaders, *, timeout_s: float
    ) -> tuple[frame_pb2.FrameResult, float]:
        method, parse, target = f"/{EMBED}", service_pb2.EmbedResponse.FromString, self._connection.target
        # An older connection, of somebody's own, need not know `headers`.
        more = {"headers": headers.metadata} if headers.traceparent else {}

        async def attempt(left_s: float) -> tuple[frame_pb2.FrameResult, float]:
            start = time.monotonic()
            message = frame.embed_message(self._prefix, start)
            answer = await self._connection.unary(method, message, parse, timeout_s=left_s, **more)
            took_s = time.monotonic() - start
            check_upright(target, asked=self._upright, given=answer.apply_exif_orientation)
            return answer.result, took_s

        result, round_trip_s = await with_retries(attempt, self._retry, timeout_s=timeout_s)
        if result.HasField("error") or result.frame_id != frame.frame_id:
            raise ProtocolFault(f"{target}: the answer is not to frame {frame.frame_id}, or has an in-band error")
        return result, round_trip_s

    async def _agreed(self, answering: dict[str, AgreedModel], *, timeout_s: float) -> tuple[AgreedModel, ...]:
        """The models of this client's choices, in their order: from the answer, or else from GetModel, once each."""
        agreed = []
        for choice in self._choices:
            known = self._known.get(choice.name)
            if len(self._choices) == 1 and answering:
                known = next(iter(answering.values()))
            elif known is not None:
                known = answering.get(known.name, known)
            else:
                model = (await self._model_of(choice.name, timeout_s)).model.model
                known = AgreedModel(name=model.name, version=model.version, dim=model.dim, space_id=model.space_id)
                known = answering.get(known.name, known)
            self._known[choice.name] = known
            agreed.append(replace(known, class_ids=choice.class_ids))
        check_spaces(self._choices, agreed)
        return tuple(agreed)
