"""The whole server on an emulated device: a process, `--device cuda`, real bindings and cubins, clients over gRPC.

What is not real: the device's own hardware, and TensorRT's network, which onnxruntime computes on a stream's thread.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from reidstream_client import AsyncReidClient, FrameEmbeddings, ReidError
from tests.emulation.emulated_cuda import KERNELS, EmulatedCuda, read_report
from tests.golden.wire import MODELS, GoldenFrame, golden_frames, lowest_cosine
from tests.support.patience import HANG_S
from tests.support.process import ServerProcess, server_process

pytestmark = pytest.mark.needs("g++", "nvrtc", "shared-data")

PACE_US = 300
TORCHREID = ("--profile", "torchreid")
CAMERAS = 3
SMALL_BATCHES = ("--max-batch", "8")  # each size is run before it is served, which takes long without a device
LAUNCH_FAILED = 719


@dataclass(frozen=True, slots=True)
class Served:
    process: ServerProcess
    address: str
    report: Path


@contextmanager
def on_emulated_devices(
    cuda: EmulatedCuda, folder: Path, model: Path, *flags: str, compiled: bool = True, **settings: object
) -> Iterator[Served]:
    """`compiled`: the kernel is in its cache already."""
    report = folder / "report.txt"
    own = ("--model", str(model), "--gpu-cache", str(folder), "--require-gpu", *SMALL_BATCHES)
    if compiled:
        shutil.copytree(cuda.kernels, folder / KERNELS)
    environment = cuda.environment(report, pace_us=PACE_US, **settings)
    with server_process(*own, *flags, environment=environment) as (process, address):
        yield Served(process, address, report)


async def cameras(address: str, frames: Sequence[GoldenFrame]) -> float:
    """Each streams every frame in an order of its own; the lowest cosine of all their vectors."""

    async def camera(client: AsyncReidClient, number: int) -> float:
        mine = [frames[(start + number) % len(frames)] for start in range(len(frames))]
        lowest = 1.0
        async with client.stream() as session:
            for frame in mine:
                await session.send(frame.path.read_bytes(), frame.boxes)
            for frame in mine:
                result = await anext(session)
                assert result.valid.all()
                lowest = min(lowest, lowest_cosine(result.embeddings, frame.vectors))
        return lowest

    async with AsyncReidClient(address) as client:
        engine = (await client.info()).engine
        assert (engine.engine, engine.fallback_reason) == ("tensorrt", "")
        return min(await asyncio.gather(*(camera(client, number) for number in range(CAMERAS))))


@pytest.mark.parametrize(
    ("model", "device", "precision", "least"),
    [
        (MODELS[0], "cuda", "fp32", 0.9999),
        (MODELS[1], "cuda", "fp16", 0.999),
        (MODELS[0], "cuda:0,cuda:1", "fp16", 0.999),
    ],
)
async def test_golden_vectors_over_the_wire(  # noqa: PLR0917 - as pytest passes them
    cuda: EmulatedCuda, shared_data: Path, tmp_path: Path, model: str, device: str, precision: str, least: float
) -> None:
    """Cameras mixed in batches, copies beside kernels; at the end nothing is left on the device, nor was misused."""
    path = shared_data / "models" / f"{model}.onnx"
    flags = (*TORCHREID, "--device", device, "--gpu-precision", precision)
    with on_emulated_devices(cuda, tmp_path, path, *flags, compiled=precision != "fp32", devices=2) as served:
        assert await cameras(served.address, golden_frames(shared_data, model)) >= least
        served.process.terminate()
        assert await asyncio.to_thread(served.process.wait) == 0
    found = read_report(served.report)
    assert not found.faults
    assert not found.live
    assert found.calls["cuGraphLaunch"] > 0


async def send_until_it_ends(address: str, frames: Sequence[GoldenFrame], answers: list[FrameEmbeddings]) -> None:
    async with AsyncReidClient(address) as client, client.stream() as session:
        for frame in frames:
            await session.send(frame.path.read_bytes(), frame.boxes)
            answers.append(await anext(session))


async def test_a_lost_device_is_told_to_clients_and_ends_the_server(
    cuda: EmulatedCuda, shared_data: Path, tmp_path: Path
) -> None:
    """Frames have right vectors, or are said to have none; the process ends, for its supervisor to start another."""
    path = shared_data / "models" / f"{MODELS[0]}.onnx"
    frames = golden_frames(shared_data, MODELS[0])
    flags = (*TORCHREID, "--device", "cuda", "--gpu-precision", "fp32")
    fault = f"cuLaunchKernel:60:{LAUNCH_FAILED}"
    with on_emulated_devices(cuda, tmp_path, path, *flags, fault=fault) as served:
        answers: list[FrameEmbeddings] = []
        with pytest.raises(ReidError):
            await send_until_it_ends(served.address, frames * 20, answers)
        assert await asyncio.to_thread(served.process.wait) == 70
    for frame, answer in zip(frames * 20, answers, strict=False):
        assert answer.error or not answer.valid.any() or lowest_cosine(answer.embeddings, frame.vectors) >= 0.9999
    assert not answers[-1].valid.any()
    assert not read_report(served.report).faults
    (lost,) = [event for event in served.process.log if event["event"] == "engine_lost"]
    assert "cuLaunchKernel: CUDA_ERROR_LAUNCH_FAILED" in str(lost)


async def test_one_of_two_devices_is_lost(cuda: EmulatedCuda, shared_data: Path, tmp_path: Path) -> None:
    """The other takes its frames over: every vector comes, and is right."""
    path = shared_data / "models" / f"{MODELS[0]}.onnx"
    flags = (*TORCHREID, "--device", "cuda:0,cuda:1", "--gpu-precision", "fp32")
    fault = f"cuLaunchKernel:60:{LAUNCH_FAILED}"
    with on_emulated_devices(cuda, tmp_path, path, *flags, devices=2, fault=fault) as served:
        assert await cameras(served.address, golden_frames(shared_data, MODELS[0])) >= 0.9999
        served.process.terminate()
        assert await asyncio.to_thread(served.process.wait) == 0
    found = read_report(served.report)
    assert not found.faults
    assert found.calls["cuLaunchKernel"] > 60


async def test_an_adopted_plan_is_served(cuda: EmulatedCuda, shared_data: Path, tmp_path: Path) -> None:
    """`build`, `inspect` and `adopt` as commands; what was adopted brings its preprocessing with it."""
    model = shared_data / "models" / f"{MODELS[0]}.onnx"
    environment = cuda.environment(tmp_path / "left.txt")

    def run(*arguments: str) -> str:
        command = [str(Path(sys.executable).with_name("reidstream-engines")), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=HANG_S, check=False)
        assert done.returncode == 0, done.stderr
        left = read_report(tmp_path / "left.txt")
        assert (left.live, left.faults) == ({}, [])
        return done.stdout

    built = run("build", str(model), *TORCHREID, "--precision", "fp16", "--cache", str(tmp_path / "built"))
    plan = Path(re.findall(r"^plan +(.*)$", built, re.MULTILINE)[0]) / "plan.engine"
    assert "takes        1 to 64 crops" in run("inspect", str(plan))
    foreign = tmp_path / "osnet.engine"
    foreign.write_bytes(plan.read_bytes())
    adopted = run("adopt", str(foreign), *TORCHREID, "--model", str(model), "--cache", str(tmp_path))
    folder = Path(re.findall(r"^(?:plan|adopted) +(.*)$", adopted, re.MULTILINE)[0])
    with on_emulated_devices(cuda, tmp_path, folder, "--device", "cuda") as served:
        assert await cameras(served.address, golden_frames(shared_data, MODELS[0])) >= 0.999
        served.process.terminate()
        assert await asyncio.to_thread(served.process.wait) == 0
    assert not read_report(served.report).faults
