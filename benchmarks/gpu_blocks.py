"""How fast is one gated block on this GPU, against its dense rivals, and against its floor?

    python benchmarks/gpu_blocks.py                    # the blocks of the project's targets
    python benchmarks/gpu_blocks.py --all -o gpu.json  # every block and batch size; hours

Needs torch with CUDA and the built core library. All contenders of a block run in one interleaved run, each as CUDA
graphs that repeat the block, so that neither Python nor launches from the host are measured. Results are checked
against the dense block at the active sites before anything is timed. Speed-ups, break-even and the verdict are against
the fastest dense rival (gpu_rivals.py); eager torch is there for information.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import gpu_block_cases as blocks
import numpy as np
import torch
import typer
from gpu_floors import Ceilings, dense_passes, measure_ceilings, seconds, sparse_passes
from gpu_profile import convolutions_us, profile
from gpu_rivals import fastest, fused
from rich.console import Console
from rich.table import Table
from script import run_script
from torch import Tensor

from dyn2trt.bench.environment import examine_environment
from dyn2trt.bench.sweep.masks import PATTERNS, to_logits
from dyn2trt.bench.timing.break_even import BreakEven, break_even
from dyn2trt.bench.timing.interleave import Budget, interleave
from dyn2trt.bench.timing.latency import Interval, speedup
from dyn2trt.errors import Dyn2trtError, MissingDependency
from dyn2trt.files import replacing
from dyn2trt.gates import halo
from dyn2trt.ops.core_library import ENVIRONMENT, find_core_library

GRAPH_SECONDS = 1e-3
"""A graph repeats the block until it takes about this long."""
MAX_REPEATS = 64
DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}


@dataclass(frozen=True)
class Measurement:
    """One block at one active ratio. Times in microseconds, medians; the speed-up is the rival's time over sparse.

    Attributes:
        all_active_us: the gated block itself with every site active.
        convolutions_us, fused_us, compiled_us: the rivals, as `gpu_rivals` names them; None where one did not run.
        eager_us: torch in eager mode, for information.
        rival: the fastest rival's name.
    """

    block: str
    pattern: str
    ratio: float
    active: int
    halo: int
    sparse_us: float
    all_active_us: float
    convolutions_us: float
    fused_us: float | None
    compiled_us: float | None
    eager_us: float
    rival: str
    over_rival: Interval
    floor_us: float
    dense_floor_us: float
    input_sets: int
    repeats: int


class Repeated:
    """A block captured in a CUDA graph, ``repeats`` times over ``sets`` of inputs; called, it returns seconds."""

    def __init__(self, run: Callable[[int], Tensor], sets: int, repeats: int | None = None) -> None:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for i in range(3):
                self.result = run(i % sets)
        torch.cuda.synchronize()
        self.repeats = repeats or 1
        self._capture(run, sets, stream)
        if repeats is None:
            self.repeats = min(MAX_REPEATS, max(1, math.ceil(GRAPH_SECONDS / min(self(0) for _ in range(5)))))
            self._capture(run, sets, stream)

    def _capture(self, run: Callable[[int], Tensor], sets: int, stream: torch.cuda.Stream) -> None:
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, stream=stream):
            for i in range(self.repeats):
                self.result = run(i % sets)

    def __call__(self, _round: int) -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        self.graph.replay()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) * 1e-3 / self.repeats


def measure(
    case: blocks.Case, patterns: list[str], ratios: list[float], mode: str, budget: Budget, ceilings: Ceilings
) -> Iterator[Measurement]:
    """Time a block at every ratio, the dense contenders again beside each."""
    tensors, given = blocks.parameters(case, seed=0), input_sets(case)
    sets = len(given)
    sparse = blocks.sparse(case, tensors)
    shape = (case.batch, *case.output_grid)
    contenders, convolutions = dense_contenders(case, tensors, given, mode)
    everything = [torch.ones(shape, device="cuda")[:, None]] * sets
    contenders["all_active"] = Repeated(partial(_at, sparse, given, everything), sets)
    dense = blocks.dense(case, tensors)
    rng = np.random.default_rng(0)
    for pattern in patterns:
        for ratio in ratios:
            masks = [torch.from_numpy(PATTERNS[pattern](shape, ratio, rng)) for _ in range(sets)]
            logits = [torch.from_numpy(to_logits(m.numpy())).cuda() for m in masks]
            check(case, sparse(given[0], logits[0]), dense(given[0]), masks[0].cuda())
            gated = Repeated(partial(_at, sparse, given, logits), sets)
            times = interleave({**contenders, "sparse": gated}, budget)
            median = {name: float(np.median(seconds) * 1e6) for name, seconds in times.items()}
            rivals = {"convolutions": convolutions, "fused": median.get("fused"), "compiled": median.get("compiled")}
            rival = fastest(rivals)
            of_rival = times[rival] if rival in times else [convolutions * 1e-6] * len(times["sparse"])
            floors = [seconds(sparse_passes(case, m), ceilings) for m in masks]
            yield Measurement(
                block=case.label,
                pattern=pattern,
                ratio=ratio,
                active=int(masks[0].sum()),
                halo=int(halo(masks[0], case.output_grid).sum()),
                sparse_us=median["sparse"],
                all_active_us=median["all_active"],
                convolutions_us=convolutions,
                fused_us=rivals["fused"],
                compiled_us=rivals["compiled"],
                eager_us=median["eager"],
                rival=rival,
                over_rival=speedup(of_rival, times["sparse"]),
                floor_us=float(np.mean(floors) * 1e6),
                dense_floor_us=seconds(dense_passes(case), ceilings) * 1e6,
                input_sets=sets,
                repeats=gated.repeats,
            )


def dense_contenders(
    case: blocks.Case, tensors: list[Tensor], given: list[list[Tensor]], mode: str
) -> tuple[dict[str, Repeated], float]:
    """The block ungated as CUDA graphs, by name, and the microseconds of its convolutions alone."""
    dense, sets = blocks.dense(case, tensors), len(given)
    contenders = {"eager": Repeated(lambda i: dense(given[i]), sets)}
    kernels = profile(lambda: [dense(x) for x in given])
    if (quick := fused(case, tensors)) is not None:
        contenders["fused"] = Repeated(lambda i: quick(given[i]), sets)
    if mode != "none":
        compiled = compile_afresh(dense, mode)
        contenders["compiled"] = Repeated(lambda i: compiled(given[i]), sets)
    return contenders, convolutions_us(kernels) / sets


def input_sets(case: blocks.Case) -> list[list[Tensor]]:
    """Inputs to take in turn.

    Those that the L2 holds anyhow stay there, as from one layer of a network to the next; larger ones rotate.
    """
    cache = torch.cuda.get_device_properties(0).L2_cache_size
    size = sum(t.nbytes for t in blocks.inputs(case, 0))
    sets = 1 if 4 * size < cache else max(2, math.ceil(2 * cache / size))
    return [blocks.inputs(case, seed) for seed in range(sets)]


def compile_afresh(run: Callable[..., Tensor], mode: str) -> Callable[..., Tensor]:
    """torch.compile for one set of shapes.

    It keys what it has by code: the second block would get kernels for any shape, and the ninth none.
    """
    torch.compiler.reset()
    compiled: Callable[..., Tensor] = torch.compile(run, mode=None if mode == "default" else mode, dynamic=False)
    return compiled


def _at(
    run: Callable[[list[Tensor], Tensor], Tensor], given: list[list[Tensor]], logits: list[Tensor], i: int
) -> Tensor:
    return run(given[i], logits[i])


def check(case: blocks.Case, y: Tensor, dense: Tensor, mask: Tensor) -> None:
    """Stops a benchmark of wrong results: at the active sites the gated block equals the dense one."""
    where = mask.expand_as(y)
    if not bool(mask.any()):
        return
    difference = (y[where].double() - dense[where].double()).norm() / dense[where].double().norm()
    allowed = 1e-4 if case.dtype == torch.float32 else 2e-2
    if not float(difference) <= allowed:
        raise Dyn2trtError(f"{case.label}: the sparse block differs from the dense one by {float(difference):.2g}")


def table(rows: list[Measurement], crossings: list[BreakEven]) -> Table:
    text = "; ".join(
        f"{c.pattern}: " + (f"break-even at {c.ratio:.0%}" if c.ratio is not None else f"{c.outcome} faster than dense")
        for c in crossings
    )
    result = Table(title=f"{rows[0].block}\n{text}")
    times = ("sparse", "all active", "convolutions", "fused", "compiled", "eager", "floor")
    for column in ("pattern", "active", *(f"{name} us" for name in times), "over the fastest rival (95 %)"):
        result.add_column(column, justify="right")
    for row in rows:
        shown = (row.sparse_us, row.all_active_us, row.convolutions_us, row.fused_us, row.compiled_us, row.eager_us)
        result.add_row(
            row.pattern,
            f"{row.ratio:.1%}",
            *("-" if us is None else f"{us:.1f}" for us in (*shown, row.floor_us)),
            f"{row.rival} {interval(row.over_rival)}",
        )
    return result


def wide_console() -> Console:
    """A console whose tables keep their columns in a log file, too."""
    return Console() if sys.stdout.isatty() else Console(width=150)


def interval(value: Interval) -> str:
    return f"{value.value:.2f} ({value.low:.2f} to {value.high:.2f})"


def prepare_gpu() -> None:
    """Make sure that a GPU and the core library are there, and let cuDNN choose by measuring.

    fp32 is fp32 for everybody: by default torch's convolutions would be tf32, and the core library's not.
    """
    if not torch.cuda.is_available():
        raise MissingDependency("this benchmark needs an NVIDIA GPU and torch with CUDA")
    if find_core_library() is None:
        raise MissingDependency(f"the core library is not built (cmake --preset release), nor named in {ENVIRONMENT}")
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False


def wanted_blocks(every: bool, batches: str) -> tuple[tuple[str, int, int, int], ...]:
    """Name, channels, size and batch of the targets' blocks, or of every block at these batch sizes."""
    if not every:
        return blocks.TARGETS
    sizes = [int(b) for b in batches.split(",")]
    return tuple((name, c, s, b) for name, shapes in blocks.BLOCKS.items() for c, s in shapes for b in sizes)


def main(
    every: Annotated[bool, typer.Option("--all", help="Every block, not the targets' alone.")] = False,
    batches: Annotated[str, typer.Option(help="Batch sizes with --all.")] = "1,8,32,128",
    ratios: Annotated[str, typer.Option(help="Active ratios.")] = "0.05,0.125,0.25,0.5,0.75,1",
    patterns: Annotated[str, typer.Option(help="Of blobs, independent.")] = "blobs,independent",
    dtype: Annotated[str, typer.Option(help="fp16, bf16 or fp32.")] = "fp16",
    layout: Annotated[str, typer.Option(help="nhwc or nchw.")] = "nhwc",
    compile_mode: Annotated[
        str, typer.Option(help="torch.compile's mode: default, max-autotune-no-cudagraphs; none leaves it out.")
    ] = "max-autotune-no-cudagraphs",
    measure_seconds: Annotated[float, typer.Option("--seconds", help="Of measuring at each ratio.")] = 1.0,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="JSON file for the record.")] = None,
) -> None:
    prepare_gpu()
    kind = DTYPES[dtype]
    ceilings = measure_ceilings(kind)
    console = wide_console()
    console.print(f"copy {ceilings.bandwidth / 1e12:.2f} TB/s, product {ceilings.flops / 1e12:.0f} TFLOP/s, {dtype}")
    budget = Budget(warmup=3, min_rounds=20, max_rounds=500, seconds=measure_seconds)
    shares, kinds = sorted(float(r) for r in ratios.split(",")), patterns.split(",")
    done: list[Measurement] = []
    for name, channels, size, batch in wanted_blocks(every, batches):
        case = blocks.make(name, batch, channels, size, kind, layout)
        rows = list(measure(case, kinds, shares, compile_mode, budget, ceilings))
        done += rows
        crossings = [break_even(k, shares, [r.over_rival for r in rows if r.pattern == k]) for k in kinds]
        console.print(table(rows, crossings))
        if output is not None:  # after every block: an interrupted run keeps what it has
            record = {
                "environment": asdict(examine_environment()),
                "gpu": torch.cuda.get_device_name(),
                "dtype": dtype,
                "layout": layout,
                "compile_mode": compile_mode,
                "ceilings": asdict(ceilings),
                "measurements": [asdict(m) for m in done],
            }
            with replacing(output) as temporary:
                temporary.write_text(json.dumps(record, indent=1) + "\n")
        torch.cuda.empty_cache()


if __name__ == "__main__":
    run_script(main)
