"""Finds the CUDA devices of this machine, or says exactly what is missing.

Why before anything else of CUDA or TensorRT: without a driver some libraries return objects over null pointers, and the
next call ends the process. So the driver's library is opened first, and asked only then. Trap: a machine may have the
library but no device, or a driver that is too old for the package. Each case needs another advice.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass

from reidstream_engines.errors import DeviceUnavailable, Missing

from .driver_api import DriverApi, Handle, installed_driver_api
from .status import check

LIBRARY = "libcuda.so.1"
NEEDED_DRIVER = 13000
"""CUDA 13.0, as cuDriverGetVersion writes it: driver r580."""

_NAME_BYTES = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class CudaDevice:
    """`architecture`: such as sm_90. `total_memory`: bytes. `driver_version`: the newest CUDA that the driver knows."""

    index: int
    name: str
    uuid: str
    architecture: str
    total_memory: int
    driver_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """At least one device, and the initialised driver."""

    api: DriverApi
    devices: tuple[CudaDevice, ...]

    def device(self, index: int) -> CudaDevice:
        """The device with a number. Raises DeviceUnavailable if there is none with this number."""
        if not 0 <= index < len(self.devices):
            have = ", ".join(f"{device.index} ({device.name})" for device in self.devices)
            raise DeviceUnavailable(f"there is no CUDA device {index}: this machine has {have}", Missing.THAT_DEVICE)
        return self.devices[index]


def probe(
    *,
    load_library: Callable[[str], object] = ctypes.CDLL,
    open_api: Callable[[], DriverApi] = installed_driver_api,
) -> Probed:
    """Look for devices. The first time takes a fraction of a second. Makes no context and uses no device memory.

    Raises DeviceUnavailable, whose `missing` and message say what is not there.
    """
    try:
        load_library(LIBRARY)
    except OSError as error:
        raise DeviceUnavailable(
            f"this machine has no NVIDIA driver ({error}): install driver r580 or newer, or choose the CPU",
            Missing.DRIVER,
        ) from error
    api = open_api()
    try:
        (status,) = api.cuInit(0)
    except RuntimeError as error:  # the package itself did not find the library
        raise DeviceUnavailable(f"the NVIDIA driver cannot be used: {error}", Missing.DRIVER) from error
    result = api.CUresult
    if status == result.CUDA_ERROR_NO_DEVICE:
        raise DeviceUnavailable(
            "the NVIDIA driver finds no GPU: give this container one, or correct CUDA_VISIBLE_DEVICES if it is set",
            Missing.DEVICE,
        )
    if status == result.CUDA_ERROR_STUB_LIBRARY:
        raise DeviceUnavailable(
            f"{LIBRARY} is the CUDA toolkit's stub, not a driver: remove the stubs folder from the library path",
            Missing.DRIVER,
        )
    if status != result.CUDA_SUCCESS:
        text = api.cuGetErrorString(status)[1]
        raise DeviceUnavailable(
            f"the NVIDIA driver cannot start: {getattr(status, 'name', status)} ({bytes(text or b'').decode()})",
            Missing.DRIVER,
        )
    version = check(api, "cuDriverGetVersion", api.cuDriverGetVersion())
    if version < NEEDED_DRIVER:
        raise DeviceUnavailable(
            f"the NVIDIA driver supports CUDA {_version(version)}; {_version(NEEDED_DRIVER)} is needed: "
            "install driver r580 or newer",
            Missing.NEWER_DRIVER,
        )
    count = check(api, "cuDeviceGetCount", api.cuDeviceGetCount())
    if count == 0:
        raise DeviceUnavailable("the NVIDIA driver finds no GPU in this machine", Missing.DEVICE)
    return Probed(api=api, devices=tuple(_describe(api, index, version) for index in range(count)))


def _describe(api: DriverApi, index: int, version: int) -> CudaDevice:
    device: Handle = check(api, "cuDeviceGet", api.cuDeviceGet(index))
    kinds = api.CUdevice_attribute
    major, minor = (
        check(api, "cuDeviceGetAttribute", api.cuDeviceGetAttribute(kind, device))
        for kind in (
            kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
            kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
        )
    )
    name: bytes = check(api, "cuDeviceGetName", api.cuDeviceGetName(_NAME_BYTES, device))
    uuid = check(api, "cuDeviceGetUuid", api.cuDeviceGetUuid(device))
    return CudaDevice(
        index=index,
        name=name.split(b"\0")[0].decode(errors="replace"),
        uuid=_uuid(bytes(uuid.bytes)),
        architecture=f"sm_{major}{minor}",
        total_memory=check(api, "cuDeviceTotalMem", api.cuDeviceTotalMem(device)),
        driver_version=_version(version),
    )


def _uuid(raw: bytes) -> str:
    """As nvidia-smi writes it."""
    text = raw.hex()
    return f"GPU-{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"
