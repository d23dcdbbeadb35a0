"""What making kernels for every image costs, against the same network with fixed kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dyn2trt.bench.timing.latency import Interval, median_interval


@dataclass(frozen=True)
class GenerationCost:
    """Latency of a network with dynamic kernels beyond that of its static counterpart.

    It holds all that the counterpart lacks: predicting coefficients, summing kernels, and whatever a runtime loses
    where it cannot prepare a convolution for weights that it knows.
    """

    extra_ms: Interval
    """Own minus static latency, milliseconds of a batch."""
    share: Interval
    """The same over the own latency."""
    text: str


def generation_cost(
    static: Sequence[float] | npt.NDArray[np.float64], own: Sequence[float] | npt.NDArray[np.float64]
) -> GenerationCost:
    """Compare the seconds [rounds] of the two, round by round as in `dyn2trt.bench.timing.latency.speedup`."""
    fixed, dynamic = np.asarray(static, dtype=np.float64), np.asarray(own, dtype=np.float64)
    if len(fixed) != len(dynamic):
        raise ValueError(f"{len(fixed)} static timings, {len(dynamic)} own: one each a round is needed")
    extra, share = median_interval((dynamic - fixed) * 1e3), median_interval(1 - fixed / dynamic)
    if extra.low <= 0 <= extra.high:
        text = f"Generating kernels costs nothing beyond the noise: {extra.value:.3g} ms {_range(extra, '.3g', ' ms')}."
    else:
        text = (
            f"Generating kernels costs {extra.value:.3g} ms {_range(extra, '.3g', ' ms')}, "
            f"{share.value:.0%} of the whole."
        )
    return GenerationCost(extra, share, text)


def _range(interval: Interval, number: str, unit: str) -> str:
    return f"(95 % interval {interval.low:{number}} to {interval.high:{number}}{unit})"
