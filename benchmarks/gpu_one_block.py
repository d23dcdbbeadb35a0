"""Runs one gated block a few times and nothing else, for a profiler to look at.

ncu --kernel-name-base demangled -k regex:dyn2trt python benchmarks/gpu_one_block.py gated_inverted_residual 96 64 32
"""

from __future__ import annotations

from typing import Annotated

import gpu_block_cases as blocks
import numpy as np
import torch
import typer
from gpu_blocks import DTYPES, prepare_gpu
from script import run_script

from dyn2trt.bench.sweep.masks import PATTERNS, to_logits

CALLS = 6


def main(
    name: Annotated[str, typer.Argument(help="gated_inverted_residual, gated_basic_block or gated_bottleneck.")],
    channels: int,
    size: Annotated[int, typer.Argument(help="Height and width of the map.")],
    batch: int,
    ratio: Annotated[float, typer.Option(help="Share of the sites that are active, in blobs.")] = 0.25,
    dtype: Annotated[str, typer.Option(help="fp16, bf16 or fp32.")] = "fp16",
) -> None:
    prepare_gpu()
    case = blocks.make(name, batch, channels, size, DTYPES[dtype], "nhwc")
    run = blocks.sparse(case, blocks.parameters(case, seed=0))
    mask = PATTERNS["blobs"]((batch, *case.output_grid), ratio, np.random.default_rng(0))
    given, logits = blocks.inputs(case, seed=0), torch.from_numpy(to_logits(mask)).cuda()
    for _ in range(CALLS):
        run(given, logits)
    torch.cuda.synchronize()


if __name__ == "__main__":
    run_script(main)
