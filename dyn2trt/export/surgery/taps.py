"""What a network decides made visible: logits, the masks that follow from them, coefficients, as further outputs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnx_ir as ir

from dyn2trt.export.metadata import MASK_PREFIX, ExportMetadata
from dyn2trt.export.surgery.graph import close_model, coefficients, constant, gates, logits_shape, open_model


def with_logit_outputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """Append every gate's logits to the outputs: ``logits{i}``, float32 [N, 1, Ho, Wo], in execution order."""
    opened, metadata = open_model(model)
    graph = opened.graph
    for gate in gates(opened, metadata):
        if gate.logits in graph.outputs or gate.logits in graph.inputs:
            continue
        gate.logits.shape = logits_shape(gate, opened, metadata)
        gate.logits.type = ir.TensorType(ir.DataType.FLOAT)
        graph.outputs.append(gate.logits)
    return close_model(opened, metadata)


def with_decision_outputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """Append what the network decides to the outputs, in execution order.

    ``mask{i}``, bool [N, 1, Ho, Wo], of every gate; ``coefficients{i}``, float32 [N, size], of every predictor of
    dynamic kernels.

    Raises:
        Dyn2trtError: the model was not exported by dyn2trt, or a gate or predictor that its metadata names is not in
            the graph.
    """
    opened, metadata = open_model(model)
    masks = _append_masks(opened, metadata)
    return close_model(opened, replace(metadata, masks=masks, coefficients=_append_coefficients(opened, metadata)))


def without_decision_outputs(model: onnx.ModelProto, *, masks_alone: bool = False) -> onnx.ModelProto:
    """Take back what `with_decision_outputs` appended, or the masks of it, and the nodes that made the masks."""
    opened, metadata = open_model(model)
    kept = replace(metadata, masks=(), coefficients=metadata.coefficients if masks_alone else ())
    for value in [value for value in opened.graph.outputs if value.name in {*metadata.decisions} - {*kept.decisions}]:
        opened.graph.outputs.remove(value)
    return close_model(opened, kept)


def _append_masks(model: ir.Model, metadata: ExportMetadata) -> tuple[str, ...]:
    graph = model.graph
    present = {value.name for value in graph.outputs}
    thresholds: dict[float, ir.Value] = {}
    names = []
    for index, gate in enumerate(gates(model, metadata)):
        name = f"{MASK_PREFIX}{index}"
        names.append(name)
        if name in present:
            continue
        if gate.threshold not in thresholds:
            thresholds[gate.threshold] = constant(f"threshold_{len(thresholds)}", np.array(gate.threshold, np.float32))
            graph.initializers.add(thresholds[gate.threshold])
        mask = ir.Value(name=name, shape=logits_shape(gate, model, metadata), type=ir.TensorType(ir.DataType.BOOL))
        graph.append(
            ir.Node(
                "",
                "GreaterOrEqual",
                [gate.logits, thresholds[gate.threshold]],
                outputs=[mask],
                name=f"{gate.block.name}/{MASK_PREFIX}",
            )
        )
        graph.outputs.append(mask)
    return tuple(names)


def _append_coefficients(model: ir.Model, metadata: ExportMetadata) -> tuple[str, ...]:
    graph = model.graph
    batch = graph.inputs[0].shape
    for predictor, value in coefficients(model, metadata):
        if value in graph.outputs:
            continue
        value.shape = ir.Shape([batch[0] if batch is not None else None, predictor.size])
        value.type = ir.TensorType(ir.DataType.FLOAT)
        graph.outputs.append(value)
    return tuple(predictor.coefficients for predictor in metadata.kernels)
