"""Implementations name their Protocol as a base: nothing is forgotten or inherited by accident, and no dict appears."""

from __future__ import annotations

import inspect
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import reidstream_engines
from reidstream_engines.cpu.loaded_network import LoadedNetwork
from reidstream_engines.cpu.onnx_engine import OnnxEngine, OnnxTicket
from reidstream_engines.cpu.onnxruntime_network import OnnxRuntimeNetwork
from reidstream_engines.cpu.openvino_network import OpenVinoNetwork
from reidstream_engines.cpu.stager import CpuFrame, CpuStager
from reidstream_engines.cuda.decoders import CpuFrameDecoder, DeviceDecoder, FrameDecoder
from reidstream_engines.cuda.devices import GroupEngine, GroupFrame, GroupStager, GroupTicket
from reidstream_engines.cuda.nvimgcodec import NvimgcodecDecoder
from reidstream_engines.cuda.stager import CudaFrame, CudaStager
from reidstream_engines.fake import FakeEngine, FakeFrame, FakeStager, FakeTicket
from reidstream_engines.protocol import Engine, StagedFrame, Stager, Ticket
from reidstream_engines.tensorrt.engine import TensorRtEngine, TensorRtTicket
from reidstream_engines.tensorrt.graphs import GraphedNetwork
from reidstream_engines.tensorrt.network import DeviceNetwork
from reidstream_engines.tensorrt.progress import LoggedProgress, Progress
from reidstream_engines.tensorrt.runner import TensorRtNetwork

IMPLEMENTATIONS: dict[type, tuple[type, ...]] = {
    Engine: (OnnxEngine, TensorRtEngine, GroupEngine, FakeEngine),
    Ticket: (OnnxTicket, TensorRtTicket, GroupTicket, FakeTicket),
    Stager: (CpuStager, CudaStager, GroupStager, FakeStager),
    StagedFrame: (CpuFrame, CudaFrame, GroupFrame, FakeFrame),
    LoadedNetwork: (OnnxRuntimeNetwork, OpenVinoNetwork),
    DeviceNetwork: (TensorRtNetwork, GraphedNetwork),
    FrameDecoder: (CpuFrameDecoder,),
    DeviceDecoder: (NvimgcodecDecoder,),
    Progress: (LoggedProgress,),
}
PAIRS = [(protocol, made) for protocol, classes in IMPLEMENTATIONS.items() for made in classes]
SLOTTED = (CpuFrame, CudaFrame, FakeFrame, OnnxTicket, TensorRtTicket, FakeTicket)


def abstract_members(protocol: type) -> frozenset[str]:
    found: frozenset[str] = protocol.__abstractmethods__  # type: ignore[attr-defined]  # ABCMeta's
    return found


@pytest.mark.parametrize(("protocol", "made"), PAIRS)
def test_every_member_is_implemented_and_marked(protocol: type, made: type) -> None:
    """No body of a Protocol, which does nothing, is inherited; each method says that it overrides."""
    assert protocol in made.__bases__
    assert not inspect.isabstract(made)
    for name in abstract_members(protocol):
        member = vars(made)[name]
        function: Any = member.fget if isinstance(member, property) else member
        assert function.__override__


@pytest.mark.parametrize(
    ("protocol", "forgotten"),
    [(protocol, name) for protocol in IMPLEMENTATIONS for name in sorted(abstract_members(protocol))],
)
def test_a_class_that_forgets_a_member_cannot_be_made(protocol: type, forgotten: str) -> None:
    """Without abstract members it would answer None."""
    given = {name: lambda *_: None for name in abstract_members(protocol) - {forgotten}}
    with pytest.raises(TypeError, match=forgotten):
        type("Forgetful", (protocol,), given)()
    type("Whole", (protocol,), {**given, forgotten: None})()


@pytest.mark.parametrize("protocol", IMPLEMENTATIONS)
def test_every_public_member_is_abstract(protocol: type) -> None:
    """One that was added without `@abstractmethod` would be inherited."""
    own = {
        name for name, member in vars(protocol).items() if inspect.isfunction(member) or isinstance(member, property)
    }
    assert abstract_members(protocol) == own - {"__init__", "__subclasshook__"}


@pytest.mark.parametrize("made", SLOTTED)
def test_slotted_classes_have_no_dict(made: type) -> None:
    """One frame and one ticket after the other is made; a base without slots would give each a dict."""
    assert not hasattr(object.__new__(made), "__dict__")


def test_only_protocols_are_inherited_from() -> None:
    """Implementations share code by calling it. Errors are a tree; nothing else is."""
    wrong = [
        f"{made.__module__}.{made.__name__}({base.__name__})"
        for made in own_classes()
        for base in made.__bases__
        if base.__module__.startswith("reidstream_engines")
        and not getattr(base, "_is_protocol", False)
        and not issubclass(made, (BaseException, Enum))
    ]
    assert wrong == []


def own_classes() -> set[type]:
    root = Path(reidstream_engines.__file__).parent
    names = (".".join(path.relative_to(root).with_suffix("").parts) for path in root.rglob("*.py"))
    modules = [import_module(f"reidstream_engines.{name}") for name in names if not name.endswith("__init__")]
    return {
        item
        for module in modules
        for item in vars(module).values()
        if inspect.isclass(item) and item.__module__ == module.__name__
    }
