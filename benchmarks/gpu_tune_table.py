"""From timings of every variant to the table by which the library chooses, and how good choices by it are."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

BLOCK_ENUMS = ("DYN2TRT_INVERTED_RESIDUAL", "DYN2TRT_BASIC_BLOCK", "DYN2TRT_BOTTLENECK")
"""By the block's index in the contract, as core.h has them."""
CHAIN = "chain"


@dataclass(frozen=True)
class Shape:
    """What the library knows of a block before it runs; see ``Measured`` in plugins/core/fused/choose.h."""

    architecture: int
    block: int
    channels: int
    width: int
    stride: int
    positions: int
    batch: int


@dataclass(frozen=True)
class Timing(Shape):
    """Microseconds of a variant on a shape at an active ratio, a median."""

    ratio: float
    variant: str
    us: float

    @property
    def shape(self) -> Shape:
        return Shape(*(getattr(self, name) for name in Shape.__dataclass_fields__))

    def is_of(self, entry: Sequence[object]) -> bool:
        """Whether it is of the block and variant of a progress line: name, channels, size, batch, variant."""
        name, channels, size, batch, variant = entry
        kind = ("gated_inverted_residual", "gated_basic_block", "gated_bottleneck").index(str(name))
        assert isinstance(size, int)
        own = (self.block, self.channels, self.positions, self.batch, self.variant)
        return own == (kind, channels, size * size, batch, variant)


@dataclass(frozen=True)
class Judgement:
    """How much longer blocks take with the variant of the nearest other shape than with their own best one.

    Factors over the shapes and ratios, each shape's own rows left out.
    """

    shapes: int
    mean: float
    worst: float
    worst_shape: str

    def text(self) -> str:
        return (
            f"on {self.shapes} shapes that it did not see, the choice takes {100 * (self.mean - 1):.1f} % longer than "
            f"the best variant in the geometric mean, at worst {100 * (self.worst - 1):.0f} % ({self.worst_shape})"
        )


def regrets(timings: Iterable[Timing]) -> dict[Shape, dict[str, dict[float, float]]]:
    """By shape and variant: at each ratio the time over that of the best variant. Incomplete variants are left out."""
    by_shape: dict[Shape, dict[str, dict[float, float]]] = defaultdict(lambda: defaultdict(dict))
    for timing in timings:
        by_shape[timing.shape][timing.variant][timing.ratio] = timing.us
    result = {}
    for shape, variants in by_shape.items():
        ratios = set().union(*variants.values())
        whole = {name: times for name, times in variants.items() if set(times) == ratios}
        best = {ratio: min(times[ratio] for times in whole.values()) for ratio in ratios} if whole else {}
        result[shape] = {name: {r: us / best[r] for r, us in times.items()} for name, times in whole.items()}
    return {shape: variants for shape, variants in result.items() if variants}


def ranking(variants: dict[str, dict[float, float]]) -> list[str]:
    """The variants of a shape, the best in the geometric mean over the ratios first."""
    return sorted(variants, key=lambda name: _mean(variants[name].values()))


def distance(a: Shape, b: Shape) -> float:
    """Doublings between two shapes, along all axes together, as plugins/core/fused/choose.cpp counts them."""
    axes = ("channels", "width", "stride", "positions", "batch")
    return sum(abs(math.log2(getattr(a, axis) / getattr(b, axis))) for axis in axes)


def judge(timings: Sequence[Timing]) -> Judgement:
    """Leave each shape out in turn, and choose for it by the nearest of the others that takes it."""
    table = regrets(timings)
    chosen: dict[Shape, list[float]] = {}
    for shape, variants in table.items():
        others = sorted((o for o in table if o.block == shape.block and o != shape), key=lambda o: distance(o, shape))
        for other in others:
            name = next((n for n in ranking(table[other]) if n in variants), None)
            if name is not None:
                chosen[shape] = list(variants[name].values())
                break
    if not chosen:
        return Judgement(0, 1.0, 1.0, "none")
    worst = max(chosen, key=lambda shape: max(chosen[shape]))
    side = math.isqrt(worst.positions)
    label = f"{BLOCK_ENUMS[worst.block]} {worst.channels}, {side}x{side}, batch {worst.batch}"
    every = [factor for factors in chosen.values() for factor in factors]
    return Judgement(len(chosen), _mean(every), max(chosen[worst]), label)


def rows(timings: Sequence[Timing]) -> list[str]:
    """The lines of table.inc: of each shape its best variant, and behind it what later architectures can run."""
    lines = []
    for shape, variants in regrets(timings).items():
        for name in ranking(variants):
            place = f"{shape.architecture}, {BLOCK_ENUMS[shape.block]}, {shape.channels}, {shape.width}, {shape.stride}"
            lines.append(f'{{{place}, {shape.positions}, {shape.batch}, "{name}"}},')
            if runs_everywhere(name):
                break
    return lines


def runs_everywhere(variant: str) -> bool:
    """Whether later architectures run it: the chain, and what is written with mma.sync."""
    return variant == CHAIN or variant.split()[-1] == "mma"


def merged_table(text: str, timings: Sequence[Timing], measured_on: str) -> str:
    """``text`` of table.inc with the rows of the timings' architectures replaced."""
    replaced = {timing.architecture for timing in timings}
    kept = [
        line
        for line in text.splitlines()
        if (row := re.match(r"\{(\d+),", line)) is not None and int(row[1]) not in replaced
    ]
    head = [
        "// Written by benchmarks/gpu_tune.py.",
        "// {architecture, block kind, channels, width, stride, positions, batch, variant}",
    ]
    return "\n".join([*head, *kept, f"// Measured on {measured_on}.", *rows(timings)]) + "\n"


def _mean(factors: Iterable[float]) -> float:
    logs = [math.log(factor) for factor in factors]
    return math.exp(sum(logs) / len(logs))
