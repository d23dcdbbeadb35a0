"""What the surgeries share: opening a model, finding its gates, closing it again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes import common

from dyn2trt.contract import DOMAIN, SCHEMAS
from dyn2trt.errors import Dyn2trtError
from dyn2trt.export.metadata import (
    Block,
    DynamicConvolution,
    ExportMetadata,
    KernelPredictor,
    read_metadata,
    write_metadata,
)


@dataclass(frozen=True)
class Gate:
    """The gate of one block: its logits, and the threshold from which a site is active."""

    block: Block
    logits: ir.Value
    threshold: float


def open_model(model: onnx.ModelProto) -> tuple[ir.Model, ExportMetadata]:
    """Return an editable copy of ``model`` and its metadata.

    Raises:
        Dyn2trtError: the model was not exported by dyn2trt.
    """
    metadata = read_metadata(model)
    return ir.serde.deserialize_model(model), metadata


def close_model(model: ir.Model, metadata: ExportMetadata) -> onnx.ModelProto:
    """Drop what nothing reads any more, sort the nodes, and write ``metadata``."""
    common.RemoveUnusedNodesPass()(model)
    common.RemoveUnusedFunctionsPass()(model)
    common.RemoveUnusedOpsetsPass()(model)
    model.graph.sort()
    proto = to_proto(model)
    write_metadata(proto, metadata)
    return proto


def to_proto(model: ir.Model) -> onnx.ModelProto:
    """Serialise without stating the shapes of initializers a second time.

    Tools that transpose a weight in place, as ``onnxruntime.quantization`` does, leave the second statement stale, and
    shape inference then fails.
    """
    proto = ir.serde.serialize_model(model)
    stated = {tensor.name for tensor in proto.graph.initializer}
    kept = [info for info in proto.graph.value_info if info.name not in stated]
    del proto.graph.value_info[:]
    proto.graph.value_info.extend(kept)
    return proto


def gated_nodes(model: ir.Model) -> list[ir.Node]:
    """The nodes of domain ``dyn2trt`` at the top level of the graph, in execution order."""
    return [node for node in model.graph if node.domain == DOMAIN]


def attributes_of(node: ir.Node) -> dict[str, Any]:
    """The schema's attributes of a node, defaults filled in; what the plugin or the body is told beside goes."""
    schema = SCHEMAS[node.op_type]
    given = {a.name: node.attributes[a.name].value for a in schema.attributes if a.name in node.attributes}
    return schema.complete({name: tuple(v) if isinstance(v, list) else v for name, v in given.items()})


def logits_of(node: ir.Node) -> ir.Value | None:
    """The logits that a gated node decides by: its output where it owns its gate, else its input; None without any."""
    schema = SCHEMAS[node.op_type]
    if schema.owns_gate:
        return node.outputs[1]
    names = [tensor.name for tensor in schema.inputs]
    return node.inputs[names.index("mask")] if "mask" in names else None


def gates(model: ir.Model, metadata: ExportMetadata) -> list[Gate]:
    """The gates in execution order.

    Raises:
        Dyn2trtError: a gate that the metadata names is not in the graph.
    """
    masks: dict[str | None, tuple[ir.Value, Any]] = {}
    for node in gated_nodes(model):
        if (value := logits_of(node)) is not None:
            masks.setdefault(value.name, (value, attributes_of(node)["threshold"]))
    found = []
    for block in metadata.blocks:
        if block.logits not in masks:
            raise Dyn2trtError(
                f"the ONNX model's metadata names gate {block.logits} of block {block.name}, but no node has it: "
                "the graph was changed after export; export it again"
            )
        value, threshold = masks[block.logits]
        found.append(Gate(block, value, float(threshold)))
    return found


def coefficients(model: ir.Model, metadata: ExportMetadata) -> list[tuple[KernelPredictor, ir.Value]]:
    """The predictors of dynamic kernels and the values that hold their coefficients, in execution order.

    Raises:
        Dyn2trtError: a predictor that the metadata names is not in the graph.
    """
    values = {value.name: value for node in model.graph for value in node.outputs}
    for predictor in metadata.kernels:
        if predictor.coefficients not in values:
            raise Dyn2trtError(
                f"the ONNX model's metadata names {predictor.coefficients} of {predictor.name}, but no node makes it: "
                "the graph was changed after export; export it again"
            )
    return [(predictor, values[predictor.coefficients]) for predictor in metadata.kernels]


def border(graph: ir.Graph, convolution: DynamicConvolution) -> tuple[ir.Value, ir.Value]:
    """What a dynamic convolution reads besides its coefficients and constants, and what it gives.

    Found by the names of its nodes, for another surgery may have renamed what it reads.

    Raises:
        Dyn2trtError: the convolution is not in the graph as it was exported.
    """
    own = [node for node in graph if str(node.name).startswith(f"{convolution.name}/")]
    known = {convolution.coefficients, *graph.initializers}
    read = [value for node in own for value in node.inputs if value is not None and value.producer() not in own]
    entering = next((value for value in read if value.name not in known), None)
    leaving = next((value for node in own for value in node.outputs if value.name == convolution.output), None)
    if entering is None or leaving is None:
        raise Dyn2trtError(
            f"the ONNX model's metadata names the dynamic convolution {convolution.name}, but it is not in the graph "
            "as it was exported: the graph was changed after export; export it again"
        )
    return entering, leaving


def logits_shape(gate: Gate, model: ir.Model, metadata: ExportMetadata) -> ir.Shape:
    """[N, 1, Ho, Wo] of a gate's logits, symbolic where the export is dynamic."""
    if gate.logits.shape is not None:
        return gate.logits.shape
    batch = model.graph.inputs[0].shape
    rows, columns = gate.block.grid
    dynamic_size = 2 in metadata.dynamic_axes
    return ir.Shape(
        [
            batch[0] if batch is not None else None,
            1,
            f"{gate.block.logits}_height" if dynamic_size else rows,
            f"{gate.block.logits}_width" if dynamic_size else columns,
        ]
    )


def constant(name: str, array: np.ndarray) -> ir.Value:
    """An initializer, still to be added to a graph."""
    tensor = ir.tensor(np.asarray(array, order="C"), name=name)
    return ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)


def unique(name: str, taken: set[str]) -> str:
    """``name``, or where that is ``taken`` the next free one of ``name_2``, ``name_3``, ...; takes it."""
    candidate, index = name, 1
    while candidate in taken:
        index += 1
        candidate = f"{name}_{index}"
    taken.add(candidate)
    return candidate
