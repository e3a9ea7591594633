"""Parses a model file into a network of TensorRT, and compares it with the spec.

Why here: the parser only says True or False, its errors name nodes, and a network that can be parsed may still not be
usable (two inputs, another size). All this is found before a build takes minutes. Trap: the parser does not copy the
weights: the bytes of the model must live as long as the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reidstream_engines.errors import DeviceUnavailable, ModelError
from reidstream_engines.spec import ModelSpec

from .api import Builder, Network, Parser, Tensor, TensorRt, TensorType, tensor_type
from .manifest import TensorInfo
from .messages import Messages, logger_for

_SHOWN_ERRORS = 3
_VECTOR_RANK = 2


class BuildLog:
    """What TensorRT logs while a plan is built. TensorRT does not hold `logger`, but needs it until the end."""

    def __init__(self, trt: TensorRt) -> None:
        self._messages = Messages()
        self.logger = logger_for(trt, self._messages)

    def text(self) -> str:
        """The messages, for the end of an error's message."""
        return self._messages.text()


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedNetwork:
    """A network with one input and one output. `static_batch`: its only batch size; None if it takes any.

    `model` and `parser` are kept here because the network points into their memory.
    """

    network: Network
    input: TensorInfo
    output: TensorInfo
    static_batch: int | None
    model: bytes
    parser: Parser


def parse_network(
    trt: TensorRt, builder: Builder, log: BuildLog, *, model: bytes, path: Path, spec: ModelSpec, image: TensorType
) -> ParsedNetwork:
    """Parse an ONNX model that contains its weights as a strongly typed network. `image`: the type of its input.

    `path` is for messages. Raises ModelError if TensorRT cannot parse the model (with the node) or the spec does not
    fit it, and DeviceUnavailable if TensorRT cannot make an empty network.
    """
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if flag is None else 1 << int(flag))
    if network is None:
        raise DeviceUnavailable(f"TensorRT cannot make a network{log.text()}")
    parser = trt.OnnxParser(network, log.logger)
    if not parser.parse(model):
        raise ModelError(f"TensorRT cannot run {path}{_errors(parser, log)}")
    _keep_only(network, spec.output.name, path)
    try:
        source, vector = _info(_only_input(network)), _info(network.get_output(0))
        _check_input(source, spec, image)
        _check_output(vector, spec)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    batch = source.shape[0]
    return ParsedNetwork(
        network=network,
        input=source,
        output=vector,
        static_batch=None if batch < 0 else batch,
        model=model,
        parser=parser,
    )


def _errors(parser: Parser, log: BuildLog) -> str:
    found = []
    for index in range(min(parser.num_errors, _SHOWN_ERRORS)):
        error = parser.get_error(index)
        operator = error.node_operator()
        node = f"node {error.node_name() or '(no name)'} ({operator}): " if operator else ""
        found.append(node + " ".join(error.desc().split()))
    if parser.num_errors > _SHOWN_ERRORS:
        found.append(f"and {parser.num_errors - _SHOWN_ERRORS} more")
    return f": {'; '.join(found)}" if found else log.text()


def _only_input(network: Network) -> Tensor:
    if network.num_inputs != 1:
        names = ", ".join(network.get_input(index).name for index in range(network.num_inputs))
        raise ModelError(
            f"the network has {network.num_inputs} inputs ({names or 'none'}); it must have one, the image"
        )
    return network.get_input(0)


def _keep_only(network: Network, name: str, path: Path) -> None:
    """Remove the other outputs, which would be computed for nothing."""
    outputs = [network.get_output(index) for index in range(network.num_outputs)]
    if name not in [tensor.name for tensor in outputs]:
        raise ModelError(f"{path}: no output {name!r}; it has {', '.join(tensor.name for tensor in outputs) or 'none'}")
    for tensor in outputs:
        if tensor.name != name:
            network.unmark_output(tensor)


def _info(tensor: Tensor) -> TensorInfo:
    return TensorInfo(name=tensor.name, dtype=tensor_type(tensor.dtype), shape=tuple(tensor.shape))


def _check_input(found: TensorInfo, spec: ModelSpec, image: TensorType) -> None:
    wanted = (len(spec.input.mean), spec.input.height, spec.input.width)
    fits = len(found.shape) == 1 + len(wanted) and all(
        axis in (size, -1) for axis, size in zip(found.shape[1:], wanted, strict=True)
    )
    if found.name != spec.input.name or not fits:
        raise ModelError(
            f"the network's input is {found.name} {list(found.shape)}; "
            f"the spec says {spec.input.name} [batch, {', '.join(map(str, wanted))}]"
        )
    if found.dtype is not image:
        raise ModelError(f"the network's input is {found.dtype.value}; {image.value} is needed")


def _check_output(found: TensorInfo, spec: ModelSpec) -> None:
    if len(found.shape) != _VECTOR_RANK or found.shape[1] not in (spec.output.dim, -1):
        raise ModelError(
            f"the network's output is {found.name} {list(found.shape)}; the spec says [batch, {spec.output.dim}]"
        )
    if found.dtype is not TensorType.FP32:
        raise ModelError(f"the network's output is {found.dtype.value}; {TensorType.FP32.value} is needed")
