"""Small ONNX models for the tests of the build."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from dyn2trt.contract import VERSION

PRECISIONS = {"fp32": TensorProto.FLOAT, "fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}


def save(
    path: Path,
    nodes: list[onnx.NodeProto],
    *,
    shape: tuple[int | str, ...] = (2, 3, 8, 8),
    initializers: list[onnx.TensorProto] | None = None,
    functions: list[onnx.FunctionProto] | None = None,
) -> Path:
    """Write a model from ``x`` of ``shape`` to ``out0``, both float32."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    out = helper.make_tensor_value_info("out0", TensorProto.FLOAT, None)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("dyn2trt", VERSION), helper.make_opsetid("acme", 1)]
    graph = helper.make_graph(nodes, "test", [x], [out], initializer=initializers or [])
    onnx.save(helper.make_model(graph, functions=functions or [], opset_imports=opsets, ir_version=10), path)
    return path


def dense_model(path: Path, precision: str = "fp32", *, shape: tuple[int | str, ...] = (2, 3, 8, 8)) -> Path:
    """Two 3×3 convolutions with a relu between, in ``precision`` inside."""
    kind = PRECISIONS[precision]
    values = np.linspace(-1, 1, 81, dtype=np.float32).reshape(3, 3, 3, 3)
    weights = [helper.make_tensor(name, kind, values.shape, values.flatten().tolist()) for name in ("w0", "w1")]
    nodes = [
        helper.make_node("Cast", ["x"], ["x_"], to=kind, name="enter"),
        helper.make_node("Conv", ["x_", "w0"], ["a"], pads=[1, 1, 1, 1], name="conv0"),
        helper.make_node("Relu", ["a"], ["b"], name="relu"),
        helper.make_node("Conv", ["b", "w1"], ["c"], pads=[1, 1, 1, 1], name="conv1"),
        helper.make_node("Cast", ["c"], ["out0"], to=TensorProto.FLOAT, name="leave"),
    ]
    return save(path, nodes, shape=shape, initializers=weights)


def gated_model(
    path: Path, *, blocks: int = 3, version: str = str(VERSION), body: str = "NonZero", **attributes: object
) -> Path:
    """Gated inverted residuals, all reading one gate, whose stand-in body holds the op ``body``."""
    channels, hidden = 3, 6
    shapes = {"we": (hidden, 1, 1, channels), "be": (hidden,), "wd": (3, 3, hidden), "bd": (hidden,)}
    shapes |= {"wp": (channels, 1, 1, hidden), "bp": (channels,), "wg": (1, channels, 1, 1)}
    weights = [numpy_helper.from_array(np.full(shape, 0.1, np.float32), name) for name, shape in shapes.items()]
    nodes = [helper.make_node("Conv", ["x", "wg"], ["logits0"], name="gate")]
    values = ["x", *(f"y{i}" for i in range(1, blocks)), "out0"]
    for i in range(blocks):
        inputs = [values[i], "logits0", "we", "be", "wd", "bd", "wp", "bp"]
        node = helper.make_node(
            "GatedInvertedResidual",
            inputs,
            [values[i + 1]],
            name=f"blocks.{i}",
            domain="dyn2trt",
            plugin_namespace="dyn2trt",
            plugin_version=version,
            **attributes,
        )
        nodes.append(node)
    return save(path, nodes, initializers=weights, functions=[_stand_in(body)])


def _stand_in(body: str) -> onnx.FunctionProto:
    names = ["x", "mask", "we", "be", "wd", "bd", "wp", "bp"]
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    if body == "NonZero":
        nodes = [
            helper.make_node("Cast", ["mask"], ["b"], to=TensorProto.BOOL),
            helper.make_node("NonZero", ["b"], ["sites"]),
            helper.make_node("Shape", ["sites"], ["shape"]),
            helper.make_node("Cast", ["shape"], ["count"], to=TensorProto.FLOAT),
            helper.make_node("ReduceSum", ["count"], ["sum"], keepdims=0),
            helper.make_node("Add", ["x", "sum"], ["y"]),
        ]
    attributes = ["plugin_namespace", "plugin_version", "threshold", "activation", "colour"]
    return helper.make_function(
        "dyn2trt", "GatedInvertedResidual", names, ["y"], nodes, [helper.make_opsetid("", 18)], attributes
    )
