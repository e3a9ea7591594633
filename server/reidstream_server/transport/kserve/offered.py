"""What the protocol has and this server has not: the same words on both wires."""

from __future__ import annotations

from collections.abc import Mapping

_MODELS = "models are named by --model when the server starts"
_IN_MESSAGE = "send tensors in the message"
_LOCAL = f"{_IN_MESSAGE}, or start the server with --kserve-shared-memory for programs on its machine"

NOT_OFFERED: Mapping[str, str] = {
    "RepositoryModelLoad": _MODELS,
    "RepositoryModelUnload": _MODELS,
    "SystemSharedMemoryStatus": _LOCAL,
    "SystemSharedMemoryRegister": _LOCAL,
    "SystemSharedMemoryUnregister": _LOCAL,
    "CudaSharedMemoryStatus": _IN_MESSAGE,
    "CudaSharedMemoryRegister": _IN_MESSAGE,
    "CudaSharedMemoryUnregister": _IN_MESSAGE,
    "TraceSetting": "traces are configured by --tracing-endpoint",
    "LogSettings": "the log is configured by --log-level",
}
"""Methods of the protocol, and what to do instead. Those of system shared memory: where it is turned off."""
