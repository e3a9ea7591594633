"""Turns a status of the driver into an error: no memory, a fault of this batch, or a lost device.

Why one place: a status that is not checked can give a wrong vector. Trap: some errors are sticky. After one of them
every call of the process on that device fails, also those that free memory, and no batch can succeed. Those are
EngineLost.
"""

from __future__ import annotations

from typing import Any

from reidstream_engines.errors import EngineFault, EngineLost, EnginesError, KernelError, OutOfDeviceMemory

from .driver_api import DriverApi

LOST = frozenset(
    f"CUDA_ERROR_{name}"
    for name in (
        *("ILLEGAL_ADDRESS", "ILLEGAL_INSTRUCTION", "MISALIGNED_ADDRESS", "INVALID_ADDRESS_SPACE", "INVALID_PC"),
        *("LAUNCH_FAILED", "LAUNCH_TIMEOUT", "HARDWARE_STACK_ERROR", "ASSERT", "TENSOR_MEMORY_LEAK"),
        *("ECC_UNCORRECTABLE", "NVLINK_UNCORRECTABLE", "CONTAINED", "EXTERNAL_DEVICE", "UNKNOWN"),
        *("DEVICE_UNAVAILABLE", "NO_DEVICE", "SYSTEM_NOT_READY", "OPERATING_SYSTEM"),
        *("CONTEXT_IS_DESTROYED", "INVALID_CONTEXT", "DEINITIALIZED", "NOT_INITIALIZED", "MPS_CLIENT_TERMINATED"),
    )
)
_NO_MEMORY = "CUDA_ERROR_OUT_OF_MEMORY"
_KERNEL_CALLS = frozenset(("cuModuleLoadData", "cuModuleGetFunction"))


def check(api: DriverApi, call: str, answer: tuple[Any, ...]) -> Any:  # noqa: ANN401 - what the call gives
    """What `call` answered after its status; None if it answered nothing else.

    Raises EngineLost, OutOfDeviceMemory, KernelError (a module cannot be loaded) or EngineFault, with the call's name
    and the status's name and text.
    """
    status = answer[0]
    if status != api.CUresult.CUDA_SUCCESS:
        raise failure(api, call, status)
    return answer[1] if len(answer) > 1 else None


def failure(api: DriverApi, call: str, status: Any) -> EnginesError:  # noqa: ANN401 - a CUresult, or a plain number
    """The error for a status that is not success."""
    name = getattr(status, "name", f"status {status}")
    text = bytes(api.cuGetErrorString(status)[1] or b"").decode(errors="replace")
    message = f"{call}: {name} ({text})" if text else f"{call}: {name}"
    if name in LOST:
        return EngineLost(message)
    if name == _NO_MEMORY:
        return OutOfDeviceMemory(message)
    if call in _KERNEL_CALLS:
        return KernelError(message)
    return EngineFault(message)
