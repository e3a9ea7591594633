"""Makes `descriptor.onnx`: colours and textures of a crop, counted in horizontal stripes.

    python -m reidstream_engines.default_model.build

The crop, 64 x 128, is halved and described in two ways:

- Colour. A pixel has a log luminance, in part relative to the crop's (exposure), and a red-green and a blue-yellow
  chromaticity, in part relative to the crop's (tint of the light). It votes softly for one of 5 luminances times 19
  chromaticities. Votes are pooled in stripes; their square roots are centred and whitened.
- Texture. It is counted, softly, whether the log luminances 1 or 2 pixels on both sides of a pixel differ by more than
  a threshold: in 4 directions and both signs, pooled in the same stripes.

Trap: exponentials and eigenvectors differ in their last bits from machine to machine, so every constant is rounded
before it is written; the file is the same bytes wherever it is made.
"""

from __future__ import annotations

import math
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from reidstream_engines.spec import ColorOrder, CropRule, Fit, InputSpec, ModelSpec, OutputSpec, Resize
from reidstream_engines.spec_source import encode_spec_metadata

from . import NAME, PATH
from .weights import (
    CHANNELS,
    CHROMA_LIMIT,
    CHROMA_SPREAD,
    COMPONENTS,
    CROP_HEIGHT,
    CROP_WIDTH,
    DARK,
    DIM,
    EXPOSURE_SHARE,
    HEIGHT,
    LUMINANCE_SPREAD,
    MARGIN,
    SMALL,
    SOME,
    STRIPES,
    TEXTURE_WEIGHT,
    TINT_SHARE,
    USUAL_LUMINANCE,
    USUAL_ROOT,
    WIDTH,
    Floats,
    chroma_bins,
    luminance_bins,
    step_kernels,
    stripe_weights,
    stripes,
    torso,
    whitening,
)

OPSET = 17
IR_VERSION = 8


class _Graph:
    """Nodes and constants in the order they were added; a node is named like its output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, operator: str, output: str, *inputs: str | Floats | float, **attributes: int | list[int]) -> str:
        """A node with one output. Inputs are names, or numbers that become float32 constants."""
        names = [
            value if isinstance(value, str) else self._floats(f"{output}.{i}", value) for i, value in enumerate(inputs)
        ]
        node = helper.make_node(operator, names, [output], name=output)
        node.attribute.extend(helper.make_attribute(name, value) for name, value in attributes.items())
        self.nodes.append(node)
        return output

    def reshape(self, source: str, output: str, *shape: int) -> str:
        """0 keeps a dimension."""
        return self.add("Reshape", output, source, self._ints(f"{output}.shape", *shape))

    def rows(self, source: str, output: str, first: int, last: int) -> str:
        """Rows first to last (exclusive) of (batch, rows, columns)."""
        starts, ends = self._ints(f"{output}.first", first), self._ints(f"{output}.last", last)
        return self.add("Slice", output, source, starts, ends, self._ints(f"{output}.axis", 1))

    def total(self, source: str, output: str) -> str:
        """(batch, 1, columns): rows summed."""
        return self.add("ReduceSum", output, source, self._ints(f"{output}.axis", 1), keepdims=1)

    def scaled(self, source: str, output: str, length: float) -> str:
        """Rows of (batch, n), all of about this length."""
        norm = self.add("ReduceL2", f"{output}.norm", source, axes=[1], keepdims=1)
        unit = self.add("Div", f"{output}.unit", source, self.add("Add", f"{output}.divisor", norm, SMALL))
        return self.add("Mul", output, unit, length)

    def _floats(self, name: str, values: Floats | float) -> str:
        """Rounded to 2**-16 of the power of two above the largest magnitude."""
        array = np.asarray(values, np.float64)
        step = 2.0 ** (math.frexp(np.abs(array).max())[1] - 16)
        rounded = np.round(array / step) * step + 0.0  # turns -0.0 into 0.0
        self.constants.append(numpy_helper.from_array(rounded.astype("<f4"), name))
        return name

    def _ints(self, name: str, *values: int) -> str:
        self.constants.append(numpy_helper.from_array(np.array(values, "<i8"), name))
        return name


def _pixels(graph: _Graph) -> tuple[str, str, str]:
    """Names of (log luminance, luminance to vote with, chromaticity to vote with), each (batch, 1 or 2, pixels)."""
    half = graph.add("AveragePool", "half", "input", kernel_shape=[2, 2], strides=[2, 2])
    safe = graph.add("Clip", "safe", half, 0.0, 1.0)
    mix = np.array([[1 / 3, 1 / 3, 1 / 3], [0.5, -0.5, 0.0], [0.25, 0.25, -0.5]])[:, :, None, None]
    mixed = graph.add("Conv", "mixed", safe, mix, np.array([DARK, 0, 0]))
    pixels = graph.reshape(mixed, "pixels", 0, 3, HEIGHT * WIDTH)
    bright, differences = graph.rows(pixels, "bright", 0, 1), graph.rows(pixels, "differences", 1, 3)
    light = graph.add("Log", "light", bright)

    exposure = graph.add("Log", "exposure", graph.add("MatMul", "torso", bright, torso()))
    taken = graph.add("Mul", "exposure.taken", exposure, EXPOSURE_SHARE)
    usual = (1 - EXPOSURE_SHARE) * math.log(USUAL_LUMINANCE + DARK)
    luminance = graph.add("Sub", "luminance", light, graph.add("Add", "exposure.zero", taken, usual))

    whole = graph.add("ReduceMean", "whole", pixels, axes=[2], keepdims=1)
    tint = graph.add("Div", "tint", graph.rows(whole, "tint.differences", 1, 3), graph.rows(whole, "tint.bright", 0, 1))
    taken = graph.add("Mul", "tint.taken", tint, TINT_SHARE)
    rest = graph.add("Sub", "chroma.any", graph.add("Div", "chroma.seen", differences, bright), taken)
    return light, luminance, graph.add("Clip", "chroma", rest, -CHROMA_LIMIT, CHROMA_LIMIT)


def _votes(graph: _Graph, source: str, bins: Floats, spread: float) -> str:
    """(batch, bins, pixels) from (batch, coordinates, pixels): normalised Gaussians around the bins, as for the prior.

    The exponents leave out the pixel's own square, which cancels. The exponent of the middle bin is then 0, and the
    largest stays below 50, so the sum can become neither 0 nor infinite.
    """
    dot = graph.add("MatMul", f"{source}.dot", bins / spread, source)
    exponent = graph.add("Add", f"{source}.exponent", dot, -0.5 * (bins**2).sum(axis=1, keepdims=True))
    raised = graph.add("Exp", f"{source}.raised", exponent)
    return graph.add("Div", f"{source}.votes", raised, graph.total(raised, f"{source}.total"))


def _colour(graph: _Graph, luminance: str, chroma: str) -> str:
    """(batch, STRIPES * COMPONENTS). A stripe's joint histogram is a product of matrices: the votes are independent."""
    rows, columns = len(luminance_bins()), len(chroma_bins())
    by_luminance = _votes(graph, luminance, luminance_bins(), LUMINANCE_SPREAD)
    by_chroma = _votes(graph, chroma, chroma_bins(), CHROMA_SPREAD)
    apart = graph.reshape(by_luminance, "joint.apart", 0, 1, rows, HEIGHT * WIDTH)
    striped = graph.add("Mul", "joint.striped", apart, stripes()[:, None])
    left = graph.reshape(striped, "joint.left", 0, STRIPES * rows, HEIGHT * WIDTH)
    joint = graph.add("MatMul", "joint", left, graph.add("Transpose", "joint.right", by_chroma, perm=[0, 2, 1]))
    root = graph.add("Sqrt", "root", graph.reshape(joint, "histograms", 0, STRIPES, rows * columns))
    projection, centre = whitening()
    white = graph.add("Sub", "white", graph.add("MatMul", "projected", root, projection), centre)
    weighted = graph.add("Mul", "colour.weighted", white, stripe_weights()[:, None])
    return graph.scaled(graph.reshape(weighted, "colour.flat", 0, STRIPES * COMPONENTS), "colour", 1)


def _texture(graph: _Graph, light: str) -> str:
    """(batch, CHANNELS * STRIPES)."""
    image = graph.reshape(light, "image", 0, 1, HEIGHT, WIDTH)
    steps = graph.add(
        "Clip", "steps", graph.add("Conv", "steps.any", image, step_kernels(), np.full(CHANNELS, -0.5)), 0, 1
    )
    inner = graph.reshape(steps, "steps.flat", 0, CHANNELS, (HEIGHT - 2 * MARGIN) * (WIDTH - 2 * MARGIN))
    rates = graph.add("Add", "rates", graph.add("MatMul", "rates.pooled", inner, stripes(MARGIN).T), SOME)
    centred = graph.add("Sub", "texture.centred", graph.add("Sqrt", "rates.root", rates), USUAL_ROOT)
    weighted = graph.add("Mul", "texture.weighted", centred, stripe_weights())
    return graph.scaled(graph.reshape(weighted, "texture.flat", 0, CHANNELS * STRIPES), "texture", TEXTURE_WEIGHT)


def _spec() -> ModelSpec:
    """What the file says about itself, without digests: those are computed from the file."""
    crops = InputSpec(
        name="input",
        width=CROP_WIDTH,
        height=CROP_HEIGHT,
        color_order=ColorOrder.RGB,
        resize=Resize.OPENCV_BILINEAR,
        fit=Fit.STRETCH,
        crop_rule=CropRule.EXACT,
        scale=1 / 255,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
    )
    rows = OutputSpec(name="embedding", dim=DIM, l2_normalize=True)
    return ModelSpec(name=NAME, profile="metadata", artifact_sha256="", space_id="", input=crops, output=rows)


def build() -> bytes:
    """The model file: the same bytes on every machine."""
    graph = _Graph()
    light, luminance, chroma = _pixels(graph)
    graph.add("Concat", "embedding", _colour(graph, luminance, chroma), _texture(graph, light), axis=1)
    spec = _spec()
    shape: list[str | int | None] = ["batch", 3, spec.input.height, spec.input.width]
    crops = helper.make_tensor_value_info(spec.input.name, TensorProto.FLOAT, shape)
    rows = helper.make_tensor_value_info(spec.output.name, TensorProto.FLOAT, ["batch", spec.output.dim])
    model = helper.make_model(
        helper.make_graph(graph.nodes, NAME, [crops], [rows], graph.constants),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="reidstream",
    )
    helper.set_model_props(model, encode_spec_metadata(spec))
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def main() -> None:
    """Write the file beside this module."""
    PATH.write_bytes(build())
    sys.stdout.write(f"{PATH}: {PATH.stat().st_size} bytes\n")


if __name__ == "__main__":
    main()
