"""Recipes: one TOML file per network, everything ``dyn2trt run`` needs to know about it.

Recipes live in ``export/``. Every section but ``[network]`` and ``[export]`` has defaults; a key that is not listed
in `sections` or `training` is an error that names the nearest one. Paths are relative to the recipe's own folder.
"""

from dyn2trt.recipe.load import Recipe, load_recipe, overrule_train, recipe_of
from dyn2trt.recipe.sections import (
    NOISE,
    BenchSection,
    BuildSection,
    CompareSection,
    DataSection,
    ExportSection,
    NetworkSection,
)
from dyn2trt.recipe.shapes import check_build_shapes
from dyn2trt.recipe.training import CRITERIA, TrainSection
from dyn2trt.recipe.values import parse_shape

__all__ = [
    "CRITERIA",
    "NOISE",
    "BenchSection",
    "BuildSection",
    "CompareSection",
    "DataSection",
    "ExportSection",
    "NetworkSection",
    "Recipe",
    "TrainSection",
    "check_build_shapes",
    "load_recipe",
    "overrule_train",
    "parse_shape",
    "recipe_of",
]
