"""What NVIDIA's ONNX parser refuses in bfloat16."""

from __future__ import annotations

import onnx_ir as ir

_REFUSED = ("HardSigmoid", "HardSwish")


def widen_refused(model: ir.Model) -> None:
    """Let the activations that the parser takes in float32 and float16 only compute in float32, in place.

    torch computes them so in bfloat16 too, and rounds the result.
    """
    graph = model.graph
    for node in list(graph):
        x = node.inputs[0] if node.inputs else None
        if node.op_type not in _REFUSED or x is None or x.dtype != ir.DataType.BFLOAT16:
            continue
        widened = _cast(f"{node.name}/widen", x, ir.DataType.FLOAT)
        graph.insert_before(node, widened)
        node.replace_input_with(0, widened.outputs[0])
        result = node.outputs[0]
        narrowed = _cast(f"{node.name}/narrow", result, ir.DataType.BFLOAT16)
        graph.insert_after(node, narrowed)
        users = [(user, index) for user, index in result.uses() if user is not narrowed]
        for user, index in users:
            user.replace_input_with(index, narrowed.outputs[0])
        result.type = ir.TensorType(ir.DataType.FLOAT)


def _cast(name: str, x: ir.Value, to: ir.DataType) -> ir.Node:
    attributes = [ir.AttrInt64("to", int(to))]
    node = ir.Node("", "Cast", [x], attributes, name=name, num_outputs=1)
    node.outputs[0].name, node.outputs[0].shape, node.outputs[0].type = f"{name}.out", x.shape, ir.TensorType(to)
    return node
