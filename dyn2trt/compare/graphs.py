"""The ONNX graphs that a comparison runs, derived from the exported one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import onnx
import onnx_ir as ir

from dyn2trt.contract import MASK_SCATTER, SCHEMAS
from dyn2trt.errors import Dyn2trtError
from dyn2trt.export.surgery import with_decision_outputs, with_logit_outputs, without_decision_outputs
from dyn2trt.export.surgery.graph import border, close_model, gated_nodes, open_model
from dyn2trt.export.surgery.overruled import with_overruled_gates
from dyn2trt.runtimes.names import block_input, block_output


def observed(model: onnx.ModelProto, *, forced: bool = False, taps: Sequence[str] = ()) -> onnx.ModelProto:
    """Return the model with its gates' logits, and the coefficients of its dynamic kernels, as outputs.

    Args:
        forced: take the masks from inputs ``forced{i}`` instead; the logits stay the gates' own.
        taps: gated blocks or dynamic convolutions whose first input and output become float32 outputs too.
    """
    model = with_decision_outputs(model)
    model = with_overruled_gates(model) if forced else with_logit_outputs(model)
    # The logits say more than masks, which under forced masks repeat what is fed.
    model = without_decision_outputs(model, masks_alone=True)
    return _with_block_outputs(model, taps) if taps else model


def _with_block_outputs(model: onnx.ModelProto, blocks: Sequence[str]) -> onnx.ModelProto:
    opened, metadata = open_model(model)
    convolutions = {part.name: part for predictor in metadata.kernels for part in predictor.convolutions}
    for block in blocks:
        values = border(opened.graph, convolutions[block]) if block in convolutions else _border(opened, block)
        for value, name in zip(values, (block_input(block), block_output(block)), strict=True):
            cast = ir.Value(name=name, type=ir.TensorType(ir.DataType.FLOAT), shape=value.shape)
            node = ir.Node("", "Cast", [value], [ir.AttrInt64("to", ir.DataType.FLOAT)], outputs=[cast], name=name)
            opened.graph.append(node)
            opened.graph.outputs.append(cast)
    return close_model(opened, metadata)


def _border(model: ir.Model, block: str) -> tuple[ir.Value, ir.Value]:
    """What a gated block reads, and what it gives."""
    nodes = list(_nodes_of(model, block))
    entering, leaving = (next(filter(None, map(end, nodes)), None) for end in (_dense_input, _result))
    if entering is None or leaving is None:
        raise Dyn2trtError(f"block {block} of the metadata is not as such in the graph; export the model again")
    return entering, leaving


def _nodes_of(model: ir.Model, block: str) -> Iterator[ir.Node]:
    """The block's composite, or its primitives, in execution order."""
    for node in gated_nodes(model):
        if node.name == block or (node.name or "").startswith(f"{block}/"):
            yield node


def _result(node: ir.Node) -> ir.Value | None:
    """What the block gives, where the node is the one that gives it."""
    return node.outputs[0] if SCHEMAS[node.op_type].is_composite or node.op_type == MASK_SCATTER.name else None


def _dense_input(node: ir.Node) -> ir.Value | None:
    """The node's x; a MaskGather that only makes a site set is given its mask in the place of x."""
    names = [tensor.name for tensor in SCHEMAS[node.op_type].inputs]
    inputs = dict(zip(names, node.inputs, strict=False))
    x = inputs.get("x")
    return None if x is inputs.get("mask") else x
