"""`doctor` at a server that can be reached: what is wrong with the service, its model, or its answers."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import numpy as np
import numpy.typing as npt
import pytest

from reidstream_client import __version__
from reidstream_client.cli import main
from reidstream_client.cli.doctor.gather import everything
from reidstream_engines.fake import FakeEngine, FakeScript, fake_spec
from reidstream_proto.v1 import frame_pb2, model_pb2, service_pb2
from reidstream_server.app import operators_port
from reidstream_server.config.admin_access import AdminAccess
from tests.support.doctoring import NO_METRICS, SHORT_S, Diagnosis, answering, diagnose, silent, web
from tests.support.harness import real_engine, serving, settings
from tests.support.patience import wait_until
from tests.support.screen import on_a_terminal
from tests.unit.client.scripted_server import DIM, ScriptedServer, ServerStream, block, result

NOT_SERVING = b"\x08\x02"


def at(port: int) -> str:
    return f"127.0.0.1:{port}"


async def test_a_healthy_server_gives_no_complaint() -> None:
    """With the default model on real pixels, and its metrics: everything is looked at that a bare port shows."""
    async with serving(real_engine(), metrics_enabled=True) as server:
        metrics = f"http://localhost:{server.metrics_port}/metrics"
        found = await diagnose(at(server.port), metrics=metrics)
    assert (found.wrong, found.warnings, found.status) == (set(), set(), 0)
    assert found.all_that_are("not_looked_at") - {"cores", "event loop"} == {"certificate", "self-test"}
    assert f"Server and client are version {__version__}" in found.said("versions")
    assert "36 vectors of 384 numbers, of length 1, the same for the same picture" in found.said("vectors")
    assert "all 9 frames got their vectors" in found.said("losses")
    assert abs(found.findings["clock"]["figures"]["ahead_s"]) < 60
    assert {"p50_s", "p99_s", "network_p50_s", "server_p50_s"} == set(found.findings["round trip"]["figures"])


async def test_a_server_on_a_socket_of_the_file_system_is_looked_at_by_grpc_alone() -> None:
    """Its name, its port and its metrics are nobody's to guess."""
    server = ScriptedServer()
    async with server.running():
        found = await diagnose(f"ipv4:{server.target},{server.target}")
    assert {"name", "port"} <= found.all_that_are("not_looked_at")
    assert "gRPC is spoken there" in found.said("protocol")


async def test_a_server_that_says_not_serving() -> None:
    """Frames are not tried then."""
    async with ScriptedServer(health=NOT_SERVING).running() as server:
        found = await diagnose(server.target)
    assert found.wrong == {"health"}
    assert "NOT_SERVING" in found.said("health")


async def test_a_server_that_drains() -> None:
    """Told from one that is not ready yet."""
    async with serving() as server:
        server.runtime.leave()
        for door in server.doors:
            await door.set_serving(serving=False)
        found = await diagnose(at(server.port))
    assert found.wrong == {"health"}
    assert "The server is leaving" in found.said("health")


async def test_a_server_whose_models_are_loading() -> None:
    """Its port is closed until they are, and its probes say so."""
    with operators_port(settings(metrics_enabled=True)) as operators:
        assert operators is not None
        found = await diagnose(at(1), metrics=f"http://127.0.0.1:{operators.number}/metrics")
    assert (found.wrong, found.warnings) == ({"health"}, {"port"})
    assert "The server is warming up" in found.said("health")


@dataclass
class Cold(ScriptedServer):
    """Its model is listed, and not ready."""

    health: bytes | None = NOT_SERVING

    async def ListModels(self, request, context):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201, ARG002, N802
        return service_pb2.ListModelsResponse(models=[model_pb2.Model(name="scripted", dim=DIM, ready=False)])


async def test_a_server_that_is_not_warm() -> None:
    """NOT_SERVING, and a model that is not ready."""
    async with Cold().running() as server:
        found = await diagnose(server.target)
    assert found.wrong == {"health"}
    assert "warming up" in found.said("health")


async def test_a_model_that_does_not_exist() -> None:
    """The finding has those that there are, and the one that was meant."""
    async with serving(FakeEngine(fake_spec("person")), FakeEngine(fake_spec("vehicle"))) as server:
        found = await diagnose(at(server.port), "--model", "persn")
        well = await diagnose(at(server.port), "--model", "vehicle")
    assert found.wrong == {"model"}
    assert "has no model 'persn'; it has person, vehicle. Give one of them. Did you mean person?" in found.said("model")
    assert well.wrong == set()


async def test_another_space_than_expected() -> None:
    """Vectors of two spaces must not be compared."""
    async with serving() as server:
        found = await diagnose(at(server.port), "--space-id", "1:abc")
        space = found.said("space").split("of space ")[1].split(",")[0]
        well = await diagnose(at(server.port), "--space-id", space)
    assert found.wrong == {"space"}
    assert "1:abc was expected" in found.said("space")
    assert well.wrong == set()


def unit(frame: frame_pb2.Frame, rows: npt.NDArray[np.float32] | None = None) -> frame_pb2.FrameResult:
    """The right answer with vectors of length 1, or with these."""
    answer = result(frame)
    if rows is None:
        rows = np.eye(len(frame.boxes), DIM, dtype=np.float32)
    del answer.blocks[:]
    answer.blocks.append(block("scripted", rows))
    return answer


Script = Callable[[frame_pb2.Frame], frame_pb2.FrameResult]


@dataclass
class Answering(ScriptedServer):
    """Answers each frame of a stream, and each single call, by one script."""

    script: Script = unit
    refused: frozenset[str] = field(default_factory=frozenset)

    def __post_init__(self) -> None:
        async def stream(call: ServerStream) -> None:
            if "EmbedStream" in self.refused:
                await call.context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
            await call.opened()
            while (frame := await call.frame()) is not None:
                await call.answer(self.script(frame))

        async def embed(request: service_pb2.EmbedRequest, context: object) -> service_pb2.EmbedResponse:
            if "Embed" in self.refused:
                await context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")  # type: ignore[attr-defined]
            return service_pb2.EmbedResponse(result=self.script(request.frame))

        self.on_stream: Callable[[ServerStream], Awaitable[None]] = stream
        self.on_embed = embed


async def diagnose_script(script: Script = unit, *refused: str) -> Diagnosis:
    async with Answering(script=script, refused=frozenset(refused)).running() as server:
        return await diagnose(server.target, "--frame-size", "640x480")


async def test_a_server_by_script_is_well_if_its_script_is() -> None:
    """What the tests below change is what they find."""
    found = await diagnose_script()
    assert (found.wrong, found.warnings) == (set(), set())


@pytest.mark.parametrize("method", ["Embed", "EmbedStream"])
async def test_a_method_that_the_server_lacks(method: str) -> None:
    """It is older than this client, or something passes only a part of the service through."""
    found = await diagnose_script(unit, method)
    assert found.wrong == {"versions"}
    assert f"does not have {method}." in found.said("versions")


async def test_vectors_that_are_not_normalised() -> None:
    """Though the model says that they are."""
    found = await diagnose_script(lambda frame: unit(frame, 2 * np.eye(4, DIM, dtype=np.float32)))
    assert found.wrong == {"vectors"}
    assert "lengths are 2.000 to 2.000" in found.said("vectors")


async def test_vectors_that_are_no_numbers() -> None:
    """As of a broken kernel."""
    found = await diagnose_script(lambda frame: unit(frame, np.full((4, DIM), np.nan, np.float32)))
    assert found.wrong == {"vectors"}
    assert "Boxes have no vector: 36 failed" in found.said("vectors")


async def test_one_picture_with_different_vectors() -> None:
    """As of two servers with two models behind one address."""
    found = await diagnose_script(
        lambda frame: unit(frame, np.roll(np.eye(4, DIM, dtype=np.float32), int(frame.frame_id), axis=0))
    )
    assert found.wrong == {"vectors"}
    assert "The same picture has different vectors" in found.said("vectors")


async def test_frames_that_are_dropped() -> None:
    """The reason is the contract's word, and the message the server's."""

    def drop(frame: frame_pb2.Frame) -> frame_pb2.FrameResult:
        if frame.frame_id % 2 == 0:  # a single call's frame is number 0, and an error would be its status
            return unit(frame)
        reason = frame_pb2.ERROR_REASON_QUEUE_FULL
        error = frame_pb2.FrameError(code=8, reason=reason, message="the queue has no room")
        return frame_pb2.FrameResult(frame_id=frame.frame_id, error=error)

    found = await diagnose_script(drop)
    assert found.wrong == {"frames"}
    assert "4 of 8 frames have no vectors (4 queue_full): The queue has no room." in found.said("frames")


async def test_an_engine_that_fails() -> None:
    """Each box says that it failed, and the metrics count it."""
    broken = FakeEngine(script=FakeScript(poison=lambda _: True))
    async with serving(broken, metrics_enabled=True) as server:
        found = await diagnose(at(server.port), metrics=f"http://127.0.0.1:{server.metrics_port}/metrics")
    assert found.wrong == {"vectors"}
    assert "36 failed" in found.said("vectors")
    assert found.warnings == {"batches"}


async def test_a_picture_that_is_larger_than_the_server_takes() -> None:
    """The server's own words, with the value and the limit."""
    async with serving(max_image_pixels=500_000) as server:
        found = await diagnose(at(server.port))
    assert found.wrong == {"frames"}
    assert re.search(r"1920 ?x ?1080|2,?073,?600", found.said("frames"))


async def test_a_raw_frame_that_does_not_fit_is_a_warning() -> None:
    """A JPEG of the same size does, and is sent instead."""
    async with serving(max_message_bytes=1 << 20) as server:
        found = await diagnose(at(server.port))
    assert (found.wrong, found.warnings) == (set(), {"message size"})
    assert "has 6220946 bytes, and at most 1048576 are read" in found.said("message size")


async def test_frames_that_no_message_holds() -> None:
    """Not even encoded."""
    async with serving(max_message_bytes=1 << 16) as server:
        found = await diagnose(at(server.port), "--frame-size", "8192x4320")
    assert found.wrong == {"frames"}
    assert "at most 65536 are read" in found.said("frames")


async def test_a_window_that_takes_no_raw_frame() -> None:
    """The message would be read, and a stream may not hold it."""
    async with serving(max_window_bytes=2 << 20) as server:
        found = await diagnose(at(server.port))
    assert found.wrong == set()
    assert "a stream takes none" in found.said("window")


async def test_metrics_of_another_server() -> None:
    """Two servers on one machine: the usual port is the other one's."""
    vehicles = FakeEngine(fake_spec("vehicle"))
    async with serving() as server, serving(vehicles, metrics_enabled=True) as other:
        found = await diagnose(at(server.port), metrics=f"http://127.0.0.1:{other.metrics_port}")
    assert (found.wrong, found.warnings) == (set(), {"metrics"})
    assert "are of another server: its models are vehicle" in found.said("metrics")
    assert "memory" in found.all_that_are("not_looked_at")


async def test_the_usual_port_of_metrics_is_tried_without_being_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """If it is there, it is looked at; if not, that is no complaint."""
    async with serving(metrics_enabled=True) as server:
        monkeypatch.setattr(everything, "DEFAULT_PORT", server.metrics_port)
        found = await diagnose(at(server.port), metrics=None)
        monkeypatch.setattr(everything, "DEFAULT_PORT", 1)
        without = await diagnose(at(server.port), metrics=None)
    assert f"They are at http://127.0.0.1:{server.metrics_port}/metrics" in found.said("metrics")
    assert (without.wrong, without.warnings) == (set(), set())
    assert without.findings["metrics"]["verdict"] == "not_looked_at"


async def test_a_server_that_shows_no_sessions_is_no_complaint() -> None:
    """Its metrics know its version then."""
    async with serving(metrics_enabled=True, admin=AdminAccess.OFF) as server:
        found = await diagnose(at(server.port), metrics=f"http://127.0.0.1:{server.metrics_port}/metrics")
    assert (found.wrong, found.warnings) == (set(), set())
    assert {"penalty", "clock"} <= found.all_that_are("not_looked_at")
    assert f"are version {__version__}" in found.said("versions")
    assert found.findings["room"]["verdict"] == "ok"


PAGE = """\
# HELP reidstream_queue_boxes What it says.
reidstream_cores 2
reidstream_self_test_cosine{model="person"} 0.42
reidstream_engine_fallback{model="other"} 1
reidstream_full_windows 3
reidstream_paused_clients 1
reidstream_private_memory_bytes 3.9e9
reidstream_private_memory_limit_bytes 4e9
process_open_fds 1000
process_max_fds 1024
reidstream_log_lines_dropped_total 7
reidstream_batch_faults_total{model="person"} 2
reidstream_tls_certificate_expiry_timestamp_seconds 1
"""


async def test_metrics_that_tell_of_faults() -> None:
    """Each has a warning of its own. An expired certificate is wrong, although this client has not met it."""
    async with serving() as server, answering(web(PAGE)) as port:
        found = await diagnose(at(server.port), metrics=f"http://127.0.0.1:{port}/metrics")
    assert found.wrong == {"certificate"}
    assert "paused clients" in found.all_that_are("warning")
    assert found.warnings == {"self-test", "engine", "windows", "memory", "descriptors", "log", "batches"}


async def test_a_page_that_is_none_of_metrics_is_not_believed() -> None:
    """A login form, for example."""
    async with serving() as server, answering(web("<html>please log in</html>")) as port:
        found = await diagnose(at(server.port), metrics=f"http://127.0.0.1:{port}/metrics")
    assert (found.wrong, found.warnings) == (set(), {"metrics"})
    assert "it is no page of metrics: line 1 is no sample" in found.said("metrics")


async def test_metrics_that_never_end_do_not_hold_it_up() -> None:
    """A byte now and then, for ever."""

    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        while not writer.is_closing():
            writer.write(b"H")
            await asyncio.sleep(0.05)

    async with answering(trickle) as port:
        found = await diagnose(at(1), metrics=f"http://127.0.0.1:{port}/metrics", timeout_s=SHORT_S)
    assert found.wrong == {"port"}
    assert "no answer within 2 s" in found.said("metrics")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["http://gate:1"], "must be HOST:PORT, without http://"),
        (["gate:99999"], "99999 is no port"),
        (["a:1", "--frame-size", "big"], "'big' is not WIDTHxHEIGHT"),
        (["a:1", "--frame-size", "16x9"], "each side must be 64 to 16384 pixels"),
        (["a:1", "--metrics", "gate:9464"], "--metrics takes http://HOST:PORT/metrics"),
        (["a:1", "--metrics", "http://gate:x/"], "--metrics takes http://HOST:PORT/metrics"),
        (["a:1", "--tls-ca", "nowhere.pem"], "nowhere.pem cannot be read"),
        (["a:1", "--token-file", "nowhere"], "the token file cannot be read"),
        (["a:1", "--model", "m" * 200], "model must be"),
        (["a:1", "--tiemout", "3"], "did you mean --timeout?"),
    ],
)
def test_what_the_command_line_has_wrong_is_no_finding(
    words: list[str],
    complaint: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One line, and the status of wrong usage; nothing is looked at."""
    monkeypatch.chdir(tmp_path)
    assert main(["doctor", *words]) == 2
    said = capsys.readouterr()
    assert complaint in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""


async def test_people_read_text_and_files_have_no_colours(capsys: pytest.CaptureFixture[str]) -> None:
    """The first word of a line is its verdict; the next step stands below it."""
    flags = ["--metrics", NO_METRICS]
    assert await asyncio.to_thread(main, ["doctor", at(1), *flags]) == 1
    said = capsys.readouterr()
    assert said.err == ""
    assert "\x1b" not in said.out
    lines = said.out.splitlines()
    assert lines[0] == f"reidstream-client doctor {__version__}: 127.0.0.1:1, without TLS"
    assert any(line.startswith("WRONG    port") for line in lines)
    assert "-> The host is up, and nothing listens there" in said.out
    assert "not looked at" in lines
    assert lines[-1] == "1 thing is wrong: port; 1 warning: metrics."
    assert max(map(len, lines)) <= 100


DOCTOR = (sys.executable, "-m", "reidstream_client.cli", "doctor")


async def test_a_terminal_shows_what_is_looked_at_and_has_colours() -> None:
    """The line of progress is gone when the findings stand there."""

    def look(target: str) -> str:
        words = [*DOCTOR, target, "--interval", "0", "--metrics", NO_METRICS, "--frame-size", "640x480"]
        with on_a_terminal(words, columns=80) as screen:
            assert screen.wait() == 0
            wait_until(lambda: "Nothing is wrong" in screen.text)
            return screen.text

    async with Answering().running() as server:
        said = await asyncio.to_thread(look, server.target)
    assert "\rlooking at frames ...\x1b[K" in said
    assert said.index("looking at frames") < said.index("\r\x1b[K") < said.index("\x1b[32mok\x1b[0m")


async def test_ctrl_c_ends_a_look_that_waits() -> None:
    """With one word, and the status of the other commands."""
    met = asyncio.Event()

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        met.set()
        await silent(reader, writer)

    async with answering(keep) as port:
        process = await asyncio.create_subprocess_exec(
            *DOCTOR, at(port), "--timeout", "3600", stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        await met.wait()
        process.send_signal(signal.SIGINT)
        said, complained = await process.communicate()
    assert (process.returncode, said, complained) == (130, b"", b"interrupted\n")
