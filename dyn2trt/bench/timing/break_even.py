"""Break-even active ratio, and whether the sparse network is worth deploying."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dyn2trt.bench.timing.latency import Interval

Outcome = Literal["ratio", "always", "never"]


@dataclass(frozen=True)
class BreakEven:
    """Where the sparse network stops being faster than the dense one, over the ratios that were measured.

    ``outcome`` is ``ratio`` (``ratio`` holds the crossing, interpolated linearly), ``always`` (faster at every ratio
    measured) or ``never`` (slower already at the smallest one). ``low`` and ``high`` are the crossings of the
    intervals' slow and fast ends, the smallest and largest measured ratio where these do not cross.
    """

    pattern: str
    outcome: Outcome
    ratio: float | None
    low: float
    high: float


@dataclass(frozen=True)
class Verdict:
    """``sparse`` when the whole interval of the speed-up at the model's own activity reaches 1, else not.

    ``decision`` is ``sparse``, ``dense`` (the whole interval is below 1) or ``undecided`` (1 lies within the noise;
    sparse is then not recommended either).
    """

    decision: Literal["sparse", "dense", "undecided"]
    speedup: Interval
    text: str

    @property
    def sparse_recommended(self) -> bool:
        return self.decision == "sparse"


def break_even(pattern: str, ratios: Sequence[float], speedups: Sequence[Interval]) -> BreakEven:
    """Find the first ratio, from below, at which the speed-up falls to 1.

    Args:
        pattern: name of the mask pattern of the sweep.
        ratios: measured active ratios, ascending.
        speedups: dense over sparse latency at each ratio.
    """
    if not ratios or len(ratios) != len(speedups) or list(ratios) != sorted(set(ratios)):
        raise ValueError(f"needs ascending ratios and one speed-up each, not {ratios} and {len(speedups)} speed-ups")
    # The latency is what is close to linear in the ratio, so it is interpolated, not its reciprocal.
    crossing = [_crossing(ratios, [1 / edge(s) for s in speedups]) for edge in (_low, _value, _high)]
    outcome, ratio = crossing[1]
    low, high = (ratios[0] if c[0] == "never" else ratios[-1] if c[1] is None else c[1] for c in crossing[::2])
    return BreakEven(pattern, outcome, ratio, low, high)


def verdict(own: Interval) -> Verdict:
    """Judge the speed-up that was measured at the model's own activity."""
    interval = f"(95 % interval {own.low:.2f} to {own.high:.2f})"
    measured = f"it is {own.value:.2f}× as fast as dense at the model's own activity {interval}"
    if own.low >= 1:
        return Verdict("sparse", own, f"Sparse recommended: {measured}.")
    noise = "" if own.high < 1 else ", a difference within the noise"
    text = f"Sparse not recommended: {measured}{noise}."
    return Verdict("dense" if own.high < 1 else "undecided", own, text)


def _low(interval: Interval) -> float:
    return interval.low


def _value(interval: Interval) -> float:
    return interval.value


def _high(interval: Interval) -> float:
    return interval.high


def _crossing(ratios: Sequence[float], relative: Sequence[float]) -> tuple[Outcome, float | None]:
    """First crossing of the relative latency sparse/dense with 1."""
    if relative[0] > 1:
        return "never", None
    for i in range(1, len(ratios)):
        if relative[i] > 1:
            share = (1 - relative[i - 1]) / (relative[i] - relative[i - 1])
            return "ratio", ratios[i - 1] + share * (ratios[i] - ratios[i - 1])
    return "always", None
