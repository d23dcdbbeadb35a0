"""One batch size: every contender in one interleaved run, and what follows from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from dyn2trt.bench.options import BenchOptions
from dyn2trt.bench.record import Batch, NotRun, SweepPoint
from dyn2trt.bench.sessions import DENSE, FORCED, OWN, STATIC, Sessions
from dyn2trt.bench.sweep.contenders import batches_of, forced, natural, point_name
from dyn2trt.bench.sweep.gate_masks import mask_sets, patterns_of
from dyn2trt.bench.timing.break_even import break_even, verdict
from dyn2trt.bench.timing.generation import generation_cost
from dyn2trt.bench.timing.interleave import Contender, interleave
from dyn2trt.bench.timing.latency import speedup, summarise
from dyn2trt.export.metadata import ExportMetadata


def measure_batch(
    size: int,
    sessions: Sessions,
    images: npt.NDArray[np.float32],
    twins: Sequence[str],
    metadata: ExportMetadata,
    grids: Sequence[tuple[int, int]],
    options: BenchOptions,
    not_run: list[NotRun],
    progress: Callable[[str], None],
) -> Batch:
    """Measure one batch size in one interleaved run: the network, its counterparts, and the sweep where it has gates.

    Args:
        images: [K, 3, H, W].
        twins: roles of `dyn2trt.bench.sessions` to run next to the network itself.
        grids: (Ho, Wo) of each gated block.
        not_run: is told what was left out.
        progress: called with a line on each step.
    """
    batches = batches_of(images, size)
    contenders: dict[str, Contender] = {role: natural(sessions.get(role, size), batches) for role in (*twins, OWN)}
    points: list[tuple[str, float]] = []
    if metadata.blocks:
        patterns = patterns_of(metadata.blocks, options.patterns)
        points = [(pattern, ratio) for pattern in patterns for ratio in sorted(set(options.active_ratios))]
    if points and (why := sessions.why_not(FORCED)):
        not_run.append(NotRun(f"sweep of active ratios, batch {size}", why))
        points = []
    for pattern, ratio in points:
        masks = mask_sets(pattern, ratio, metadata.blocks, grids, size, options.masks_per_ratio, options.seed)
        contenders[point_name(pattern, ratio)] = forced(sessions.get(FORCED, size), batches, masks)
    progress(f"batch {size}: warming up {len(contenders)} contenders")
    times = interleave(
        contenders,
        options.budget,
        options.seed,
        lambda rounds: progress(f"batch {size}: {rounds} rounds of {len(contenders)} runs"),
    )
    result = Batch(batch=size, own=summarise(times[OWN], size))
    if STATIC in twins:
        cost = generation_cost(times[STATIC], times[OWN])
        result = replace(result, static=summarise(times[STATIC], size), generation=cost)
    return _against_dense(result, times, points) if DENSE in twins else result


def _against_dense(
    batch: Batch, times: Mapping[str, npt.NDArray[np.float64]], points: Sequence[tuple[str, float]]
) -> Batch:
    """Add what a gated network gains over its dense counterpart, at its own activity and over the sweep."""
    sweep = tuple(
        SweepPoint(
            pattern,
            ratio,
            summarise(times[point_name(pattern, ratio)], batch.batch),
            speedup(times[DENSE], times[point_name(pattern, ratio)]),
        )
        for pattern, ratio in points
    )
    own = speedup(times[DENSE], times[OWN])
    return replace(
        batch,
        dense=summarise(times[DENSE], batch.batch),
        speedup=own,
        verdict=verdict(own),
        sweep=sweep,
        break_even=tuple(
            break_even(pattern, *zip(*((p.ratio, p.speedup) for p in sweep if p.pattern == pattern), strict=True))
            for pattern in dict.fromkeys(pattern for pattern, _ in points)
        ),
    )
