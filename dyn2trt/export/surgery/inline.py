"""Composites written out: their gates in standard ops, and all of a block as the primitives that it is defined by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import onnx
import onnx_ir as ir
from onnx_ir.passes import common

from dyn2trt.contract import DOMAIN, PLUGIN_ATTRIBUTES, SCHEMAS, OpSchema
from dyn2trt.export.metadata import read_metadata
from dyn2trt.export.surgery.graph import close_model, gated_nodes, open_model, unique
from dyn2trt.ops.bodies import attach_bodies, functions_for

_BLOCK = "dyn2trt.block"


def inline_composites(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace every composite node by its body, whose primitives then stand at the top level of the graph.

    Needed to run composites as primitive plugins: TensorRT tries plugins at the top level only. The nodes of a block
    are named ``<block>/<op>``, those of its gate ``<block>/gate/<op>``; logits keep their names.
    """
    if read_metadata(model).ops == "composite":
        model = attach_bodies(model, quick=False)  # A quick body does not consist of primitives.
    opened, metadata = open_model(model)
    if metadata.ops != "composite":
        return close_model(opened, metadata)
    put_gates_outside(opened)
    _inline(opened, lambda schema: schema.is_composite, lambda block, node: f"{block}/{node.op_type}")
    return close_model(opened, replace(metadata, ops="primitive"))


def put_gates_outside(model: ir.Model) -> None:
    """Replace every composite that owns its gate by the gate in standard ops and the composite without it, in place.

    Blocks and logits keep their names; the nodes of a gate are named ``<block>/gate/<op>``. What a composite was told
    for its body's sake it hands on.
    """
    needed = {node.op_type for node in gated_nodes(model) if SCHEMAS[node.op_type].owns_gate}
    if needed - {function.name for function in model.functions.values()}:
        for function in functions_for(ir.serde.serialize_model(model)):
            made = ir.serde.deserialize_function(function)
            model.functions.setdefault(made.identifier(), made)
    _inline(
        model,
        lambda schema: schema.owns_gate,
        lambda block, node: block if node.domain == DOMAIN else f"{block}/gate/{node.op_type}",
    )


def _inline(model: ir.Model, wanted: Callable[[OpSchema], bool], name: Callable[[str, ir.Node], str]) -> None:
    """Put bodies in the place of the nodes of the ``wanted`` ops; ``name`` says how a node of a block is called."""
    kept: set[str | None] = set()
    for node in gated_nodes(model):
        if wanted(SCHEMAS[node.op_type]):
            # The inliner copies a call's metadata to the nodes that replace it.
            node.metadata_props[_BLOCK] = node.name or node.op_type
            kept |= {value.name for value in node.outputs}
    common.InlinePass(lambda function: function.domain == DOMAIN and wanted(SCHEMAS[function.name]))(model)
    taken = {str(node.name) for node in model.graph if _BLOCK not in node.metadata_props}
    for node in model.graph:
        block = node.metadata_props.pop(_BLOCK, None)
        if block is None:
            continue
        node.name = unique(name(block, node), taken)
        for output in node.outputs:
            if output.name and output.name not in kept:
                output.name = f"{node.name}.{output.name}"
        if node.domain == DOMAIN:
            for attribute, value in PLUGIN_ATTRIBUTES.items():
                node.attributes[attribute] = ir.AttrString(attribute, value)
