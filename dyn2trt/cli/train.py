"""``dyn2trt train``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from dyn2trt.train.trainer import Outcome


def train(
    recipe: Annotated[Path, typer.Argument(help="Recipe that has a section for training.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder of the training.  [default: runs/NAME-train]")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Overrule a key of that section, such as budget=0.2; none unsets it."
        ),
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Begin again instead of going on.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0 leaves it to torch.")] = 0,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write TensorBoard events too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """Train a recipe's network, its gates to the recipe's aim, or go on with an interrupted training.

    Ends in the path of the weights, which `export` and the recipe's network.checkpoint take. Several processes:
    torchrun --nproc-per-node 2 -m dyn2trt train RECIPE.
    """
    import dataclasses
    import json
    import shlex
    import sys

    import torch

    from dyn2trt.cli.streams import prints_to_stderr
    from dyn2trt.errors import Interrupted
    from dyn2trt.recipe import load_recipe, overrule_train
    from dyn2trt.train.processes import joined
    from dyn2trt.train.trainer import train_recipe

    if threads:
        torch.set_num_threads(threads)
    chosen = overrule_train(load_recipe(recipe), settings or [])
    folder = output or Path("runs") / f"{recipe.stem}-train"
    command = shlex.join(["dyn2trt", *sys.argv[1:]])
    try:
        with prints_to_stderr(), joined(device) as process, _display(process.writes) as listener:
            outcome = train_recipe(
                chosen, folder, process, restart=restart, tensorboard=tensorboard, command=command, listener=listener
            )
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted; the same command goes on after the last whole epoch ({folder})") from None
    if not process.writes:
        return
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(outcome), indent=1, default=str))
    else:
        _print_outcome(outcome)
        typer.echo(str(outcome.weights))


class _display:
    """Progress on stderr: a bar for the epoch, a line for each that is done."""

    def __init__(self, shown: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=console, transient=True, disable=not shown)
        self._bar = self._progress.add_task("starting", total=None)

    def __enter__(self) -> Callable[[str, dict[str, float]], None]:
        self._progress.start()
        return self._hear

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def _hear(self, kind: str, values: dict[str, float]) -> None:
        if kind == "step":
            text = f"epoch {values['epoch'] + 1}, loss {values['loss']:.4f}"
            self._progress.update(self._bar, description=text, completed=values["step"] + 1, total=values["steps"])
            return
        scores = [
            f"{name.removeprefix('validation_')} {value:.4f}"
            for name, value in values.items()
            if name.startswith("validation_") and name != "validation_macs"
        ]
        line = f"epoch {values['epoch']}: loss {values['loss_task']:.4f}, validation {', '.join(scores)}"
        self._progress.console.print(line, highlight=False, soft_wrap=True)


def _print_outcome(outcome: Outcome) -> None:
    from rich.console import Console
    from rich.table import Table

    parts = {"validation": outcome.validation} | ({"test": outcome.test} if outcome.test else {})
    table = Table("", *parts, title=f"{outcome.epochs} epochs in {outcome.seconds:.0f} s")
    for name in outcome.validation.scores:
        table.add_row(name, *(f"{part.scores[name]:.4f}" for part in parts.values()))
    if outcome.validation.activity:
        table.add_row("executed of the gated blocks", *(f"{part.executed:.1%}" for part in parts.values()))
    table.add_row("multiply-accumulates an image", *(f"{part.macs / 1e6:.3f} M" for part in parts.values()))
    Console(stderr=True).print(table)
