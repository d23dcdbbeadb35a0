"""The command line's words and a recipe's, as the options of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dyn2trt.compare.backends import NAMES
from dyn2trt.compare.comparison import CompareOptions
from dyn2trt.compare.tolerances import Tolerances, parse_tolerances
from dyn2trt.errors import Dyn2trtError
from dyn2trt.recipe import Recipe, load_recipe, parse_shape
from dyn2trt.runtimes.onnxruntime_session import parse_provider


def compare_options(
    *,
    model: Path,
    recipe: Path | None = None,
    checkpoint: Path | None = None,
    plan: Path | None = None,
    backends: str | None = None,
    images: str | None = None,
    input_shape: str | None = None,
    mean: str | None = None,
    std: str | None = None,
    seed: int | None = None,
    tolerance: Sequence[str] | None = None,
    atol: Sequence[str] | None = None,
    rtol: Sequence[str] | None = None,
    bisect: bool = False,
    provider: str | None = None,
) -> CompareOptions:
    """Put the options together: what is given here goes before the recipe's, and that before the defaults.

    Raises:
        Dyn2trtError: something cannot be parsed, or a backend is unknown.
    """
    base = from_recipe(load_recipe(recipe), model) if recipe is not None else CompareOptions(model)
    return CompareOptions(
        model=model,
        backends=base.backends if backends is None else parse_backends(backends),
        required=backends is not None,
        checkpoint=checkpoint or base.checkpoint,
        plan=plan,
        images=base.images if images is None else images,
        input_shape=None if input_shape is None else parse_shape(input_shape),
        mean=base.mean if mean is None else _channels("--mean", mean),
        std=base.std if std is None else _channels("--std", std),
        seed=base.seed if seed is None else seed,
        tolerances=parse_tolerances(tolerance) if tolerance else base.tolerances,
        atol=parse_tolerances(atol) if atol else base.atol,
        rtol=parse_tolerances(rtol) if rtol else base.rtol,
        bisect=bisect,
        provider=parse_provider(provider) if provider else base.provider,
    )


def from_recipe(recipe: Recipe, model: Path) -> CompareOptions:
    """Return what a recipe asks for."""

    def parsed(texts: Sequence[str] | None) -> Tolerances | None:
        return parse_tolerances(texts) if texts else None

    return CompareOptions(
        model=model,
        checkpoint=recipe.network.checkpoint,
        images=recipe.data.images,
        mean=recipe.data.mean,
        std=recipe.data.std,
        seed=recipe.data.seed,
        tolerances=parsed(recipe.compare.tolerances) or Tolerances(),
        atol=parsed(recipe.compare.atol),
        rtol=parsed(recipe.compare.rtol),
    )


def parse_backends(text: str) -> tuple[str, ...]:
    """Parse ``torch,onnxruntime``: two or more of `dyn2trt.compare.backends.NAMES`, the reference first.

    Raises:
        Dyn2trtError: another name, one twice, or fewer than two.
    """
    names = tuple(name.strip() for name in text.split(","))
    if unknown := [name for name in names if name not in NAMES]:
        raise Dyn2trtError(f"there is no backend {unknown[0]!r}; there are {', '.join(NAMES)}")
    if len(names) < 2 or len(set(names)) < len(names):
        raise Dyn2trtError(f"expected two or more different backends, the reference first, not {text!r}")
    return names


def _channels(option: str, text: str) -> tuple[float, ...]:
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if not values:
        raise Dyn2trtError(f"expected {option} R,G,B, such as 0.485,0.456,0.406, or one number for grey, not {text!r}")
    return values
