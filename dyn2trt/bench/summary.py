"""A record in a terminal."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from dyn2trt.bench.break_even import BreakEven
from dyn2trt.bench.latency import Interval, Latency
from dyn2trt.bench.record import Record


def print_summary(record: Record, console: Console) -> None:
    """Print latencies, break-even and verdict."""
    for batch in record.batches:
        table = _table(f"batch {batch.batch}, {batch.dense.samples} rounds, ms")
        table.add_column("masks", no_wrap=True)
        for heading in ("median", "p90", "p99", "spread", "images/s", "speed-up"):
            table.add_column(heading, no_wrap=True, justify="right")
        own = "" if record.activity is None else f" {record.activity.ratio:.1%}"
        table.add_row("dense", *latency_cells(batch.dense), "")
        table.add_row(f"own{own}", *latency_cells(batch.sparse), interval_cell(batch.speedup))
        for point in batch.sweep:
            cells = latency_cells(point.latency)
            table.add_row(f"{point.pattern} {point.ratio:.1%}", *cells, interval_cell(point.speedup))
        console.print(table)
        for crossing in batch.break_even:
            console.print(f"Break-even with {crossing.pattern}: {break_even_text(crossing)}.", highlight=False)
        console.print(batch.verdict.text, highlight=False)
    if record.blocks:
        table = _table("blocks alone", "block", "active", "dense ms", "sparse ms", "speed-up")
        for block in record.blocks:
            table.add_row(
                block.name,
                f"{block.site_fraction:.1%}",
                f"{block.dense.median_ms:.3f}",
                f"{block.sparse.median_ms:.3f}",
                interval_cell(block.speedup),
            )
        console.print(table)
    for item in record.not_run:
        console.print(f"Not run: {item.what}: {item.why}", highlight=False)


def _table(title: str, *columns: str) -> Table:
    return Table(*columns, title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)


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
