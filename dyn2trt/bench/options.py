"""The command line's words and a recipe's, as what to benchmark and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from dyn2trt.bench.interleave import Budget
from dyn2trt.bench.latency import MIN_ROUNDS
from dyn2trt.bench.masks import PATTERNS
from dyn2trt.errors import Dyn2trtError
from dyn2trt.export.metadata import ExportMetadata
from dyn2trt.recipe import Recipe, load_recipe, parse_shape

Backend = Literal["onnxruntime", "tensorrt"]
NOISE = "noise:4"
RATIOS = (0.0625, 0.125, 0.25, 0.375, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Inputs:
    """Where the images come from, see `dyn2trt.images.load_inputs`."""

    images: str = NOISE
    mean: Sequence[float] = (0.0, 0.0, 0.0)
    std: Sequence[float] = (1.0, 1.0, 1.0)
    seed: int = 0


@dataclass(frozen=True)
class BenchOptions:
    """What to measure and how."""

    backend: Backend = "onnxruntime"
    batch_sizes: tuple[int, ...] = ()
    """Empty: the batch that the model was exported at."""
    ratios: tuple[float, ...] = RATIOS
    """Active ratios of the sweep; empty for none."""
    patterns: tuple[str, ...] = tuple(PATTERNS)
    masks_per_ratio: int = 4
    budget: Budget = field(default_factory=Budget)
    """Of one batch size; the blocks of ``per_block`` share one more among them."""
    threads: int | None = None
    """Intra-op threads of ONNX Runtime; None: every core this process may use."""
    seed: int = 0
    per_block: bool = False
    memory: bool = True
    plans: tuple[tuple[str, Path], ...] = ()
    """(role, plan) for TensorRT."""
    cuda_graphs: bool = True
    transfers: bool = False

    def __post_init__(self) -> None:
        if bad := [r for r in self.ratios if not 0 <= r <= 1]:
            raise Dyn2trtError(f"active ratios lie between 0 and 1, not {', '.join(f'{r:g}' for r in bad)}")
        if unknown := [p for p in self.patterns if p not in PATTERNS]:
            raise Dyn2trtError(f"mask patterns are {', '.join(PATTERNS)}, not {', '.join(unknown)}")
        if bad_sizes := [b for b in self.batch_sizes if b < 1]:
            raise Dyn2trtError(f"batch sizes are at least 1, not {', '.join(map(str, bad_sizes))}")
        if self.budget.min_rounds < MIN_ROUNDS:
            raise Dyn2trtError(
                f"a 95 % interval needs at least {MIN_ROUNDS} rounds, not {self.budget.min_rounds}; raise --iterations"
            )
        if self.threads is not None and self.threads < 1:
            raise Dyn2trtError(f"at least one thread is needed, not {self.threads}")


def inputs_of(
    recipe: Recipe | None, *, images: str | None, mean: str | None, std: str | None, seed: int | None
) -> Inputs:
    """What is given goes before the recipe's, and that before the defaults."""
    base = Inputs()
    if recipe is not None:
        base = Inputs(recipe.data.images, recipe.data.mean, recipe.data.std, recipe.data.seed)
    return Inputs(
        images=base.images if images is None else images,
        mean=base.mean if mean is None else numbers("--mean", mean),
        std=base.std if std is None else numbers("--std", std),
        seed=base.seed if seed is None else seed,
    )


def options_of(
    recipe: Recipe | None,
    *,
    backend: str = "onnxruntime",
    batch_sizes: str | None = None,
    active_ratios: str | None = None,
    patterns: str | None = None,
    warmup: int | None = None,
    iterations: int | None = None,
    seconds: float | None = None,
    threads: int | None = None,
    per_block: bool = False,
    seed: int = 0,
    cuda_graphs: bool = True,
    transfers: bool = False,
) -> BenchOptions:
    """What is given goes before the recipe's, and that before the defaults.

    Raises:
        Dyn2trtError: something cannot be parsed or is out of range.
    """
    if backend not in get_args(Backend):
        raise Dyn2trtError(f"--backend is {' or '.join(get_args(Backend))}, not {backend}")
    section = recipe.bench if recipe is not None else None
    default = Budget()
    least = iterations or (section and section.iterations) or default.min_rounds
    before = warmup if warmup is not None else section.warmup if section is not None else None
    if seconds is None and section is not None:
        seconds = section.seconds
    ratios: tuple[float, ...] = (section and section.active_ratios) or RATIOS
    if active_ratios is not None:
        ratios = () if active_ratios == "none" else numbers("--active-ratios", active_ratios)
    sizes: tuple[int, ...] = (section and section.batch_sizes) or ()
    if batch_sizes is not None:
        given = numbers("--batch-sizes", batch_sizes)
        if broken := [n for n in given if n != int(n)]:
            raise Dyn2trtError(f"batch sizes are whole numbers, not {', '.join(map(str, broken))}")
        sizes = tuple(map(int, given))
    return BenchOptions(
        backend="tensorrt" if backend == "tensorrt" else "onnxruntime",
        batch_sizes=sizes,
        ratios=ratios,
        patterns=tuple(PATTERNS) if patterns is None else tuple(name.strip() for name in patterns.split(",")),
        budget=Budget(
            warmup=default.warmup if before is None else before,
            min_rounds=least,
            max_rounds=max(default.max_rounds, least),
            seconds=default.seconds if seconds is None else seconds,
        ),
        threads=threads,
        seed=seed,
        per_block=per_block,
        cuda_graphs=cuda_graphs,
        transfers=transfers,
    )


def read_recipe(path: Path | None) -> Recipe | None:
    return None if path is None else load_recipe(path)


def numbers(option: str, text: str, count: int | None = None) -> tuple[float, ...]:
    """Parse ``1,4,16``; ``count`` of them, or at least one.

    Raises:
        Dyn2trtError: anything else.
    """
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if not values or (count is not None and len(values) != count):
        raise Dyn2trtError(f"expected {option} with {count or 'some'} numbers separated by commas, not {text!r}")
    return values


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
