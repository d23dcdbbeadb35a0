"""Composites written out as the primitives that they are defined by."""

from __future__ import annotations

from dataclasses import replace

import onnx
import onnx_ir as ir
from onnx_ir.passes import common

from dyn2trt.contract import DOMAIN, SCHEMAS, VERSION
from dyn2trt.export.metadata import read_metadata
from dyn2trt.export.surgery.graph import PLUGIN_ATTRIBUTES, close_model, gated_nodes, open_model, unique
from dyn2trt.ops.bodies import attach_bodies

_BLOCK = "dyn2trt.block"


def inline_composites(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace every composite node by its body, whose primitives then stand at the top level of the graph.

    Needed to run composites as primitive plugins: TensorRT tries plugins at the top level only. The nodes of a block
    are named ``<block>/<op>``; logits keep their names.
    """
    if read_metadata(model).ops == "composite":
        model = attach_bodies(model, quick=False)  # A quick body does not consist of primitives.
    opened, metadata = open_model(model)
    if metadata.ops != "composite":
        return close_model(opened, metadata)
    for node in gated_nodes(opened):
        if SCHEMAS[node.op_type].is_composite:
            # The inliner copies a call's metadata to the nodes that replace it.
            node.metadata_props[_BLOCK] = node.name or node.op_type
    common.InlinePass(lambda function: function.domain == DOMAIN and SCHEMAS[function.name].is_composite)(opened)
    taken = {str(node.name) for node in opened.graph if _BLOCK not in node.metadata_props}
    for node in opened.graph:
        block = node.metadata_props.pop(_BLOCK, None)
        if block is None:
            continue
        node.name = unique(f"{block}/{node.op_type}", taken)
        for output in node.outputs:
            if output.name and not output.is_graph_output():
                output.name = f"{node.name}.{output.name}"
        if node.domain == DOMAIN:
            for name, value in zip(PLUGIN_ATTRIBUTES, (DOMAIN, str(VERSION)), strict=True):
                node.attributes[name] = ir.AttrString(name, value)
    return close_model(opened, replace(metadata, ops="primitive"))
