"""Clients of the open inference protocol that say anything at all, on both wires.

Whatever they say, each call ends with a status that gives nothing away, each request of a stream has its answer in its
place, nothing is left in any account, and a right request has the same rows afterwards, bit for bit.
`KSERVE_INPUTS=100000` says so many inputs on each wire instead of a few hundred; `make fuzz`.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import re
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import grpc
import numpy as np
import pytest
from google.protobuf.message import DecodeError

from reidstream_engines.fake import FakeStager
from reidstream_engines.image import Image, RawImage
from reidstream_proto.kserve import inference_pb2 as pb
from reidstream_server.app import RunningServer, running_server
from reidstream_server.loading import Engines
from reidstream_server.transport.http_server import connection
from reidstream_server.transport.http_server import server as http_server
from tests.support.harness import settings, until
from tests.support.hostile_kserve import (
    DIM,
    HEIGHT,
    MODEL,
    SERVICE,
    WIDTH,
    hostile_question,
    hostile_request,
    kserve_script_of,
    small_engine,
)
from tests.support.http import http_to
from tests.support.http_crowd import Inputs, has_not_grown, hear_out, private_bytes
from tests.support.kserve import Tensor, http_rows, infer_over_http, kserve_stub, request, rows
from tests.support.patience import HANG_S

INPUTS = int(os.environ.get("KSERVE_INPUTS", "600"))
SEED = os.environ.get("KSERVE_SEED", "0")
AT_ONCE, OF_A_CONNECTION, ROUND = 12, 24, 2400
STATUSES = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,  # older than the time-out that it names
    grpc.StatusCode.CANCELLED,  # we left
    grpc.StatusCode.INTERNAL,  # a crop has no vector, since it is poison
}
POISONED = re.compile(r"crop \d+ has no vector: its outcome is failed")
OF_POISON = {"batch_failed", "session_degraded", "session_recovered", "staging_slow"}
"""What the log says of it; and of a slow machine."""
GIVEN_AWAY = re.compile(r'Traceback|File "|\.py\b|site-packages|/usr/|/home/|/root/|object at 0x|internal error')
BOUNDS = {"max_boxes_per_frame": 35, "max_queue_boxes": 70, "max_image_pixels": 100_000, "max_message_bytes": 2**20}
RIGHT = Tensor.of("input", np.random.default_rng(5).normal(size=(3, 3, HEIGHT, WIDTH)).astype("<f4"))


def is_refused(image: Image) -> bool:
    """Some pictures, when they are decoded."""
    return isinstance(image, RawImage) and image.data[0] % 5 == 0


@asynccontextmanager
async def attacked(caplog: pytest.LogCaptureFixture, **changes: object) -> AsyncIterator[RunningServer]:
    """A server with small bounds. In the end it answers as before, nothing is left, and the log says no word."""
    caplog.set_level(logging.WARNING)
    wrong: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: wrong.append(context))
    engines = Engines(engines=(small_engine(),), stager=FakeStager(refuse=is_refused))
    async with running_server(settings(kserve=True, **BOUNDS, **changes), engines) as server:
        before = await right_rows(server)
        yield server
        await nothing_is_left(server)
        assert np.array_equal(await right_rows(server), before)
    gc.collect()  # a task whose exception nobody took says so when it goes
    assert not wrong
    assert {record.getMessage() for record in caplog.records} <= OF_POISON


async def right_rows(server: RunningServer) -> np.ndarray:
    """Of a right request."""
    async with kserve_stub(server) as stub:
        found = rows(await stub.ModelInfer(request(RIGHT, model=MODEL)))
    assert found.shape == (3, DIM)
    return found


async def nothing_is_left(server: RunningServer) -> None:
    """Of anybody."""
    entrance, requests = server.parts.entrance, server.requests
    assert requests is not None
    await until(lambda: requests.open_streams == entrance.places.taken == server.runtime.open_sessions == 0)
    await until(lambda: entrance.reception.taken == entrance.turns.waiting == entrance.apart.waiting == 0)
    await until(lambda: server.runtime.statistics().frames == 0)
    left = server.runtime.statistics()
    assert (left.sessions, left.queue_boxes, left.queue_bytes, left.parked_frames) == (0, 0, 0, 0)
    assert (left.staged_bytes, left.staging_frames, left.held_answer_bytes) == (0, 0, 0)


class Crowd:
    """Hostile callers over gRPC. `became`: how often each status, and each kind of answer in a stream."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.became: Counter[str] = Counter()

    async def connection(self, number: int) -> None:
        """Some inputs on one connection."""
        rng, left = random.Random(f"{SEED}.{number}"), OF_A_CONNECTION  # noqa: S311 - so that it can be run again
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self._port}") as channel:
            while left > 0:
                try:
                    left -= await self._input(rng, channel)
                except Exception as error:
                    error.add_note(f"KSERVE_SEED={SEED}, connection {number}, {OF_A_CONNECTION - left} inputs done")
                    raise

    async def _input(self, rng: random.Random, channel: grpc.aio.Channel) -> int:
        kind = rng.random()
        if kind < 0.2:
            return await self._call(rng, channel, *hostile_question(rng))
        if kind < 0.7:
            return await self._call(rng, channel, "ModelInfer", hostile_request(rng))
        return await self._stream(rng, channel, [hostile_request(rng) for _ in range(rng.choice((1, 2, 5, 12, 40)))])

    async def _call(self, rng: random.Random, channel: grpc.aio.Channel, method: str, data: bytes) -> int:
        methods: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(SERVICE + method)
        call = methods(data)
        leaves = rng.random() < 0.1
        if leaves:
            await asyncio.sleep(0)
            call.cancel()
        status, details = await call.code(), await call.details() or ""
        self._check(status, details)
        if status is grpc.StatusCode.OK and method == "ModelInfer":
            answer = pb.ModelInferResponse.FromString(await call)
            assert rows(answer).shape[1] == DIM
        return 1

    async def _stream(self, rng: random.Random, channel: grpc.aio.Channel, messages: Sequence[bytes]) -> int:
        """Each request has its answer, in order; unless we leave."""
        methods: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(SERVICE + "ModelStreamInfer")
        call = methods()
        patience = rng.choice((0, 1, 3, None, None, None, None))

        async def write() -> None:
            try:
                for message in messages:
                    await call.write(message)
                await call.done_writing()
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError, asyncio.CancelledError):
                pass  # we have left

        writing, answers = asyncio.create_task(write()), list[pb.ModelStreamInferResponse]()
        while patience is None or len(answers) < patience:
            data: object = await call.read()
            if not isinstance(data, bytes):
                break
            answers.append(pb.ModelStreamInferResponse.FromString(data))
        if patience is not None and len(answers) == patience:
            call.cancel()
            await writing
            return len(messages)
        await writing
        self._check(await call.code(), await call.details() or "")
        assert len(answers) == len(messages)
        for message, answer in zip(messages, answers, strict=True):
            self._check_answer(message, answer)
        return len(messages)

    def _check_answer(self, message: bytes, answer: pb.ModelStreamInferResponse) -> None:
        response, text = answer.infer_response, answer.error_message
        self.became["error in a stream" if text else "rows in a stream"] += 1
        if text:
            assert POISONED.fullmatch(text) or not GIVEN_AWAY.search(text), text
            assert len(text) < 3000
            return
        assert rows(response).shape[1] == DIM
        assert response.id == pb.ModelInferRequest.FromString(message).id

    def _check(self, status: grpc.StatusCode, details: str) -> None:
        self.became[status.name] += 1
        assert status in STATUSES, (status, details)
        assert status is not grpc.StatusCode.INTERNAL or POISONED.fullmatch(details), details
        assert not GIVEN_AWAY.search(details), details
        assert len(details) < 3000


async def test_whatever_is_said_over_grpc_has_an_answer_and_nothing_is_left(caplog: pytest.LogCaptureFixture) -> None:
    """Infer, streams, and all others."""
    grown: list[int] = []
    async with attacked(caplog) as server:
        crowd, places = Crowd(server.port), asyncio.Semaphore(AT_ONCE)

        async def one(number: int) -> None:
            async with places:
                await crowd.connection(number)

        for first in range(0, INPUTS, ROUND):
            numbers = range(first // OF_A_CONNECTION, min(first + ROUND, INPUTS) // OF_A_CONNECTION)
            async with asyncio.timeout(HANG_S), asyncio.TaskGroup() as group:
                for number in numbers:
                    group.create_task(one(number))
            grown.append(private_bytes())
            sys.stderr.write(f"{first + ROUND} inputs, {grown[-1] >> 20} MiB, {dict(crowd.became)}\n")
    has_not_grown(grown)
    assert set(crowd.became) >= {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "UNIMPLEMENTED", "rows in a stream"}


async def test_whatever_is_said_over_http_has_an_answer_and_nothing_is_left(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """JSON, and bytes behind it."""
    for name, seconds in (("HEAD_S", 0.3), ("LINGER_S", 0.05)):
        monkeypatch.setattr(connection, name, seconds)
    monkeypatch.setattr(http_server, "_KEEP_ALIVE_S", 0.1)
    async with attacked(caplog, http_port=0, receive_timeout_s=0.3) as server:
        async with http_to(server) as http:
            before = http_rows(await infer_over_http(http, MODEL, RIGHT))
        heard = await hear_out(server, Inputs(count=INPUTS, seed=SEED, script=kserve_script_of))
        async with http_to(server) as http:
            assert np.array_equal(http_rows(await infer_over_http(http, MODEL, RIGHT)), before)
    assert set(heard.statuses) >= {0, 200, 400, 404, 501}


def test_the_inputs_are_as_hostile_as_they_promise() -> None:
    """Many parse, and some do not; on HTTP many have bytes behind their JSON."""
    rng = random.Random(0)  # noqa: S311 - not for secrets
    parse = 0
    for _ in range(400):
        try:
            pb.ModelInferRequest.FromString(hostile_request(rng))
            parse += 1
        except DecodeError:
            pass
    assert 200 < parse < 400
    said = [b"".join(kserve_script_of(random.Random(seed)).pieces) for seed in range(400)]  # noqa: S311 - as above
    assert sum(b"binary_data_size" in data for data in said) > 50
    assert sum(b'"data": [' in data for data in said) > 50
