"""What to benchmark, and how."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, model_validator

from dyn2trt.bench.sweep.masks import PATTERNS
from dyn2trt.bench.timing.interleave import Budget
from dyn2trt.bench.timing.latency import MIN_ROUNDS
from dyn2trt.errors import Dyn2trtError
from dyn2trt.export.metadata import ExportMetadata
from dyn2trt.recipe import BenchSection, DataSection, Recipe, parse_shape
from dyn2trt.recipe.options import merged

Backend = Literal["onnxruntime", "tensorrt"]
NOISE = "noise:4"


class BenchOptions(BenchSection):
    """The recipe's ``[bench]``, and what one run of it adds."""

    backend: Backend = "onnxruntime"
    seed: int = 0
    plans: Mapping[str, Path] = Field(default_factory=dict)
    """By role, for TensorRT."""

    @model_validator(mode="after")
    def _possible(self) -> BenchOptions:
        if unknown := [p for p in self.patterns if p not in PATTERNS]:
            raise ValueError(f"mask patterns are {', '.join(PATTERNS)}, not {', '.join(unknown)}")
        if self.iterations < MIN_ROUNDS:
            raise ValueError(
                f"a 95 % interval needs at least {MIN_ROUNDS} rounds, not {self.iterations}; raise --iterations"
            )
        return self

    @property
    def budget(self) -> Budget:
        """Of one batch size; the blocks of ``per_block`` share one more among them."""
        most = max(Budget.max_rounds, self.iterations)
        return Budget(warmup=self.warmup, min_rounds=self.iterations, max_rounds=most, seconds=self.seconds)


def inputs_of(recipe: Recipe | None, **given: Any) -> DataSection:
    """Where the images come from: what is given goes before the recipe's, and that before the defaults."""
    base = DataSection(images=NOISE) if recipe is None else recipe.data
    return merged(DataSection, base, given)


def options_of(recipe: Recipe | None, *, backend: str = "onnxruntime", seed: int = 0, **given: Any) -> BenchOptions:
    """What is given goes before the recipe's, and that before the defaults.

    Args:
        given: fields of `BenchSection`, also as they are typed.

    Raises:
        Dyn2trtError: something cannot be parsed or is out of range.
    """
    if backend not in get_args(Backend):
        raise Dyn2trtError(f"--backend is {' or '.join(get_args(Backend))}, not {backend}")
    section = None if recipe is None else recipe.bench
    return merged(BenchOptions, section, {**given, "backend": backend, "seed": seed})


def image_size(input_shape: str | None, metadata: ExportMetadata) -> tuple[int, int]:
    """Height and width to run at: the exported ones, or those of ``NxCxHxW`` where the model's size is dynamic.

    Raises:
        Dyn2trtError: the model has a fixed size, or takes multiples of another number.
    """
    exported = metadata.input_shape[2:]
    if input_shape is None:
        return exported
    _, channels, height, width = parse_shape(input_shape)
    if channels != metadata.input_shape[1]:
        raise Dyn2trtError(f"the model takes images of {metadata.input_shape[1]} channels, not {channels}")
    if (height, width) != exported and 2 not in metadata.dynamic_axes:
        raise Dyn2trtError(
            f"the model has a fixed size of {exported[0]}x{exported[1]}, not {height}x{width}; export it with "
            "--dynamic-size"
        )
    if height % metadata.size_multiple or width % metadata.size_multiple:
        raise Dyn2trtError(
            f"height and width are multiples of {metadata.size_multiple} for this network, not {height}x{width}"
        )
    return height, width
