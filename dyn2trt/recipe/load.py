"""Reading a recipe: TOML to sections, and in what words a mistake is told."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError, model_validator

from dyn2trt.errors import Dyn2trtError
from dyn2trt.normalisation import of_channels
from dyn2trt.recipe.options import explain
from dyn2trt.recipe.sections import (
    NOISE,
    BenchSection,
    BuildSection,
    CompareSection,
    DataSection,
    ExportSection,
    NetworkSection,
    Section,
)
from dyn2trt.recipe.shapes import check_build_shapes
from dyn2trt.recipe.training import TrainSection
from dyn2trt.recipe.values import ours


class Recipe(Section):
    """A recipe with its paths made absolute."""

    description: str = ""
    network: NetworkSection
    train: TrainSection | None = None
    export: ExportSection
    build: BuildSection = BuildSection()
    data: DataSection = DataSection()
    compare: CompareSection = CompareSection()
    bench: BenchSection = BenchSection()

    @model_validator(mode="after")
    def _fits(self) -> Recipe:
        if self.export.input_shape[1] in (1, 3):
            for name in ("mean", "std"):
                ours(of_channels, f"data.{name}", getattr(self.data, name), self.export.input_shape[1])
        ours(check_build_shapes, self.build, self.export)
        return self


def load_recipe(path: str | os.PathLike[str]) -> Recipe:
    """Read and validate a recipe.

    Raises:
        Dyn2trtError: the file is absent or no TOML, a key is unknown (the nearest is named), missing, or has a value
            of the wrong kind.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8-sig")  # Some editors begin a file with a byte order mark.
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise Dyn2trtError(f"cannot read the recipe {file}: {reason}") from error
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Dyn2trtError(f"recipe {file} is no valid TOML: {error}") from error
    recipe = recipe_of(document, f"recipe {file}")
    return _with_absolute_paths(recipe, file.resolve().parent)


def recipe_of(document: Mapping[str, Any], where: str) -> Recipe:
    """Validate a recipe's document; ``where`` begins the message of an error.

    Raises:
        Dyn2trtError: see `load_recipe`.
    """
    try:
        return Recipe.model_validate(document)
    except ValidationError as error:
        raise Dyn2trtError(f"{where}: {explain(error, _unknown_key)}") from error


def overrule_train(recipe: Recipe, given: Sequence[str]) -> Recipe:
    """Overrule keys of ``[train]`` by ``KEY=VALUE``, values as in TOML, names without quotes; ``none`` unsets a key.

    Paths are relative to the working directory, as always on a command line.

    Raises:
        Dyn2trtError: the recipe has no ``[train]``, or a key or value that it refuses.
    """
    if not given:
        return recipe
    if recipe.train is None:
        raise Dyn2trtError("the recipe has no [train] section to overrule")
    document = recipe.model_dump(exclude_unset=True, exclude_none=True)
    for text in given:
        key, equals, value = text.partition("=")
        if not equals:
            raise Dyn2trtError(f"--set takes KEY=VALUE, such as budget=0.2, not {text!r}")
        document["train"].pop(key, None)
        if value != "none":
            document["train"][key] = _toml_value(value)
    return recipe_of(document, "--set")


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _with_absolute_paths(recipe: Recipe, folder: Path) -> Recipe:
    changes: dict[str, Any] = {}
    if recipe.network.checkpoint is not None:
        checkpoint = folder / recipe.network.checkpoint
        changes["network"] = recipe.network.model_copy(update={"checkpoint": checkpoint})
    if recipe.train is not None:
        given = {"data": recipe.train.data, "start": recipe.train.start}
        paths = {name: folder / path for name, path in given.items() if path is not None}
        changes["train"] = recipe.train.model_copy(update=paths)
    if not re.fullmatch(rf"{NOISE}(:\d+)?", recipe.data.images):
        changes["data"] = recipe.data.model_copy(update={"images": str(folder / recipe.data.images)})
    return recipe.model_copy(update=changes)


def _unknown_key(location: list[str]) -> str:
    """Name the section that has such a key, the nearest key of the same section, or all its keys."""
    *outer, last = location
    sections = _sections()
    homes = [f"{section}.{last}" for section, model in sections.items() if last in model.model_fields]
    fields = sections[outer[0]].model_fields if outer and outer[0] in sections else Recipe.model_fields
    siblings = [".".join([*outer, name]) for name in fields]
    near = difflib.get_close_matches(last, list(fields), n=1)
    best = homes or [".".join([*outer, name]) for name in near]
    hint = f"did you mean {best[0]}?" if best else f"there are {', '.join(siblings)}"
    return f"{'.'.join(location)} is no key of a recipe; {hint}"


def _sections() -> dict[str, type[BaseModel]]:
    sections: dict[str, type[BaseModel]] = {}
    for name, field in Recipe.model_fields.items():
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                sections[name] = kind
    return sections
