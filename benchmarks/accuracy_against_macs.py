"""Accuracy against executed operations: gated networks at several budgets beside dense networks of several sizes.

    python benchmarks/accuracy_against_macs.py train      # one JSON a run; skips and resumes
    python benchmarks/accuracy_against_macs.py latency    # of each budget's network in ONNX Runtime
    python benchmarks/accuracy_against_macs.py show       # table and plot of what is there, and what is missing

The task is export/digits.toml's, with the same data and optimizer for all.
Every network is trained for 22 epochs. A gated one is a dense ResNet-14 for 10 and has gates for 12; below a budget of
0.5 the first 6 of these are at a budget of 0.3, because closing more gates than that at once starves them before they
have learned anything.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "accuracy_against_macs"
RECIPE = ROOT / "export" / "digits.toml"

IMAGES = 900
EPOCHS = 22
DENSE_START = 10
STEEP_START = 6
STEEP = 0.3
"""The budget that gated networks of less than 0.5 go through."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__, rich_markup_mode=None)
Work = Annotated[Path, typer.Option(help="Folder for checkpoints and ONNX files; may be deleted afterwards.")]


@dataclass(frozen=True)
class Run:
    """One training: a budget of the recipe's own network, or a dense network of some size."""

    budget: float | None
    depth: int
    width: float
    seed: int
    first: bool = False
    """Whether others start from it."""

    @property
    def start(self) -> Run | None:
        """The run that this one starts from."""
        if self.budget is None:
            return None
        if self.budget < 0.5 and not self.first:
            return Run(STEEP, self.depth, self.width, self.seed, first=True)
        return Run(None, self.depth, self.width, self.seed, first=True)

    @property
    def epochs(self) -> int:
        if self.budget is None:
            return DENSE_START if self.first else EPOCHS
        if self.first:
            return STEEP_START
        return EPOCHS - DENSE_START - (STEEP_START if self.budget < 0.5 else 0)

    @property
    def name(self) -> str:
        kind = "dense" if self.budget is None else f"gated_{round(100 * self.budget):03d}"
        size = f"_d{self.depth}_w{round(1000 * self.width):04d}" if self.budget is None else ""
        return f"{kind}{size}_s{self.seed}{'_start' if self.first else ''}"


def planned() -> Iterator[Run]:
    """Every run, the most telling first, so that an unfinished sweep is worth most."""
    yield Run(None, 14, 1.0, 0, first=True)
    yield Run(STEEP, 14, 1.0, 0, first=True)
    yield Run(0.1, 14, 1.0, 0)
    yield Run(None, 8, 0.5, 0)
    for budget in (0.2, 0.3):
        yield Run(budget, 14, 1.0, 0)
    for width in (1.0, 0.25):
        yield Run(None, 8, width, 0)
    for budget in (0.5, 0.9, 0.7):
        yield Run(budget, 14, 1.0, 0)
    for depth, width in ((8, 0.75), (14, 0.5), (14, 1.0)):
        yield Run(None, depth, width, 0)
    for seed in (1, 2):
        yield Run(None, 14, 1.0, seed, first=True)
        yield Run(STEEP, 14, 1.0, seed, first=True)
        for budget in (0.1, 0.3):
            yield Run(budget, 14, 1.0, seed)
        yield Run(None, 8, 0.5, seed)


@app.command()
def train(work: Work = Path("runs/accuracy_against_macs"), threads: int = 1) -> None:
    """Train what is missing, one run after the other."""
    import torch

    from dyn2trt.files import write_text
    from dyn2trt.recipe import load_recipe, overrule_train
    from dyn2trt.train.processes import Process
    from dyn2trt.train.trainer import train_recipe

    torch.set_num_threads(threads)
    for run in planned():
        file = RESULTS / "runs" / f"{run.name}.json"
        if file.exists():
            continue
        typer.echo(run.name, err=True)
        recipe = load_recipe(RECIPE)
        options = {**recipe.network.options, "depth": run.depth, "width": run.width}
        recipe = recipe.model_copy(update={"network": recipe.network.model_copy(update={"options": options})})
        budget = "none" if run.budget is None else str(run.budget)
        settings = [f"budget={budget}", f"seed={run.seed}", f"epochs={run.epochs}", "precision=bf16", "pictures=0"]
        if run.start is not None:
            settings.append(f"start={work / run.start.name / 'last.pth'}")
        recipe = overrule_train(recipe, settings)
        train_recipe(recipe, work / run.name, Process(0, 1, torch.device("cpu")))
        result = json.loads((work / run.name / "result.json").read_text())
        write_text(file, json.dumps({"run": run.name, "threads": threads, **result}, indent=1) + "\n")


@app.command()
def latency(work: Work = Path("runs/accuracy_against_macs"), threads: int = 1, seconds: float = 4.0) -> None:
    """Measure sparse and dense latency of each budget's network (seed 0), on canvases held out from training."""
    import numpy as np

    from dyn2trt.checkpoint import load_checkpoint
    from dyn2trt.export import export_network
    from dyn2trt.networks.zoo import build_network
    from dyn2trt.tasks.digits import MEAN, STD, make_canvases

    images = work / "canvases.npz"
    pictures = make_canvases("test", 64, (64, 64), seed=0).pictures.astype(np.float32) / 255
    np.savez(images, x=((pictures - np.float32(MEAN)) / np.float32(STD)).transpose(0, 3, 1, 2))
    for run in planned():
        weights = work / run.name / "best.pth"
        file = RESULTS / "latency" / f"{run.name}.json"
        if run.budget is None or run.seed or run.first or file.exists() or not weights.exists():
            continue
        typer.echo(run.name, err=True)
        options = {"depth": run.depth, "classes": 10, "stem_stride": 2, "width": run.width}
        network = build_network("cifar_resnet", options)
        load_checkpoint(network, weights)
        model = work / run.name / "model.onnx"
        shape = (1, 3, 64, 64)
        export_network(network, input_shape=shape, path=model, dynamic_batch=True, name="cifar_resnet", options=options)
        file.parent.mkdir(parents=True, exist_ok=True)
        command = [
            sys.executable,
            "-m",
            "dyn2trt",
            "bench",
            f"{run.name}/model.onnx",
            "--images",
            images.name,
            "--active-ratios",
            "none",
        ]
        command += ["--batch-sizes", "1,16", "--threads", str(threads), "--seconds", str(seconds), "-o", str(file)]
        subprocess.run(command, check=True, cwd=work, env={**os.environ, "PYTHONPATH": str(ROOT)})


@app.command()
def show() -> None:
    """Write the table and the plot of the runs that are there."""
    from dyn2trt.files import write_text

    runs = {run: _read(RESULTS / "runs" / f"{run.name}.json") for run in planned()}
    done = {run: result for run, result in runs.items() if result}
    missing = [run.name for run, result in runs.items() if not result]
    if not done:
        raise typer.BadParameter(f"no run in {RESULTS}; train first")
    text = _table(done)
    if missing:
        text += f"\nNot run: {', '.join(missing)}.\n"
    write_text(RESULTS / "table.md", text)
    _plot(done, RESULTS / "curve.svg")
    typer.echo(text)


def _read(file: Path) -> dict[str, Any] | None:
    return json.loads(file.read_text()) if file.exists() else None


def _epochs(run: Run) -> int:
    """All epochs that the weights have been through."""
    return run.epochs + (_epochs(run.start) if run.start else 0)


def _latency(run: Run) -> str:
    record = _read(RESULTS / "latency" / f"{run.name}.json") if run.seed == 0 and run.budget is not None else None
    if not record:
        return "| | "
    return "".join(
        f"| {batch['sparse']['median_ms']:.2f} / {batch['dense']['median_ms']:.2f} " for batch in record["batches"]
    )


def _table(done: dict[Run, dict[str, Any]]) -> str:
    lines = [
        "| network | budget | seed | epochs | test accuracy | executed of gated | MACs an image (M) "
        "| executed on the object | its area | batch 1 (ms, sparse / dense) | batch 16 | training (s) |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]

    def order(item: tuple[Run, dict[str, Any]]) -> tuple[bool, float, int]:
        return (
            item[0].budget is None,
            item[1]["test"]["macs"] if item[0].budget is None else item[0].budget,
            item[0].seed,
        )

    for run, result in sorted(done.items(), key=order):
        test = result["test"]
        share = ["" if test[key] is None else f"{test[key]:.1%}" for key in ("on_object", "object_area")]
        lines.append(
            f"| ResNet-{run.depth}, width {run.width:g}{', start of others' if run.first else ''} "
            f"| {'dense' if run.budget is None else run.budget} | {run.seed} | {_epochs(run)} "
            f"| {test['scores']['accuracy']:.2%} | {test['executed']:.1%} | {test['macs'] / 1e6:.2f} | {share[0]} "
            f"| {share[1]} {_latency(run)}| {result['seconds']:.0f} |"
        )
    total = sum(result["seconds"] for result in done.values())
    return "\n".join(lines) + f"\n\nTraining took {total / 60:.0f} minutes in all, on one thread.\n"


def _plot(done: dict[Run, dict[str, Any]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    from dyn2trt.files import replacing

    plt.rcParams["svg.hashsalt"] = "dyn2trt"
    figure, axes = plt.subplots(figsize=(7, 4.4), layout="constrained")
    for label, colour, marker, gated in (
        ("gated ResNet-14, by budget", "#c2410c", "o", True),
        ("dense ResNets, by size", "#1d4ed8", "s", False),
    ):
        chosen = {run: result for run, result in done.items() if (run.budget is not None) == gated and not run.first}
        points: dict[tuple[Any, ...], list[tuple[float, float]]] = {}
        for run, result in chosen.items():
            point = result["test"]["macs"] / 1e6, 100 * result["test"]["scores"]["accuracy"]
            points.setdefault((run.budget, run.depth, run.width), []).append(point)
        for (budget, depth, width), found in points.items():
            x_values, y_values = zip(*found, strict=True)
            errors = [(y * (100 - y) / IMAGES) ** 0.5 for y in y_values]
            axes.errorbar(x_values, y_values, errors, fmt=marker, color=colour, ms=4.5, lw=0.8, capsize=2, zorder=3)
            x, y = found[0]
            name = f"{budget:g}" if gated else f"{depth}, ×{width:g}"
            above = gated
            axes.annotate(
                name, (x, y), xytext=(0, 6 if above else -12), textcoords="offset points", fontsize=8, ha="center"
            )
        means = sorted(tuple(sum(v) / len(v) for v in zip(*found, strict=True)) for found in points.values())
        if means:
            axes.plot(*zip(*means, strict=True), color=colour, marker="", label=f"{label} (mean of seeds)", lw=1.2)
    axes.set_xscale("log")
    axes.set_xticks([1, 2, 4, 8, 16, 32], ["1", "2", "4", "8", "16", "32"])
    axes.minorticks_off()
    axes.set_xlabel("executed multiply-accumulates an image (millions)")
    axes.set_ylabel(f"test accuracy (%), ± standard error of {IMAGES} images")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    with replacing(path) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    app()
