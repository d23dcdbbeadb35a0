"""Recipes: one TOML file a network, everything ``dyn2trt run`` needs to know about it.

Recipes live in ``export/``. Every section but ``[network]`` and ``[export]`` has defaults; a key that is not listed
here is an error that names the nearest one. Paths are relative to the recipe's own folder.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError, model_validator

from dyn2trt.engine.profiles import parse_shapes, parse_size, resolve_profiles
from dyn2trt.errors import Dyn2trtError
from dyn2trt.normalisation import check_normalisation, of_channels

T = TypeVar("T")

NOISE = "noise"
CRITERIA = ("budget", "target_rate", "ponder")
"""Keys of ``[train]`` of which each is one way of training gates."""

Shape = tuple[
    Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]
]


def parse_shape(text: str) -> tuple[int, int, int, int]:
    """``1x3x256x256`` → (1, 3, 256, 256).

    Raises:
        Dyn2trtError: anything else.
    """
    if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*){3}", text):
        raise Dyn2trtError(f"an input shape is written NxCxHxW, such as 1x3x256x256, not {text!r}")
    n, c, h, w = map(int, text.split("x"))
    return n, c, h, w


def _shape_of(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return _ours(parse_shape, value)


def _ours(check: Callable[..., T], *values: Any) -> T:
    """Call a check of ours; what it raises becomes what pydantic collects."""
    try:
        return check(*values)
    except Dyn2trtError as error:
        raise ValueError(str(error)) from None


def _rates(value: Any) -> Any:
    rates = value if isinstance(value, (list, tuple)) else [value]
    numbers = all(isinstance(rate, (int, float)) and not isinstance(rate, bool) and 0 <= rate <= 1 for rate in rates)
    if not rates or not numbers:
        raise ValueError(f"a rate is a number from 0 to 1; give one for all layers or a list of them, not {value!r}")
    return value


InputShape = Annotated[Shape, BeforeValidator(_shape_of)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Rates = Annotated[float | tuple[float, ...], BeforeValidator(_rates)]
Positive = Annotated[int, Field(ge=1)]
Channels = Annotated[tuple[float, ...], Field(min_length=1)]
FilePath = Annotated[Path, PlainSerializer(str)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NetworkSection(_Section):
    """``[network]``: what is exported."""

    name: str
    """A network of the zoo (``dyn2trt networks``), or ``package.module:callable``."""
    options: dict[str, bool | int | float | str] = {}
    checkpoint: FilePath | None = None
    """Without one the weights are random."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of random weights."""


class ExportSection(_Section):
    """``[export]``: how the ONNX file is written; see ``dyn2trt export --help``."""

    input_shape: InputShape
    """[N, C, H, W], as a list or as ``"1x3x256x256"``."""
    precision: Literal["fp32", "fp16", "bf16"] = "fp32"
    ops: Literal["composite", "primitive", "dense"] = "composite"
    dynamic_batch: bool = False
    dynamic_size: bool = False
    with_decisions: bool = False


class TrainSection(_Section):
    """``[train]``: how ``dyn2trt train`` trains the network; the recipe's input shape is the size trained at."""

    task: Literal["digits", "figures", "cifar10", "imagenet", "mpii"]
    """digits and figures are made from scikit-learn's bundled images and need no download."""
    data: FilePath | None = None
    """Folder of the data set, for cifar10, imagenet and mpii."""
    samples: Positive | None = None
    """Images an epoch, for digits and figures."""
    start: FilePath | None = None
    """A checkpoint of the same network to fine-tune; a dense one, without gates, gets gates that begin open."""

    budget: Fraction | None = None
    """Fraction of the gated blocks' multiply-accumulates to execute. Without one, and without the two that follow, the
    network trains dense, ungated."""
    target_rate: Rates | None = None
    """How often each layer executes, for gates that skip whole layers (ConvNet-AIG); in place of a budget. One number
    for all gated layers, or a list of one for each, in order of execution."""
    ponder: Annotated[float, Field(ge=0)] | None = None
    """Weight of the ponder cost, for networks whose positions halt (SACT); in place of a budget. The paper's τ, 0.001
    to 0.01."""
    alpha: Annotated[float, Field(ge=0)] | None = None
    """Weight of the criterion of budget or target_rate. Left out, it is 10 for a budget, which is right beside a
    cross-entropy (0.01 is beside the mean squared error of heat maps), and 2 for a target rate, its authors' value for
    CIFAR-10 (for ImageNet they have 1)."""
    anneal: Annotated[float, Field(gt=0, le=1)] = 1 / 3
    """Fraction of training over which the blocks' bounds widen."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """Of the Gumbel-Softmax."""
    noise_until: Fraction = 0.8
    """Fraction of training after which the Gumbel noise is off; the best epoch is sought after it, with any network."""

    epochs: Positive
    batch_size: Positive
    """Of all processes together."""
    optimizer: Literal["sgd", "adam"] = "sgd"
    learning_rate: Annotated[float, Field(gt=0)]
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Of sgd."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Of the cross-entropy of classification, in training and in the losses that validation reports."""
    schedule: Literal["step", "cosine"] = "step"
    milestones: tuple[Positive, ...] = ()
    """Epochs at which schedule step multiplies the learning rate by 0.1."""
    warmup: Annotated[float, Field(ge=0)] = 0.0
    """Epochs over which the learning rate rises from 0."""
    precision: Literal["fp32", "fp16", "bf16"] = "fp32"
    """Of the arithmetic (automatic mixed precision); weights, gates and losses stay fp32."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of initial weights, order, augmentation and Gumbel noise."""
    workers: Annotated[int, Field(ge=0)] = 0
    """Processes that load data, for each training process."""
    pictures: Annotated[int, Field(ge=0)] = 0
    """Epochs between heat-map pictures; 0 for none."""

    @model_validator(mode="after")
    def _consistent(self) -> TrainSection:
        made = self.task in ("digits", "figures")
        if not made and self.data is None:
            raise ValueError(f"task {self.task} needs data, the folder of the data set")
        if not made and self.samples is not None:
            raise ValueError(f"samples is for digits and figures; {self.task} has as many images as its folder")
        if self.label_smoothing and self.task in ("figures", "mpii"):
            raise ValueError(f"label_smoothing is for classification; {self.task} has no classes")
        if len(given := [key for key in CRITERIA if getattr(self, key) is not None]) > 1:
            raise ValueError(f"{' and '.join(given)} exclude each other; keep one (--set {given[0]}=none unsets a key)")
        if self.ponder is not None and self.alpha is not None:
            raise ValueError(
                "alpha does nothing beside ponder, a weight itself; leave it out (--set alpha=none unsets it)"
            )
        if self.budget is None and "anneal" in self.model_fields_set:
            raise ValueError("anneal does nothing without a budget; leave it out (--set anneal=none unsets it)")
        if self.milestones and self.schedule != "step":
            raise ValueError(f"milestones belong to schedule step, not {self.schedule}")
        return self


class BuildSection(_Section):
    """``[build]``: how TensorRT builds the engine; shapes in trtexec's syntax, ``x:1x3x256x256``."""

    min_shapes: str | None = None
    opt_shapes: str | None = None
    max_shapes: str | None = None
    workspace: str | None = None
    """Scratch memory that a layer may use, like ``2G``."""
    optimization_level: Annotated[int, Field(ge=0, le=5)] | None = None

    @model_validator(mode="after")
    def _all_or_none(self) -> BuildSection:
        given = [value is not None for value in (self.min_shapes, self.opt_shapes, self.max_shapes)]
        if any(given) and not all(given):
            raise ValueError("min_shapes, opt_shapes and max_shapes go together")
        for value in filter(None, (self.min_shapes, self.opt_shapes, self.max_shapes)):
            _ours(parse_shapes, value)
        if self.workspace is not None:
            _ours(parse_size, self.workspace)
        return self


def check_build_shapes(build: BuildSection, export: ExportSection, size_multiple: int = 1) -> None:
    """Check the shapes of ``[build]``, where there are any, against the input that ``[export]`` gives the file.

    Args:
        size_multiple: of the network, where it is known.

    Raises:
        Dyn2trtError: TensorRT could not serve them.
    """
    from dyn2trt.export.metadata import INPUT

    shapes = {name: getattr(build, name) for name in ("min_shapes", "opt_shapes", "max_shapes")}
    if not any(shapes.values()):
        return
    axes = ((0,) if export.dynamic_batch else ()) + ((2, 3) if export.dynamic_size else ())
    x = tuple(-1 if axis in axes else size for axis, size in enumerate(export.input_shape))
    parsed = {name: parse_shapes(text) for name, text in shapes.items()}
    try:
        resolve_profiles({INPUT: x}, **parsed, size_multiple=size_multiple)
    except Dyn2trtError as error:
        told = str(error)
        for name in shapes:
            told = told.replace("--" + name.replace("_", "-"), f"build.{name}")
        raise Dyn2trtError(told) from None


class DataSection(_Section):
    """``[data]``: inputs to compare on."""

    images: str = NOISE
    """An image, a folder of images, a .npy, a .npz that holds ``x``, ``noise`` or ``noise:N``."""
    mean: Channels = (0.0, 0.0, 0.0)
    """Subtracted after scaling to 0..1, red, green, blue; one number for a network of one channel."""
    std: Channels = (1.0, 1.0, 1.0)
    seed: Annotated[int, Field(ge=0)] = 0
    """Of noise."""

    @model_validator(mode="after")
    def _usable(self) -> DataSection:
        if not self.images.strip():
            raise ValueError("images is empty; leave it out for noise")
        _ours(check_normalisation, self.mean, self.std)
        return self


class CompareSection(_Section):
    """``[compare]``: how far two runtimes may differ, in Polygraphy's syntax (``["1e-5", "out0:1e-4"]``)."""

    tolerances: tuple[str, ...] | None = None
    """Of ‖y−r‖/‖r‖ an output; left out, the precision's default."""
    rtol: tuple[str, ...] | None = None
    """Of Polygraphy's elementwise check |y−r| ≤ atol + rtol·|r|, which is made in addition where either is given."""
    atol: tuple[str, ...] | None = None


class BenchSection(_Section):
    """``[bench]``: what is measured."""

    batch_sizes: Annotated[tuple[Positive, ...], Field(min_length=1)] | None = None
    active_ratios: Annotated[tuple[Fraction, ...], Field(min_length=1)] | None = None
    warmup: Annotated[int, Field(ge=0)] | None = None
    iterations: Positive | None = None
    """Rounds at least."""
    seconds: Annotated[float, Field(ge=0)] | None = None
    """Measure this long for each batch size."""


class Recipe(_Section):
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
    def _shapes_fit(self) -> Recipe:
        if self.export.input_shape[1] in (1, 3):
            for name in ("mean", "std"):
                _ours(of_channels, f"data.{name}", getattr(self.data, name), self.export.input_shape[1])
        _ours(check_build_shapes, self.build, self.export)
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
        lines = [_explain(problem) for problem in error.errors()]
        raise Dyn2trtError(f"{where}: {'; '.join(dict.fromkeys(lines))}") from error


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


def _explain(problem: Any) -> str:
    """One of pydantic's problems in the words of the recipe: key, what is wrong, the nearest key."""
    location = [str(part) for part in problem["loc"]]
    key = ".".join(location)
    if problem["type"] == "missing":
        return f"{key} is missing"
    if problem["type"] == "extra_forbidden":
        return _unknown_key(location)
    value = problem["input"]
    own = problem["type"] == "value_error"  # Our own checks say in their words what came.
    shown = f", not {value!r}" if isinstance(value, (str, int, float, list)) and not own else ""
    message = problem["msg"].removeprefix("Value error, ")
    return f"{key}{': ' * bool(key)}{message[0].lower()}{message[1:]}{shown}"


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
