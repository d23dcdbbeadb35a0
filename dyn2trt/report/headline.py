"""A report's headline figures."""

from __future__ import annotations

from dataclasses import dataclass

from dyn2trt.bench.record import Record
from dyn2trt.bench.sweep.gate_masks import LAYERS
from dyn2trt.report.findings import Findings


@dataclass(frozen=True)
class Fact:
    """A headline figure."""

    value: str
    label: str


def headline(run: Findings) -> list[Fact]:
    """The first benchmark's first batch, the activity, and the comparison, each in one figure."""
    facts = []
    if run.benches:
        record = run.benches[0]
        batch = record.batches[0]
        if batch.speedup is not None:
            label = f"as fast as dense with its own masks, {backend_name(record)}"
            facts.append(Fact(f"{batch.speedup.value:.2f}×", label))
        if batch.generation is not None:
            label = f"of the latency is generating kernels, {backend_name(record)}"
            facts.append(Fact(f"{batch.generation.share.value:.0%}", label))
        if batch.break_even:
            first = batch.break_even[0]
            value = f"{first.ratio:.0%}" if first.ratio is not None else "none"
            counted = "layers run" if first.pattern == LAYERS else "active sites"
            meaning = {
                "ratio": f"{counted} at break-even, {first.pattern}",
                "always": f"break-even: faster than dense at every ratio measured, {first.pattern}",
                "never": f"break-even: slower than dense at every ratio measured, {first.pattern}",
            }[first.outcome]
            facts.append(Fact(value, meaning))
        if record.activity is not None:
            things = "gated layers run" if record.model.dynamic == ("layers",) else "active sites"
            facts.append(Fact(f"{record.activity.ratio:.0%}", f"{things} on the images, blocks weighted by work"))
    if run.comparison is not None:
        gates = [gate.statistics for backend in run.comparison.backends for gate in backend.gates]
        if sites := sum(gate.sites for gate in gates):
            flipped = sum(gate.flipped for gate in gates)
            facts.append(Fact(f"{flipped:,}", f"of {sites:,} gate decisions differ from {run.comparison.reference}"))
    return facts


def backend_name(record: Record) -> str:
    """Where a benchmark ran, in a few words."""
    names = {"onnxruntime": "ONNX Runtime", "tensorrt": "TensorRT"}
    mode = record.mode
    where = record.environment.gpu or "GPU"
    if mode.threads is not None:
        where = f"{mode.threads} thread{'s' * (mode.threads != 1)}"
    return f"{names.get(mode.backend, mode.backend)}, {where}"
