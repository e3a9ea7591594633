"""Signals: every accepted frame is answered, every client is told to leave, and the exit code says how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from reidstream_proto.v1 import image_pb2, service_pb2_grpc, session_pb2
from tests.support.harness import RawStream, box, encode, frame, picture
from tests.support.process import ServerProcess, server_process

CAMERAS = 8
IMAGE = encode(picture(640, 480))
BOXES = [box(20 * i, 30, 20 * i + 60, 200) for i in range(8)]


async def pour(stream: RawStream, drained: asyncio.Event, boxes: Sequence[image_pb2.Box] = BOXES) -> None:
    """Send frames until the server asks to leave."""
    number = 0
    with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        while not drained.is_set():
            number += 1
            await stream.call.write(frame(number, IMAGE, boxes))


async def drink(
    stream: RawStream, warm: asyncio.Event, drained: asyncio.Event
) -> tuple[list[int], int, session_pb2.Drain]:
    """Every answered frame in order, how many had a fault, and the drain; `warm` is set by the fifth answer."""
    answered: list[int] = []
    faults = 0
    drain: session_pb2.Drain | None = None
    while (answer := await stream.read()) is not None:
        if answer.HasField("drain"):
            assert drain is None
            drain = answer.drain
            drained.set()
        else:
            answered.append(answer.frame_result.frame_id)
            faults += answer.frame_result.HasField("error")
            if len(answered) == 5:
                warm.set()
    assert drain is not None
    return answered, faults, drain


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_no_accepted_frame_is_lost_when_the_server_is_told_to_stop(number: signal.Signals) -> None:
    """Each stream gets a Drain that names its last accepted frame, and the answers up to it, then OK."""
    with server_process() as (server, address):
        async with grpc.aio.insecure_channel(address) as channel:
            stub = service_pb2_grpc.EmbeddingServiceStub(channel)
            streams = [RawStream(stub.EmbedStream()) for _ in range(CAMERAS)]
            warm = [asyncio.Event() for _ in streams]
            for index, stream in enumerate(streams):
                await stream.open(camera_id=f"camera-{index}", window=session_pb2.Window(frames=16))
            drained = [asyncio.Event() for _ in streams]
            pouring = [asyncio.create_task(pour(s, event)) for s, event in zip(streams, drained, strict=True)]
            drinking = [asyncio.create_task(drink(*each)) for each in zip(streams, warm, drained, strict=True)]
            for event in warm:
                await event.wait()
            server.terminate(number)
            outcomes = await asyncio.gather(*drinking)
            codes = [await stream.call.code() for stream in streams]
            await asyncio.gather(*pouring)
        assert await asyncio.to_thread(server.wait) == 0
    for (answered, faults, drain), code in zip(outcomes, codes, strict=True):
        assert code == grpc.StatusCode.OK
        assert faults == 0
        assert answered == list(range(1, drain.last_accepted_frame_id + 1))
        assert drain.reason == session_pb2.DRAIN_REASON_SHUTDOWN


async def test_idle_streams_do_not_hold_the_process() -> None:
    """A stream with nothing open is ended at once, and a watcher of health sees the end coming."""
    with server_process() as (server, address):
        async with grpc.aio.insecure_channel(address) as channel:
            stream = RawStream(service_pb2_grpc.EmbeddingServiceStub(channel).EmbedStream())
            await stream.open()
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
            assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
            server.terminate()
            assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
            answer = await stream.read()
            assert answer is not None
            assert answer.HasField("drain")
            assert not answer.drain.HasField("last_accepted_frame_id")
            assert await stream.read() is None
        assert await asyncio.to_thread(server.wait) == 0


async def test_a_drain_that_takes_too_long_says_so() -> None:
    """Frames that cannot be done in time are answered SHUTTING_DOWN, and the exit code is not 0."""
    with server_process("--drain-timeout-s", "0.001", "--max-queue-boxes", "20000") as (server, address):
        async with grpc.aio.insecure_channel(address) as channel:
            stream = RawStream(service_pb2_grpc.EmbeddingServiceStub(channel).EmbedStream())
            await stream.open(window=session_pb2.Window(frames=60))  # seconds of work on any machine
            pouring = asyncio.create_task(pour(stream, asyncio.Event(), BOXES * 40))
            await stream.result()
            server.terminate()
            await stream.refusal()
            await pouring
        assert await asyncio.to_thread(server.wait) == 75


def storm(server: ServerProcess, numbers: Sequence[signal.Signals]) -> int:
    """Send a thousand signals a second until the process has ended; returns its exit code.

    Not as fast as may be: a short sleep inside gRPC that is interrupted goes on for what is left of it, to which Linux
    adds 50 us each time. So with a signal every 20 us it lasts for minutes, whoever handles the signals.
    """
    while server.process.poll() is None:
        for number in numbers:
            server.terminate(number)
        time.sleep(0.001)
    return server.wait()


@pytest.mark.parametrize("numbers", [[signal.SIGTERM], [signal.SIGINT, signal.SIGTERM]], ids=["TERM", "INT and TERM"])
async def test_signals_at_every_moment_of_a_stop_change_nothing(numbers: Sequence[signal.Signals]) -> None:
    """From the first one to the end of the process, with an open stream: the drain's exit code, and what it says."""
    with server_process() as (server, address):
        async with grpc.aio.insecure_channel(address) as channel:
            stream = RawStream(service_pb2_grpc.EmbeddingServiceStub(channel).EmbedStream())
            await stream.open()
            assert await asyncio.to_thread(storm, server, numbers) == 0
        server.wait_for("draining")
        assert server.wait_for("stopped")["complete"] is True


@pytest.mark.parametrize("after", range(4))
def test_signals_while_the_server_starts_end_it_with_the_signals_code(after: int) -> None:
    """Whichever moment of the start they find, once it has said its first word."""
    moments = ("configuration", "cores", "jpeg_decoder", "model_loaded")
    command = [sys.executable, "-m", "reidstream_server.cli", "--port", "0", "--metrics-port", "0", "--device", "cpu"]
    command += ["--tune-seconds", "0", "--log-format", "json"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        server = ServerProcess(process)
        reader = threading.Thread(target=server.read_log)
        reader.start()
        server.wait_for(moments[after])
        code = storm(server, [signal.SIGTERM])
        reader.join()
    assert code == (0 if any(event["event"] == "serving" for event in server.log) else 143), server.log
    assert not [event for event in server.log if event["event"] == "text"]  # a traceback


async def test_a_hangup_without_a_terminal_is_ignored_and_told_once() -> None:
    """Somebody wants files to be read again; the server goes on."""
    with server_process(detached=True) as (server, address):
        for _ in range(3):
            server.terminate(signal.SIGHUP)
        server.wait_for("hangup_ignored")
        async with grpc.aio.insecure_channel(address) as channel:
            stream = RawStream(service_pb2_grpc.EmbeddingServiceStub(channel).EmbedStream())
            await stream.open()
            await stream.call.write(frame(1, IMAGE, BOXES))
            assert len((await stream.result()).boxes) == len(BOXES)
        server.terminate()
        assert await asyncio.to_thread(server.wait) == 0
    assert sum(event["event"] == "hangup_ignored" for event in server.log) == 1


def test_a_signal_that_somebody_else_has_a_handler_for_stops_nothing() -> None:
    """Such as a profiler's, or a program's around the server: it was loaded with the handler, and still serves."""
    run = "import signal; signal.signal(signal.SIGUSR1, lambda *_: print('heard', flush=True))\n"
    run += "import sys; from reidstream_server.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", run, "--port", "0", "--metrics-port", "0", "--tune-seconds", "0"]
    with subprocess.Popen(
        [*command, "--log-format", "json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        server = ServerProcess(process)
        reader = threading.Thread(target=server.read_log)
        reader.start()
        server.wait_for("configuration")
        for moment in ("model_loaded", "serving"):
            server.terminate(signal.SIGUSR1)
            assert process.stdout is not None
            assert process.stdout.readline() == "heard\n"
            server.wait_for(moment)
        server.terminate()
        assert server.wait() == 0
        reader.join()


def test_a_terminal_that_goes_stops_the_server_as_sigterm_does() -> None:
    """The kernel's own hangup, when the last end of the terminal is closed."""
    ours, theirs = os.openpty()
    adopt = f"import fcntl, termios, sys; fcntl.ioctl({theirs}, termios.TIOCSCTTY, 0)\n"
    adopt += "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"  # it may be ignored here, as under nohup
    run = "from reidstream_server.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", adopt + run, "--port", "0", "--metrics-port", "0", "--tune-seconds", "0"]
    command += ["--log-format", "json"]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, pass_fds=[theirs], start_new_session=True
    ) as process:
        os.close(theirs)
        server = ServerProcess(process)
        reader = threading.Thread(target=server.read_log)
        reader.start()
        server.wait_for("serving")
        os.close(ours)
        assert server.wait_for("stopped")["complete"] is True
        assert server.wait() == 0
        reader.join()
