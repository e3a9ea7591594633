"""What a status of the driver means to whoever called: nothing, no memory, a fault of this batch, or the end.

Why one place: a code that is forgotten once is a vector of rubbish. Trap: some errors are sticky. After them every call
of the process on that device fails, also the one that frees memory, and no batch can succeed: those are EngineLost.
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
    """What `call` answered behind its status; None if that is all.

    Raises EngineLost, OutOfDeviceMemory, KernelError (for a module that cannot be loaded) or EngineFault, each with
    the call's name, and the code's name and text.
    """
    status = answer[0]
    if status != api.CUresult.CUDA_SUCCESS:
        raise failure(api, call, status)
    return answer[1] if len(answer) > 1 else None


def failure(api: DriverApi, call: str, status: Any) -> EnginesError:  # noqa: ANN401 - a CUresult, or a plain number
    """The error that stands for a bad status."""
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
