"""A record in a terminal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from dyn2trt.bench.record import Batch, Record
from dyn2trt.bench.timing.break_even import BreakEven
from dyn2trt.bench.timing.latency import Interval, Latency

TIMES = ("median", "p90", "p99", "spread", "images/s")
ESSENTIALS = (TIMES, ("median", "p90", "images/s"), ("median",))
"""Columns of latency tables, and which of them stay where a terminal is too narrow; the record has them all."""


def print_summary(record: Record, console: Console) -> None:
    """Print latencies, break-even, what generating kernels costs, and verdict."""
    for batch in record.batches:
        tables = [_latencies(record, batch, columns) for columns in ESSENTIALS]
        wide = console.options.update(max_width=10_000)
        fitting = (table for table in tables if Measurement.get(console, wide, table).maximum <= console.width)
        console.print(next(fitting, tables[-1]))
        for crossing in batch.break_even:
            console.print(f"Break-even with {crossing.pattern}: {break_even_text(crossing)}.", highlight=False)
        for statement in statements(batch):
            console.print(statement.text, highlight=False)
    if record.blocks:
        table = _table("blocks alone", "block", "active", "dense ms", "sparse ms", "speed-up")
        table.columns[0].overflow = "fold"
        for block in record.blocks:
            table.add_row(
                block.name,
                f"{block.site_fraction:.1%}",
                f"{block.dense.median_ms:.3f}",
                f"{block.sparse.median_ms:.3f}",
                interval_cell(block.speedup),
            )
        console.print(table)
    for warning in warnings(record):
        console.print(warning, style="yellow", highlight=False)
    for item in record.not_run:
        console.print(f"Not run: {item.what}: {item.why}", highlight=False)


@dataclass(frozen=True)
class Statement:
    """A sentence on what was found. ``tone`` is ``yes`` or ``no`` for a verdict."""

    text: str
    tone: Literal["yes", "no", "plain"]


def statements(batch: Batch) -> tuple[Statement, ...]:
    """What was found on a batch size."""
    found: list[Statement] = []
    if batch.verdict is not None:
        found.append(Statement(batch.verdict.text, "yes" if batch.verdict.sparse_recommended else "no"))
    if batch.generation is not None:
        found.append(Statement(batch.generation.text, "plain"))
    return tuple(found)


def warnings(record: Record) -> tuple[str, ...]:
    """What to know before reading the times.

    Other work that keeps the processor busy is evened out by an interleaved run only in part.
    """
    found = []
    load, cores = record.environment.load_average, record.environment.cores
    if record.mode.backend == "onnxruntime" and load is not None and load > cores:
        found.append(
            f"The machine was busy (load {load:.1f} on {cores} cores): these times say little, measure when it idles."
        )
    if whole := record.mode.computed_whole:
        found.append(
            "Gated blocks that the export judged too small to gain in ONNX Runtime (by one image, where the batch is "
            f"dynamic): {whole}. Their bodies compute every position and mask the result, so their part of these times "
            "does not follow the active ratio. TensorRT's plugins skip at any size."
        )
    return tuple(found)


def network_names(batch: Batch) -> dict[str, str]:
    """The fields of a batch that are networks, in words."""
    own = "sparse" if batch.dense is not None else "dynamic kernels"
    return {"dense": "dense", "static": "fixed kernels", "own": own}


def latency_rows(record: Record, batch: Batch) -> list[tuple[str, str, Latency, Interval | None]]:
    """Network, what of it is active, latency, speed-up over dense: the counterparts, the network itself, the sweep."""
    rows: list[tuple[str, str, Latency, Interval | None]] = []
    names = network_names(batch)
    if batch.dense is not None:
        rows.append((names["dense"], "all", batch.dense, None))
    if batch.static is not None:
        rows.append((names["static"], "", batch.static, None))
    gated = batch.dense is not None
    active = "" if not gated else "own" if record.activity is None else f"{record.activity.ratio:.1%} (own)"
    rows.append((names["own"], active, batch.own, batch.speedup))
    rows += [(f"sparse, {p.pattern}", f"{p.ratio:.1%}", p.latency, p.speedup) for p in batch.sweep]
    return rows


def _latencies(record: Record, batch: Batch, columns: tuple[str, ...]) -> Table:
    rows = latency_rows(record, batch)
    table = _table(f"batch {batch.batch}, {batch.own.samples} rounds, ms", "network", "active")
    table.columns[0].overflow = "fold"
    compared = any(gain is not None for *_, gain in rows)
    for heading in (*columns, *(["speed-up"] if compared else [])):
        table.add_column(heading, no_wrap=True, justify="right")
    for name, active, latency, gain in rows:
        cells = dict(zip(TIMES, latency_cells(latency), strict=True))
        last = [] if not compared else [""] if gain is None else [interval_cell(gain)]
        table.add_row(name, active, *(cells[column] for column in columns), *last)
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for index, heading in enumerate(columns):
        table.add_column(heading, no_wrap=index > 0, justify="left" if index == 0 else "right")
    return table


def latency_cells(latency: Latency) -> tuple[str, ...]:
    """Median, p90, p99, spread in milliseconds and throughput, as text."""
    times = (latency.median_ms, latency.p90_ms, latency.p99_ms, latency.spread_ms)
    return (*(milliseconds(ms) for ms in times), f"{latency.throughput:.1f}")


def milliseconds(ms: float) -> str:
    """Three significant digits or, from 100 on, one decimal."""
    return f"{ms:.1f}" if ms >= 100 else f"{ms:.2f}" if ms >= 10 else f"{ms:.3f}"


def interval_cell(interval: Interval) -> str:
    """``1.42× (1.40–1.43)``."""
    return f"{interval.value:.2f}× ({interval.low:.2f}–{interval.high:.2f})"


def break_even_text(crossing: BreakEven) -> str:
    """The break-even ratio in words."""
    if crossing.outcome == "ratio":
        return f"{crossing.ratio:.0%} active (between {crossing.low:.0%} and {crossing.high:.0%} within the noise)"
    if crossing.outcome == "always":
        return f"none, sparse is faster at every ratio measured, up to {crossing.high:.0%}"
    return f"none, sparse is slower at every ratio measured, from {crossing.low:.0%}"
