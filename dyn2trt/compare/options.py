"""What to compare, on what, and how closely."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import model_validator

from dyn2trt.compare.backends import NAMES
from dyn2trt.recipe import CompareSection, DataSection, Recipe, load_recipe
from dyn2trt.recipe.options import merged
from dyn2trt.recipe.values import InputShape


class CompareOptions(CompareSection, DataSection):
    """The recipe's ``[compare]`` and ``[data]``, and what one comparison adds."""

    model: Path
    required: bool = False
    """Fail when one of the backends cannot run, instead of saying so."""
    checkpoint: Path | None = None
    """Where the model's weights came from; checked against the model's metadata."""
    plan: Path | None = None
    input_shape: InputShape | None = None
    """Batch and size to run at; None is what the model was exported at."""

    @model_validator(mode="after")
    def _different_backends(self) -> CompareOptions:
        if unknown := [name for name in self.backends if name not in NAMES]:
            raise ValueError(f"there is no backend {unknown[0]!r}; there are {', '.join(NAMES)}")
        if len(self.backends) < 2 or len(set(self.backends)) < len(self.backends):
            came = ",".join(self.backends)
            raise ValueError(f"expected two or more different backends, the reference first, not {came!r}")
        return self


def compare_options(*, model: Path, recipe: Path | None = None, **given: Any) -> CompareOptions:
    """Put the options together: what is given goes before the recipe's, and that before the defaults.

    Args:
        given: fields of `CompareOptions`, also as they are typed; None was not given.

    Raises:
        Dyn2trtError: something cannot be parsed, or a backend is unknown.
    """
    required = given.get("backends") is not None
    return from_recipe(None if recipe is None else load_recipe(recipe), model, {**given, "required": required})


def from_recipe(recipe: Recipe | None, model: Path, given: Mapping[str, Any] | None = None) -> CompareOptions:
    """Return what a recipe asks for, ``given`` put over it."""
    if recipe is None:
        return merged(CompareOptions, given, {"model": model})
    weights = {"checkpoint": recipe.network.checkpoint}
    return merged(CompareOptions, recipe.data, recipe.compare, weights, given, {"model": model})
