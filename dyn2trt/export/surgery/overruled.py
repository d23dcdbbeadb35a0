"""Gates overruled but still running: masks come from outside, and every gate still says what it would have decided."""

from __future__ import annotations

import onnx
import onnx_ir as ir

from dyn2trt.export.metadata import FORCED_PREFIX as PREFIX
from dyn2trt.export.surgery.graph import close_model, gates, logits_shape, open_model
from dyn2trt.export.surgery.inline import put_gates_outside


def with_overruled_gates(model: onnx.ModelProto) -> onnx.ModelProto:
    """Let every gated block read its logits from a new input ``forced{i}``, in execution order.

    Feed float32 [N, 1, Ho, Wo]: +1 where a site is to be active, −1 where it is to be idle.

    Unlike in `with_forced_masks` the gates stay, and their logits become outputs: no runtime drops them, so a sweep
    of active ratios pays for what the deployed network pays for, and a comparison sees each gate's own decision on
    data that no earlier flip has touched. Mask outputs, where there are any, repeat what is fed.
    A composite that owns its gate becomes that gate in standard ops and a composite that is given logits.
    """
    opened, metadata = open_model(model)
    put_gates_outside(opened)
    graph = opened.graph
    for index, gate in enumerate(gates(opened, metadata)):
        shape, floating = logits_shape(gate, opened, metadata), ir.TensorType(ir.DataType.FLOAT)
        forced = ir.Value(name=f"{PREFIX}{index}", shape=shape, type=floating)
        if gate.logits in graph.outputs:
            graph.outputs.remove(gate.logits)
        ir.convenience.replace_all_uses_with(gate.logits, forced)
        gate.logits.shape, gate.logits.type = shape, floating
        graph.inputs.append(forced)
        graph.outputs.append(gate.logits)
    return close_model(opened, metadata)
