"""The open inference protocol on the HTTP port.

Trap: clients read what is wrong from `error` in the body. So every refusal on these paths has it beside the fields of
problem+json, also one that no handler of this room has made.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from http import HTTPStatus

import orjson
from google.protobuf.message import Message

from reidstream_proto.v1.contract import TRACEPARENT_HEADER, TRACESTATE_HEADER
from reidstream_server.core.faults import FrameFault
from reidstream_server.errors import InvalidCall, NotOffered
from reidstream_server.transport.entrance.entrance import Entrance
from reidstream_server.transport.http_server.held import HeldAnswers
from reidstream_server.transport.http_server.requests import Request
from reidstream_server.transport.http_server.responses import Response, frame_refused, refusal
from reidstream_server.transport.http_server.routes import Call, Handler, Route

from .as_json import as_json
from .described import Described, described_region
from .http_body import LENGTH_HEADER, json_length, parse, region_of, rendered, wants_ready
from .inference import Inference
from .offered import NOT_OFFERED
from .regions import CallerRegions, DoorRegions
from .request_trace import TracedCall

_MODEL, _VERSION, _REGION = "model", "version", "region"
_SYSTEM, _CUDA = "/v2/systemsharedmemory", "/v2/cudasharedmemory"
_METHOD = "POST /v2/models/{model}/infer"
_LARGE_JSON_BYTES = 2**16
_MANY_NUMBERS = 2**16
_BYTES_A_NUMBER = 14  # in JSON, at most

_NOT_OFFERED: Mapping[str, str] = {
    "POST /v2/repository/models/{model}/load": "RepositoryModelLoad",
    "POST /v2/repository/models/{model}/unload": "RepositoryModelUnload",
    "GET /v2/cudasharedmemory/status": "CudaSharedMemoryStatus",
    "GET /v2/cudasharedmemory/region/{region}/status": "CudaSharedMemoryStatus",
    "POST /v2/cudasharedmemory/region/{region}/register": "CudaSharedMemoryRegister",
    "GET /v2/trace/setting": "TraceSetting",
    "POST /v2/trace/setting": "TraceSetting",
    "GET /v2/logging": "LogSettings",
    "POST /v2/logging": "LogSettings",
}


class _Whole:
    """Reads a body for the reception, which decides when."""

    def __init__(self, request: Request) -> None:
        self.read = request.body.whole


class KserveCalls:
    """The handlers. Event loop only."""

    def __init__(
        self, inference: Inference, described: Described, entrance: Entrance, regions: DoorRegions, held: HeldAnswers
    ) -> None:
        self._regions = regions
        self._inference = inference
        self._described = described
        self._entrance = entrance
        self._held = held

    async def infer(self, call: Call) -> Response:
        """Raises CallRefused, ClientGone."""
        caller, inference = call.caller, self._inference
        body = await self._body(call)
        length = json_length(call.request.header(LENGTH_HEADER), len(body))
        read = partial(parse, body, length, *_named(call))
        del body
        async with inference.reading(caller) as reading:
            found = await reading.do(read, large=length > _LARGE_JSON_BYTES)
            del read
            taken = await inference.take(found.asked, caller, self._mine(call), reading, self._traced(call))
        inferred = await inference.answer(taken)
        if isinstance(inferred, FrameFault):
            return frame_refused(inferred)
        numbers = 0 if inferred.placed else inferred.rows.size
        with inferred.unwritten:
            self._held.hold(caller.source, numbers * _BYTES_A_NUMBER)
            write = partial(rendered, inferred, binary=found.binary)
            many = numbers > _MANY_NUMBERS and not found.binary
            return (await self._entrance.apart.do_if(many, caller.source, write)).value

    def _traced(self, call: Call) -> TracedCall | None:
        """What the call says of its trace."""
        if not self._inference.traces:
            return None
        traceparent, tracestate = (call.request.header(name) for name in (TRACEPARENT_HEADER, TRACESTATE_HEADER))
        return TracedCall(method=_METHOD, traceparent=traceparent, tracestate=tracestate, http=True)

    async def index(self, call: Call) -> Response:
        """Raises CallRefused, ClientGone."""
        found = self._described.index(ready=wants_ready(await self._body(call)))
        return Response(body=orjson.dumps([as_json(model) for model in found.models]))

    async def live(self, call: Call) -> Response:
        """It answers."""
        del call
        return Response(content_type="")

    async def ready(self, call: Call) -> Response:
        """It takes new calls."""
        del call
        return _ready(self._described.ready)

    async def model_ready(self, call: Call) -> Response:
        """Raises CallRefused."""
        return _ready(self._described.model_ready(*_named(call)))

    async def register(self, call: Call) -> Response:
        """Raises CallRefused, ClientGone."""
        mine = self._mine(call)
        mine.check()
        asked = region_of(await self._body(call))
        mine.register(call.names[_REGION], asked.key, asked.offset, asked.size_bytes)
        return Response(content_type="")

    async def regions(self, call: Call) -> Response:
        """Raises CallRefused."""
        found = self._mine(call).status(call.names.get(_REGION, ""))
        return Response(body=orjson.dumps([as_json(described_region(region)) for region in found]))

    async def unregister(self, call: Call) -> Response:
        """Raises CallRefused."""
        self._mine(call).unregister(call.names.get(_REGION, ""))
        return Response(content_type="")

    async def unregister_cuda(self, call: Call) -> Response:
        """Raises CallRefused."""
        self._mine(call).unregister_cuda()
        return Response(content_type="")

    def _mine(self, call: Call) -> CallerRegions:
        return self._regions.of(call.caller, call.request.peer)

    async def _body(self, call: Call) -> bytes:
        """Read when there is a place for it. Raises CallRefused, ClientGone."""
        coding = call.request.header("content-encoding").strip().lower()
        if coding not in ("", "identity"):
            raise InvalidCall(
                f"Content-Encoding is {coding[:32]!r}; this server reads no compressed bodies, so send none"
            )
        asked = call.request
        body = await self._entrance.reception.receive(_Whole(asked), call.caller.source, here=asked.body.here)
        await self._entrance.turns.again(call.caller.source, call.request.peer)
        return body


def kserve_routes(
    inference: Inference, described: Described, entrance: Entrance, regions: DoorRegions, held: HeldAnswers
) -> Sequence[Route]:
    """All paths. One of them that names a model comes after one that does not."""
    calls = KserveCalls(inference, described, entrance, regions, held)
    found = [
        _route("GET /v2", _told(lambda _: described.server())),
        _route("GET /v2/health/live", calls.live, public=True),
        _route("GET /v2/health/ready", calls.ready, public=True),
        _route("GET /v2/models/stats", _told(lambda _: described.statistics("", ""))),
        _route("POST /v2/repository/index", calls.index),
        _route(f"GET {_SYSTEM}/status", calls.regions),
        _route(f"GET {_SYSTEM}/region/{{region}}/status", calls.regions),
        _route(f"POST {_SYSTEM}/region/{{region}}/register", calls.register),
        _route(f"POST {_SYSTEM}/region/{{region}}/unregister", calls.unregister),
        _route(f"POST {_SYSTEM}/unregister", calls.unregister),
        _route(f"POST {_CUDA}/region/{{region}}/unregister", calls.unregister_cuda),
        _route(f"POST {_CUDA}/unregister", calls.unregister_cuda),
    ]
    for of in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
        found += [
            _route(f"GET {of}", _told(lambda call: described.metadata(*_named(call)))),
            _route(f"GET {of}/ready", calls.model_ready),
            _route(f"GET {of}/config", _told(lambda call: described.config(*_named(call)))),
            _route(f"GET {of}/stats", _told(lambda call: described.statistics(*_named(call)))),
            _route(f"POST {of}/infer", calls.infer),
        ]
    return [*found, *(_route(path, _not_offered(method)) for path, method in _NOT_OFFERED.items())]


def _route(path: str, handler: Handler, *, public: bool = False) -> Route:
    method, _, pattern = path.partition(" ")
    return Route(method=method, pattern=pattern, handler=handler, public=public, refused=_with_error)


def _told(answer: Callable[[Call], Message]) -> Handler:
    async def handler(call: Call) -> Response:
        return Response(body=orjson.dumps(as_json(answer(call))))

    return handler


def _not_offered(method: str) -> Handler:
    async def handler(call: Call) -> Response:
        del call
        raise NotOffered(f"{method}: this server does not offer it; {NOT_OFFERED[method]}")

    return handler


def _named(call: Call) -> tuple[str, str]:
    """The model and the version of a path."""
    return call.names[_MODEL], call.names.get(_VERSION, "")


def _ready(ready: bool) -> Response:  # noqa: FBT001 - it is what is said
    return Response(content_type="") if ready else refusal(HTTPStatus.SERVICE_UNAVAILABLE, "it takes no calls now")


def _with_error(refused: Response) -> Response:
    problem = json.loads(refused.body)
    return replace(refused, body=json.dumps(problem | {"error": problem["detail"]}).encode())
