"""The interleaved run: every contender has one turn a round, in an order drawn anew for each round.

Timing one contender after the other compares them in two states of the machine (clock, temperature, neighbours).
Here whatever disturbs a round disturbs all of its timings, and no contender always runs behind the same other one.

A contender runs twice in its turn, and the second time counts: as in use, where the same network runs again and again.
The first has to wake its threads and fetch its weights, which takes a short network longer than its work, and more so
one that shares its session with no other contender.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Contender = Callable[[int], float]
"""Runs once with the data of round i and returns the seconds it took, input preparation left out."""


@dataclass(frozen=True)
class Budget:
    """How long to measure: at least ``min_rounds``, then until ``seconds`` have passed, never above ``max_rounds``."""

    warmup: int = 3
    min_rounds: int = 20
    max_rounds: int = 1000
    seconds: float = 20.0

    def __post_init__(self) -> None:
        if self.warmup < 0 or self.min_rounds < 1 or self.max_rounds < self.min_rounds or self.seconds < 0:
            raise ValueError(f"needs warmup ≥ 0, 1 ≤ min_rounds ≤ max_rounds, seconds ≥ 0: {self}")


def interleave(
    contenders: Mapping[str, Contender],
    budget: Budget,
    seed: int = 0,
    on_round: Callable[[int], None] | None = None,
) -> dict[str, npt.NDArray[np.float64]]:
    """Time all contenders and return their seconds [rounds], one timing per round: of two runs, the second.

    Args:
        contenders: what to time, by name. Warm-up rounds count from 0 too, so they see the same data.
        seed: of the order within the rounds.
        on_round: called with the number of measured rounds after each.
    """
    rng = np.random.default_rng(seed)
    names = list(contenders)
    for i in range(budget.warmup):
        for name in names:
            contenders[name](i)
    times: dict[str, list[float]] = {name: [] for name in names}
    start = time.perf_counter()
    rounds = 0
    while rounds < budget.min_rounds or (rounds < budget.max_rounds and time.perf_counter() - start < budget.seconds):
        for j in rng.permutation(len(names)):
            contenders[names[j]](rounds)
            times[names[j]].append(contenders[names[j]](rounds))
        rounds += 1
        if on_round is not None:
            on_round(rounds)
    return {name: np.array(values) for name, values in times.items()}
