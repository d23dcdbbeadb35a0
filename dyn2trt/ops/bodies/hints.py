"""What a composite's adaptive body is told about its node: attributes that follow from the shapes the model states."""

from __future__ import annotations

import math
from collections.abc import Sequence

import onnx

from dyn2trt.contract import SCHEMAS, BlockKind

SMALL_MACS = 60_000_000
"""Below this many dense multiply-accumulates a block runs dense: choosing and gathering would cost more."""


def node_hints(model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto]) -> list[dict[str, str | int]]:
    """Return for each composite node its ``schedule``, and ``expanded_channels`` where the op is told it.

    No hints, and so the composition as body, for a block whose depthwise weights are no initializers (the convolution's
    group is unknown, and bodies are shared by all nodes of a block) and for bfloat16 (before opset 22 a
    Conv of bfloat16 is invalid, and ONNX Runtime's CPU provider runs none).

    Args:
        model: with its functions, so that shapes can be inferred through them.
        nodes: composite nodes of the model.
    """
    shapes = _known_shapes(model)
    types = {i.name: i.data_type for i in model.graph.initializer}
    if onnx.TensorProto.BFLOAT16 in {types.get(value) for node in nodes for value in node.input}:
        return [{} for _ in nodes]
    depthwise = {id(node): _depthwise_weight(node) for node in nodes}
    unknown = {_block(node) for node in nodes if depthwise[id(node)] not in {None, *types}}
    hints: list[dict[str, str | int]] = []
    for node in nodes:
        hint: dict[str, str | int] = {}
        if _block(node) not in unknown:
            hint["schedule"] = "dense" if _is_small(node, shapes) else "adaptive"
            if (weight := depthwise[id(node)]) is not None:
                hint["expanded_channels"] = shapes[weight][-1]
        hints.append(hint)
    return hints


def computed_whole(model: onnx.ModelProto) -> int:
    """Number of composite nodes whose body computes every site and masks the result, because they are small."""
    attributes = (a for node in model.graph.node for a in node.attribute if node.op_type in SCHEMAS)
    return sum(attribute.name == "schedule" and attribute.s == b"dense" for attribute in attributes)


def _block(node: onnx.NodeProto) -> BlockKind:
    block = SCHEMAS[node.op_type].block
    assert block is not None
    return block


def _inputs(node: onnx.NodeProto) -> dict[str, str]:
    """Values that a node reads, by the names of the schema's inputs."""
    return {tensor.name: value for tensor, value in zip(SCHEMAS[node.op_type].inputs, node.input, strict=True)}


def _depthwise_weight(node: onnx.NodeProto) -> str | None:
    """The weight of the block's depthwise convolution, None where it has none."""
    names = [convolution.name for convolution in _block(node).convolutions if convolution.depthwise]
    return _inputs(node)[f"{names[0]}_weight"] if names else None


def _is_small(node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]]) -> bool:
    inputs = _inputs(node)
    weights = [shapes.get(inputs[f"{convolution.name}_weight"], ()) for convolution in _block(node).convolutions]
    grid = shapes.get(inputs["mask"] if "mask" in inputs else node.output[1])
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
