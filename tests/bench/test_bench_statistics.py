"""Summaries, intervals, mask generators, the interleaved run, break-even and verdict."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dyn2trt.bench.sweep.masks import PATTERNS, blobs, independent, to_logits
from dyn2trt.bench.timing.break_even import break_even, verdict
from dyn2trt.bench.timing.interleave import Budget, interleave
from dyn2trt.bench.timing.latency import Interval, median_interval, speedup, summarise

RNG = np.random.default_rng


def test_a_summary_states_the_distribution_in_milliseconds() -> None:
    latency = summarise(np.arange(1, 102) * 1e-3, batch=4)
    assert latency.samples == 101
    assert [latency.median_ms, latency.p90_ms, latency.p99_ms] == pytest.approx([51, 91, 100])
    assert [latency.spread_ms, latency.min_ms, latency.max_ms] == pytest.approx([50, 1, 101])
    assert latency.throughput == pytest.approx(4 / 51e-3)


@pytest.mark.parametrize("bad", [[], [1.0, float("nan")], [0.0]])
def test_a_summary_refuses_what_is_no_time(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="positive and finite"):
        summarise(bad, 1)


def test_the_interval_of_a_median_covers_it_as_often_as_it_says() -> None:
    """1000 samples of 25 normal numbers: a 95 % interval misses the true median in about 5 % of them, at most 7 %."""
    draws = RNG(0).standard_normal((1000, 25))
    misses = sum(not (i.low <= 0 <= i.high) for i in map(median_interval, draws))
    assert 10 <= misses <= 70


@pytest.mark.parametrize(("n", "low", "high"), [(1, 0, 0), (5, 0, 4), (6, 0, 5), (20, 5, 14), (100, 39, 60)])
def test_the_interval_of_a_median_is_the_tabulated_order_statistics(n: int, low: int, high: int) -> None:
    interval = median_interval(np.arange(n, dtype=float))
    assert (interval.low, interval.high) == (low, high)


def test_the_interval_of_a_median_stays_finite_for_many_samples() -> None:
    interval = median_interval(np.arange(5001, dtype=float))
    assert 2400 < interval.low < 2500 < interval.high < 2600


def test_a_speedup_pairs_the_rounds() -> None:
    """The machine slows down tenfold half way; pairing sees a steady factor of two."""
    machine = np.repeat([1.0, 10.0], 10)
    assert speedup(2 * machine, machine) == Interval(2, 2, 2)
    with pytest.raises(ValueError, match="one each a round"):
        speedup([1.0, 2.0], [1.0])


@settings(deadline=None, max_examples=60)
@given(
    pattern=st.sampled_from(sorted(PATTERNS)),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 17), st.integers(1, 17)),
    ratio=st.floats(0, 1),
    seed=st.integers(0, 9),
)
def test_masks_hit_the_ratio_exactly_in_every_image(
    pattern: str, shape: tuple[int, int, int], ratio: float, seed: int
) -> None:
    mask = PATTERNS[pattern](shape, ratio, RNG(seed))
    assert mask.shape == (shape[0], 1, *shape[1:])
    assert mask.dtype == bool
    assert set(mask.sum(axis=(1, 2, 3))) == {round(ratio * shape[1] * shape[2])}


def test_blobs_hang_together_and_independent_sites_do_not() -> None:
    def neighbours(mask: np.ndarray) -> float:
        """Share of active sites whose right-hand neighbour is active."""
        return float((mask[..., 1:] & mask[..., :-1]).sum() / mask[..., :-1].sum())

    shape = (8, 64, 64)
    assert neighbours(independent(shape, 0.25, RNG(0))) == pytest.approx(0.25, abs=0.02)
    assert neighbours(blobs(shape, 0.25, RNG(0))) > 0.85


def test_blobs_are_not_drawn_to_the_border_or_away_from_it() -> None:
    mask = blobs((400, 24, 24), 0.3, RNG(0)).mean(axis=(0, 1))
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]).mean()
    assert border == pytest.approx(0.3, abs=0.04)


def test_masks_refuse_a_ratio_outside_0_to_1() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        blobs((1, 4, 4), 1.2, RNG(0))


def test_logits_have_the_sign_of_the_mask() -> None:
    logits = to_logits(np.array([[True, False]]))
    assert logits.dtype == np.float32
    assert logits.tolist() == [[1.0, -1.0]]


def test_the_interleaved_run_times_every_contender_once_a_round_in_changing_order() -> None:
    calls: list[tuple[str, int]] = []

    def contender(name: str, seconds: float):
        def run(i: int) -> float:
            again = calls[-1:] == [(name, i)]
            calls.append((name, i))
            return seconds if again or len(calls) <= 6 else 100.0

        return run

    rounds: list[int] = []
    budget = Budget(warmup=2, min_rounds=12, max_rounds=12, seconds=0)
    names = {"a": 1.0, "b": 2.0, "c": 3.0}
    times = interleave({n: contender(n, s) for n, s in names.items()}, budget, seed=1, on_round=rounds.append)
    assert {n: t.tolist() for n, t in times.items()} == {n: [s] * 12 for n, s in names.items()}
    assert rounds == list(range(1, 13))
    assert [i for _, i in calls[:6]] == [0, 0, 0, 1, 1, 1]
    assert calls[6::2] == calls[7::2], "each runs twice in its turn"
    measured = [calls[k : k + 6 : 2] for k in range(6, len(calls), 6)]
    assert all({name for name, _ in turn} == set(names) for turn in measured)
    assert [turn[0][1] for turn in measured] == list(range(12))
    assert len({tuple(name for name, _ in turn) for turn in measured}) > 3


def test_the_interleaved_run_stops_when_its_time_is_up() -> None:
    times = interleave({"a": lambda _: 1.0}, Budget(warmup=0, min_rounds=3, max_rounds=10**6, seconds=0.05))
    assert 3 < len(times["a"]) < 10**6


@pytest.mark.parametrize("bad", [{"warmup": -1}, {"min_rounds": 0}, {"min_rounds": 5, "max_rounds": 4}])
def test_a_budget_is_checked(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="min_rounds"):
        Budget(**bad)


def exact(value: float) -> Interval:
    return Interval(value, value, value)


def test_break_even_interpolates_the_latency() -> None:
    """Sparse takes 0.5 + ratio of dense, so it breaks even at 0.5, between the measured 0.25 and 0.75."""
    ratios = [0.0, 0.25, 0.75, 1.0]
    found = break_even("blobs", ratios, [exact(1 / (0.5 + r)) for r in ratios])
    assert found.outcome == "ratio"
    assert [found.ratio, found.low, found.high] == pytest.approx([0.5, 0.5, 0.5])


def test_break_even_carries_the_noise() -> None:
    ratios = [0.0, 0.5, 1.0]
    noisy = [Interval(1 / v, 1 / (v + 0.1), 1 / (v - 0.1)) for v in (0.5, 1.0 + 1e-9, 1.5)]
    found = break_even("blobs", ratios, noisy)
    assert [found.ratio, found.low, found.high] == pytest.approx([0.5, 0.4, 0.6])


@pytest.mark.parametrize(("relative", "outcome"), [((0.3, 0.9), "always"), ((1.1, 1.9), "never")])
def test_break_even_says_when_there_is_none(relative: tuple[float, float], outcome: str) -> None:
    found = break_even("blobs", [0.1, 0.9], [exact(1 / r) for r in relative])
    assert (found.outcome, found.ratio) == (outcome, None)


def test_break_even_takes_the_first_of_several_crossings() -> None:
    found = break_even("blobs", [0.2, 0.4, 0.6, 0.8], [exact(1 / r) for r in (0.8, 1.2, 0.9, 1.5)])
    assert found.ratio == pytest.approx(0.3)


def test_break_even_refuses_ratios_out_of_order() -> None:
    with pytest.raises(ValueError, match="ascending"):
        break_even("blobs", [0.5, 0.2], [exact(1), exact(1)])


@pytest.mark.parametrize(
    ("own", "decision", "recommended"),
    [
        (Interval(1.4, 1.3, 1.5), "sparse", True),
        (Interval(1.05, 0.98, 1.1), "undecided", False),
        (Interval(0.8, 0.7, 0.9), "dense", False),
    ],
)
def test_sparse_is_recommended_only_beyond_the_noise(own: Interval, decision: str, recommended: bool) -> None:
    judged = verdict(own)
    assert judged.decision == decision
    assert judged.sparse_recommended is recommended
    assert ("not recommended" in judged.text) is not recommended
    assert f"{own.value:.2f}×" in judged.text
