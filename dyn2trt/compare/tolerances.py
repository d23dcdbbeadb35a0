"""What each precision allows where nobody asks for a tolerance."""

from __future__ import annotations

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
