"""What a composite's adaptive body is told about its node: attributes that follow from the shapes the model states."""

from __future__ import annotations

import math
from collections.abc import Sequence

import onnx

from dyn2trt.contract import SCHEMAS

_INVERTED = "GatedInvertedResidual"

SMALL_MACS = 60_000_000
"""Below this many dense multiply-accumulates a block runs dense: choosing and gathering would cost more."""


def node_hints(model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto]) -> list[dict[str, str | int]]:
    """Return for each composite node its ``schedule``, and ``expanded_channels`` where the op is told it.

    No hints, and so the composition as body, for an inverted residual whose weights are no initializers (its depthwise
    convolution's group is unknown, and bodies are shared by all nodes of an op) and for bfloat16 (before opset 22 a
    Conv of bfloat16 is invalid, and ONNX Runtime's CPU provider runs none).

    Args:
        model: with its functions, so that shapes can be inferred through them.
        nodes: composite nodes of the model.
    """
    shapes = _known_shapes(model)
    types = {i.name: i.data_type for i in model.graph.initializer}
    if onnx.TensorProto.BFLOAT16 in {types.get(value) for node in nodes for value in node.input}:
        return [{} for _ in nodes]
    known = all(node.input[2] in types for node in nodes if node.op_type == _INVERTED)
    hints: list[dict[str, str | int]] = []
    for node in nodes:
        hint: dict[str, str | int] = {}
        if node.op_type != _INVERTED or known:
            hint["schedule"] = "dense" if _is_small(node, shapes) else "adaptive"
        if node.op_type == _INVERTED and known:
            hint["expanded_channels"] = shapes[node.input[2]][0]
        hints.append(hint)
    return hints


def computed_whole(model: onnx.ModelProto) -> int:
    """Number of composite nodes whose body computes every site and masks the result, because they are small."""
    attributes = (a for node in model.graph.node for a in node.attribute if node.op_type in SCHEMAS)
    return sum(attribute.name == "schedule" and attribute.s == b"dense" for attribute in attributes)


def _is_small(node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]]) -> bool:
    names = [tensor.name for tensor in SCHEMAS[node.op_type].inputs]
    weights = [shapes.get(value, ()) for name, value in zip(names, node.input, strict=True) if name.endswith("_weight")]
    grid = shapes.get(node.input[1])
    return grid is not None and math.prod(grid) * sum(map(math.prod, weights)) < SMALL_MACS


def _known_shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Shapes of the graph's values by name, those stated and those that ONNX infers; a dynamic batch counts as 1.

    So a block of a model with a dynamic batch is judged by one image, as if the batch were small.
    """
    inferred = onnx.shape_inference.infer_shapes(model)
    shapes = {i.name: tuple(i.dims) for i in model.graph.initializer}
    for value in (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output):
        dims = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(d.HasField("dim_value") for d in dims[1:]):
            shapes[value.name] = tuple(d.dim_value if d.HasField("dim_value") else 1 for d in dims)
    return shapes
