"""``dyn2trt run``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console


def run(
    recipe: Annotated[Path, typer.Argument(help="Recipe, as in export/.", show_default=False)],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Folder of the run.", show_default="runs/ and the recipe's name"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Run every stage again, up to date or not.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """Do all of it: export, build, compare, bench and report what a recipe names.

    Stages that are up to date are skipped, and an interrupted run goes on where it stopped. Without a GPU the engine
    is left out, and the report says so. Ends in the report's path; exit code 1 when the comparison fails.
    """
    import dataclasses
    import json

    from rich.console import Console

    from dyn2trt.cli.streams import prints_to_stderr
    from dyn2trt.errors import Dyn2trtError, Interrupted
    from dyn2trt.pipeline.run import run_recipe

    folder = output or Path("runs") / recipe.stem
    try:
        with prints_to_stderr():
            result = run_recipe(recipe, folder, _Display(Console(stderr=True)), force=force)
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted; the same command goes on at the stage that it was in ({folder})") from None
    typer.echo(json.dumps(dataclasses.asdict(result), indent=1, default=str) if as_json else str(result.report))
    if not result.passed:
        raise Dyn2trtError("the comparison failed: " + "; ".join(result.causes))


class _Display:
    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def stage(self, name: str) -> Iterator[Callable[[str], None]]:
        from rich.markup import escape

        with self._console.status(name) as status:
            yield lambda text: status.update(f"{name}: {escape(text)}")

    def line(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True, markup=False)
