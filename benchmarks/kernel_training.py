"""How long does a training step of dynamic convolutions take, by feature maps and by fused kernels?

Forward, backward and, for the network, the optimizer's step. Each round runs every contender once, in an order drawn
anew. Processor time of one thread, so that a shared machine disturbs little.

    python benchmarks/kernel_training.py --output benchmarks/results/kernel_training.json
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch.nn import functional as F

from dyn2trt.bench.environment import examine_environment
from dyn2trt.bench.summary import interval_cell, milliseconds
from dyn2trt.bench.timing.interleave import Budget, Contender, interleave
from dyn2trt.bench.timing.latency import Interval, speedup, summarise
from dyn2trt.blocks.dynamic import DynamicConv2d, KernelExecution, set_kernel_execution
from dyn2trt.files import write_text
from dyn2trt.networks.dy_cifar_resnet import dy_cifar_resnet

EXECUTIONS: tuple[KernelExecution, ...] = ("feature_maps", "fused")

CONVOLUTIONS: dict[str, tuple[tuple[int, ...], int, int]] = {
    "dense 3×3": ((32, 32, 3, 1, 1), 16, 32),
    "dense 3×3, wide and late": ((256, 256, 3, 1, 1), 7, 8),
    "pointwise": ((48, 48, 1), 14, 32),
    "depthwise 3×3": ((48, 48, 3, 1, 1, 1, 48), 14, 32),
    "grouped 3×3": ((48, 48, 3, 1, 1, 1, 8), 14, 32),
}
"""Arguments of `DynamicConv2d`, height and width, batch; 6 kernels a channel."""


def convolution_step(arguments: tuple[int, ...], size: int, batch: int, execution: KernelExecution) -> Contender:
    """Forward and backward of one convolution."""
    convolution = DynamicConv2d(*arguments)
    convolution.execution = execution
    x = torch.randn(batch, convolution.in_channels, size, size, requires_grad=True)
    coefficients = torch.rand(batch, convolution.coefficients, requires_grad=True)

    def step(_round: int) -> float:
        start = time.process_time()
        convolution(x, coefficients).sum().backward()
        return time.process_time() - start

    return step


def network_step(kernels: int, execution: KernelExecution, batch: int) -> Contender:
    """A training step of the digits task's network, depth 8 and width 0.5, on 64×64 images."""
    network = dy_cifar_resnet(depth=8, stem_stride=2, kernels=kernels).train()
    set_kernel_execution(network, execution)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    x, target = torch.randn(batch, 3, 64, 64), torch.randint(0, 10, (batch,))

    def step(_round: int) -> float:
        start = time.process_time()
        optimizer.zero_grad()
        F.cross_entropy(network(x), target).backward()
        optimizer.step()
        return time.process_time() - start

    return step


def measure(contenders: dict[str, Contender], budget: Budget, batch: int) -> dict[str, Any]:
    """Time ``contenders``, of which one is ``feature_maps`` and one ``fused``."""
    times = interleave(contenders, budget)
    gain = speedup(times["feature_maps"], times["fused"])
    return {**{name: asdict(summarise(values, batch)) for name, values in times.items()}, "speedup": asdict(gain)}


def main(
    output: Annotated[Path | None, typer.Option(help="Where to write the record (JSON).")] = None,
    seconds: Annotated[float, typer.Option(help="Time to measure each row.")] = 4.0,
    batch: Annotated[int, typer.Option(help="Images in a step of the network.")] = 32,
) -> None:
    """Measure and write the record."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    budget = Budget(warmup=2, min_rounds=8, max_rounds=200, seconds=seconds)
    rows: dict[str, Any] = {}
    for name, (arguments, size, images) in CONVOLUTIONS.items():
        steps: dict[str, Contender] = {e: convolution_step(arguments, size, images, e) for e in EXECUTIONS}
        rows[name] = measure(steps, budget, images)
    for kernels in (1, 2, 4, 6):
        steps = {execution: network_step(kernels, execution, batch) for execution in EXECUTIONS}
        steps["static"] = network_step(0, "auto", batch)
        rows[f"network, {kernels} kernels a channel"] = measure(steps, budget, batch)
    table = Table("training step of", "feature maps, ms", "fused, ms", "static, ms", "fused is faster by")
    for name, row in rows.items():
        cells = [milliseconds(row[key]["median_ms"]) if key in row else "" for key in (*EXECUTIONS, "static")]
        table.add_row(name, *cells, interval_cell(Interval(**row["speedup"])))
    Console().print(table)
    if output is not None:
        record = {
            "environment": asdict(examine_environment()),
            "clock": "processor time",
            "threads": 1,
            "rows": rows,
        }
        write_text(output, json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
