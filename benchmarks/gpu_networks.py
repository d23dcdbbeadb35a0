"""How fast is a whole gated network in torch on this GPU, against itself ungated, and where does its time go?

    python benchmarks/gpu_networks.py hourglass --set stacks=4 --set features=96 --batches 1,32 -o pose.json

Needs torch with CUDA and the built core library. Masks of pattern `own` are those of the network's own gates, inside
their blocks as in an exported file, whose biases are set so that the share wanted is active; `blobs` and `independent`
are forced from outside, and the gates run outside. All contenders are CUDA graphs in channels-last, in one interleaved
run. The rivals are the dense network's convolution kernels alone, nothing else counted, and torch.compile; eager torch
is there for information (gpu_rivals.py says why). A table says what kinds of kernels the time goes to. `dyn2trt bench
--backend tensorrt` asks the same of engines.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from gpu_blocks import Repeated, compile_afresh, interval, prepare_gpu, wide_console
from gpu_calibrate import calibrate, smooth_input
from gpu_profile import Kernel, by_kind, convolutions_us, profile
from gpu_rivals import fastest
from rich.table import Table
from script import run_script
from torch import Tensor, nn

from dyn2trt.bench.environment import examine_environment
from dyn2trt.bench.sweep.masks import PATTERNS
from dyn2trt.bench.timing.break_even import break_even
from dyn2trt.bench.timing.interleave import Budget, interleave
from dyn2trt.bench.timing.latency import speedup
from dyn2trt.blocks import set_execution
from dyn2trt.blocks.fold import fold_batchnorm
from dyn2trt.blocks.precision import to_precision
from dyn2trt.errors import Dyn2trtError
from dyn2trt.files import write_text
from dyn2trt.gates import MaskUnit
from dyn2trt.macs import count_macs
from dyn2trt.networks.zoo import NETWORKS, build_network

TOLERANCE = {"fp32": 1e-4, "fp16": 2e-2, "bf16": 1e-1}
Decision = tuple[Tensor, Tensor]
"""Logits (+1 active, -1 idle) and mask (1 or 0), float32 [N, 1, Ho, Wo]."""


def prepare(network: nn.Module, shape: tuple[int, ...], precision: str, execution: Any, device: str) -> nn.Module:
    """A folded copy at a precision, in channels-last on a device."""
    copy = to_precision(fold_batchnorm(network, shape), precision).to(device, memory_format=torch.channels_last)
    set_execution(copy, execution)
    return copy


@contextmanager
def decided(network: nn.Module, decisions: list[Decision]) -> Iterator[None]:
    """As `dyn2trt.gates.forced_masks`, but with logits and masks ready made: its conversions would be timed too."""
    remaining = iter(decisions)
    units = [module for module in network.modules() if isinstance(module, MaskUnit)]
    hooks = [unit.register_forward_hook(lambda *_: next(remaining)) for unit in units]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def call(network: nn.Module, x: Tensor, decisions: list[Decision] | None = None) -> Tensor:
    """The network's last output, with what its gates decide given where it is."""
    with torch.no_grad(), nullcontext() if decisions is None else decided(network, decisions):
        outputs = network(x)
    return outputs if isinstance(outputs, Tensor) else outputs[-1]


def check(sparse: Tensor, masked: Tensor, precision: str) -> None:
    """Stops a benchmark of wrong results."""
    difference = float((sparse.double() - masked.double()).norm() / masked.double().norm())
    if not difference <= TOLERANCE[precision]:
        raise Dyn2trtError(f"the sparse network differs from the masked one by {difference:.2g}")


OWN = "own"


@dataclass(frozen=True)
class Gated:
    """The network to time at an active ratio, and the masks of its gates: forced on it, or its ``own`` ones."""

    sparse: nn.Module
    masked: nn.Module
    masks: list[Decision]
    own: bool

    def __call__(self, x: Tensor) -> Tensor:
        return call(self.sparse, x, None if self.own else self.masks)

    def check(self, x: Tensor, precision: str) -> None:
        """With the same masks, so that a decision that rounding flips is not taken for an error."""
        check(call(self.sparse, x, self.masks), call(self.masked, x, self.masks), precision)


def calibrated(network: nn.Module, shape: tuple[int, ...], precision: str, x: Tensor, ratio: float) -> Gated:
    """With gates of its own that make ``ratio`` of their sites active on ``x``."""
    copy = deepcopy(network).to(x.device)
    calibrate(copy, x, ratio)
    sparse, masked = (prepare(copy, shape, precision, e, str(x.device)) for e in ("sparse", "masked"))
    seen: list[Decision] = []
    units = [module for module in masked.modules() if isinstance(module, MaskUnit)]
    hooks = [unit.register_forward_hook(lambda _, __, decision: seen.append(decision)) for unit in units]
    call(masked, x)
    for hook in hooks:
        hook.remove()
    return Gated(sparse, masked, seen, own=True)


def draw(pattern: str, ratio: float, grids: list[tuple[int, int]], batch: int, device: str) -> list[Decision]:
    rng = np.random.default_rng(0)
    masks = [torch.from_numpy(PATTERNS[pattern]((batch, *grid), ratio, rng)).to(device) for grid in grids]
    return [(2 * mask.float() - 1, mask.float()) for mask in masks]


def main(
    name: Annotated[str, typer.Argument(help="A network of the zoo.")],
    settings: Annotated[list[str] | None, typer.Option("--set", help="NAME=VALUE")] = None,
    batches: Annotated[str, typer.Option(help="Batch sizes.")] = "1,8,32",
    ratios: Annotated[str, typer.Option(help="Active ratios.")] = "0.05,0.125,0.25,0.5,0.75,1",
    patterns: Annotated[str, typer.Option(help="Of own, blobs, independent.")] = "own,blobs",
    precision: Annotated[str, typer.Option(help="fp16, bf16 or fp32.")] = "fp16",
    compiled: Annotated[bool, typer.Option(help="Measure torch.compile too.")] = True,
    measure_seconds: Annotated[float, typer.Option("--seconds", help="Of measuring at each ratio.")] = 2.0,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="JSON file for the record.")] = None,
) -> None:
    prepare_gpu()
    torch.manual_seed(0)
    network = build_network(name, dict(setting.split("=", 1) for setting in settings or [])).eval()
    shape = NETWORKS[name].input_shape
    grids = [block.grid for block in count_macs(network, shape).blocks]
    dense, sparse, masked = (prepare(network, shape, precision, e, "cuda") for e in ("dense", "sparse", "masked"))
    console = wide_console()
    budget, shares = Budget(3, 20, 500, measure_seconds), sorted(float(r) for r in ratios.split(","))
    rows: list[dict[str, Any]] = []
    record = {
        "environment": asdict(examine_environment()),
        "gpu": torch.cuda.get_device_name(),
        "network": name,
        "settings": settings or [],
        "precision": precision,
        "shape": shape,
    }
    for batch in map(int, batches.split(",")):
        x = smooth_input((batch, *shape[1:]), "cuda")
        contenders = {"eager": Repeated(lambda _, x=x: call(dense, x), 1)}
        dense_kernels = profile(contenders["eager"].graph.replay)
        convolutions = convolutions_us(dense_kernels) / contenders["eager"].repeats * 1e-3
        if compiled:
            fast = compile_afresh(dense, "max-autotune-no-cudagraphs")
            contenders["compiled"] = Repeated(lambda _, x=x, fast=fast: call(fast, x), 1)
        for pattern in patterns.split(","):
            gains = []
            for ratio in shares:
                if pattern == OWN:
                    run = calibrated(network, shape, precision, x, ratio)
                else:
                    run = Gated(sparse, masked, draw(pattern, ratio, grids, batch, "cuda"), own=False)
                run.check(x, precision)
                gated = Repeated(lambda _, x=x, run=run: run(x), 1)
                times = interleave({**contenders, "sparse": gated}, budget)
                median = {name: float(np.median(seconds) * 1e3) for name, seconds in times.items()}
                rival = fastest({"convolutions": convolutions, "compiled": median.get("compiled")})
                of_rival = times[rival] if rival in times else [convolutions * 1e-3] * len(times["sparse"])
                gains.append(speedup(of_rival, times["sparse"]))
                kernels = {
                    "dense": _a_call(dense_kernels, contenders["eager"].repeats),
                    "sparse": _a_call(profile(gated.graph.replay), gated.repeats),
                }
                rows.append(
                    {"batch": batch, "pattern": pattern, "ratio": ratio, "convolutions_ms": convolutions}
                    | {"active": sum(float(m.sum()) for _, m in run.masks) / sum(m.numel() for _, m in run.masks)}
                    | {f"{name}_ms": ms for name, ms in median.items()}
                    | {"rival": rival, "over_rival": asdict(gains[-1]), "kernels_us": kernels}
                )
                title = f"batch {batch}, {pattern} {ratio:.1%}: {median['sparse']:.3f} ms sparse"
                console.print(where_it_goes(f"{title}, over {rival} {interval(gains[-1])}", kernels))
                if output is not None:  # after every row: an interrupted run keeps what it has
                    write_text(output, json.dumps(record | {"measurements": rows}, indent=1) + "\n")
            console.print(f"batch {batch}, {pattern}: break-even {break_even(pattern, shares, gains)}")


def _a_call(kernels: list[Kernel], repeats: int) -> dict[str, float]:
    """Microseconds of each kind of kernel in one call, of the profile of a graph that repeats it."""
    return {kind: us / repeats for kind, us in by_kind(kernels).items()}


def where_it_goes(title: str, kernels: dict[str, dict[str, float]]) -> Table:
    """Microseconds of each kind of kernel: a row a kind, a column an execution."""
    table = Table(title=title)
    for column in ("kernels", *(f"{execution} us" for execution in kernels)):
        table.add_column(column, justify="left" if column == "kernels" else "right")
    for kind in dict.fromkeys(kind for sums in kernels.values() for kind in sums):
        table.add_row(kind, *(f"{sums.get(kind, 0):.0f}" for sums in kernels.values()))
    table.add_row("all", *(f"{sum(sums.values()):.0f}" for sums in kernels.values()))
    return table


if __name__ == "__main__":
    run_script(main)
