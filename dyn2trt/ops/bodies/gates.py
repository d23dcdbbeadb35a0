"""The composites that own their gate: the gate in standard ops, then the composite that is given its logits."""

from __future__ import annotations

from dyn2trt.contract import GateKind, OpSchema, composite
from dyn2trt.ops.bodies.text import call, int_lists

_CONVOLUTION = {
    1: """
    gate_axes = Constant <value_ints = [0, 2, 3]> ()
    gate_conv = Unsqueeze (gate_weight, gate_axes)""",
    3: """
    gate_axes = Constant <value_ints = [0]> ()
    gate_perm = Transpose <perm = [2, 0, 1]> (gate_weight)
    gate_conv = Unsqueeze (gate_perm, gate_axes)""",
}

_MEAN = """
    gate_map = Constant <value_ints = [2, 3]> ()
    gate_mean = ReduceMean <keepdims = 0> (gate_x, gate_map)"""

_LINEAR = """
    gate_column = Constant <value_ints = [1]> ()
    gate_matrix = Unsqueeze (gate_pooled_weight, gate_column)
    gate_product = MatMul (gate_mean, gate_matrix)
    gate_global_2d = Add (gate_product, gate_pooled_bias)
    gate_global = Unsqueeze (gate_global_2d, gate_map)"""

_LAYERS = """
    gate_matrix = Transpose <perm = [1, 0]> (gate_weight)
    gate_product = MatMul (gate_mean, gate_matrix)
    gate_linear = Add (gate_product, gate_bias)
    gate_hidden = Relu (gate_linear)
    gate_pooled_matrix = Transpose <perm = [1, 0]> (gate_pooled_weight)
    gate_pooled_product = MatMul (gate_hidden, gate_pooled_matrix)
    gate_scores = Add (gate_pooled_product, gate_pooled_bias)
    gate_skip = Slice (gate_scores, gate_0, gate_1, gate_1)
    gate_execute = Slice (gate_scores, gate_1, gate_2, gate_1)
    gate_global_2d = Sub (gate_execute, gate_skip)
    gate_global = Unsqueeze (gate_global_2d, gate_map)"""


def gated_body(schema: OpSchema, hints: tuple[str, ...]) -> str:
    """The body of a composite that owns its gate.

    Args:
        hints: names of the hints that its nodes have, and hand on.
    """
    assert schema.gate is not None
    assert schema.block is not None
    inner = composite(schema.block)
    given = ["logits" if tensor.name == "mask" else tensor.name for tensor in inner.inputs]
    texts = {a.name: f"{a.kind} = @{a.name}" for a in inner.attributes}
    texts |= {name: f"{'int' if name == 'expanded_channels' else 'string'} = @{name}" for name in hints}
    like = "x" if schema.block.identity_is_x else "identity"
    strided = "strides: ints = @strides" if schema.block.is_strided else ""
    return f"{gate_body(schema.gate, like, strided)}\n{call('y', inner.name, ', '.join(given), **texts)}"


def gate_body(gate: GateKind, like: str, strided: str) -> str:
    """``logits`` of ``x``, in float32.

    Args:
        like: a value on the grid of the logits.
        strided: the attribute of the convolution that says the block's stride, if it has one.
    """
    text = "\n    gate_x = Cast <to = 1> (x)"
    local = "gate_local" if gate.pooled else "logits"
    if gate.kernel is not None:
        attributes = [
            *([f"pads = {[gate.kernel // 2] * 4}"] if gate.kernel > 1 else []),
            *([strided] if strided else []),
        ]
        brackets = f"<{', '.join(attributes)}> " if attributes else ""
        text += f"{_CONVOLUTION[gate.kernel]}\n    {local} = Conv {brackets}(gate_x, gate_conv, gate_bias)"
    if gate.pooled is None:
        return text
    text += _MEAN
    if gate.pooled == "linear":
        return f"{text}{_LINEAR}\n    logits = Add (gate_local, gate_global)"
    return f"""
{int_lists(gate_0=[0], gate_1=[1], gate_2=[2])}{text}{_LAYERS}
    gate_n = Shape <start = 0, end = 1> ({like})
    gate_grid = Shape <start = 2, end = 4> ({like})
    gate_shape = Concat <axis = 0> (gate_n, gate_1, gate_grid)
    logits = Expand (gate_global, gate_shape)"""
