"""The package takes our arguments: without a driver every call gets as far as looking for one, and no further.

Why: a fake takes whatever it is given. The package converts arguments before it calls, so a wrong type shows on any
machine.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from reidstream_engines.cuda.driver_api import DriverApi, installed_driver_api
from reidstream_engines.cuda.probe import LIBRARY

HERE = np.zeros(64, np.uint8)
ADDRESS = int(HERE.ctypes.data)


def calls(api: Any) -> dict[str, Callable[[], object]]:
    """As driver.py and probe.py make them: handles as the package hands them out, addresses as numbers."""
    stream, event, module, function = api.CUstream(1), api.CUevent(1), api.CUmodule(1), api.CUfunction(1)
    graph, runnable, device, context = api.CUgraph(1), api.CUgraphExec(1), api.CUdevice(0), api.CUcontext(1)
    kind = api.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR
    mode = api.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
    return {
        "cuInit": lambda: api.cuInit(0),
        "cuDriverGetVersion": api.cuDriverGetVersion,
        "cuGetErrorName": lambda: api.cuGetErrorName(api.CUresult.CUDA_ERROR_UNKNOWN),
        "cuGetErrorString": lambda: api.cuGetErrorString(api.CUresult.CUDA_ERROR_UNKNOWN),
        "cuDeviceGetCount": api.cuDeviceGetCount,
        "cuDeviceGet": lambda: api.cuDeviceGet(0),
        "cuDeviceGetName": lambda: api.cuDeviceGetName(256, device),
        "cuDeviceGetUuid": lambda: api.cuDeviceGetUuid(device),
        "cuDeviceGetAttribute": lambda: api.cuDeviceGetAttribute(kind, device),
        "cuDeviceTotalMem": lambda: api.cuDeviceTotalMem(device),
        "cuDevicePrimaryCtxRetain": lambda: api.cuDevicePrimaryCtxRetain(device),
        "cuDevicePrimaryCtxRelease": lambda: api.cuDevicePrimaryCtxRelease(device),
        "cuCtxSetCurrent": lambda: api.cuCtxSetCurrent(context),
        "cuStreamCreate": lambda: api.cuStreamCreate(1),
        "cuStreamDestroy": lambda: api.cuStreamDestroy(stream),
        "cuStreamSynchronize": lambda: api.cuStreamSynchronize(stream),
        "cuStreamWaitEvent": lambda: api.cuStreamWaitEvent(stream, event, 0),
        "cuEventCreate": lambda: api.cuEventCreate(3),
        "cuEventDestroy": lambda: api.cuEventDestroy(event),
        "cuEventRecord": lambda: api.cuEventRecord(event, stream),
        "cuEventSynchronize": lambda: api.cuEventSynchronize(event),
        "cuEventElapsedTime": lambda: api.cuEventElapsedTime(event, event),
        "cuMemAlloc": lambda: api.cuMemAlloc(64),
        "cuMemFree": lambda: api.cuMemFree(ADDRESS),
        "cuMemGetInfo": api.cuMemGetInfo,
        "cuMemHostAlloc": lambda: api.cuMemHostAlloc(64, 1),
        "cuMemFreeHost": lambda: api.cuMemFreeHost(ADDRESS),
        "cuMemsetD8Async": lambda: api.cuMemsetD8Async(ADDRESS, 0, 64, stream),
        "cuMemcpyHtoDAsync": lambda: api.cuMemcpyHtoDAsync(ADDRESS, ADDRESS, 64, stream),
        "cuMemcpyDtoHAsync": lambda: api.cuMemcpyDtoHAsync(ADDRESS, ADDRESS, 64, stream),
        "cuMemcpyDtoDAsync": lambda: api.cuMemcpyDtoDAsync(ADDRESS, ADDRESS, 64, stream),
        "cuModuleLoadData": lambda: api.cuModuleLoadData(b"a cubin"),
        "cuModuleUnload": lambda: api.cuModuleUnload(module),
        "cuModuleGetFunction": lambda: api.cuModuleGetFunction(module, b"crop"),
        "cuLaunchKernel": lambda: api.cuLaunchKernel(function, 1, 1, 1, 128, 1, 1, 0, stream, ADDRESS, 0),
        "cuStreamBeginCapture": lambda: api.cuStreamBeginCapture(stream, mode),
        "cuStreamEndCapture": lambda: api.cuStreamEndCapture(stream),
        "cuGraphInstantiate": lambda: api.cuGraphInstantiate(graph, 0),
        "cuGraphLaunch": lambda: api.cuGraphLaunch(runnable, stream),
        "cuGraphExecDestroy": lambda: api.cuGraphExecDestroy(runnable),
        "cuGraphDestroy": lambda: api.cuGraphDestroy(graph),
    }


@pytest.mark.needs("nvrtc")
def test_the_package_takes_every_argument() -> None:
    """Only the driver is missing. Nothing is called where there is one: these handles are made up."""
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        api = installed_driver_api()
        made = calls(api)
        assert set(made) == {name for name in vars(DriverApi) if name.startswith("cu")}
        for call in made.values():
            with pytest.raises(RuntimeError, match=r"NVIDIA driver|libcuda"):
                call()


@pytest.mark.needs("nvrtc")
def test_a_wrong_argument_shows() -> None:
    """The one above can fail."""
    api: Any = installed_driver_api()
    with pytest.raises(TypeError):
        api.cuMemAlloc("64")
    with pytest.raises(TypeError):
        api.cuModuleGetFunction(api.CUmodule(1), "crop")


@pytest.mark.needs("nvrtc")
def test_handles_are_numbers_to_other_libraries() -> None:
    """TensorRT takes a stream as its address."""
    api: Any = installed_driver_api()
    assert int(api.CUstream(4096)) == 4096
    assert int(api.CUdeviceptr(8192)) == 8192
