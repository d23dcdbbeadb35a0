"""What a trained DyNet loses when its kernels no longer depend on the image.

    python benchmarks/fixed_coefficients.py      # after accuracy_against_macs.py train

Every coefficient of its predictors is fixed at its mean over 900 training canvases; nothing is trained again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import torch
import typer
from accuracy_against_macs import RESULTS, SIZE, Work, accuracy, trained
from digits_runs import planned
from torch import Tensor, nn

from dyn2trt.blocks.dynamic import record_coefficients
from dyn2trt.files import write_text
from dyn2trt.tasks.digits import EVALUATED, DigitCanvases

Output = Annotated[Path, typer.Option("-o", "--output", help="Record to write.")]


def main(work: Work = Path("runs/accuracy_against_macs"), output: Output = RESULTS / "fixed_coefficients.json") -> None:
    """Judge every DyNet of ``work`` on all test canvases, as it is and with fixed coefficients."""
    torch.set_num_threads(1)
    data = DigitCanvases("train", EVALUATED, SIZE, seed=0)
    x = torch.stack([data[index][0] for index in range(EVALUATED)])
    record = {}
    for run in planned():
        if run.series != "dynet" or not (work / run.name / "best.pth").exists():
            continue
        network = trained(run, work)
        seen = coefficients(network, x)
        own = accuracy(network)
        with fixed(network, seen):
            constant = accuracy(network)
        between = {name: values.std(dim=0).mean().item() for name, values in seen.items()}
        record[run.name] = {"own": own, "fixed": constant, "deviation_between_images": between}
        typer.echo(f"{run.name}: {own:.2%}, fixed {constant:.2%}")
    write_text(output, json.dumps(record, indent=1) + "\n")


def coefficients(network: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Of every predictor, by its path: [images, coefficients]."""
    found: dict[str, list[Tensor]] = {}
    with torch.inference_mode(), record_coefficients(network) as recorded:
        for images in x.split(100):
            network(images)
    for each in recorded:
        found.setdefault(each.predictor, []).append(each.coefficients)
    return {path: torch.cat(values) for path, values in found.items()}


@contextmanager
def fixed(network: nn.Module, seen: dict[str, Tensor]) -> Iterator[None]:
    """Let every predictor give the means of what it gave, whatever the image."""
    hooks = [
        network.get_submodule(path).register_forward_hook(
            lambda m, i, out, mean=values.mean(dim=0): mean.expand_as(out)
        )
        for path, values in seen.items()
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


if __name__ == "__main__":
    typer.run(main)
