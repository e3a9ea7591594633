"""A package `tensorrt` for processes on an emulated device: builds and runs ONNX files, computing with onnxruntime.

Why a package: the server and its child processes import TensorRT by this name, from a folder on PYTHONPATH.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from reidstream_engines.tensorrt.messages import Messages
from tests.emulation.emulated_streams import EmulatedStreams
from tests.unit.engines.tensorrt.fake_builder import PLAN, FakeTensorRt
from tests.unit.engines.tensorrt.fake_tensorrt import FakeEngine, FakeRuntime, Script

_fake = FakeTensorRt()
__version__ = _fake.__version__
ILogger = _fake.ILogger
IProgressMonitor = _fake.IProgressMonitor
BuilderFlag = _fake.BuilderFlag
LayerInformationFormat = _fake.LayerInformationFormat
NetworkDefinitionCreationFlag = SimpleNamespace(EXPLICIT_BATCH=0, STRONGLY_TYPED=1)  # of 10; 11 has the other one
ProfilingVerbosity = _fake.ProfilingVerbosity
Builder = _fake.Builder
OnnxParser = _fake.OnnxParser


class _Said(Messages):
    def __init__(self, logger: Any) -> None:
        super().__init__()
        self._logger = logger

    def add(self, severity: str, text: str) -> None:
        self._logger.log(SimpleNamespace(name=severity), text)


class Runtime:
    """IRuntime over the device that is current when a plan is run."""

    def __init__(self, logger: Any, /) -> None:
        assert logger.ready
        self._runtime = FakeRuntime(EmulatedStreams(), Script(), _Said(logger))

    def deserialize_cuda_engine(self, plan: bytes, /) -> FakeEngine | None:
        return self._runtime.deserialize_cuda_engine(plan.removeprefix(PLAN))
