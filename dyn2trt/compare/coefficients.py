"""Coefficients of dynamic kernels of two runs, predictor by predictor.

Each lies in (0, 1), so that the largest difference says how far a kernel can be off. A predictor sees what the layers
before it computed: the first that differs is where to look.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dyn2trt.compare.result import CoefficientResult
from dyn2trt.export.metadata import KernelPredictor


def largest_differences(
    candidate: Sequence[NDArray[np.float32]], reference: Sequence[NDArray[np.float32]]
) -> list[NDArray[np.float64]]:
    """The largest |difference| of each image, [N] per predictor; infinite where the shapes differ.

    Args:
        candidate, reference: [N, size] per predictor.
    """
    differences = []
    for y, r in zip(candidate, reference, strict=True):
        if y.shape == r.shape:
            differences.append(np.abs(y.astype(np.float64) - r.astype(np.float64)).max(axis=1))
        else:
            differences.append(np.full(len(r), np.inf))
    return differences


def judge_coefficients(
    predictors: Sequence[KernelPredictor],
    candidate: Sequence[NDArray[np.float32]],
    reference: Sequence[NDArray[np.float32]],
    allowed: Sequence[float],
) -> tuple[CoefficientResult, ...]:
    """Hold every predictor's coefficients to their tolerance."""
    results = []
    for predictor, differences, tolerance in zip(
        predictors, largest_differences(candidate, reference), allowed, strict=True
    ):
        worst = int(np.argmax(np.where(np.isnan(differences), np.inf, differences)))
        largest = float(differences[worst])
        passed = largest <= tolerance  # a NaN fails
        results.append(CoefficientResult(predictor.name, predictor.size, largest, tolerance, worst, passed))
    return tuple(results)
