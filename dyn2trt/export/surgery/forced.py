"""Gates overruled: the masks come from outside, so that outputs compare apart from gate decisions."""

from __future__ import annotations

import onnx
import onnx_ir as ir

from dyn2trt.export.surgery.graph import close_model, gates, logits_shape, open_model
from dyn2trt.export.surgery.inline import put_gates_outside


def with_forced_masks(model: onnx.ModelProto) -> onnx.ModelProto:
    """Turn every gate's logits into an input and drop the gate's own nodes.

    The new inputs ``logits{i}``, float32 [N, 1, Ho, Wo], follow ``x`` in execution order: feed +1 where a site is to
    be active and −1 where it is to be idle (the threshold is 0). Mask outputs stay and repeat what is fed; outputs
    that are logits go. Composites that own their gate become those that are given logits.
    """
    opened, metadata = open_model(model)
    put_gates_outside(opened)
    graph = opened.graph
    for gate in gates(opened, metadata):
        if gate.logits in graph.inputs:
            continue
        fed = ir.Value(
            name=gate.block.logits,
            shape=logits_shape(gate, opened, metadata),
            type=ir.TensorType(ir.DataType.FLOAT),
        )
        if gate.logits in graph.outputs:
            graph.outputs.remove(gate.logits)
        ir.convenience.replace_all_uses_with(gate.logits, fed)
        gate.logits.name = f"{gate.block.logits}_overruled"
        graph.inputs.append(fed)
    return close_model(opened, metadata)
