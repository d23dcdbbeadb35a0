"""The report's plots: latency against active ratio, and activity block by block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from dyn2trt.bench.record import Activity, Batch
from dyn2trt.report.svg import INKS, STYLE, to_svg


@dataclass(frozen=True)
class Plot:
    """One plot twice, for a page and for a telephone, as SVG in stand-in colours."""

    name: str
    title: str
    wide: str
    narrow: str


def latency_plot(batch: Batch, activity: Activity | None, name: str) -> Plot:
    """Median latency of the sparse network over the active ratio, beside the dense line, with break-even and own point.

    Whiskers reach to the 90th percentile.
    """
    parts = [f"Latency against active ratio, batch {batch.batch}: dense {batch.dense.median_ms:.3g} ms"]
    for pattern in dict.fromkeys(point.pattern for point in batch.sweep):
        points = [point for point in batch.sweep if point.pattern == pattern]
        ends = [f"{p.latency.median_ms:.3g} ms at {p.ratio:.0%}" for p in (points[0], points[-1])]
        parts.append(f"sparse with {pattern} from {ends[0]} to {ends[1]}")
    title = "; ".join(parts)
    return _twice(name, title, lambda axes, narrow: _draw_latency(axes, batch, activity, narrow), (4.0, 3.7))


def activity_plot(activity: Activity, name: str) -> Plot:
    """Share of active sites of every gated block, and of its multiply-accumulates, halo included."""
    shares = [block.site_fraction for block in activity.blocks]
    title = (
        f"Active sites of {len(shares)} gated blocks, from {min(shares):.0%} to {max(shares):.0%}, "
        f"averaged over {activity.images} images"
    )
    height = 1.2 + 0.24 * len(shares)
    return _twice(name, title, lambda axes, narrow: _draw_activity(axes, activity, narrow), (height, height))


def _twice(name: str, title: str, draw: Any, heights: Sequence[float]) -> Plot:
    drawings = []
    for narrow, (width, height) in ((False, (8.6, heights[0])), (True, (4.2, heights[1]))):
        with matplotlib.rc_context(STYLE):
            figure = Figure(figsize=(width, height), layout="constrained")
            draw(figure.add_subplot(), narrow)
            drawings.append(to_svg(figure, title, salt=f"{name}-{'narrow' if narrow else 'wide'}"))
    return Plot(name, title, *drawings)


def _draw_latency(axes: Any, batch: Batch, activity: Activity | None, narrow: bool) -> None:
    dense = batch.dense
    axes.axhspan(dense.median_ms, dense.p90_ms, color=INKS["dense"], alpha=0.12, linewidth=0)
    axes.axhline(dense.median_ms, color=INKS["dense"], linestyle=(0, (5, 2)), label="dense")
    marks = {"blobs": "o", "independent": "s"}
    for pattern in dict.fromkeys(point.pattern for point in batch.sweep):
        points = [point for point in batch.sweep if point.pattern == pattern]
        medians = [p.latency.median_ms for p in points]
        axes.errorbar(
            [p.ratio for p in points],
            medians,
            yerr=[[0.0] * len(points), [p.latency.p90_ms - p.latency.median_ms for p in points]],
            color=INKS[pattern],
            marker=marks[pattern],
            markersize=5,
            elinewidth=1,
            label=pattern if narrow else f"sparse, {pattern}",
        )
    # One crossing is marked, the realistic pattern's where it was measured; the table has them all.
    for crossing in batch.break_even[:1]:
        if crossing.ratio is not None:
            axes.axvspan(crossing.low, crossing.high, color=INKS[crossing.pattern], alpha=0.14, linewidth=0)
            axes.axvline(crossing.ratio, color=INKS[crossing.pattern], linewidth=1, linestyle=":")
            right = crossing.ratio < 0.6
            axes.annotate(
                f"break-even {crossing.ratio:.0%}",
                (crossing.ratio, 0.03),
                xycoords=("data", "axes fraction"),
                xytext=(5 if right else -5, 0),
                textcoords="offset points",
                ha="left" if right else "right",
                color=INKS[crossing.pattern],
            )
    if activity is not None:
        axes.plot(
            [activity.ratio],
            [batch.sparse.median_ms],
            linestyle="none",
            marker="D",
            markersize=9,
            markeredgecolor=INKS["paper"],
            markeredgewidth=1.5,
            color=INKS["sparse"],
            zorder=5,
            label=f"own masks ({activity.ratio:.0%})" if narrow else f"sparse, own masks ({activity.ratio:.0%})",
        )
    axes.set_xlim(0, 1.02)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.set_xlabel("active sites in every gated block")
    axes.set_ylabel("median latency, ms")
    _legend(axes, 2 if narrow else 4)


def _draw_activity(axes: Any, activity: Activity, narrow: bool) -> None:
    blocks = activity.blocks
    places = range(len(blocks))
    axes.barh(places, [b.site_fraction for b in blocks], height=0.62, color=INKS["blobs"], label="active sites")
    axes.plot(
        [b.mac_fraction for b in blocks],
        places,
        linestyle="none",
        marker="|",
        markersize=9,
        markeredgewidth=2,
        color=INKS["independent"],
        label="work asked for, halo included",
    )
    axes.axvline(activity.ratio, color=INKS["ink"], linewidth=1, linestyle=":", label=f"average {activity.ratio:.0%}")
    axes.set_yticks(places, [_shortened(b.name, 14 if narrow else 40) for b in blocks], fontsize=9)
    axes.set_ylim(len(blocks) - 0.4, -0.6)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.grid(axis="y", visible=False)
    _legend(axes, 2 if narrow else 3)


def _legend(axes: Any, columns: int) -> None:
    axes.figure.legend(
        loc="outside upper left", ncols=columns, borderaxespad=0.2, handlelength=2.2, columnspacing=1.4, fontsize=10
    )


def _shortened(name: str, length: int) -> str:
    return name if len(name) <= length else f"…{name[1 - length :]}"
