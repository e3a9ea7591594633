"""Networks as other tools export them, with random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def tao_export(path: Path, dim: int = 1024) -> Path:
    """The names and shapes of a TAO export."""
    rng = np.random.default_rng(0)
    weights = numpy_helper.from_array(rng.normal(size=(dim, 3 * 16 * 8)).astype(np.float32), "weights")
    nodes = [
        helper.make_node("AveragePool", ["input"], ["pooled"], kernel_shape=[16, 16], strides=[16, 16]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weights"], ["fc_pred"], transB=1),
    ]
    image = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, 256, 128])
    vector = helper.make_tensor_value_info("fc_pred", TensorProto.FLOAT, ["N", dim])
    graph = helper.make_graph(nodes, "export", [image], [vector], [weights])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path
