"""Which tile of plugins/core/gemm/tiles.h is quickest, by block, active ratio and convolution? What choose.h wants.

    python benchmarks/gpu_tiles.py -o tiles.json         # the blocks of the project's targets
    python benchmarks/gpu_tiles.py --all --batches 1,32

Needs torch with CUDA and the built core library. Of one block, one convolution after the other takes each tile of its
list while the library chooses for the rest; all of them run in one interleaved run beside the block as the library
chooses throughout. Every tile's result is checked against the dense block before anything is timed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import gpu_block_cases as blocks
import numpy as np
import torch
import typer
from gpu_blocks import DTYPES, Repeated, check, input_sets, prepare_gpu, wanted_blocks
from script import run_script

from dyn2trt.bench.environment import examine_environment
from dyn2trt.bench.sweep.masks import PATTERNS, to_logits
from dyn2trt.bench.timing.interleave import Budget, interleave
from dyn2trt.bench.timing.latency import Interval, speedup
from dyn2trt.files import write_text
from dyn2trt.gates import halo
from dyn2trt.ops.core_library import load_core_library, tile
from dyn2trt.ops.core_tensors import CoreOps

TILES_H = Path(__file__).resolve().parent.parent / "plugins" / "core" / "gemm" / "tiles.h"
DEPTHWISE = {("gated_inverted_residual", 1)}
"""The convolutions that a depthwise one is drawn into."""
CONVOLUTIONS = {"gated_inverted_residual": 2, "gated_basic_block": 2, "gated_bottleneck": 3}
"""That a block launches."""


@dataclass(frozen=True)
class Measurement:
    """One tile of one convolution of a block at an active ratio. Times are the whole block's: microseconds, medians."""

    block: str
    dtype: str
    layout: str
    ratio: float
    active: int
    halo: int
    convolution: int
    tile: str
    us: float
    chosen_us: float
    over_chosen: Interval


def tile_lists(header: str) -> dict[str, list[str]]:
    """The lists of tiles.h: names of tiles by the list's name, in its order."""
    lists = re.findall(r"using (\w+) = TileList<([^;]*)>;", header)
    return {name: [tile.strip() for tile in tiles.split(",")] for name, tiles in lists}


def tiles_of(case: blocks.Case, convolution: int) -> list[str]:
    """The tiles that a convolution of a block can take, in the order of their numbers."""
    lists = tile_lists(TILES_H.read_text())
    if (case.name, convolution) in DEPTHWISE:
        return lists["DepthwiseTiles"]
    from_planes = case.layout == "nchw" and convolution == 0
    return lists["SmallTiles" if from_planes or case.dtype == torch.float32 else "LargeTiles"]


def core_ops(flags: int, variant: int = 0) -> CoreOps:
    library = load_core_library()
    assert library is not None, "prepare_gpu() found it"
    return CoreOps(library, flags=flags, variant=variant)


def measure(case: blocks.Case, dtype: str, pattern: str, ratios: list[float], budget: Budget) -> Iterator[Measurement]:
    tensors, given = blocks.parameters(case, seed=0), input_sets(case)
    rng = np.random.default_rng(0)
    dense = blocks.dense(case, tensors)(given[0])
    for ratio in ratios:
        mask = torch.from_numpy(PATTERNS[pattern]((case.batch, *case.output_grid), ratio, rng))
        logits = torch.from_numpy(to_logits(mask.numpy())).cuda()

        def repeated(flags: int, mask: torch.Tensor = mask, logits: torch.Tensor = logits) -> Repeated:
            block = blocks.sparse(case, tensors, core_ops(flags))
            check(case, block(given[0], logits), dense, mask.cuda())
            return Repeated(lambda i: block(given[i], logits), len(given))

        names = {
            (convolution, number): name
            for convolution in range(CONVOLUTIONS[case.name])
            for number, name in enumerate(tiles_of(case, convolution))
        }
        contenders = {f"{c} {n}": repeated(tile(c, n)) for c, n in names}
        times = interleave({"chosen": repeated(0), **contenders}, budget)
        for (convolution, number), name in names.items():
            key = f"{convolution} {number}"
            yield Measurement(
                block=case.label,
                dtype=dtype,
                layout=case.layout,
                ratio=ratio,
                active=int(mask.sum()),
                halo=int(halo(mask, case.grid, stride=case.stride).sum()),
                convolution=convolution,
                tile=name,
                us=float(np.median(times[key]) * 1e6),
                chosen_us=float(np.median(times["chosen"]) * 1e6),
                over_chosen=speedup(times["chosen"], times[key]),
            )


def best_of(rows: list[Measurement]) -> list[Measurement]:
    """The quickest tile of each convolution at each ratio."""
    best: dict[tuple[float, int], Measurement] = {}
    for row in rows:
        key = row.ratio, row.convolution
        if key not in best or row.us < best[key].us:
            best[key] = row
    return list(best.values())


def main(
    every: Annotated[bool, typer.Option("--all", help="Every block, not the targets' alone.")] = False,
    batches: Annotated[str, typer.Option(help="Batch sizes with --all.")] = "1,8,32,128",
    ratios: Annotated[str, typer.Option(help="Active ratios.")] = "0.05,0.125,0.25,0.5,1",
    pattern: Annotated[str, typer.Option(help="blobs or independent.")] = "blobs",
    dtype: Annotated[str, typer.Option(help="fp16, bf16 or fp32.")] = "fp16",
    layout: Annotated[str, typer.Option(help="nhwc or nchw.")] = "nhwc",
    measure_seconds: Annotated[float, typer.Option("--seconds", help="Of measuring at each ratio.")] = 1.0,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="JSON file for the record.")] = None,
) -> None:
    prepare_gpu()
    budget = Budget(warmup=3, min_rounds=20, max_rounds=200, seconds=measure_seconds)
    shares = sorted(float(r) for r in ratios.split(","))
    done: list[Measurement] = []
    for name, channels, size, batch in wanted_blocks(every, batches):
        case = blocks.make(name, batch, channels, size, DTYPES[dtype], layout)
        rows = list(measure(case, dtype, pattern, shares, budget))
        done += rows
        for row in best_of(rows):
            gain = row.over_chosen
            print(
                f"{row.block}, {row.ratio:.1%}, convolution {row.convolution}: {row.tile} {row.us:.1f} us, "
                f"{gain.value:.2f}x ({gain.low:.2f} to {gain.high:.2f}) of the choice's {row.chosen_us:.1f} us",
                flush=True,
            )
        if output is not None:  # after every block: an interrupted run keeps what it has
            record = {
                "environment": asdict(examine_environment()),
                "gpu": torch.cuda.get_device_name(),
                "pattern": pattern,
                "measurements": [asdict(m) for m in done],
            }
            write_text(output, json.dumps(record, indent=1) + "\n")
        torch.cuda.empty_cache()


if __name__ == "__main__":
    run_script(main)
