"""Which fused kernel is the fastest for which gated block on this GPU? Measures all, and makes the library's table.

    python benchmarks/gpu_tune.py -o tune.json                                       # at most five minutes
    python benchmarks/gpu_tune.py --record tune.json --table plugins/core/fused/table.inc

Needs torch with CUDA and the built core library. The host does not know how many sites will be active, so a shape has
one row of the table: the variant whose times over the active ratios are, in the geometric mean, the closest to the best
ones. How good a choice by the nearest shape is for a shape that nobody measured is judged by leaving each shape out.
Measuring happens in a process of its own; a kernel that hangs is ended, named, and left out.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import gpu_block_cases as blocks
import typer
from gpu_tune_table import Timing, judge, merged_table
from script import run_script
from watched_process import watched_lines

from dyn2trt.errors import Dyn2trtError
from dyn2trt.files import write_text

BATCHES = (1, 8, 32)
RATIOS = (0.125, 0.25, 0.5, 1.0)
REPLAYS = 12
PATIENCE = 20.0
"""Seconds without a result after which a variant counts as hung."""


def grid() -> list[tuple[str, int, int, int]]:
    """Name, channels, size and batch of every block, those of the project's targets first."""
    every = [(name, c, s, b) for b in BATCHES for name, shapes in blocks.BLOCKS.items() for c, s in shapes]
    return [*blocks.TARGETS, *(shape for shape in every if shape not in blocks.TARGETS)]


def measure(skip: set[tuple[str, ...]], dtype: str) -> Iterator[dict[str, Any]]:
    """A line before and after each timing: what is measured next, and what came out."""
    import numpy as np
    import torch
    from dyn2trt.bench.masks import PATTERNS, to_logits
    from gpu_blocks import DTYPES, Repeated, check, input_sets, prepare_gpu
    from gpu_tiles import core_ops

    from dyn2trt.contract import BLOCKS
    from dyn2trt.ops.core_library import CHAIN, load_core_library

    prepare_gpu()
    library = load_core_library()
    assert library is not None, "prepare_gpu() found it"
    major, minor = torch.cuda.get_device_capability()
    for name, channels, size, batch in grid():
        case = blocks.make(name, batch, channels, size, DTYPES[dtype], "nhwc")
        kind = BLOCKS.index(case.block)
        tensors, given = blocks.parameters(case, seed=0), input_sets(case)
        dense = blocks.dense(case, tensors)(given[0])
        for ratio in RATIOS:
            mask = PATTERNS["blobs"]((batch, *case.output_grid), ratio, np.random.default_rng(0))
            logits = torch.from_numpy(to_logits(mask)).cuda()
            variants = [("chain", CHAIN), *((n, i + 1) for i, n in enumerate(library.variants(kind)))]
            for variant, number in variants:
                if (name, str(channels), str(size), str(batch), variant) in skip:
                    continue
                yield {"next": [name, channels, size, batch, variant]}
                run = blocks.sparse(case, tensors, core_ops(0, variant=number))
                try:
                    y = run(given[0], logits)
                except Dyn2trtError:  # it does not take this block
                    continue
                check(case, y, dense, torch.from_numpy(mask).cuda())
                repeated = Repeated(lambda i, run=run, given=given, logits=logits: run(given[i], logits), len(given))
                us = float(np.median([repeated(i) for i in range(REPLAYS)]) * 1e6)
                width = tensors[1].shape[0]
                yield asdict(
                    Timing(
                        architecture=10 * major + minor,
                        block=kind,
                        channels=channels,
                        width=width,
                        stride=case.stride,
                        positions=size * size,
                        batch=batch,
                        ratio=ratio,
                        variant=variant,
                        us=us,
                    )
                )
        torch.cuda.empty_cache()


def supervise(minutes: float, dtype: str) -> tuple[list[Timing], list[list[Any]]]:
    """Measure in another process until all is done or time is up; a hung variant is skipped from then on.

    Returns:
        The timings, and the block and variant of each that hung.
    """
    timings: list[Timing] = []
    hung: list[list[Any]] = []
    done = False
    while not done and minutes > 0:
        command = [sys.executable, str(Path(__file__).resolve()), "--worker", json.dumps(hung), "--dtype", dtype]
        pending: list[Any] = []
        outcome = watched_lines(command, patience=PATIENCE, seconds=60 * minutes)
        for line in outcome:
            found = json.loads(line)
            if "next" in found:
                pending = found["next"]
            else:
                timings.append(Timing(**found))
        minutes -= outcome.seconds / 60
        done = not outcome.hung
        if outcome.hung and pending:
            hung.append(pending)
            # What was timed of this block is measured again: ratios of a variant belong to one run.
            timings = [t for t in timings if not t.is_of(pending)]
    return list(dict.fromkeys(timings)), hung


def main(
    output: Annotated[Path | None, typer.Option("-o", "--output", help="JSON file for the record.")] = None,
    record: Annotated[Path | None, typer.Option(help="Make the table of this record; nothing is measured.")] = None,
    table: Annotated[
        Path | None, typer.Option(help="plugins/core/fused/table.inc, whose rows for this GPU go.")
    ] = None,
    minutes: Annotated[float, typer.Option(help="For measuring; the targets' shapes come first.")] = 4.5,
    dtype: Annotated[str, typer.Option(help="fp16 or bf16.")] = "fp16",
    worker: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    if worker:
        skip = {tuple(map(str, entry)) for entry in json.loads(worker)}
        for line in measure(skip, dtype):
            print(json.dumps(line), flush=True)
        return
    if record is None:
        from gpu_blocks import prepare_gpu

        from dyn2trt.bench.environment import examine_environment

        prepare_gpu()
        timings, hung = supervise(minutes, dtype)
        document = {
            "environment": asdict(examine_environment()),
            "dtype": dtype,
            "pattern": "blobs",
            "hung": hung,
            "left_out": asdict(judge(timings)) if timings else None,
            "timings": [asdict(t) for t in timings],
        }
        if output is not None:
            write_text(output, json.dumps(document, indent=1) + "\n")
    else:
        document = json.loads(record.read_text())
        timings = [Timing(**t) for t in document["timings"]]
    if not timings:
        raise Dyn2trtError("nothing was measured; raise --minutes")
    print(judge(timings).text())
    if table is not None:
        head = f"{document['environment'].get('gpu')}, driver {document['environment'].get('driver')}"
        write_text(table, merged_table(table.read_text(), timings, head))


if __name__ == "__main__":
    run_script(main)
