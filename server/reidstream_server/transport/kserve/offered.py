"""What the protocol has and this server has not: the same words on both wires."""

from __future__ import annotations

from collections.abc import Mapping

_MODELS = "models are named by --model when the server starts"
_IN_MESSAGE = "send tensors in the message"

NOT_OFFERED: Mapping[str, str] = {
    "RepositoryModelLoad": _MODELS,
    "RepositoryModelUnload": _MODELS,
    "SystemSharedMemoryStatus": _IN_MESSAGE,
    "SystemSharedMemoryRegister": _IN_MESSAGE,
    "SystemSharedMemoryUnregister": _IN_MESSAGE,
    "CudaSharedMemoryStatus": _IN_MESSAGE,
    "CudaSharedMemoryRegister": _IN_MESSAGE,
    "CudaSharedMemoryUnregister": _IN_MESSAGE,
    "TraceSetting": "traces are configured by --tracing-endpoint",
    "LogSettings": "the log is configured by --log-level",
}
"""Methods of the protocol, and what to do instead."""
