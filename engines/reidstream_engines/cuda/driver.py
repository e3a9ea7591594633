"""Owners of a CUDA device's resources: the context, streams, events, memory, modules and graphs.

Why: each resource is given back exactly once, by `with` or `close`, and the status of every call is checked. Closing
twice is harmless, and so is closing on a lost device, whose resources are gone anyway. Traps: the current context is
per thread, so code that new threads may call begins with `Context.use`. And memory may only be closed when nothing on
the device uses it any more.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Sequence
from types import TracebackType

import numpy as np
import numpy.typing as npt
from typing_extensions import Self

from reidstream_engines.errors import EngineLost

from .driver_api import (
    EVENT_BLOCKING_SYNC,
    EVENT_DISABLE_TIMING,
    HOST_ALLOC_PORTABLE,
    STREAM_NON_BLOCKING,
    DriverApi,
    Handle,
)
from .kernel_params import LaunchShape
from .status import check

Bytes = npt.NDArray[np.uint8]


class Owned:
    """Something that must be given back once. EngineLost from `release` is ignored: it is gone with the device."""

    __slots__ = ("_lock", "_release")

    def __init__(self, release: Callable[[], object]) -> None:
        self._release: Callable[[], object] | None = release
        self._lock = threading.Lock()

    @property
    def closed(self) -> bool:
        """Whether it was given back already."""
        return self._release is None

    def close(self) -> None:
        """Give it back, unless that was done already."""
        with self._lock:
            release, self._release = self._release, None
        if release is not None:
            try:
                release()
            except EngineLost:
                return


class Context:
    """A device's primary context, which other libraries in this process use, too. Any thread."""

    def __init__(self, api: DriverApi, index: int) -> None:
        self.api = api
        self.index = index
        device: Handle = check(api, "cuDeviceGet", api.cuDeviceGet(index))
        self._handle: Handle = check(api, "cuDevicePrimaryCtxRetain", api.cuDevicePrimaryCtxRetain(device))
        self._owned = Owned(lambda: self.call("cuDevicePrimaryCtxRelease", api.cuDevicePrimaryCtxRelease(device)))

    def use(self) -> None:
        """Make it current in this thread. Cheap. Call it before each series of calls: others may have set theirs."""
        self.call("cuCtxSetCurrent", self.api.cuCtxSetCurrent(self._handle))

    def use_to_free(self) -> None:
        """As `use`, before calls that only free something: no error on a lost device."""
        try:
            self.use()
        except EngineLost:
            return

    def call(self, name: str, answer: tuple[object, ...]) -> object:
        """Check the answer of a driver call; see `status.check`."""
        result: object = check(self.api, name, answer)
        return result

    def close(self) -> None:
        """Release the context."""
        self._owned.close()

    def __enter__(self) -> Self:
        self.use()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()


class Event:
    """A point in a stream. Waiting for one that was never recorded returns at once. `timing`: for `ms_since`."""

    __slots__ = ("_context", "_owned", "handle")

    def __init__(self, context: Context, *, timing: bool = False) -> None:
        api = context.api
        flags = EVENT_BLOCKING_SYNC | (0 if timing else EVENT_DISABLE_TIMING)
        self._context = context
        self.handle: Handle = context.call("cuEventCreate", api.cuEventCreate(flags))
        self._owned = Owned(lambda: context.call("cuEventDestroy", api.cuEventDestroy(self.handle)))

    def synchronize(self) -> None:
        """Sleep until the device has passed it; other threads run. Returns at once if it was closed, since an event is
        closed only after the device has passed it.
        """
        if self._owned.closed:
            return
        self._context.call("cuEventSynchronize", self._context.api.cuEventSynchronize(self.handle))

    def ms_since(self, earlier: Event) -> float:
        """Milliseconds of the device's clock between two events. Both must have passed, and both need timing."""
        answer = self._context.api.cuEventElapsedTime(earlier.handle, self.handle)
        return float(check(self._context.api, "cuEventElapsedTime", answer))

    def close(self) -> None:
        """Give it back."""
        self._owned.close()


class Recording:
    """One recording of an event. The event itself always means its latest recording, so waiting for it may take too
    long. Waiting for a `Recording` costs nothing after the first time, also if the event was recorded again. Any
    thread.
    """

    __slots__ = ("_event",)

    def __init__(self, event: Event) -> None:
        self._event: Event | None = event

    def synchronize(self) -> None:
        """Wait until the device has passed it."""
        event = self._event
        if event is not None:
            event.synchronize()
            self._event = None


class Stream:
    """A queue of work on the device; independent of all other queues."""

    __slots__ = ("_owned", "context", "handle")

    def __init__(self, context: Context) -> None:
        api = context.api
        self.context = context
        self.handle: Handle = context.call("cuStreamCreate", api.cuStreamCreate(STREAM_NON_BLOCKING))
        self._owned = Owned(lambda: context.call("cuStreamDestroy", api.cuStreamDestroy(self.handle)))

    @property
    def address(self) -> int:
        """The CUstream as a number, for other libraries."""
        return int(self.handle)

    def record(self, event: Event) -> None:
        """Put the event after everything that was enqueued so far."""
        self.context.call("cuEventRecord", self.context.api.cuEventRecord(event.handle, self.handle))

    def wait(self, event: Event) -> None:
        """Work that is enqueued from now on waits on the device for the event. This call does not wait."""
        self.context.call("cuStreamWaitEvent", self.context.api.cuStreamWaitEvent(self.handle, event.handle, 0))

    def synchronize(self) -> None:
        """Wait for everything that was enqueued so far."""
        self.context.call("cuStreamSynchronize", self.context.api.cuStreamSynchronize(self.handle))

    def upload(self, target: int, source: int, size: int) -> None:
        """Copy from pinned memory to the device. Neither may change until the stream has done it."""
        answer = self.context.api.cuMemcpyHtoDAsync(target, source, size, self.handle)
        self.context.call("cuMemcpyHtoDAsync", answer)

    def download(self, target: int, source: int, size: int) -> None:
        """Copy from the device to pinned memory."""
        answer = self.context.api.cuMemcpyDtoHAsync(target, source, size, self.handle)
        self.context.call("cuMemcpyDtoHAsync", answer)

    def zero(self, target: int, size: int) -> None:
        """Fill device memory with zeros."""
        self.context.call("cuMemsetD8Async", self.context.api.cuMemsetD8Async(target, 0, size, self.handle))

    def close(self) -> None:
        """Give it back."""
        self._owned.close()


class DeviceBuffer:
    """`size` bytes of device memory at `address`, aligned to at least 256."""

    __slots__ = ("_owned", "address", "size")

    def __init__(self, context: Context, size: int) -> None:
        api = context.api
        self.size = size
        self.address = int(check(api, "cuMemAlloc", api.cuMemAlloc(size)))
        self._owned = Owned(lambda: context.call("cuMemFree", api.cuMemFree(self.address)))

    def close(self) -> None:
        """Give it back."""
        self._owned.close()


class PinnedBuffer:
    """`size` bytes of this machine's pinned memory, which the device copies from and to by itself. `array`: uint8
    (size,).

    Trap: the array, and every view of it, must not be used after this is closed.
    """

    __slots__ = ("_owned", "address", "array", "size")

    def __init__(self, context: Context, size: int) -> None:
        api = context.api
        self.size = size
        self.address = int(check(api, "cuMemHostAlloc", api.cuMemHostAlloc(size, HOST_ALLOC_PORTABLE)))
        self.array: Bytes = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(self.address))
        self._owned = Owned(lambda: context.call("cuMemFreeHost", api.cuMemFreeHost(self.address)))

    def close(self) -> None:
        """Give it back."""
        self._owned.close()


class Module:
    """A cubin on the device, and one of its kernels. Making one raises KernelError if it cannot be loaded."""

    def __init__(self, context: Context, image: bytes, entry: str) -> None:
        api = context.api
        self._context = context
        self._handle: Handle = context.call("cuModuleLoadData", api.cuModuleLoadData(image))
        self._owned = Owned(lambda: context.call("cuModuleUnload", api.cuModuleUnload(self._handle)))
        try:
            answer = api.cuModuleGetFunction(self._handle, entry.encode())
            self._function: Handle = context.call("cuModuleGetFunction", answer)
        except BaseException:
            self.close()
            raise

    def launch(self, stream: Stream, shape: LaunchShape, arguments: Sequence[npt.NDArray[np.generic]]) -> None:
        """Enqueue the kernel. Each argument is one value, in an array of its exact type. They are copied at once."""
        pointers = np.array([argument.ctypes.data for argument in arguments], np.uint64)
        answer = self._context.api.cuLaunchKernel(
            self._function, *shape.grid, *shape.block, 0, stream.handle, int(pointers.ctypes.data), 0
        )
        self._context.call("cuLaunchKernel", answer)

    def close(self) -> None:
        """Give it back."""
        self._owned.close()


class Graph:
    """Work that a function has enqueued on a stream, captured to be enqueued again in one call, with the same kernels,
    sizes and addresses.

    The function must neither wait nor allocate. Raises EngineFault if its work cannot be captured; the stream can still
    be used then.
    """

    def __init__(self, stream: Stream, work: Callable[[], None]) -> None:
        context, api = stream.context, stream.context.api
        mode = api.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL  # other threads may allocate meanwhile
        context.call("cuStreamBeginCapture", api.cuStreamBeginCapture(stream.handle, mode))
        try:
            work()
        except BaseException:
            status, half = api.cuStreamEndCapture(
                stream.handle
            )  # an error is raised already, so this status is ignored
            if status == api.CUresult.CUDA_SUCCESS:
                api.cuGraphDestroy(half)
            raise
        graph: Handle = context.call("cuStreamEndCapture", api.cuStreamEndCapture(stream.handle))
        try:
            self._handle: Handle = context.call("cuGraphInstantiate", api.cuGraphInstantiate(graph, 0))
        finally:
            context.call("cuGraphDestroy", api.cuGraphDestroy(graph))
        self._context = context
        self._owned = Owned(lambda: context.call("cuGraphExecDestroy", api.cuGraphExecDestroy(self._handle)))

    def launch(self, stream: Stream) -> None:
        """Enqueue all of the work."""
        self._context.call("cuGraphLaunch", self._context.api.cuGraphLaunch(self._handle, stream.handle))

    def close(self) -> None:
        """Give it back."""
        self._owned.close()
