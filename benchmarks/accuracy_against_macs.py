"""Accuracy against executed operations: gated and dynamic networks beside dense ones of several sizes.

    python benchmarks/accuracy_against_macs.py train      # one JSON a run; skips and resumes
    python benchmarks/accuracy_against_macs.py latency    # of each DynConv network (seed 0) in ONNX Runtime
    python benchmarks/accuracy_against_macs.py shipped    # judges the checkpoints of export/ on the same canvases
    python benchmarks/accuracy_against_macs.py show       # tables and plots of what is there, and what is missing

The task is export/digits.toml's, with the same data and optimizer for all; digits_runs.py lists what is trained.
Every network is trained for 22 epochs: dense and dynamic ones at once, a gated one as a dense ResNet for 10 and with
gates for 12. Below a budget of 0.5 the first 6 of these are at a budget of 0.3, because closing more gates than that at
once starves them before they have learned anything.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from digits_runs import Run, planned

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "accuracy_against_macs"
RECIPE = ROOT / "export" / "digits.toml"
SIZE = (64, 64)

DRAWS = 5
"""Sets of 900 test canvases that every network is judged on; the first is the trainer's own."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__, rich_markup_mode=None)
Series = Annotated[str | None, typer.Option(help="Train the runs of this one of digits_runs.py alone.")]
Work = Annotated[Path, typer.Option(help="Folder for checkpoints and ONNX files; may be deleted afterwards.")]


@app.command()
def train(work: Work = Path("runs/accuracy_against_macs"), threads: int = 1, series: Series = None) -> None:
    """Train what is missing, one run after the other."""
    import torch

    from dyn2trt.files import write_text
    from dyn2trt.recipe import load_recipe, overrule_train
    from dyn2trt.train.processes import Process
    from dyn2trt.train.trainer import train_recipe

    torch.set_num_threads(threads)
    for run in planned(series):
        file = RESULTS / "runs" / f"{run.name}.json"
        if file.exists():
            continue
        typer.echo(run.name, err=True)
        recipe = load_recipe(RECIPE)
        network = recipe.network.model_copy(update={"name": run.kind.network, "options": run.options})
        settings = list(run.settings)
        if run.start is not None:
            settings.append(f"start={_start(run, work)}")
        recipe = overrule_train(recipe.model_copy(update={"network": network}), settings)
        train_recipe(recipe, work / run.name, Process(0, 1, torch.device("cpu")))
        result = json.loads((work / run.name / "result.json").read_text())
        result["test"]["accuracy_on_more"] = accuracy(trained(run, work))
        write_text(file, json.dumps({"run": run.name, "threads": threads, **result}, indent=1) + "\n")


def _start(run: Run, work: Path) -> Path:
    """The checkpoint that a run starts from; for gates of another kind than it has, without the gates."""
    import torch

    from dyn2trt.checkpoint import read_state_dict
    from dyn2trt.files import replacing

    assert run.start is not None
    last = work / run.start.name / "last.pth"
    if run.kind.network == run.start.kind.network:
        return last
    dense = last.with_name("dense.pth")
    with replacing(dense) as temporary:
        torch.save({key: value for key, value in read_state_dict(last).items() if ".masker." not in key}, temporary)
    return dense


def trained(run: Run, work: Path) -> nn.Module:
    from dyn2trt.checkpoint import load_checkpoint
    from dyn2trt.networks.zoo import build_network

    network = build_network(run.kind.network, run.options)
    load_checkpoint(network, work / run.name / "best.pth")
    return network.eval()


def accuracy(network: nn.Module) -> float:
    """Accuracy on all `DRAWS` of the test part, in fp32.

    A network that was trained dense has its gates open, so they change nothing.
    """
    import torch

    right = count = 0
    for draw in range(DRAWS):
        x, labels = _canvases(draw)
        with torch.inference_mode():
            scores = torch.cat([network(images) for images in torch.from_numpy(x).split(100)])
        right += int((scores.argmax(dim=1).numpy() == labels).sum())
        count += len(labels)
    return right / count


def _canvases(draw: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """One draw of test canvases: normalised, float32 [N, 3, H, W], and labels."""
    import numpy as np

    from dyn2trt.tasks.digits import EVALUATED, MEAN, STD, make_canvases

    canvases = make_canvases("test", EVALUATED, SIZE, seed=draw)
    x = (canvases.pictures / 255 - np.array(MEAN)) / np.array(STD)
    return x.transpose(0, 3, 1, 2).astype(np.float32), canvases.labels


@app.command()
def latency(work: Work = Path("runs/accuracy_against_macs"), threads: int = 1, seconds: float = 4.0) -> None:
    """Measure sparse and dense latency of each budget's network (seed 0), on canvases held out from training."""
    import numpy as np

    from dyn2trt.export import export_network

    images = work / "canvases.npz"
    np.savez(images, x=_canvases(0)[0][:64])
    for run in planned():
        file = RESULTS / "latency" / f"{run.name}.json"
        weights = work / run.name / "best.pth"
        if run.series != "dynconv" or run.seed or run.first or file.exists() or not weights.exists():
            continue
        typer.echo(run.name, err=True)
        model = work / run.name / "model.onnx"
        shape = (1, 3, *SIZE)
        export_network(
            trained(run, work),
            input_shape=shape,
            path=model,
            dynamic_batch=True,
            name=run.kind.network,
            options=run.options,
        )
        file.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "dyn2trt", "bench", f"{run.name}/model.onnx", "--images", images.name]
        command += ["--active-ratios", "none", "--batch-sizes", "1,16", "--threads", str(threads)]
        command += ["--seconds", str(seconds), "-o", str(file)]
        subprocess.run(command, check=True, cwd=work, env={**os.environ, "PYTHONPATH": str(ROOT)})


@app.command()
def shipped() -> None:
    """Judge the digits checkpoints that the repository ships."""
    from dyn2trt.export.recipe_export import make_network
    from dyn2trt.files import sha256, write_text
    from dyn2trt.recipe import load_recipe

    record = {}
    for file in sorted(RECIPE.parent.glob("digits*.toml")):
        section = load_recipe(file).network
        assert section.checkpoint is not None
        right = accuracy(make_network(section))
        record[section.checkpoint.name] = {"sha256": sha256(section.checkpoint), "accuracy_on_more": right}
        typer.echo(f"{section.checkpoint.name}: {right:.2%}")
    write_text(RESULTS / "shipped.json", json.dumps(record, indent=1) + "\n")


@app.command()
def show() -> None:
    """Write the tables and the plots of the runs that are there."""
    from accuracy_plots import write_all

    records = {run: _read(RESULTS / "runs" / f"{run.name}.json") for run in planned()}
    done = {run: record for run, record in records.items() if record}
    missing = [run.name for run, record in records.items() if not record]
    if not done:
        raise typer.BadParameter(f"no run in {RESULTS}; train first")
    latencies = {run: record for run in done if (record := _read(RESULTS / "latency" / f"{run.name}.json"))}
    typer.echo(write_all(RESULTS, done, latencies, missing))


def _read(file: Path) -> dict[str, Any] | None:
    return json.loads(file.read_text()) if file.exists() else None


if __name__ == "__main__":
    app()
