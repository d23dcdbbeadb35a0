"""The error of an array against its reference, and the same as a comparison function for Polygraphy."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


def relative_error(y: NDArray[Any], r: NDArray[Any]) -> float:
    """Return ‖y−r‖/‖r‖ in float64: 0 when both are zero, infinite when only r is, NaN when either holds a NaN.

    An infinity that both hold at the same place counts as equal.
    """
    y64, r64 = y.astype(np.float64), r.astype(np.float64)
    same = y64 == r64
    with np.errstate(invalid="ignore"):
        difference = float(np.linalg.norm(np.where(same, 0.0, y64 - r64)))
        if difference == 0.0:
            return 0.0
        scale = float(np.linalg.norm(np.where(np.isfinite(r64), r64, 0.0)))
        return float("inf") if scale == 0.0 else difference / scale


@dataclass(frozen=True)
class NormResult:
    """The error of one output. True when every image's error is within the tolerance."""

    error: float
    """‖y−r‖/‖r‖ of the worst image."""
    max_abs: float
    """Largest |y−r|."""
    tolerance: float
    worst_image: int = 0
    images: int = 0
    output0_name: str = ""
    output1_name: str = ""

    def __bool__(self) -> bool:
        return bool(self.error <= self.tolerance)  # a NaN fails


def norm_result(y: NDArray[Any], r: NDArray[Any], tolerance: float, name: str = "") -> NormResult:
    """Compare y with r, both [N, ...], image by image, so that a fault in one is not averaged away by the others.

    Arrays of another shape than the reference's have an infinite error.
    """
    if y.shape != r.shape:
        return NormResult(float("inf"), float("inf"), tolerance, 0, len(r), name, name)
    y, r = np.atleast_1d(y), np.atleast_1d(r)  # A number for the whole batch counts as one image.
    errors = [relative_error(one, other) for one, other in zip(y, r, strict=True)]
    worst = int(np.argmax([np.inf if np.isnan(e) else e for e in errors]))
    with np.errstate(invalid="ignore"):
        max_abs = float(np.max(np.abs(y.astype(np.float64) - r.astype(np.float64)), initial=0.0))
    return NormResult(errors[worst], max_abs, tolerance, worst, len(r), name, name)


class NormCompareFunc:
    """Comparison function for `polygraphy.comparator.Comparator.compare_accuracy`: the second runner is the reference.

    Outputs that ``tolerances`` does not name are left out.
    """

    def __init__(self, tolerances: Mapping[str, float]) -> None:
        self._tolerances = dict(tolerances)

    def __call__(self, candidate: Mapping[str, Any], reference: Mapping[str, Any]) -> OrderedDict[str, NormResult]:
        results: OrderedDict[str, NormResult] = OrderedDict()
        for name, tolerance in self._tolerances.items():
            r = np.asarray(reference[name])
            missing = np.empty((0,))
            y = np.asarray(candidate[name]) if name in candidate else missing
            results[name] = norm_result(y, r, tolerance, name)
        return results
