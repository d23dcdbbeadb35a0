"""Tables and plots of accuracy_against_macs.py."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from digits_runs import SERIES, Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {
    "resnet": "#1d4ed8",
    "dynconv": "#c2410c",
    "aig": "#15803d",
    "sact": "#7e22ce",
    "dynet": "#0f766e",
}
MARKERS = {"resnet": "s", "dynconv": "o", "aig": "^", "sact": "D", "dynet": "v"}
ABLATED = (0, 1, 2, 4, 6)
"""Kernels a channel; 0 stands for the static network."""


@dataclass(frozen=True)
class Point:
    """One setting, over its seeds.

    Attributes:
        run: one of its runs.
        macs: millions an image, mean.
        accuracy: percent on all test canvases, mean.
        deviation: standard deviation of the accuracy over training seeds, None with one seed.
        validation: mean percent.
        seeds: number of runs.
    """

    run: Run
    macs: float
    accuracy: float
    deviation: float | None
    validation: float
    seeds: int


def points(done: Mapping[Run, dict[str, Any]]) -> list[Point]:
    """The settings in ``done`` that are results, not starts of others, cheapest first."""
    groups: dict[tuple[Any, ...], list[Run]] = {}
    for run in done:
        if not run.first:
            groups.setdefault((run.series, run.depth, run.width, run.value), []).append(run)
    found = []
    for runs in groups.values():
        tests = [done[run]["test"] for run in runs]
        scores = [100 * test["accuracy_on_more"] for test in tests]
        found.append(
            Point(
                run=runs[0],
                macs=statistics.mean(test["macs"] for test in tests) / 1e6,
                accuracy=statistics.mean(scores),
                deviation=statistics.stdev(scores) if len(scores) > 1 else None,
                validation=statistics.mean(100 * done[run]["validation"]["scores"]["accuracy"] for run in runs),
                seeds=len(runs),
            )
        )
    return sorted(found, key=lambda point: point.macs)


def write_all(
    folder: Path, done: Mapping[Run, dict[str, Any]], latencies: Mapping[Run, dict[str, Any]], missing: Iterable[str]
) -> str:
    """Write table.md, curve.svg, family.svg and kernels.svg into ``folder``; returns the table."""
    from dyn2trt.files import write_text

    found = points(done)
    seconds = sum(record["seconds"] for record in done.values())
    text = "\n".join(
        [
            "## Means over seeds\n",
            _settings_table(found),
            "\n## Latency in ONNX Runtime, one thread\n",
            _latency_table(latencies),
            "\n## Every run\n",
            _runs_table(done),
            f"\nTraining took {seconds / 60:.0f} minutes in all, on one thread.",
        ]
    )
    if missing := list(missing):
        text += f"\n\nNot run: {', '.join(missing)}."
    write_text(folder / "table.md", text + "\n")
    _save(folder / "curve.svg", lambda axes: _against_macs(axes, [p for p in found if p.run.series in _CURVE]))
    _save(folder / "family.svg", lambda axes: _against_macs(axes, found))
    if any(point.run.series == "dynet" for point in found):
        _save(folder / "kernels.svg", lambda axes: _against_kernels(axes, found))
    return text


_CURVE = ("resnet", "dynconv")


def _network(run: Run) -> str:
    return f"{run.kind.label}, {run.depth} layers, width {run.width:g}"


def _value(run: Run) -> str:
    return "" if run.value is None else f"{str(run.kind.value).replace('_', ' ')} {run.value:g}"


def _rows(head: str, rows: Iterable[Iterable[str]]) -> str:
    columns = head.count("|") - 1
    return "\n".join([head, "|" + "---|" * columns, *(f"| {' | '.join(row)} |" for row in rows)])


def _settings_table(found: Iterable[Point]) -> str:
    return _rows(
        "| network | setting | MACs an image (M) | test accuracy (%) | ± over seeds | validation (%) | seeds |",
        (
            [
                _network(point.run),
                _value(point.run),
                f"{point.macs:.2f}",
                f"{point.accuracy:.2f}",
                "" if point.deviation is None else f"{point.deviation:.2f}",
                f"{point.validation:.2f}",
                str(point.seeds),
            ]
            for point in found
        ),
    )


def _latency_table(latencies: Mapping[Run, dict[str, Any]]) -> str:
    def cells(run: Run, record: dict[str, Any]) -> list[str]:
        row = [_network(run), _value(run)]
        for batch in record["batches"]:
            gain = batch["speedup"]
            row.append(f"{batch['own']['median_ms']:.2f} / {batch['dense']['median_ms']:.2f}")
            row.append(f"{gain['value']:.2f} ({gain['low']:.2f} to {gain['high']:.2f})")
        return row

    return _rows(
        "| network | setting | batch 1 (ms, sparse / dense) | speed-up | batch 16 (ms, sparse / dense) | speed-up |",
        (cells(run, latencies[run]) for run in sorted(latencies, key=lambda run: (run.depth, run.width, run.value))),
    )


def _runs_table(done: Mapping[Run, dict[str, Any]]) -> str:
    def cells(run: Run, record: dict[str, Any]) -> list[str]:
        test = record["test"]
        shares = ["" if test[key] is None else f"{test[key]:.1%}" for key in ("on_object", "object_area")]
        return [
            _network(run) + (", start of others" if run.first else ""),
            _value(run),
            str(run.seed),
            str(run.all_epochs),
            f"{test['accuracy_on_more']:.2%}",
            f"{test['scores']['accuracy']:.2%}",
            f"{record['validation']['scores']['accuracy']:.2%}",
            f"{test['executed']:.1%}" if run.kind.gated else "",
            f"{test['macs'] / 1e6:.2f}",
            *shares,
            f"{record['seconds']:.0f}",
        ]

    order = list(SERIES)
    chosen = sorted(
        done, key=lambda run: (order.index(run.series), run.depth, run.width, run.value or 0, run.seed, not run.first)
    )
    return _rows(
        "| network | setting | seed | epochs | test, 4500 canvases | test, 900 | validation, 900 | executed of gated "
        "| MACs an image (M) | executed on the object | its area | training (s) |",
        (cells(run, done[run]) for run in chosen),
    )


def _save(path: Path, draw: Callable[[Axes], None]) -> None:
    import matplotlib
    import numpy as np

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    from dyn2trt.files import replacing

    plt.rcParams["svg.hashsalt"] = "dyn2trt"
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    draw(axes)
    # By the logarithm of the error, or all that matters would lie in the topmost tenth.
    axes.set_yscale("function", functions=(lambda y: -np.log(100.5 - y), lambda z: 100.5 - np.exp(-z)))
    axes.set_yticks([75, 80, 85, 90, 92, 94, 95, 96, 97, 98])
    axes.set_ylabel("test accuracy (%), bars: ± standard deviation over seeds")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", fontsize=8)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None})
    plt.close(figure)


def _curve(run: Run) -> tuple[Any, ...]:
    """What the points of one line have in common."""
    if run.kind.gated:
        return run.series, run.depth, run.width
    return run.series, run.depth, run.value


def _against_macs(axes: Axes, found: Iterable[Point]) -> None:
    curves: dict[tuple[Any, ...], list[Point]] = {}
    for point in found:
        if point.run.series != "dynet" or point.run.value == max(ABLATED):
            curves.setdefault(_curve(point.run), []).append(point)
    shades: dict[str, int] = {}
    for (series, depth, rest), line in sorted(curves.items(), key=lambda item: str(item[0])):
        kind = SERIES[series]
        shade = shades[series] = shades.get(series, -1) + 1
        by = f"by {str(kind.value).replace('_', ' ')}" if kind.gated else "by width"
        size = f", {depth} layers" + (f", ×{rest:g}" if kind.gated else "")
        kernels = f", {rest:g} kernels" if series == "dynet" else ""
        _plot(
            axes,
            [(point.macs, point) for point in line],
            series,
            label=f"{kind.label}{size}{kernels}, {by}",
            named=True,
            shade=shade,
            below=not kind.gated,
        )
    axes.set_xscale("log")
    axes.set_xticks([0.5, 1, 2, 4, 8, 16, 32], ["0.5", "1", "2", "4", "8", "16", "32"])
    axes.minorticks_off()
    axes.set_xlabel("executed multiply-accumulates an image (millions)")


def _against_kernels(axes: Axes, found: Iterable[Point]) -> None:
    lines: dict[tuple[int, float], list[tuple[float, Point]]] = {}
    widths = {(point.run.depth, point.run.width) for point in found if point.run.series == "dynet"}
    for point in found:
        size = point.run.depth, point.run.width
        if size in widths and point.run.series in ("resnet", "dynet"):
            lines.setdefault(size, []).append((point.run.value or 0, point))
    for index, ((depth, width), line) in enumerate(sorted(lines.items())):
        _plot(
            axes,
            sorted(line, key=lambda pair: pair[0]),
            "dynet",
            label=f"DyNet, {depth} layers, width {width:g}",
            named=False,
            shade=index,
            below=True,
        )
    axes.set_xticks(ABLATED, ["static", *map(str, ABLATED[1:])])
    axes.set_xlabel("fixed kernels a channel, $g_t$")


def _plot(
    axes: Axes,
    line: list[tuple[float, Point]],
    series: str,
    *,
    label: str,
    named: bool,
    shade: int,
    below: bool,
) -> None:
    colour = COLOURS[series]
    axes.plot(
        [x for x, _ in line],
        [point.accuracy for _, point in line],
        color=colour,
        marker=MARKERS[series],
        markerfacecolor="white" if shade else colour,
        ms=5,
        lw=1.2,
        ls=("-", "--", ":")[shade % 3],
        label=label,
    )
    for x, point in line:
        if point.deviation is not None:
            axes.errorbar([x], [point.accuracy], [point.deviation], color=colour, capsize=2.5, lw=0.9, fmt="none")
        if named:
            bare = point.deviation is None
            axes.annotate(
                f"{point.run.value:g}" if point.run.kind.gated else f"×{point.run.width:g}",
                (x, point.accuracy),
                xytext=(0 if bare else 4, -12 if below else 6),
                textcoords="offset points",
                fontsize=7,
                color=colour,
                ha="center" if bare else "left",  # beside the bar where there is one
            )
