"""A TensorRT for child processes: a plan is JSON that says what happens to whoever deserialises it.

`do`: crash, exit, hang, garbage, refuse, or nothing. `tensors`: (name, mode, type, shape, least, most) each. Until a
logger was made there is no runtime, as with the real one.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from types import SimpleNamespace
from typing import Any

__version__ = "11.4.0"

LayerInformationFormat = SimpleNamespace(JSON="json")


class Builder:
    """There is one, or the package would not be a TensorRT."""


class ILogger:
    """To be derived from."""


class Runtime:
    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def deserialize_cuda_engine(self, plan: bytes) -> Any:
        script = json.loads(plan)
        match script.get("do"):
            case "crash":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "exit":
                sys.stderr.write("a library gave up\n")
                os._exit(3)
            case "hang":
                threading.Event().wait()
            case "garbage":
                sys.stdout.write("all is well\n")
                sys.stdout.flush()
                os._exit(0)
            case "lie":
                sys.stdout.write(json.dumps(script["lie"]) + "\n")
                sys.stdout.flush()
                os._exit(0)
            case "refuse":
                self._logger.log(SimpleNamespace(name="ERROR"), "the version tag does not match")
                return None
        sys.stdout.write("[TRT] loaded\n")
        return Engine(script)


class Engine:
    def __init__(self, script: Any) -> None:
        self._script = script
        self._tensors = {tensor[0]: tensor for tensor in script["tensors"]}
        self.num_io_tensors = len(self._tensors)
        setattr(self, script.get("memory", "device_memory_size_v2"), 4096)

    def get_tensor_name(self, index: int) -> Any:
        return list(self._tensors)[index]

    def get_tensor_mode(self, name: str) -> Any:
        return SimpleNamespace(name=self._tensors[name][1])

    def get_tensor_dtype(self, name: str) -> Any:
        return SimpleNamespace(name=self._tensors[name][2])

    def get_tensor_shape(self, name: str) -> Any:
        return self._tensors[name][3]

    def get_tensor_profile_shape(self, name: str, profile: int) -> Any:
        assert profile == 0
        rest = self._tensors[name][3][1:]
        return [[size, *rest] for size in (self._tensors[name][4], self._tensors[name][5], self._tensors[name][5])]

    def create_engine_inspector(self) -> Any:
        if "layers" not in self._script:
            return None
        return SimpleNamespace(get_engine_information=lambda _: self._script["layers"])
