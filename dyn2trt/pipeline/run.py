"""``dyn2trt run``: every stage of a recipe that is not up to date, in order."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from dyn2trt.compare.result import read_comparison
from dyn2trt.errors import Dyn2trtError
from dyn2trt.pipeline.recipe_stages import stages_of, why_no_engine
from dyn2trt.pipeline.stages import is_up_to_date, perform
from dyn2trt.recipe import check_build_shapes, load_recipe
from dyn2trt.run_folder import RunFolder


class Display(Protocol):
    """Where a run shows what it does."""

    def stage(self, name: str) -> AbstractContextManager[Callable[[str], None]]:
        """Show that a stage runs; yields what tells it a line of progress."""

    def line(self, text: str) -> None:
        """Leave a line behind."""


@dataclass(frozen=True)
class StageResult:
    name: str
    state: Literal["done", "up to date", "not run"]
    seconds: float = 0.0
    reason: str = ""
    """Why it was not run."""


@dataclass(frozen=True)
class RunResult:
    stages: tuple[StageResult, ...]
    report: Path
    passed: bool
    """Whether the accuracy comparison passed."""
    causes: tuple[str, ...]
    """Why it did not."""


class _Progress:
    """Passes a line on to whoever shows the stage that runs."""

    tell: Callable[[str], None]

    def __call__(self, text: str) -> None:
        self.tell(text)


def run_recipe(recipe_path: Path, folder_path: Path, display: Display, *, force: bool = False) -> RunResult:
    """Run the pipeline of a recipe in a folder, from the stage where an earlier run stopped.

    A comparison that fails stops nothing: the report shows it, and `RunResult.passed` says so.

    Raises:
        Dyn2trtError: the recipe, or a stage, finds a mistake.
    """
    from dyn2trt.export.metadata import read_metadata

    recipe = load_recipe(recipe_path)
    if folder_path.exists() and not folder_path.is_dir():
        raise Dyn2trtError(f"{folder_path} is a file, and a run needs a folder; choose another with --output")
    folder = RunFolder(folder_path)
    reason = why_no_engine()
    results: list[StageResult] = []
    progress = _Progress()
    stages = stages_of(
        recipe,
        folder,
        engine=reason is None,
        progress=progress,
        warn=lambda text: display.line(f"warning: {text}"),
    )
    for stage in stages:
        if stage.name == "compare" and reason is not None:
            check_build_shapes(recipe.build, recipe.export, read_metadata(folder.model).size_multiple)
            results.append(StageResult("build", "not run", reason=reason))
            display.line(f"build: not run: {reason}")
        if not force and is_up_to_date(stage, folder.path):
            results.append(StageResult(stage.name, "up to date"))
            display.line(f"{stage.name}: up to date")
            continue
        started = time.monotonic()
        with display.stage(stage.name) as progress.tell:
            perform(stage, folder.path)
        results.append(StageResult(stage.name, "done", round(time.monotonic() - started, 1)))
        display.line(f"{stage.name}: done in {results[-1].seconds:.1f} s")
    comparison = read_comparison(folder.comparison)
    causes = tuple(cause.message for cause in comparison.all_causes)
    return RunResult(tuple(results), folder.page, comparison.passed, causes)
