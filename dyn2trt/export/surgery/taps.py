"""What a network decides made visible: logits, the masks that follow from them, coefficients, as further outputs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnx_ir as ir

from dyn2trt.export.metadata import MASK_PREFIX
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


def with_mask_outputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """Append every gate's hard decision to the outputs: ``mask{i}``, bool [N, 1, Ho, Wo], in execution order."""
    opened, metadata = open_model(model)
    graph = opened.graph
    present = {value.name for value in graph.outputs}
    thresholds: dict[float, ir.Value] = {}
    names = []
    for index, gate in enumerate(gates(opened, metadata)):
        name = f"{MASK_PREFIX}{index}"
        names.append(name)
        if name in present:
            continue
        if gate.threshold not in thresholds:
            thresholds[gate.threshold] = constant(f"threshold_{len(thresholds)}", np.array(gate.threshold, np.float32))
            graph.initializers.add(thresholds[gate.threshold])
        mask = ir.Value(name=name, shape=logits_shape(gate, opened, metadata), type=ir.TensorType(ir.DataType.BOOL))
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
    return close_model(opened, replace(metadata, masks=tuple(names)))


def with_coefficient_outputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """Append every predictor's coefficients to the outputs: ``coefficients{i}``, float32 [N, size], in execution order.

    Raises:
        Dyn2trtError: the model was not exported by dyn2trt, or a predictor that its metadata names is not in the graph.
    """
    opened, metadata = open_model(model)
    graph = opened.graph
    batch = graph.inputs[0].shape
    for predictor, value in coefficients(opened, metadata):
        if value in graph.outputs:
            continue
        value.shape = ir.Shape([batch[0] if batch is not None else None, predictor.size])
        value.type = ir.TensorType(ir.DataType.FLOAT)
        graph.outputs.append(value)
    return close_model(opened, metadata)
