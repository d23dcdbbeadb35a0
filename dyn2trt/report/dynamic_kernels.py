"""How far the coefficients of dynamic kernels spread, and how much they depend on the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dyn2trt.export.metadata import KernelPredictor


@dataclass(frozen=True)
class Spread:
    """The coefficients of one predictor over all images, each in (0, 1)."""

    name: str
    convolutions: int | None
    """That they make kernels for; None without the model's metadata."""
    size: int
    """Coefficients per image."""
    low: float
    """5th percentile."""
    median: float
    high: float
    """95th percentile."""
    between: float
    """Standard deviation of a coefficient between images, averaged over the coefficients: 0 for fixed kernels."""


def spreads(
    coefficients: Sequence[npt.NDArray[np.float32]], predictors: Sequence[KernelPredictor]
) -> tuple[Spread, ...]:
    """Sum up coefficients [K, size] per predictor; ``predictors`` is empty where the model's metadata are not there."""
    found = []
    for index, values in enumerate(coefficients):
        known = predictors[index] if len(predictors) == len(coefficients) else None
        low, median, high = (float(p) for p in np.percentile(values, [5, 50, 95]))
        found.append(
            Spread(
                name=f"predictor {index}" if known is None else known.name,
                convolutions=None if known is None else len(known.convolutions),
                size=values.shape[1],
                low=low,
                median=median,
                high=high,
                between=float(values.std(axis=0, dtype=np.float64).mean()),
            )
        )
    return tuple(found)
