"""The report's tables, as text; the templates lay them out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dyn2trt.activity.summary import Activity
from dyn2trt.bench.record import Batch, Environment, Memory, Record
from dyn2trt.bench.summary import (
    break_even_text,
    interval_cell,
    latency_cells,
    latency_rows,
    milliseconds,
    network_names,
)
from dyn2trt.compare.result import BackendResult, GateResult
from dyn2trt.report.dynamic_kernels import Spread


@dataclass(frozen=True)
class Table:
    """Captions say what the figures are of.

    ``text`` columns, from the left, hold words; the others numbers, which align at the right."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text: int = 1
    failed: tuple[int, ...] = ()
    """Rows that show a failure."""


def latency_table(record: Record, batch: Batch) -> Table:
    rows = latency_rows(record, batch)
    head = ("median ms", "p90 ms", "p99 ms", "spread ms", "images/s")
    caption = f"Batch {batch.batch}, {batch.own.samples} interleaved rounds"
    if batch.dense is None:
        return Table(caption, ("network", *head), tuple((name, *latency_cells(it)) for name, _, it, _ in rows))
    cells = tuple(
        (name, active, *latency_cells(latency), "" if gain is None else interval_cell(gain))
        for name, active, latency, gain in rows
    )
    return Table(caption, ("network", "active", *head, "speed-up (95 % interval)"), cells)


def break_even_table(batch: Batch) -> Table:
    rows = tuple((crossing.pattern, break_even_text(crossing)) for crossing in batch.break_even)
    return Table("Break-even active ratio", ("masks", "sparse and dense are equally fast at"), rows, text=2)


def block_table(record: Record) -> Table:
    rows = tuple(
        (
            block.name,
            block.op,
            f"{block.site_fraction:.1%}",
            milliseconds(block.dense.median_ms),
            milliseconds(block.sparse.median_ms),
            interval_cell(block.speedup),
        )
        for block in record.blocks
    )
    head = ("block", "op", "active", "dense ms", "sparse ms", "speed-up (95 % interval)")
    return Table("Each gated block alone, with its gate, on the first image", head, rows, text=2)


def activity_table(activity: Activity) -> Table:
    rows = tuple(
        (
            block.name,
            block.op,
            f"{block.grid[0]}×{block.grid[1]}",
            f"{block.site_fraction:.1%}",
            _count(block.macs_total),
            f"{block.mac_fraction:.1%}",
        )
        for block in activity.blocks
    )
    head = ("block", "op", "grid", "active sites", "MACs when all active", "of them asked for")
    return Table(f"Activity by block, average of {activity.images} images", head, rows, text=2)


def coefficient_table(found: Sequence[Spread], images: int) -> Table:
    rows = tuple(
        (
            spread.name,
            "" if spread.convolutions is None else str(spread.convolutions),
            f"{spread.size:,}",
            *(f"{value:.3f}" for value in (spread.low, spread.median, spread.high, spread.between)),
        )
        for spread in found
    )
    head = (
        "predictor",
        "convolutions",
        "coefficients",
        "5th percentile",
        "median",
        "95th percentile",
        "deviation between images",
    )
    return Table(f"Coefficients of dynamic kernels on {images} images", head, rows)


def memory_table(record: Record) -> Table:
    rows: list[tuple[str, ...]] = []
    names = network_names(record.batches[0])
    for memory in record.memory:
        values = _memory_values(record, memory)
        rows.append((names.get(memory.name, memory.name), *map(_mebibytes, values)))
    head = (
        ("network", "device memory taken", "of it for activations")
        if record.mode.backend == "tensorrt"
        else ("network", "peak resident", "of it before the model is loaded")
    )
    batch = record.batches[0].batch
    where = "on the GPU" if record.mode.backend == "tensorrt" else "of a fresh process"
    return Table(f"Memory {where}, after one run of batch {batch}", head, tuple(rows))


def _memory_values(record: Record, memory: Memory) -> tuple[int | None, int | None]:
    if record.mode.backend == "tensorrt":
        return memory.device, memory.activations
    return memory.peak_rss, memory.runtime_rss


def gate_table(backend: BackendResult) -> Table:
    """Gate decisions of one backend, block by block, and what each gate decides on the reference's own data."""
    forced = backend.forced_gates
    rows, failed = [], []
    for index, gate in enumerate(backend.gates):
        own = gate.statistics
        alone = forced[index] if index < len(forced) else None
        if not gate.passed or (alone is not None and not alone.passed):
            failed.append(index)
        rows.append(
            (
                own.block,
                f"{own.sites:,}",
                f"{own.active_reference / own.sites:.1%}",
                f"{own.flipped:,}",
                "" if alone is None else f"{alone.statistics.flipped:,}",
                _scientific(own.smallest_margin),
                "" if own.largest_flipped_margin is None else _scientific(own.largest_flipped_margin),
                _logit_error(alone or gate),
                "passed" if index not in failed else "failed",
            )
        )
    head = (
        "block",
        "sites",
        "active",
        "flipped",
        "flipped, masks forced",
        "smallest margin",
        "largest flipped margin",
        "error of logits",
        "result",
    )
    return Table(f"Gate decisions, {backend.name}", head, tuple(rows), failed=tuple(failed))


def compared_coefficients(backend: BackendResult) -> Table:
    """Coefficients of one backend, a row a predictor of dynamic kernels."""
    compared = backend.coefficients
    rows = tuple(
        (
            one.predictor,
            f"{one.size:,}",
            _scientific(one.max_abs),
            _scientific(one.tolerance),
            "passed" if one.passed else "failed",
        )
        for one in compared
    )
    failed = tuple(index for index, one in enumerate(compared) if not one.passed)
    head = ("predictor", "coefficients", "largest difference", "allowed", "result")
    return Table(f"Coefficients of dynamic kernels, {backend.name}", head, rows, failed=failed)


def output_table(backend: BackendResult) -> Table:
    """Outputs of one backend, as they are and with the reference's masks forced."""
    rows: list[tuple[str, ...]] = []
    failed = []
    for masks, outputs in (("as they are", backend.outputs), ("forced", backend.forced_outputs)):
        for output in outputs:
            if output.judged and not output.passed:
                failed.append(len(rows))
            result = ("passed" if output.passed else "failed") if output.judged else "decisions flipped, not judged"
            numbers = map(_scientific, (output.error, output.tolerance, output.max_abs))
            rows.append((output.name, masks, *numbers, result))
    head: tuple[str, ...] = ("output", "masks", "relative error", "allowed", "largest difference", "result")
    if not backend.forced_outputs:
        head, rows = (head[0], *head[2:]), [(row[0], *row[2:]) for row in rows]
    return Table(f"Outputs, {backend.name}", head, tuple(rows), text=len(head) - 4, failed=tuple(failed))


def environment_rows(record: Record) -> Iterator[tuple[str, str]]:
    """What a record says about where and how it was made, name and value."""
    environment, mode, settings = record.environment, record.mode, record.settings
    yield "Model", f"{record.model.file}, sha256 {record.model.sha256[:16]}"
    yield "Input", f"{'×'.join(map(str, record.model.input_shape))}, {record.model.precision}"
    yield "Backend", f"{mode.backend}, {mode.provider}"
    if mode.threads is not None:
        yield "Threads", str(mode.threads)
    if mode.cuda_graphs is not None:
        yield "CUDA graphs", "on" if mode.cuda_graphs else "off"
    if mode.transfers is not None:
        yield "Host-device copies", "in the times" if mode.transfers else "not in the times"
    yield "Clock", mode.clock
    yield "Processor", f"{environment.cpu}, {environment.cores} cores usable"
    if environment.load_average is not None:
        yield "Load before the run", f"{environment.load_average:.2f} (one-minute average)"
    yield from _gpu_rows(environment)
    yield "System", f"{environment.platform}, Python {environment.python}"
    yield "Packages", ", ".join(f"{name} {version}" for name, version in environment.versions.items())
    yield "dyn2trt", record.version + (f", commit {environment.commit}" if environment.commit else "")
    yield "Images", f"{settings.images}, seed {settings.seed}"
    rounds = f"{settings.min_rounds} to {settings.max_rounds} within {settings.seconds:g} s"
    yield "Rounds", f"{settings.warmup} to warm up, then {rounds}"
    yield "Date", record.date


def _gpu_rows(environment: Environment) -> Iterator[tuple[str, str]]:
    yield "GPU", environment.gpu or "none"
    if environment.driver:
        yield "Driver", f"{environment.driver}, CUDA up to {environment.cuda}"


def _mebibytes(value: int | None) -> str:
    return "" if value is None else f"{value / 2**20:,.1f} MiB"


def _count(value: int) -> str:
    """``12.6 k``, ``80.6 M``."""
    for power, unit in ((9, "G"), (6, "M"), (3, "k")):
        if value >= 10**power:
            return f"{value / 10**power:.3g} {unit}"
    return str(value)


def _logit_error(gate: GateResult) -> str:
    """Empty where the backend's logits are not known: nothing was allowed them."""
    error = gate.statistics.logit_error
    return "" if gate.tolerance is None else _scientific(math.nan if error is None else error)


def _scientific(value: float) -> str:
    """Two significant digits."""
    return "not finite" if not math.isfinite(value) else "0" if value == 0 else f"{value:.1e}"
