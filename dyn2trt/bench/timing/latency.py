"""Summaries of repeated timings, and the speed-up of two contenders that were timed in the same rounds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

CONFIDENCE = 0.95
"""Coverage of every interval that the benchmark states."""

MIN_ROUNDS = 6
"""With fewer rounds no interval of a median covers it with `CONFIDENCE`: 1 − 2·2⁻⁵ is below 0.95."""


@dataclass(frozen=True)
class Latency:
    """Distribution of the latency of one batch, all times in milliseconds.

    ``spread_ms`` is the interquartile range. ``throughput`` is in images per second, at the median.
    Percentiles are linearly interpolated; with fewer than 100 samples ``p99_ms`` is close to the maximum.
    """

    samples: int
    median_ms: float
    p90_ms: float
    p99_ms: float
    spread_ms: float
    min_ms: float
    max_ms: float
    throughput: float


@dataclass(frozen=True)
class Interval:
    """A value and the range in which it lies with `CONFIDENCE`."""

    value: float
    low: float
    high: float


def summarise(seconds: Sequence[float] | npt.NDArray[np.float64], batch: int) -> Latency:
    """Summarise the timings ``seconds`` [rounds] of a batch of ``batch`` images.

    Raises:
        ValueError: no timing, or one that is not a positive finite number.
    """
    times = np.asarray(seconds, dtype=np.float64) * 1e3
    if times.size == 0 or not np.all(np.isfinite(times)) or np.any(times <= 0):
        raise ValueError(f"timings must be positive and finite, at least one: {times}")
    q25, median, q75, p90, p99 = np.percentile(times, [25, 50, 75, 90, 99])
    return Latency(
        samples=int(times.size),
        median_ms=float(median),
        p90_ms=float(p90),
        p99_ms=float(p99),
        spread_ms=float(q75 - q25),
        min_ms=float(times.min()),
        max_ms=float(times.max()),
        throughput=float(batch * 1e3 / median),
    )


def speedup(
    baseline: Sequence[float] | npt.NDArray[np.float64], other: Sequence[float] | npt.NDArray[np.float64]
) -> Interval:
    """How many times faster ``other`` is than ``baseline``: the median of the ratios baseline/other, round by round.

    Both hold one timing per round, and a ratio never mixes rounds, so a machine that slows down for a while moves
    both sides alike. The interval is `median_interval`'s.
    """
    if len(baseline) != len(other):
        raise ValueError(f"{len(baseline)} baseline timings, {len(other)} others: one each a round is needed")
    return median_interval(np.asarray(baseline, dtype=np.float64) / np.asarray(other, dtype=np.float64))


def median_interval(values: npt.NDArray[np.float64]) -> Interval:
    """Median and its distribution-free confidence interval (order statistics, the inverted sign test).

    The interval runs from the k-th smallest to the k-th largest value, with the largest k whose binomial coverage
    reaches `CONFIDENCE`; below `MIN_ROUNDS` values no k does, and the interval is all that was seen.
    """
    ordered = np.sort(values)
    n = ordered.size
    if n == 0:
        raise ValueError("the median of nothing")
    k, tail = 0, _binomial(n, 0)
    while 2 * tail <= 1 - CONFIDENCE and k < (n - 1) // 2:
        k += 1
        tail += _binomial(n, k)
    k = max(k, 1)
    return Interval(float(np.median(ordered)), float(ordered[k - 1]), float(ordered[n - k]))


def _binomial(n: int, k: int) -> float:
    """Probability of k heads in n fair throws, by logarithms since 2⁻ⁿ underflows for n > 1074."""
    return math.exp(math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2))
