"""How fast is one gated block's ONNX body on the CPU, beside the same block as an ordinary dense network?

Each round runs the dense block and the gated block under every mask once, in an order drawn anew, in one process.
The dense block is what a network without gates would hold: standard Conv nodes, residual sum and activations.

    python benchmarks/cpu_blocks.py --output benchmarks/results/cpu_blocks.json
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx.parser
import typer
from onnx import helper, numpy_helper
from rich.console import Console
from rich.table import Table

from dyn2trt.bench.environment import examine_environment
from dyn2trt.bench.summary import interval_cell, milliseconds
from dyn2trt.bench.sweep.masks import blobs, independent, to_logits
from dyn2trt.bench.timing.interleave import Budget, interleave
from dyn2trt.bench.timing.latency import Interval, speedup, summarise
from dyn2trt.contract import DOMAIN, SCHEMAS, VERSION
from dyn2trt.files import write_text
from dyn2trt.ops.bodies import attach_bodies
from dyn2trt.runtimes.onnxruntime_session import OnnxRuntimeSession

OPSET = 20
Arrays = dict[str, npt.NDArray[Any]]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Block:
    """A gated block: C channels in and out, stride 1; ``middle`` is E of an inverted residual, B of a bottleneck."""

    op: str
    channels: int
    middle: int
    size: tuple[int, int]
    batch: int = 1

    @property
    def name(self) -> str:
        height, width = self.size
        return f"{self.op} C={self.channels} middle={self.middle} {height}×{width} batch {self.batch}"

    @property
    def layers(self) -> dict[str, tuple[int, ...]]:
        c, m = self.channels, self.middle
        layers: dict[str, dict[str, tuple[int, ...]]] = {
            "GatedInvertedResidual": {"expand": (m, 1, 1, c), "depthwise": (3, 3, m), "project": (c, 1, 1, m)},
            "GatedBasicBlock": {"conv1": (c, 3, 3, c), "conv2": (c, 3, 3, c)},
            "GatedBottleneck": {"conv1": (m, 1, 1, c), "conv2": (m, 3, 3, m), "conv3": (c, 1, 1, m)},
        }
        return layers[self.op]


BLOCKS = (
    Block("GatedInvertedResidual", 96, 576, (64, 64)),
    Block("GatedInvertedResidual", 96, 576, (32, 32)),
    Block("GatedInvertedResidual", 96, 576, (16, 16)),
    Block("GatedBasicBlock", 128, 128, (32, 32)),
    Block("GatedBasicBlock", 64, 64, (56, 56)),
    Block("GatedBottleneck", 256, 64, (56, 56)),
    Block("GatedBottleneck", 1024, 256, (14, 14)),
)


def small_blobs(shape: tuple[int, int, int], ratio: float, rng: np.random.Generator) -> Mask:
    """Blobs of half the diameter: a mosaic of four fields. On 64×64 the halo of 25 % active is 35 % of the map."""
    n, height, width = shape
    halves = [(h, w) for h in (height // 2, height - height // 2) for w in (width // 2, width - width // 2)]
    a, b, c, d = (blobs((n, *half), ratio, rng) for half in halves)
    return np.concatenate([np.concatenate([a, b], 3), np.concatenate([c, d], 3)], 2)


PATTERNS: dict[str, Callable[..., Mask]] = {"blobs": blobs, "small blobs": small_blobs, "independent": independent}


def weights(block: Block, rng: np.random.Generator) -> Arrays:
    """Weights in the ops' layout, scaled so that activations keep their variance."""
    made: Arrays = {}
    for name, shape in block.layers.items():
        depthwise = name == "depthwise"
        fan_in = 9 if depthwise else int(np.prod(shape[1:]))
        made[f"{name}_weight"] = (rng.standard_normal(shape) * fan_in**-0.5).astype(np.float32)
        made[f"{name}_bias"] = (rng.standard_normal(shape[-1 if depthwise else 0]) * 0.1).astype(np.float32)
    return made


def gated_model(block: Block, constants: Arrays) -> onnx.ModelProto:
    """The block as one node with its body; inputs x and mask (the logits)."""
    schema = SCHEMAS[block.op]
    names = ["x" if t.name == "identity" else t.name for t in schema.inputs]
    node = helper.make_node(schema.name, names, ["y"], name="block", domain=DOMAIN)
    shape = [block.batch, block.channels, *block.size]
    value = partial(helper.make_tensor_value_info, elem_type=onnx.TensorProto.FLOAT)
    inputs = [value("x", shape=shape), value("mask", shape=[block.batch, 1, *block.size])]
    tensors = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph([node], "gated", inputs, [value("y", shape=shape)], tensors)
    imports = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, VERSION)]
    return attach_bodies(helper.make_model(graph, opset_imports=imports, ir_version=10))


def dense_model(block: Block, constants: Arrays) -> onnx.ModelProto:
    """The same block without its gate, of standard nodes."""
    same = "pads = [1, 1, 1, 1]"
    if block.op == "GatedInvertedResidual":
        nodes = f"""
            a = Conv (x, expand_weight, expand_bias) b = Clip (a, zero, six)
            c = Conv <group = {block.middle}, {same}> (b, depthwise_weight, depthwise_bias) d = Clip (c, zero, six)
            e = Conv (d, project_weight, project_bias) y = Add (x, e)"""
    elif block.op == "GatedBasicBlock":
        nodes = f"""
            a = Conv <{same}> (x, conv1_weight, conv1_bias) b = Relu (a)
            c = Conv <{same}> (b, conv2_weight, conv2_bias) d = Add (x, c) y = Relu (d)"""
    else:
        nodes = f"""
            a = Conv (x, conv1_weight, conv1_bias) b = Relu (a)
            c = Conv <{same}> (b, conv2_weight, conv2_bias) d = Relu (c)
            e = Conv (d, conv3_weight, conv3_bias) f = Add (x, e) y = Relu (f)"""
    shape = ", ".join(map(str, (block.batch, block.channels, *block.size)))
    model = onnx.parser.parse_model(
        f'<ir_version: 10, opset_import: ["" : {OPSET}]> dense (float[{shape}] x) => (float[{shape}] y) {{{nodes}}}'
    )
    arrays: Arrays = {"zero": np.zeros((), np.float32), "six": np.full((), 6, np.float32)}
    for name, array in constants.items():
        if name == "depthwise_weight":
            arrays[name] = array.transpose(2, 0, 1)[:, None]
        else:
            arrays[name] = array.transpose(0, 3, 1, 2) if array.ndim == 4 else array
    model.graph.initializer.extend(numpy_helper.from_array(np.ascontiguousarray(a), n) for n, a in arrays.items())
    return model


def halo_share(mask: Mask) -> float:
    """Share of the map in the 3×3 halo of the active sites."""
    height, width = mask.shape[2:]
    framed = np.pad(mask, ((0, 0), (0, 0), (1, 1), (1, 1)))
    halo = np.zeros_like(mask)
    for y in range(3):
        for x in range(3):
            halo |= framed[:, :, y : y + height, x : x + width]
    return float(halo.mean())


def cpu_seconds(session: OnnxRuntimeSession, feed: Arrays) -> float:
    """Processor time of one run by the whole process: with one thread, what a run takes on an undisturbed core."""
    start = time.process_time()
    session.run(feed)
    return time.process_time() - start


def measure(
    block: Block, ratios: list[float], threads: int, budget: Budget, seed: int, cpu_time: bool
) -> dict[str, Any]:
    """Measure one block under every mask; the masks of a ratio change from round to round."""
    clock = cpu_seconds if cpu_time else OnnxRuntimeSession.time
    rng = np.random.default_rng(seed)
    constants = weights(block, rng)
    x = rng.standard_normal((block.batch, block.channels, *block.size)).astype(np.float32)
    dense = OnnxRuntimeSession(dense_model(block, constants), threads)
    model = gated_model(block, constants)
    gated = OnnxRuntimeSession(model, threads)
    cases = [(pattern, ratio) for pattern in PATTERNS for ratio in ratios if ratio < 1] + [("everything", 1.0)]
    variety = 8
    masks: dict[str, list[Mask]] = {}
    for pattern, ratio in cases:
        make = PATTERNS.get(pattern, blobs)
        masks[f"{pattern} {ratio}"] = [make((block.batch, *block.size), ratio, rng) for _ in range(variety)]
    feeds = {name: [{"x": x, "mask": to_logits(mask)} for mask in some] for name, some in masks.items()}

    everything = gated.run(feeds["everything 1.0"][0])["y"]
    np.testing.assert_allclose(everything, dense.run({"x": x})["y"], rtol=1e-3, atol=1e-3)

    contenders = {name: partial(lambda some, i: clock(gated, some[i % variety]), some) for name, some in feeds.items()}
    times = interleave({"dense": lambda i: clock(dense, {"x": x}), **contenders}, budget, seed)
    rows = []
    for (pattern, ratio), (name, some) in zip(cases, masks.items(), strict=True):
        rows.append(
            {
                "pattern": pattern,
                "ratio": ratio,
                "halo": float(np.mean([halo_share(mask) for mask in some])),
                "latency": asdict(summarise(times[name], block.batch)),
                "speedup": asdict(speedup(times["dense"], times[name])),
            }
        )
    schedule = next((a.s.decode() for a in model.graph.node[0].attribute if a.name == "schedule"), None)
    latency = asdict(summarise(times["dense"], block.batch))
    return {"name": block.name, **asdict(block), "schedule": schedule, "dense": latency, "masks": rows}


def show(result: dict[str, Any], console: Console) -> None:
    """One table a block."""
    title = f"{result['name']}: dense {milliseconds(result['dense']['median_ms'])} ms, body {result['schedule']}"
    table = Table("masks", "active", "halo", "median ms", "spread", "speed-up", title=title, title_justify="left")
    for row in result["masks"]:
        latency = row["latency"]
        table.add_row(
            row["pattern"],
            f"{row['ratio']:.1%}",
            f"{row['halo']:.0%}",
            milliseconds(latency["median_ms"]),
            milliseconds(latency["spread_ms"]),
            interval_cell(Interval(**row["speedup"])),
        )
    console.print(table)


def main(
    output: Annotated[Path | None, typer.Option(help="Where to write the record (JSON).")] = None,
    ratio: Annotated[list[float] | None, typer.Option(help="Active ratios; repeat the option.")] = None,
    block: Annotated[list[int] | None, typer.Option(help="Indices of the blocks to measure; all by default.")] = None,
    threads: Annotated[int, typer.Option(help="Intra-op threads.")] = 2,
    seconds: Annotated[float, typer.Option(help="Time to measure each block.")] = 20.0,
    cpu_time: Annotated[
        bool, typer.Option(help="Processor time instead of wall time, with one thread: for a machine that is shared.")
    ] = False,
    seed: int = 0,
) -> None:
    """Measure every block and write the record."""
    if cpu_time and threads != 1:
        raise typer.BadParameter("with several threads processor time counts waiting too; add --threads 1")
    budget = Budget(warmup=3, min_rounds=20, max_rounds=2000, seconds=seconds)
    ratios = ratio or [0.05, 0.125, 0.25, 0.4, 0.6]
    console = Console()
    environment = examine_environment()
    results = []
    for index, one in enumerate(BLOCKS):
        if block and index not in block:
            continue
        results.append(measure(one, ratios, threads, budget, seed, cpu_time))
        show(results[-1], console)
    if output is not None:
        record = {
            "environment": asdict(environment),
            "clock": "processor time" if cpu_time else "wall time",
            "threads": threads,
            "seed": seed,
            "blocks": results,
        }
        write_text(output, json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
