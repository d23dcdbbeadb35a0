"""The report's plots: latency against active ratio, activity block by block, layers an image, coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from dyn2trt.activity.summary import Activity
from dyn2trt.bench.record import Batch
from dyn2trt.bench.sweep.gate_masks import LAYERS
from dyn2trt.report.dynamic_kernels import Spread
from dyn2trt.report.svg import INKS, STYLE, to_svg

_PATTERNS = {"blobs": (INKS["blobs"], "o"), "independent": (INKS["independent"], "s"), LAYERS: (INKS["blobs"], "o")}
"""Ink and marker of each mask pattern."""


@dataclass(frozen=True)
class Plot:
    """One plot twice, for a page and for a telephone, as SVG in stand-in colours."""

    name: str
    title: str
    wide: str
    narrow: str


def latency_plot(batch: Batch, activity: Activity | None, name: str) -> Plot:
    """Median latency over the active ratio: the sparse network, the dense line, break-even, the network's own point.

    Whiskers reach to the 90th percentile.
    """
    assert batch.dense is not None
    parts = [f"Latency against active ratio, batch {batch.batch}: dense {batch.dense.median_ms:.3g} ms"]
    for pattern in dict.fromkeys(point.pattern for point in batch.sweep):
        points = [point for point in batch.sweep if point.pattern == pattern]
        ends = [f"{p.latency.median_ms:.3g} ms at {p.ratio:.0%}" for p in (points[0], points[-1])]
        parts.append(f"sparse with {pattern} from {ends[0]} to {ends[1]}")
    title = "; ".join(parts)
    return _twice(name, title, lambda axes, narrow: _draw_latency(axes, batch, activity, narrow), (4.0, 3.7))


def activity_plot(activity: Activity, name: str, *, layers: bool = False) -> Plot:
    """Share of active sites of every gated block, and of its multiply-accumulates, halo included.

    Args:
        layers: every gate decides on a whole layer, so that its share is that of the images that run the layer.
    """
    shares = [block.site_fraction for block in activity.blocks]
    what = "Images that run each of" if layers else "Active sites of"
    title = (
        f"{what} {len(shares)} gated blocks, from {min(shares):.0%} to {max(shares):.0%}, "
        f"averaged over {activity.images} images"
    )
    height = 1.2 + 0.24 * len(shares)
    return _twice(name, title, lambda axes, narrow: _draw_activity(axes, activity, narrow, layers), (height, height))


def layers_plot(executed: Sequence[int], layers: int, name: str) -> Plot:
    """Distribution of the number of gated layers that an image runs: ``executed`` of ``layers``, an image each."""
    title = (
        f"Layers that an image runs, of {layers} gated ones: {min(executed)} to {max(executed)}, "
        f"on average {sum(executed) / len(executed):.1f}, {len(executed)} images"
    )
    return _twice(name, title, lambda axes, narrow: _draw_layers(axes, executed, layers), (2.8, 2.8))


def coefficient_plot(found: Sequence[Spread], name: str) -> Plot:
    """Range of each predictor's coefficients, and how far one varies between images."""
    title = (
        f"Coefficients of {len(found)} predictors, from {min(s.low for s in found):.2f} (5th percentile) to "
        f"{max(s.high for s in found):.2f} (95th); their standard deviation between images is up to "
        f"{max(s.between for s in found):.2g}"
    )
    height = 1.2 + 0.24 * len(found)
    return _twice(name, title, lambda axes, narrow: _draw_coefficients(axes, found, narrow), (height, height))


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
    assert dense is not None
    axes.axhspan(dense.median_ms, dense.p90_ms, color=INKS["dense"], alpha=0.12, linewidth=0)
    axes.axhline(dense.median_ms, color=INKS["dense"], linestyle=(0, (5, 2)), label="dense")
    for pattern in dict.fromkeys(point.pattern for point in batch.sweep):
        ink, mark = _PATTERNS.get(pattern, _PATTERNS["blobs"])
        points = [point for point in batch.sweep if point.pattern == pattern]
        medians = [p.latency.median_ms for p in points]
        axes.errorbar(
            [p.ratio for p in points],
            medians,
            yerr=[[0.0] * len(points), [p.latency.p90_ms - p.latency.median_ms for p in points]],
            color=ink,
            marker=mark,
            markersize=5,
            elinewidth=1,
            label=pattern if narrow else f"sparse, {pattern}",
        )
    # One crossing is marked, the realistic pattern's where it was measured; the table has them all.
    for crossing in batch.break_even[:1]:
        if crossing.ratio is not None:
            ink = _PATTERNS.get(crossing.pattern, _PATTERNS["blobs"])[0]
            axes.axvspan(crossing.low, crossing.high, color=ink, alpha=0.14, linewidth=0)
            axes.axvline(crossing.ratio, color=ink, linewidth=1, linestyle=":")
            right = crossing.ratio < 0.6
            axes.annotate(
                f"break-even {crossing.ratio:.0%}",
                (crossing.ratio, 0.03),
                xycoords=("data", "axes fraction"),
                xytext=(5 if right else -5, 0),
                textcoords="offset points",
                ha="left" if right else "right",
                color=ink,
            )
    if activity is not None:
        axes.plot(
            [activity.ratio],
            [batch.own.median_ms],
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
    layers = any(point.pattern == LAYERS for point in batch.sweep)
    axes.set_xlabel("gated layers that run" if layers else "active sites in gated blocks")
    axes.set_ylabel("median latency, ms")
    _legend(axes, 2 if narrow else 4)


def _draw_activity(axes: Any, activity: Activity, narrow: bool, layers: bool) -> None:
    blocks = activity.blocks
    places = range(len(blocks))
    label = "images that run the layer" if layers else "active sites"
    axes.barh(places, [b.site_fraction for b in blocks], height=0.62, color=INKS["blobs"], label=label)
    if not layers:  # without a halo the work is the share of sites
        _ticks(axes, [b.mac_fraction for b in blocks], "work asked for, halo included")
    axes.axvline(activity.ratio, color=INKS["ink"], linewidth=1, linestyle=":", label=f"average {activity.ratio:.0%}")
    _rows(axes, [b.name for b in blocks], narrow)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    _legend(axes, 2 if narrow else 3)


def _draw_layers(axes: Any, executed: Sequence[int], layers: int) -> None:
    counts = [executed.count(number) for number in range(layers + 1)]
    axes.bar(range(layers + 1), counts, width=0.8, color=INKS["blobs"], label="images")
    mean = sum(executed) / len(executed)
    axes.axvline(mean, color=INKS["ink"], linewidth=1, linestyle=":", label=f"average {mean:.1f}")
    axes.set_xlim(-0.6, layers + 0.6)
    axes.xaxis.set_major_locator(MaxNLocator(9, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.set_xlabel(f"gated layers that an image runs, of {layers}")
    axes.grid(axis="x", visible=False)
    _legend(axes, 2)


def _draw_coefficients(axes: Any, found: Sequence[Spread], narrow: bool) -> None:
    places = range(len(found))
    widths = [s.high - s.low for s in found]
    bars = {"left": [s.low for s in found], "height": 0.62, "color": INKS["blobs"]}
    axes.barh(places, widths, **bars, label="5 to 95 %, a gap at the median")
    axes.plot(
        [s.median for s in found],
        places,
        linestyle="none",
        marker="|",
        markersize=9,
        markeredgewidth=2,
        color=INKS["paper"],
    )
    _ticks(axes, [s.between for s in found], "deviation between images")
    _rows(axes, [s.name for s in found], narrow)
    axes.set_xlabel("coefficient")
    _legend(axes, 2)


def _ticks(axes: Any, values: Sequence[float], label: str) -> None:
    """A mark in each row."""
    axes.plot(
        values,
        range(len(values)),
        linestyle="none",
        marker="|",
        markersize=9,
        markeredgewidth=2,
        color=INKS["independent"],
        label=label,
    )


def _rows(axes: Any, names: Sequence[str], narrow: bool) -> None:
    """Name the rows from the top, over an axis from 0 to 1."""
    axes.set_yticks(range(len(names)), [_shortened(name, 14 if narrow else 40) for name in names], fontsize=9)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(0, 1)
    axes.grid(axis="y", visible=False)


def _legend(axes: Any, columns: int) -> None:
    axes.figure.legend(
        loc="outside upper left", ncols=columns, borderaxespad=0.2, handlelength=2.2, columnspacing=1.4, fontsize=10
    )


def _shortened(name: str, length: int) -> str:
    return name if len(name) <= length else f"…{name[1 - length :]}"
