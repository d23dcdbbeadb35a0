"""Gates: mask units, the binary Gumbel-Softmax decision, halo geometry, recording and forcing of decisions."""

from dyn2trt.gates.decisions import Decision, forced_masks, record_decisions
from dyn2trt.gates.gumbel import GumbelGate, set_gumbel
from dyn2trt.gates.halo import halo
from dyn2trt.gates.halting import HaltingMaskUnit
from dyn2trt.gates.kinds import make_mask_unit
from dyn2trt.gates.layer import LayerMaskUnit
from dyn2trt.gates.mask_unit import GatePart, GumbelMaskUnit, MaskUnit, PointwiseMaskUnit, SqueezeMaskUnit

__all__ = [
    "Decision",
    "GatePart",
    "GumbelGate",
    "GumbelMaskUnit",
    "HaltingMaskUnit",
    "LayerMaskUnit",
    "MaskUnit",
    "PointwiseMaskUnit",
    "SqueezeMaskUnit",
    "forced_masks",
    "halo",
    "make_mask_unit",
    "record_decisions",
    "set_gumbel",
]
