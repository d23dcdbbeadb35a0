"""Tolerances: Polygraphy's syntax, and the defaults of each precision.

``out0:1e-4`` is for one output, a bare ``1e-4`` for all that are not named.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from dyn2trt.errors import Dyn2trtError

FP32_OUTPUTS = 1e-5
"""Relative error ‖y−r‖/‖r‖ of an fp32 network's outputs.

Backends sum in another order than torch does. Each convolution then differs by a few units of 6e-8, and some tens of
layers add up to about 1e-6; a wrong weight, layout or border shows from 1e-4 on.
"""

FP32_LOGITS = 1e-4
"""Relative error of an fp32 gate's logits: ten times looser than an output's, because one number a site is left of
the features, and it lies near zero where the features' errors do not cancel."""

FP32_COEFFICIENTS = 1e-4
"""Largest difference of a coefficient of dynamic kernels in fp32: as a gate's logits, numbers made of all features."""

LOW_PRECISION_FACTOR = 2.0
"""fp16 and bf16 may err this many times as far as dense torch does at the same precision."""

LOGITS_WITHOUT_TORCH = {"fp16": 1e-2, "bf16": 8e-2}
"""Relative error of a gate's logits where torch did not run at that precision: about ten units of its rounding."""

COEFFICIENTS_WITHOUT_TORCH = LOGITS_WITHOUT_TORCH
"""Largest difference of a coefficient there."""


@dataclass(frozen=True)
class Tolerances:
    """A tolerance for all outputs, where there is one, and those of single outputs."""

    default: float | None = None
    by_output: Mapping[str, float] = field(default_factory=dict)

    def of(self, output: str) -> float | None:
        """Return what was asked for this output; None leaves it to the precision's default."""
        return self.by_output.get(output, self.default)

    def check_names(self, outputs: Iterable[str]) -> None:
        """Refuse names that are no outputs of the model.

        Raises:
            Dyn2trtError: names the first such, and the nearest output.
        """
        known = list(outputs)
        for name in self.by_output:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(known)}"
                raise Dyn2trtError(f"tolerance {name}:{self.by_output[name]:g} names no output of the model; {hint}")


def parse_tolerances(texts: Iterable[str]) -> Tolerances:
    """Parse ``out0:1e-4`` and bare numbers; a later one overrides an earlier one.

    Raises:
        Dyn2trtError: not of that form, or not a finite number ≥ 0.
    """
    default: float | None = None
    by_output: dict[str, float] = {}
    for text in texts:
        name, separator, number = text.strip().rpartition(":")
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or value < 0 or (separator and not name):
            raise Dyn2trtError(f"expected a tolerance like 1e-4 or out0:1e-4, not {text!r}")
        if name:
            by_output[name] = value
        else:
            default = value
    return Tolerances(default, by_output)
