"""ONNX → ONNX: other graphs derived from an exported file, without torch.

Each function takes a model that ``dyn2trt export`` wrote, leaves it as it is, and returns a new one whose metadata
is up to date. They combine: ``with_logit_outputs(with_decision_outputs(m))``, ``dense_twin(inline_composites(m))``.
"""

from __future__ import annotations

from dyn2trt.export.surgery.dense import dense_twin as dense_twin
from dyn2trt.export.surgery.forced import with_forced_masks as with_forced_masks
from dyn2trt.export.surgery.inline import inline_composites as inline_composites
from dyn2trt.export.surgery.overruled import with_overruled_gates as with_overruled_gates
from dyn2trt.export.surgery.static_kernels import static_twin as static_twin
from dyn2trt.export.surgery.taps import with_decision_outputs as with_decision_outputs
from dyn2trt.export.surgery.taps import with_logit_outputs as with_logit_outputs
from dyn2trt.export.surgery.taps import without_decision_outputs as without_decision_outputs

__all__ = [
    "dense_twin",
    "inline_composites",
    "static_twin",
    "with_decision_outputs",
    "with_forced_masks",
    "with_logit_outputs",
    "with_overruled_gates",
    "without_decision_outputs",
]
