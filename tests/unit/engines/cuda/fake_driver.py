"""A CUDA driver without a device: the same calls, on this machine's memory.

It is as lazy as it may be: what is enqueued on a stream happens only when somebody waits for it, and a copy reads its
source only then. So a forgotten wait reads old bytes here every time, and not once a month. Memory is real memory, and
every access is checked against what is allocated; a wild one loses the device for good, as it does in life.
"""
# ruff: noqa: N802, N803, PLR0917 - the names and arguments are CUDA's

from __future__ import annotations

import ctypes
import subprocess
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from functools import wraps
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from emulation.emulator import HERE, KERNEL
from reidstream_engines.cuda.kernel_params import CROP, FRAME, SPEC, OutputType
from reidstream_engines.spec import Resize
from tests.support.patience import HANG_S

STATUSES = (
    "CUDA_SUCCESS",
    *(
        f"CUDA_ERROR_{name}"
        for name in (
            *("OUT_OF_MEMORY", "INVALID_VALUE", "NO_DEVICE", "INVALID_DEVICE", "INVALID_CONTEXT", "INVALID_HANDLE"),
            *("ILLEGAL_ADDRESS", "LAUNCH_FAILED", "ECC_UNCORRECTABLE", "INVALID_IMAGE", "NOT_FOUND", "NOT_READY"),
            *("STREAM_CAPTURE_UNSUPPORTED", "STREAM_CAPTURE_INVALIDATED", "STUB_LIBRARY", "SYSTEM_DRIVER_MISMATCH"),
        )
    ),
)
CUresult = Enum("CUresult", STATUSES)  # type: ignore[misc] # made of a list
OK = CUresult["CUDA_SUCCESS"]
DEVICE_BYTES = 1 << 30


T = TypeVar("T")


class Trouble(Exception):
    """A bad status, on its way to the caller."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.status = CUresult[f"CUDA_ERROR_{name}"]


class Pointer:
    """A CUdeviceptr: no int, but int() takes it."""

    def __init__(self, address: int) -> None:
        self._address = address

    def __int__(self) -> int:
        return self._address


Work = Callable[[], None]


@dataclass(eq=False)
class Handle:
    kind: str
    device: int
    number: int

    def __int__(self) -> int:
        return self.number


@dataclass(eq=False)
class FakeEvent(Handle):
    stream: FakeStream | None = None
    recorded: int = 0
    passed: int = 0


@dataclass(eq=False)
class FakeStream(Handle):
    queue: deque[Work] = field(default_factory=deque)
    captured: list[Work] | None = None
    broken: bool = False


def image(resize: Resize, output: OutputType) -> bytes:
    """What stands for a cubin."""
    return f"{list(Resize).index(resize)} {int(output is OutputType.FP16)}".encode()


def build_kernel(folder: Path) -> ctypes.CDLL:
    """The emulated kernel as a library."""
    target = folder / "libcrop.so"
    source = [f"-I{KERNEL}", str(HERE / "library.cpp"), "-o", str(target)]
    options = ["-std=c++17", "-ffp-contract=off", "-O1", "-shared", "-fPIC"]
    subprocess.run(["g++", *options, *source], check=True, timeout=HANG_S)
    return ctypes.CDLL(str(target))


def answering(kind: type[T]) -> type[T]:
    """Every call of the driver answers its trouble as a status."""

    def answer(call: Callable[..., tuple[Any, ...]]) -> Callable[..., tuple[Any, ...]]:
        @wraps(call)
        def wrapped(*arguments: Any) -> tuple[Any, ...]:
            try:
                return call(*arguments)
            except Trouble as trouble:
                return trouble.status, None

        return wrapped

    for name, call in list(vars(kind).items()):
        if name.startswith("cu"):
            setattr(kind, name, answer(call))
    return kind


@answering
class FakeDriver:
    """See DriverApi. `calls` counts them; `live` counts what was made and not given back."""

    CUresult = CUresult
    CUdevice_attribute = SimpleNamespace(
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR="major", CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR="minor"
    )
    CUstreamCaptureMode = SimpleNamespace(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL="thread local")

    def __init__(self, *, devices: int = 1, kernel: ctypes.CDLL | None = None, memory: int = DEVICE_BYTES) -> None:
        self.devices = devices
        self.version = 13000
        self.kernel = kernel
        self.memory = memory
        self.calls: Counter[str] = Counter()
        self.live: Counter[str] = Counter()
        self.copied: Counter[str] = Counter()
        self.lost: dict[int, str] = {}
        self._failures: dict[str, deque[str | None]] = {}
        self._allocated: dict[int, tuple[NDArray[np.uint8], int]] = {}  # address -> memory, device (-1: pinned)
        self._handles: dict[int, Handle] = {}
        self._current = threading.local()
        self._lock = threading.RLock()
        self._number = 1000

    # what tests do

    def fail(self, call: str, status: str, *, after: int = 0) -> None:
        """Have a later call fail: the one after `after` more."""
        self._failures[call] = deque([*[None] * after, status])

    def lose(self, device: int = 0, status: str = "ECC_UNCORRECTABLE") -> None:
        """The device is gone; every call says so from now on."""
        self.lost[device] = status

    def memory_at(self, address: int, size: int) -> NDArray[np.uint8]:
        """A view; a range outside every allocation is an illegal address."""
        for start, (data, _) in list(self._allocated.items()):  # other threads allocate meanwhile
            if start <= address and address + size <= start + len(data):
                return data[address - start : address - start + size]
        raise Trouble("ILLEGAL_ADDRESS")

    def enqueue(self, stream: int, work: Work) -> None:
        """Have a library's work done in its turn; `stream` is a number, as libraries are given it."""
        self._add(self._stream(stream), work)

    def compute(
        self,
        stream: int,
        taken: tuple[int, int],
        given: tuple[int, int],
        work: Callable[[NDArray[np.uint8], NDArray[np.uint8]], None],
    ) -> None:
        """The same, from the bytes of the one range to those of the other."""
        self.enqueue(stream, lambda: work(self.memory_at(*taken), self.memory_at(*given)))

    def capturing(self, stream: int, *, breaks: bool = False) -> bool:
        """Whether it is being captured. `breaks`: then it cannot be."""
        found = self._stream(stream)
        if found.captured is not None and breaks:
            found.broken = True
        return found.captured is not None

    def in_use(self) -> int:
        """Bytes of device memory."""
        return sum(len(data) for data, device in self._allocated.values() if device >= 0)

    # the driver

    def cuInit(self, Flags: int) -> tuple[Any]:
        assert Flags == 0
        self.calls["cuInit"] += 1
        failures = self._failures.get("cuInit")
        status = failures.popleft() if failures else None
        return (CUresult[f"CUDA_ERROR_{status}"] if status else OK,)

    def cuDriverGetVersion(self) -> tuple[Any, int]:
        return OK, self.version

    def cuGetErrorName(self, error: Any) -> tuple[Any, bytes]:
        return OK, error.name.encode()

    def cuGetErrorString(self, error: Any) -> tuple[Any, bytes]:
        return OK, error.name.removeprefix("CUDA_ERROR_").replace("_", " ").lower().encode()

    def cuDeviceGetCount(self) -> tuple[Any, int]:
        return OK, self.devices

    def cuDeviceGet(self, ordinal: int) -> tuple[Any, Any]:
        return (OK, ordinal) if 0 <= ordinal < self.devices else (CUresult["CUDA_ERROR_INVALID_DEVICE"], None)

    def cuDeviceGetName(self, length: int, dev: Any) -> tuple[Any, bytes]:
        return OK, f"Fake {dev}".encode().ljust(length, b"\0")

    def cuDeviceGetUuid(self, dev: Any) -> tuple[Any, Any]:
        return OK, SimpleNamespace(bytes=bytes([dev] * 16))

    def cuDeviceGetAttribute(self, attrib: Any, dev: Any) -> tuple[Any, int]:
        del dev
        return OK, {"major": 9, "minor": 0}[attrib]

    def cuDeviceTotalMem(self, dev: Any) -> tuple[Any, int]:
        del dev
        return OK, self.memory

    def cuDevicePrimaryCtxRetain(self, dev: Any) -> tuple[Any, ...]:
        if dev in self.lost:
            return (CUresult[f"CUDA_ERROR_{self.lost[dev]}"], None)
        self.live["context"] += 1
        return OK, Handle("context", dev, dev + 1)

    def cuDevicePrimaryCtxRelease(self, dev: Any) -> tuple[Any]:
        self.live["context"] -= 1
        return (CUresult[f"CUDA_ERROR_{self.lost[dev]}"] if dev in self.lost else OK,)

    def cuCtxSetCurrent(self, ctx: Any) -> tuple[Any]:
        self.calls["cuCtxSetCurrent"] += 1
        self._current.device = ctx.device
        return (CUresult[f"CUDA_ERROR_{self.lost[ctx.device]}"] if ctx.device in self.lost else OK,)

    def cuStreamCreate(self, Flags: int) -> tuple[Any, ...]:
        with self._call("cuStreamCreate") as answer:
            assert Flags == 1
            answer.append(self._made(FakeStream("stream", self._device(), self._next())))
        return tuple(answer)

    def cuStreamDestroy(self, hStream: Any) -> tuple[Any, ...]:
        return self._destroy("cuStreamDestroy", hStream)

    def cuStreamSynchronize(self, hStream: FakeStream) -> tuple[Any, ...]:
        with self._call("cuStreamSynchronize", hStream) as answer:
            if hStream.captured is not None:
                hStream.broken = True
                raise Trouble("STREAM_CAPTURE_UNSUPPORTED")
            self._advance(hStream, lambda: False)
        return tuple(answer)

    def cuStreamWaitEvent(self, hStream: FakeStream, hEvent: FakeEvent, Flags: int) -> tuple[Any, ...]:
        with self._call("cuStreamWaitEvent", hStream, hEvent) as answer:
            assert Flags == 0
            serial = hEvent.recorded
            self._add(hStream, lambda: self._pass(hEvent, serial))
        return tuple(answer)

    def cuEventCreate(self, Flags: int) -> tuple[Any, ...]:
        with self._call("cuEventCreate") as answer:
            assert Flags & 1, "an event that keeps a core busy while it is waited for"
            answer.append(self._made(FakeEvent("event", self._device(), self._next())))
        return tuple(answer)

    def cuEventDestroy(self, hEvent: Any) -> tuple[Any, ...]:
        return self._destroy("cuEventDestroy", hEvent)

    def cuEventRecord(self, hEvent: FakeEvent, hStream: FakeStream) -> tuple[Any, ...]:
        with self._call("cuEventRecord", hStream, hEvent) as answer:
            hEvent.recorded += 1
            hEvent.stream = hStream
            serial = hEvent.recorded

            def passed() -> None:
                hEvent.passed = max(hEvent.passed, serial)

            self._add(hStream, passed)
        return tuple(answer)

    def cuEventSynchronize(self, hEvent: FakeEvent) -> tuple[Any, ...]:
        with self._call("cuEventSynchronize", hEvent) as answer:
            self._pass(hEvent, hEvent.recorded)
        return tuple(answer)

    def cuEventElapsedTime(self, hStart: FakeEvent, hEnd: FakeEvent) -> tuple[Any, ...]:
        with self._call("cuEventElapsedTime", hStart, hEnd) as answer:
            answer.append(1.0)
        return tuple(answer)

    def cuMemAlloc(self, bytesize: int) -> tuple[Any, ...]:
        with self._call("cuMemAlloc") as answer:
            if self.in_use() + bytesize > self.memory:
                raise Trouble("OUT_OF_MEMORY")
            answer.append(Pointer(self._allocate(bytesize, self._device())))
            self.live["device memory"] += 1
        return tuple(answer)

    def cuMemFree(self, dptr: int) -> tuple[Any, ...]:
        with self._call("cuMemFree") as answer:
            del self._allocated[int(dptr)]
            self.live["device memory"] -= 1
        return tuple(answer)

    def cuMemGetInfo(self) -> tuple[Any, ...]:
        with self._call("cuMemGetInfo") as answer:
            answer += [self.memory - self.in_use(), self.memory]
        return tuple(answer)

    def cuMemHostAlloc(self, bytesize: int, Flags: int) -> tuple[Any, ...]:
        with self._call("cuMemHostAlloc") as answer:
            assert Flags == 1
            answer.append(self._allocate(bytesize, -1))
            self.live["pinned memory"] += 1
        return tuple(answer)

    def cuMemFreeHost(self, p: int) -> tuple[Any, ...]:
        with self._call("cuMemFreeHost") as answer:
            del self._allocated[p]
            self.live["pinned memory"] -= 1
        return tuple(answer)

    def cuMemsetD8Async(self, dstDevice: int, uc: int, N: int, hStream: FakeStream) -> tuple[Any, ...]:
        with self._call("cuMemsetD8Async", hStream) as answer:
            self._add(hStream, lambda: self.memory_at(dstDevice, N).fill(uc))
        return tuple(answer)

    def cuMemcpyHtoDAsync(self, dstDevice: int, srcHost: int, ByteCount: int, hStream: Any) -> tuple[Any, ...]:
        return self._copy("cuMemcpyHtoDAsync", dstDevice, srcHost, ByteCount, hStream)

    def cuMemcpyDtoHAsync(self, dstHost: int, srcDevice: int, ByteCount: int, hStream: Any) -> tuple[Any, ...]:
        return self._copy("cuMemcpyDtoHAsync", dstHost, srcDevice, ByteCount, hStream)

    def cuMemcpyDtoDAsync(self, dstDevice: int, srcDevice: int, ByteCount: int, hStream: Any) -> tuple[Any, ...]:
        return self._copy("cuMemcpyDtoDAsync", dstDevice, srcDevice, ByteCount, hStream)

    def cuModuleLoadData(self, image: bytes) -> tuple[Any, ...]:
        with self._call("cuModuleLoadData") as answer:
            if len(image.split()) != 2:
                raise Trouble("INVALID_IMAGE")
            handle = self._made(Handle("module", self._device(), self._next()))
            handle.image = image
            answer.append(handle)
        return tuple(answer)

    def cuModuleUnload(self, hmod: Any) -> tuple[Any, ...]:
        return self._destroy("cuModuleUnload", hmod)

    def cuModuleGetFunction(self, hmod: Any, name: bytes) -> tuple[Any, ...]:
        with self._call("cuModuleGetFunction", hmod) as answer:
            if name != b"crop":
                raise Trouble("NOT_FOUND")
            answer.append(hmod)
        return tuple(answer)

    def cuLaunchKernel(
        self,
        f: Any,
        gridDimX: int,
        gridDimY: int,
        gridDimZ: int,
        blockDimX: int,
        blockDimY: int,
        blockDimZ: int,
        sharedMemBytes: int,
        hStream: FakeStream,
        kernelParams: int,
        extra: int,
    ) -> tuple[Any, ...]:
        with self._call("cuLaunchKernel", f, hStream) as answer:
            assert (sharedMemBytes, extra) == (0, 0)
            resize, half = (int(text) for text in f.image.split())
            pointers = (ctypes.c_void_p * 5).from_address(kernelParams)
            spec = ctypes.string_at(pointers[0] or 0, SPEC.itemsize)  # arguments are copied by the launch itself
            frames = ctypes.c_uint64.from_address(pointers[1] or 0).value
            count = ctypes.c_int32.from_address(pointers[2] or 0).value
            crops = ctypes.c_uint64.from_address(pointers[3] or 0).value
            out = ctypes.c_uint64.from_address(pointers[4] or 0).value
            shape = (gridDimX, gridDimY, gridDimZ), (blockDimX, blockDimY, blockDimZ)
            self._add(hStream, lambda: self._launch(resize, half, shape, spec, frames, count, crops, out))
        return tuple(answer)

    def cuStreamBeginCapture(self, hStream: FakeStream, mode: Any) -> tuple[Any, ...]:
        with self._call("cuStreamBeginCapture", hStream) as answer:
            assert mode == "thread local"
            hStream.captured, hStream.broken = [], False
        return tuple(answer)

    def cuStreamEndCapture(self, hStream: FakeStream) -> tuple[Any, ...]:
        with self._call("cuStreamEndCapture", hStream) as answer:
            work, hStream.captured = hStream.captured, None
            if hStream.broken:
                raise Trouble("STREAM_CAPTURE_INVALIDATED")
            answer.append(self._graph("graph", work or []))
        return tuple(answer)

    def cuGraphInstantiate(self, hGraph: Any, flags: int) -> tuple[Any, ...]:
        with self._call("cuGraphInstantiate", hGraph) as answer:
            assert flags == 0
            answer.append(self._graph("executable graph", hGraph.work))
        return tuple(answer)

    def cuGraphLaunch(self, hGraphExec: Any, hStream: FakeStream) -> tuple[Any, ...]:
        with self._call("cuGraphLaunch", hGraphExec, hStream) as answer:
            for work in hGraphExec.work:
                self._add(hStream, work)
        return tuple(answer)

    def cuGraphExecDestroy(self, hGraphExec: Any) -> tuple[Any, ...]:
        return self._destroy("cuGraphExecDestroy", hGraphExec)

    def cuGraphDestroy(self, hGraph: Any) -> tuple[Any, ...]:
        return self._destroy("cuGraphDestroy", hGraph)

    # its insides

    @contextmanager
    def _call(self, name: str, *handles: Handle) -> Iterator[list[Any]]:
        with self._lock:
            self.calls[name] += 1
            device = self._device()
            failures = self._failures.get(name)
            status = failures.popleft() if failures else None
            if device in self.lost:
                raise Trouble(self.lost[device])
            if status:
                if status in {"ILLEGAL_ADDRESS", "LAUNCH_FAILED", "ECC_UNCORRECTABLE"}:
                    self.lost[device] = status
                raise Trouble(status)
            for handle in handles:
                if self._handles.get(handle.number) is not handle or handle.device != device:
                    raise Trouble("INVALID_HANDLE")
            yield [OK]

    def _stream(self, number: int) -> FakeStream:
        found = self._handles[number]
        assert isinstance(found, FakeStream)
        return found

    def _device(self) -> int:
        device: int | None = getattr(self._current, "device", None)
        if device is None:
            raise Trouble("INVALID_CONTEXT")
        return device

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _made(self, handle: Any) -> Any:
        self._handles[handle.number] = handle
        self.live[handle.kind] += 1
        return handle

    def _destroy(self, name: str, handle: Handle) -> tuple[Any, ...]:
        with self._call(name, handle) as answer:
            del self._handles[handle.number]
            self.live[handle.kind] -= 1
        return tuple(answer)

    def _graph(self, kind: str, work: Sequence[Work]) -> Any:
        handle = self._made(Handle(kind, self._device(), self._next()))
        handle.work = list(work)
        return handle

    def _allocate(self, size: int, device: int) -> int:
        data = np.full(size, 0xFF, np.uint8)  # not-a-number in both float types
        address = int(data.ctypes.data)
        self._allocated[address] = (data, device)
        return address

    def _add(self, stream: FakeStream, work: Work) -> None:
        (stream.queue if stream.captured is None else stream.captured).append(work)

    def _copy(self, name: str, target: int, source: int, size: int, stream: FakeStream) -> tuple[Any, ...]:
        with self._call(name, stream) as answer:

            def copy() -> None:
                self.memory_at(target, size)[:] = self.memory_at(source, size)
                self.copied[name] += size

            self._add(stream, copy)
        return tuple(answer)

    def _pass(self, event: FakeEvent, serial: int) -> None:
        if event.passed < serial and event.stream is not None:
            self._advance(event.stream, lambda: event.passed >= serial)

    def _advance(self, stream: FakeStream, until: Callable[[], bool]) -> None:
        while stream.queue and not until():
            work = stream.queue.popleft()
            try:
                work()
            except Trouble as trouble:
                self.lost[stream.device] = trouble.status.name.removeprefix("CUDA_ERROR_")
                raise

    def _launch(
        self,
        resize: int,
        half: int,
        shape: tuple[tuple[int, int, int], tuple[int, int, int]],
        spec: bytes,
        frames: int,
        count: int,
        crops: int,
        out: int,
    ) -> None:
        assert self.kernel is not None, "no kernel was built for this test"
        record = np.frombuffer(spec, SPEC)[0]
        table = self.memory_at(frames, count * FRAME.itemsize).view(FRAME)
        for frame in table:  # the kernel's build looks closer
            least = int(frame["pitch"]) * (int(frame["height"]) - 1) + int(frame["width"])
            self.memory_at(int(frame["data"]), least)
        self.memory_at(crops, shape[0][0] * CROP.itemsize)
        size = int(record["width"]) * int(record["height"]) * int(record["channels"]) * (2 if half else 4)
        self.memory_at(out, shape[0][0] * size)
        grid, block = ((ctypes.c_uint * 3)(*numbers) for numbers in shape)
        arguments = (spec, ctypes.c_void_p(frames), count, ctypes.c_void_p(crops), ctypes.c_void_p(out))
        self.kernel.launch(resize, half, grid, block, *arguments)
