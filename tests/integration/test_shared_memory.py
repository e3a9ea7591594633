"""Raw frames by handle: the same vectors as by bytes, whoever refuses or dies, and nothing is left of it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import cv2
import grpc
import numpy as np
import pytest

from reidstream_client import (
    AsyncReidClient,
    AsyncSession,
    FrameEmbeddings,
    Nv12,
    Ordering,
    OverloadPolicy,
    PixelFormat,
    RawFrame,
    ReidClient,
    ReidError,
)
from reidstream_client.cli import main as client_cli
from reidstream_client.frames.images import Image
from reidstream_client.frames.shared_memory import SharedMemory
from reidstream_engines.fake import FakeEngine, FakeScript, FakeStager
from reidstream_proto.v1 import frame_pb2, image_pb2, service_pb2, session_pb2
from reidstream_server.transport.embedding import shared_segment
from tests.support.harness import Pixels, RawStream, box, frame, picture, real_engine, serving, stream_to, until
from tests.support.patience import HANG_S
from tests.support.process import server_process

BOXES = np.array([[10, 10, 60, 120], [100, 20, 160, 200]], np.float32)
WIDTH, HEIGHT = 320, 240
NV12_ROWS = HEIGHT * 3 // 2
CAMERA = """
import asyncio, sys
import numpy as np
from reidstream_client import AsyncReidClient

async def main():
    async with AsyncReidClient(sys.argv[1]) as client, client.stream(shared_memory=True) as session:
        assert session.opened.shared_memory_bytes, session.opened.shared_memory_refusal
        for number in range(10):
            await session.send(np.full((240, 320, 3), number, np.uint8), [[10, 10, 60, 120]])
        await asyncio.sleep(0)
        print("sent", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def noise(rows: int = HEIGHT, columns: int = WIDTH * 3) -> bytes:
    return np.random.default_rng(5).integers(0, 256, rows * columns, dtype=np.uint8).tobytes()


IMAGES: dict[str, Image] = {
    "BGR": picture(),
    "grey": picture()[:, :, 0],
    "a view with padding": np.pad(picture(), ((0, 0), (0, 4), (0, 0)))[:, :WIDTH],
    "RGB": RawFrame(data=noise(HEIGHT + 1, WIDTH * 3 + 9), width=WIDTH, height=HEIGHT, format=PixelFormat.RGB,
                    stride=WIDTH * 3 + 9, offset=77),
    "NV12": Nv12(data=noise(NV12_ROWS + 2, WIDTH), width=WIDTH, height=HEIGHT, offset=64,
                 chroma_offset=WIDTH * HEIGHT + 128),
}  # fmt: skip


def open_files() -> int:
    """Of memory like this, in this process: what clients have open, and what the server has."""
    links = list(Path("/proc/self/fd").iterdir())
    return sum(str(link.readlink()).startswith("/memfd:reidstream") for link in links if link.is_symlink())


def mappings() -> int:
    return Path("/proc/self/maps").read_text().count("/memfd:reidstream")


def own_address() -> str:
    """The machine's address on its network; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])


@asynccontextmanager
async def sharing(client: AsyncReidClient, **agreed: object) -> AsyncIterator[AsyncSession]:
    """A session that must have agreed."""
    async with client.stream(shared_memory=True, **agreed) as session:  # type: ignore[call-overload]
        assert session.opened.shared_memory_refusal == ""
        assert session.opened.shared_memory_bytes == 512 * 2**20
        yield session


async def one(session: AsyncSession, image: Image) -> FrameEmbeddings:
    await session.send(image, BOXES)
    return await anext(session)


@pytest.mark.parametrize("kind", IMAGES)
@pytest.mark.parametrize("real", [True, False])
async def test_by_handle_and_by_bytes_give_the_same_vectors(kind: str, *, real: bool) -> None:
    """To the last bit; the fake engine hashes the bytes and their layout."""
    engine = real_engine() if real else FakeEngine()
    async with serving(engine) as server, AsyncReidClient(f"127.0.0.1:{server.port}") as client:
        async with client.stream() as session:
            by_bytes = await one(session, IMAGES[kind])
        async with sharing(client) as session:
            await session.send(IMAGES[kind], BOXES)
            assert session.statistics().window_bytes < 300  # nothing but a handle
            by_handle = await anext(session)
    assert by_bytes.valid.all()
    np.testing.assert_array_equal(by_handle.embeddings, by_bytes.embeddings)


@pytest.mark.parametrize("ordering", Ordering)
@pytest.mark.parametrize("policy", OverloadPolicy)
async def test_a_slot_is_not_written_before_its_answer(policy: OverloadPolicy, ordering: Ordering) -> None:
    """Every frame has pixels of its own, and its vectors are of these, whichever slots were used for it before."""
    engine = FakeEngine(max_batch=3, script=FakeScript(seconds_per_batch=0.0005))
    numbers: dict[int, int] = {}
    async with serving(engine) as server, AsyncReidClient(f"127.0.0.1:{server.port}") as client:
        pictures = [picture(64, 48, seed=seed) for seed in range(7)]
        expected = [(await client.embed(pixels, BOXES / 4)).embeddings for pixels in pictures]
        async with sharing(client, overload_policy=policy, ordering=ordering, window_frames=4) as session:

            async def send() -> None:
                for number in range(400):
                    if number % 2:
                        await numbered(session, pictures[number % 7])
                    else:
                        buffer = session.frame_buffer(48, 64)
                        buffer[:] = pictures[number % 7]
                        await numbered(session, buffer)
                    if number % 16 == 0:
                        await asyncio.sleep(0.002)
                await session.finish()

            async def numbered(session: AsyncSession, pixels: Pixels) -> None:
                numbers[await session.send(pixels, BOXES / 4)] = len(numbers) % 7

            sending = asyncio.create_task(send())
            results = [result async for result in session]
            await sending
    embedded = [result for result in results if result.error is None]
    assert len(results) == 400
    assert len(embedded) > 20
    for result in embedded:
        np.testing.assert_array_equal(result.embeddings, expected[numbers[result.frame_id]])


@pytest.mark.parametrize("off", [{"shared_memory": False}, {"max_message_bytes": 2**20}])
async def test_a_server_that_refuses_gets_bytes(off: dict[str, object]) -> None:
    """The session is none the worse, and says why."""
    async with serving(**off) as server, AsyncReidClient(f"127.0.0.1:{server.port}") as client:
        limits = (await client.info()).limits
        expected = await client.embed(picture(), BOXES)
        async with client.stream(shared_memory=True) as session:
            result = await one(session, picture())
            opened = session.opened
    np.testing.assert_array_equal(result.embeddings, expected.embeddings)
    refused = "shared_memory" in off
    assert (opened.shared_memory_bytes == 0) is refused
    assert ("its setting shared_memory" in opened.shared_memory_refusal) is refused
    assert limits.max_shared_memory_bytes == (0 if refused else 512 * 2**20)


async def test_the_server_lowers_what_it_reads() -> None:
    """Frames for which there is no slot then are sent."""
    async with serving(max_shared_memory_bytes=2**18) as server, ReidAt(server.port) as client:
        expected = await client.embed(picture(), BOXES)
        async with client.stream(shared_memory=True) as session:
            assert session.opened.shared_memory_bytes == 2**18
            sent = [await session.send(picture(), BOXES) for _ in range(5)]
            await session.finish()
            results = [result async for result in session]
    assert [result.frame_id for result in results] == sent
    for result in results:
        np.testing.assert_array_equal(result.embeddings, expected.embeddings)


def ReidAt(port: int, host: str = "127.0.0.1") -> AsyncReidClient:  # noqa: N802 - reads as the class it makes
    return AsyncReidClient(f"{host}:{port}")


@pytest.mark.needs("network-address")
async def test_a_peer_that_is_not_on_loopback_is_refused() -> None:
    """Even where it is this machine: the server cannot know."""
    address = own_address()
    async with (
        serving(host="0.0.0.0", insecure=True) as server,  # noqa: S104
        ReidAt(server.port, address) as client,
        client.stream(shared_memory=True) as session,
    ):
        result = await one(session, picture())
        refusal = session.opened.shared_memory_refusal
    assert result.valid.all()
    assert refusal.startswith("shared memory needs a client on this machine")
    assert "loopback address, not ipv4:" in refusal


async def test_a_refused_offer_ends_no_session() -> None:
    """Any nonsense in it."""
    offer = session_pb2.SharedMemory(pid=2**32 - 1, fd=2**32 - 1, size_bytes=2**64 - 1, nonce=bytes(16))
    async with serving() as server, stream_to(server) as stream:
        opened = await stream.open(shared_memory=offer)
        assert opened.shared_memory.size_bytes == 0
        assert "there is no file" in opened.shared_memory.refusal
        await stream.call.write(frame(1))
        assert not (await stream.result()).HasField("error")


def by_range(frame_id: int, offset: int, length: int, data: bytes = b"") -> service_pb2.EmbedStreamRequest:
    raw = image_pb2.RawImage(format=image_pb2.PIXEL_FORMAT_BGR, width=8, height=8, data=data)
    raw.shared.offset_bytes, raw.shared.length_bytes = offset, length
    return service_pb2.EmbedStreamRequest(frame=frame_pb2.Frame(frame_id=frame_id, raw=raw, boxes=[box(0, 0, 5, 5)]))


async def reasons(stream: RawStream, messages: list[service_pb2.EmbedStreamRequest]) -> list[str]:
    found = []
    for message in messages:
        await stream.call.write(message)
        error = (await stream.result()).error
        assert error.reason == frame_pb2.ERROR_REASON_INVALID_IMAGE
        found.append(error.message)
    return found


async def test_a_range_that_is_none_is_one_frames_fault() -> None:
    """Outside, too short for its pixels, both, neither, or without an agreement; the stream goes on."""
    memory = SharedMemory()
    size = memory.offer.size_bytes
    neither = service_pb2.EmbedStreamRequest(
        frame=frame_pb2.Frame(frame_id=5, raw=image_pb2.RawImage(format=image_pb2.PIXEL_FORMAT_BGR, width=8, height=8))
    )
    async with serving() as server, stream_to(server) as stream:
        assert (await stream.open(shared_memory=memory.offer)).shared_memory.size_bytes == size
        outside = by_range(1, size - 191, 192)
        said = await reasons(
            stream, [outside, by_range(2, 4096, 0), by_range(3, 4096, 191), by_range(4, 4096, 192, b"1"), neither]
        )
        assert said[0].startswith(f"raw image: a shared range of 192 bytes at {size - 191} is outside")
        assert f"{size} bytes were agreed on" in said[0]
        assert "a shared range of 0 bytes" in said[1]
        assert "192 bytes are needed" in said[2]
        assert said[3] == "raw image: both data and shared are set; set exactly one"
        assert said[4] == "raw image: neither data nor shared is set; set exactly one"
        await stream.call.write(by_range(6, 4096, 192))
        assert not (await stream.result()).HasField("error")
        async with stream_to(server) as other:
            await other.open()
            assert "this session has no shared memory" in (await reasons(other, [by_range(1, 4096, 192)]))[0]
        with pytest.raises(ReidError, match="no shared memory"):
            await unary(server.port, by_range(1, 4096, 192))
    memory.close()


async def test_memory_that_was_never_written_is_copied_where_it_is_staged(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a thread, never on the event loop; its frames stand in line with the others, and count as if they were sent.

    The vectors are those of zeros, and the client's file gets no memory by it.
    """
    readers: set[int] = set()
    read = shared_segment._File.read

    def counted(file: shared_segment._File, offset: int, length: int) -> bytes:
        readers.add(threading.get_ident())
        return read(file, offset, length)

    monkeypatch.setattr(shared_segment._File, "read", counted)
    memory = SharedMemory()
    assert memory._map is not None
    memory._map[4096 : 4096 + 192] = bytes(192)
    blocks = os.fstat(memory.offer.fd).st_blocks
    messages = [by_range(number, 4096 if number % 2 else 2**20 * number, 192) for number in range(1, 21)]
    async with serving() as server, stream_to(server) as stream:
        await stream.open(shared_memory=memory.offer, window=session_pb2.Window(frames=32))
        for message in messages:
            await stream.call.write(message)
        results = [await stream.result() for _ in messages]
        (session,) = server.runtime.sessions()
        assert session.counters.bytes == 10 * 192
        assert server.runtime.statistics().queue_bytes == 0
    assert [result.frame_id for result in results] == [*range(1, 21)]
    assert len({result.blocks[0].data for result in results}) == 1
    assert readers
    assert threading.get_ident() not in readers
    assert os.fstat(memory.offer.fd).st_blocks == blocks
    memory.close()


async def unary(port: int, message: service_pb2.EmbedStreamRequest) -> None:
    async with ReidAt(port) as client:
        request = service_pb2.EmbedRequest(options=session_pb2.EmbedOptions(camera_id="c"), frame=message.frame)
        await client._connection.unary(
            "/reidstream.v1.EmbeddingService/Embed", request.SerializeToString(), bytes, timeout_s=HANG_S
        )


async def test_ready_crops_may_lie_in_shared_memory() -> None:
    """Each in a range of its own; a bad one harms no other."""
    memory = SharedMemory()
    pixels = picture(64, 128)
    assert memory._map is not None
    memory._map[4096 : 4096 + pixels.nbytes] = pixels.tobytes()
    message = frame_pb2.Frame(frame_id=1)
    for length in (pixels.nbytes, 5):
        raw = message.crops.crops.add().raw
        raw.format, raw.width, raw.height = image_pb2.PIXEL_FORMAT_BGR, 64, 128
        raw.shared.offset_bytes, raw.shared.length_bytes = 4096, length
    message.crops.crops.add().raw.CopyFrom(
        image_pb2.RawImage(format=image_pb2.PIXEL_FORMAT_BGR, width=64, height=128, data=pixels.tobytes())
    )
    async with serving(real_engine()) as server, stream_to(server) as stream:
        await stream.open(shared_memory=memory.offer)
        await stream.call.write(service_pb2.EmbedStreamRequest(frame=message))
        result = await stream.result()
    embedded, invalid = frame_pb2.OUTCOME_EMBEDDED, frame_pb2.OUTCOME_INVALID_IMAGE
    assert [item.outcome for item in result.boxes] == [embedded, invalid, embedded]
    first, last = np.frombuffer(result.blocks[0].data, "<f4").reshape(2, -1)
    np.testing.assert_allclose(first, last, atol=1e-6)
    memory.close()


async def test_a_client_that_is_killed_leaves_nothing() -> None:
    """Killed with frames queued, staged and in a batch: no file, no mapping, and the neighbour is served."""
    gate = threading.Event()
    engine = FakeEngine(script=FakeScript(seconds_per_batch=1.0, sleep=lambda _: held(gate)))
    async with serving(engine) as server, ReidAt(server.port) as client, client.stream() as neighbour:
        files, maps = open_files(), mappings()
        camera = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CAMERA, f"127.0.0.1:{server.port}", stdout=asyncio.subprocess.PIPE
        )
        assert camera.stdout is not None
        assert await camera.stdout.readline() == b"sent\n"
        await until(lambda: server.runtime.statistics().frames == 10)
        assert mappings() == maps + 1
        camera.send_signal(signal.SIGKILL)
        assert await camera.wait() == -signal.SIGKILL
        await until(lambda: server.runtime.open_sessions == 1)
        sent = [await neighbour.send(picture(), BOXES) for _ in range(5)]
        gate.set()
        await neighbour.finish()
        assert [result.frame_id async for result in neighbour if result.valid.all()] == sent
        await until(lambda: mappings() == maps)
        await until(lambda: open_files() == files)
        assert server.runtime.statistics().staged_bytes == 0


def held(gate: threading.Event) -> None:
    gate.wait(HANG_S)


@pytest.mark.parametrize("end", ["finished", "closed", "broken"])
async def test_a_session_that_ends_leaves_nothing(end: str) -> None:
    """However it ends, on both sides."""
    async with serving() as server, ReidAt(server.port) as client:
        async with client.stream() as session:
            await one(session, picture())
        files, maps = open_files(), mappings()
        if end == "broken":
            memory = SharedMemory()
            async with stream_to(server) as stream:
                await stream.open(shared_memory=memory.offer)
                await stream.call.write(service_pb2.EmbedStreamRequest())
                assert (await stream.refusal())[0] is grpc.StatusCode.INVALID_ARGUMENT
            memory.close()
            del memory
        else:
            async with sharing(client) as session:
                await one(session, picture())
                if end == "finished":
                    await session.finish()
                    assert [result async for result in session] == []
            del session
        await until(lambda: mappings() == maps)
        await until(lambda: open_files() == files)


async def test_a_server_that_is_killed_leaves_the_client_nothing() -> None:
    """The session ends with its reason, and the client's memory with the session."""
    maps = mappings()
    with server_process() as (server, address):
        async with AsyncReidClient(address) as client, client.stream(shared_memory=True) as session:
            assert session.opened.shared_memory_bytes
            assert (await one(session, picture())).valid.all()
            server.terminate(signal.SIGKILL)
            server.wait()
            with pytest.raises(ReidError):
                await one(session, picture())
            await until(lambda: mappings() == maps)


async def test_every_epoch_agrees_anew() -> None:
    """A stream that is cut is followed by one with memory of its own; every frame is answered once."""
    maps = mappings()
    async with serving() as server, ReidAt(server.port) as client:
        expected = await client.embed(picture(), BOXES)
        async with client.resuming_stream(shared_memory=True) as session:
            results = []
            for number in range(30):
                if number in (7, 19):
                    session._session._call.cancel()
                await session.send(picture(), BOXES)
            await session.finish()
            async for result in session:
                results.append(result)  # noqa: PERF401 - the session's state is looked at afterwards
            assert session.opened.shared_memory_bytes
            assert session.epoch >= 1
        assert [result.frame_id for result in results] == list(range(30))
        for result in results:
            np.testing.assert_array_equal(result.embeddings, expected.embeddings)
        del session
        await until(lambda: mappings() == maps)


@pytest.mark.parametrize("resuming", [False, True])
def test_programs_without_asyncio_share_too(*, resuming: bool) -> None:
    """Arrays that are filled in place, from another thread than the client's."""
    with server_process() as (_, address), ReidClient(address) as client:
        expected = client.embed(picture(), BOXES)
        opening = client.resuming_stream if resuming else client.stream
        with opening(shared_memory=True) as session:
            assert session.opened.shared_memory_bytes
            for _ in range(3):
                buffer = session.frame_buffer(HEIGHT, WIDTH)
                buffer[:] = picture()
                session.send(buffer, BOXES)
            session.finish()
            results = list(session)
    assert len(results) == 3
    for result in results:
        np.testing.assert_allclose(result.embeddings, expected.embeddings, atol=1e-6)


def test_the_command_shares_a_videos_frames(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same arrays with and without; a server that refuses is told of on one line."""
    clip, boxes = tmp_path / "clip.avi", tmp_path / "boxes.csv"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"MJPG"), 25, (WIDTH, HEIGHT))
    for seed in range(5):
        writer.write(picture(seed=seed))
    writer.release()
    boxes.write_text("frame,x1,y1,x2,y2\n" + "".join(f"{number},10,10,60,120\n" for number in range(1, 6)))
    arrays = {}
    for name, flags in {"sent": [], "shared": ["--shared-memory"], "refused": ["--shared-memory"]}.items():
        settings = ["--no-shared-memory"] if name == "refused" else []
        with server_process(*settings) as (_, address):
            output = tmp_path / f"{name}.npz"
            arguments = ["stream", str(clip), "--boxes", str(boxes), "--output", str(output), "--server", address]
            assert client_cli([*arguments, *flags]) == 0
            said = capsys.readouterr().err
            assert ("frames are sent: shared memory is turned off on this server" in said) is (name == "refused")
        with np.load(output) as file:
            arrays[name] = file["embedding"]
    assert len(arrays["sent"]) == 5
    for name in ("shared", "refused"):
        np.testing.assert_allclose(arrays[name], arrays["sent"], atol=1e-6)


async def test_what_is_staged_counts_for_the_bound_on_staged_bytes() -> None:
    """The client's memory is bounded by what it shares; what is looked at at a time, by the server's bound."""
    gate = threading.Event()
    engine = FakeEngine(script=FakeScript(seconds_per_batch=1.0, sleep=lambda _: held(gate)))
    size = WIDTH * HEIGHT * 3
    async with serving(engine) as server, ReidAt(server.port) as client, sharing(client) as session:
        assert isinstance(server.parts.intake.stager, FakeStager)
        for _ in range(4):
            await session.send(picture(), BOXES)
        await until(lambda: server.runtime.statistics().frames == 4)
        statistics = server.runtime.statistics()
        gate.set()
    assert statistics.queue_bytes == 0
    assert statistics.staged_bytes % size == 0
    assert statistics.staged_bytes > 0
