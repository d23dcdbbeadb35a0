"""What does a dynamic convolution cost in ONNX Runtime, written in each of its forms, beside an ordinary convolution?

Each round runs every form once, in an order drawn anew, in one process. ``fixed`` is the ordinary Conv of the same
shape; ``grouped`` needs a static batch; ``scan``, a loop over the images whose body is a Conv, is measured for
comparison only: no file has it, because NVIDIA's parser refuses it.

    python benchmarks/kernel_forms.py --output benchmarks/results/kernel_forms.json
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
import onnx_ir as ir
import typer
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console
from rich.table import Table

from dyn2trt.bench.environment import examine_environment
from dyn2trt.bench.summary import milliseconds
from dyn2trt.bench.timing.interleave import Budget, interleave
from dyn2trt.bench.timing.latency import summarise
from dyn2trt.export.dynamic_kernels.forms import Tensors, choose_form, write_form
from dyn2trt.export.dynamic_kernels.geometry import Geometry
from dyn2trt.export.dynamic_kernels.writer import Writer
from dyn2trt.files import write_text
from dyn2trt.runtimes.onnxruntime_session import OnnxRuntimeSession

OPSET = 20
KERNELS = 6
"""Fixed kernels a channel, g_t."""


@dataclass(frozen=True)
class Layer:
    """A square dynamic convolution without bias, padded to keep the size at stride 1."""

    name: str
    channels: int
    groups: int
    kernel: int
    stride: int
    size: int

    @property
    def geometry(self) -> Geometry:
        pad, square = self.kernel // 2, (self.kernel, self.kernel)
        strides = (self.stride, self.stride)
        return Geometry(self.channels, self.channels, self.groups, square, strides, (pad, pad), (1, 1), KERNELS)

    @property
    def grid(self) -> tuple[int, int]:
        n = (self.size + 2 * (self.kernel // 2) - self.kernel) // self.stride + 1
        return n, n


LAYERS = (
    Layer("3×3 of 32, 56×56", 32, 1, 3, 1, 56),
    Layer("3×3 of 128, 14×14", 128, 1, 3, 1, 14),
    Layer("1×1 of 116, 28×28", 116, 1, 1, 1, 28),
    Layer("depthwise 3×3 of 116, 28×28", 116, 116, 3, 1, 28),
    Layer("depthwise 5×5 of 240, 14×14", 240, 240, 5, 1, 14),
    Layer("depthwise 3×3 of 116, 56×56, stride 2", 116, 116, 3, 2, 56),
    Layer("3×3 of 96 in 16 groups, 28×28", 96, 16, 3, 1, 28),
)
"""Shapes from Dy-ResNet18, Dy-ShuffleNetV2, Dy-MobileNetV3 and Dy-MobileNetV2."""


def model(layer: Layer, form: str, batch: int, weight: np.ndarray) -> onnx.ModelProto:
    """The layer in one form: inputs x [N, C, H, W] and coefficients [N, C·g_t], output y."""
    geometry, c = layer.geometry, layer.channels
    floating = ir.TensorType(ir.DataType.FLOAT)
    n: int | str = batch if form in ("fixed", "grouped") else "N"
    x = ir.Value(name="x", shape=ir.Shape([n, c, layer.size, layer.size]), type=floating)
    coefficients = ir.Value(name="coefficients", shape=ir.Shape([n, c * KERNELS]), type=floating)
    graph = ir.Graph([x, coefficients], [], nodes=[], opset_imports={"": OPSET}, name=form)
    writer = Writer(graph, "layer")
    tensors = Tensors(x, coefficients, weight, None, batch if form == "grouped" else None, layer.grid)
    if form == "fixed":
        y = writer.op("Conv", [x, writer.constant("weight", weight[::KERNELS])], **geometry.conv_attributes())
    elif form == "scan":
        y = scan(writer, geometry, tensors)
    else:
        y = write_form(form, writer, geometry, tensors)  # type: ignore[arg-type]
    y.name, y.shape, y.type = "y", ir.Shape([n, c, *layer.grid]), floating
    graph.outputs.append(y)
    return ir.serde.serialize_model(ir.Model(graph, ir_version=10))


def scan(writer: Writer, geometry: Geometry, tensors: Tensors) -> ir.Value:
    """A loop over the images; the kernels of all of them are made in front of it."""
    o, t = geometry.out_channels, geometry.kernels
    fixed = writer.constant("weight", tensors.weight.reshape(o, t, geometry.kernel_numbers))
    made = writer.op("MatMul", [writer.reshape(tensors.coefficients, [0, o, 1, t]), fixed])
    kernels = writer.reshape(made, [0, o, geometry.in_channels // geometry.groups, *geometry.kernel_size])
    nodes = [
        helper.make_node("Unsqueeze", ["image", "axis"], ["batch"]),
        helper.make_node("Conv", ["batch", "kernels"], ["convolved"], **geometry.conv_attributes()),
        helper.make_node("Squeeze", ["convolved", "axis"], ["out"]),
    ]
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("image", "kernels")]
    outputs = [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)]
    axis = numpy_helper.from_array(np.array([0]), "axis")
    body = ir.serde.deserialize_graph(helper.make_graph(nodes, "image", inputs, outputs, [axis]))
    attributes = [ir.AttrGraph("body", body), ir.AttrInt64("num_scan_inputs", 2)]
    node = ir.Node("", "Scan", [tensors.x, kernels], attributes, name="scan", num_outputs=1)
    writer.graph.append(node)
    return node.outputs[0]


def forms_of(layer: Layer) -> list[str]:
    general = "matmul" if layer.geometry.is_pointwise else "unfold"
    return ["fixed", "grouped", general, "feature_maps", "scan"]


def cpu_seconds(session: OnnxRuntimeSession, feed: dict[str, Any]) -> float:
    """Processor time of one run: with one thread, what it takes on an undisturbed core."""
    start = time.process_time()
    session.run(feed)
    return time.process_time() - start


def measure(layer: Layer, batch: int, budget: Budget, seed: int) -> dict[str, Any]:
    """Time every form of a layer, once they are seen to give the same result."""
    rng = np.random.default_rng(seed)
    weight = rng.standard_normal((layer.channels * KERNELS, layer.channels // layer.groups, layer.kernel, layer.kernel))
    feed = {
        "x": rng.standard_normal((batch, layer.channels, layer.size, layer.size)).astype(np.float32),
        "coefficients": rng.random((batch, layer.channels * KERNELS)).astype(np.float32),
    }
    sessions = {
        form: OnnxRuntimeSession(model(layer, form, batch, weight.astype(np.float32)), threads=1)
        for form in forms_of(layer)
    }
    wanted = sessions["grouped"].run(feed)["y"]
    for form, session in sessions.items():
        if form != "fixed":
            got = session.run(feed)["y"]
            assert np.linalg.norm(got - wanted) <= 1e-5 * np.linalg.norm(wanted), f"{form} differs from grouped"
    contenders = {form: partial(lambda s, _: cpu_seconds(s, feed), session) for form, session in sessions.items()}
    times = interleave(contenders, budget, seed)
    return {
        "layer": asdict(layer),
        "batch": batch,
        "chosen": {
            "static batch": choose_form(layer.geometry, batch),
            "dynamic batch": choose_form(layer.geometry, None),
        },
        "latency": {form: asdict(summarise(seconds, batch)) for form, seconds in times.items()},
    }


def main(
    output: Annotated[Path | None, typer.Option(help="Where to write the record (JSON).")] = None,
    batch: Annotated[list[int] | None, typer.Option(help="Batch sizes; repeat the option.")] = None,
    seconds: Annotated[float, typer.Option(help="Time to measure each layer at each batch.")] = 3.0,
    seed: int = 0,
) -> None:
    """Measure every layer, in processor time on one thread, and write the record."""
    budget = Budget(warmup=3, min_rounds=20, max_rounds=2000, seconds=seconds)
    environment = examine_environment()
    table = Table("layer", "batch", "fixed", "grouped", "matmul or unfold", "feature maps", "scan", title="median ms")
    results = []
    for layer in LAYERS:
        for n in batch or [1, 4]:
            results.append(measure(layer, n, budget, seed))
            medians = [one["median_ms"] for one in results[-1]["latency"].values()]
            table.add_row(layer.name, str(n), *map(milliseconds, medians))
    Console().print(table)
    if output is not None:
        record = {
            "environment": asdict(environment),
            "clock": "processor time",
            "threads": 1,
            "kernels": KERNELS,
            "seed": seed,
            "layers": results,
        }
        write_text(output, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    typer.run(main)
