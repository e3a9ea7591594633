"""What waits to be written goes out in order, and whoever waits for the last of it is not forgotten."""

from __future__ import annotations

import asyncio

from typing_extensions import override

from reidstream_client.connection.protocols import Call
from reidstream_client.session.outbox import Outbox
from reidstream_proto.v1 import service_pb2
from tests.support.clock import settle
from tests.unit.client.samples import BOX, prepare


class SlowCall(Call):
    """Writes one message each time that it is let."""

    def __init__(self) -> None:
        self.let = asyncio.Semaphore(0)
        self.written: list[bytes] = []
        self.half_closed = False

    @property
    @override
    def target(self) -> str:
        return "slow"

    @override
    async def write(self, message: bytes) -> bool:
        await self.let.acquire()
        self.written.append(message)
        return True

    @override
    async def done_writing(self) -> None:
        self.half_closed = True

    @override
    async def read(self) -> service_pb2.EmbedStreamResponse | None:
        raise AssertionError

    @override
    def cancel(self) -> None:
        raise AssertionError


async def test_frames_and_words_go_out_in_the_order_in_which_they_were_put() -> None:
    """A frame that is not being written can be taken back, and a word cannot."""
    call = SlowCall()
    outbox = Outbox(call, done=lambda: False)
    running = asyncio.create_task(outbox.run())
    for number in range(3):
        outbox.post(prepare(b"x", BOX, captured_s=0.0, frame_id=number), 1.0)
        outbox.say(b"word %d" % number)
    await settle()
    assert [outbox.take_back(number) for number in range(3)] == [False, True, True]
    for _ in range(4):
        call.let.release()
    await settle()
    assert call.written[1:] == [b"word 0", b"word 1", b"word 2"]
    outbox.end()
    await running
    assert not call.half_closed


async def test_what_ends_while_a_message_is_written_has_ended() -> None:
    """The one who leaves waits for the writer, and the writer must not wait for more."""
    call = SlowCall()
    outbox = Outbox(call, done=lambda: False)
    running = asyncio.create_task(outbox.run())
    outbox.say(b"word")
    await settle()
    outbox.end()
    call.let.release()
    await settle()
    assert running.done()


async def test_the_last_message_is_the_last_though_nobody_knew_when_it_was_begun() -> None:
    """The call is half-closed behind it."""
    call = SlowCall()
    last: list[bool] = []
    outbox = Outbox(call, done=lambda: bool(last))
    running = asyncio.create_task(outbox.run())
    outbox.say(b"word")
    await settle()
    last.append(True)
    outbox.wake()
    call.let.release()
    await settle()
    assert running.done()
    assert (call.written, call.half_closed, outbox.half_closed) == ([b"word"], True, True)
