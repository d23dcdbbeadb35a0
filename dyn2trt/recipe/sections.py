"""The sections of a recipe. Each is also the options of its verb: the command line puts what was typed over them."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from dyn2trt.engine.profiles import parse_shapes, parse_size
from dyn2trt.normalisation import check_normalisation
from dyn2trt.recipe.tolerances import Tolerances, tolerances_of
from dyn2trt.recipe.values import BatchSizes, Channels, FilePath, InputShape, Names, Natural, Positive, Ratios, ours

NOISE = "noise"
Pattern = Literal["blobs", "independent"]
"""Mask patterns of a sweep, `dyn2trt.bench.sweep.masks`."""


class Section(BaseModel):
    """Options; a key that is not listed is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class NetworkSection(Section):
    """``[network]``: what is exported."""

    name: str
    """A network of the zoo (``dyn2trt networks``), or ``package.module:callable``."""
    options: dict[str, bool | int | float | str] = {}
    checkpoint: FilePath | None = None
    """Without one the weights are random."""
    seed: Natural = 0
    """Of random weights."""


class ExportSection(Section):
    """``[export]``: how the ONNX file is written; see ``dyn2trt export --help``."""

    input_shape: InputShape
    """[N, 3, H, W], as a list or as ``"1x3x256x256"``."""
    precision: Literal["fp32", "fp16", "bf16"] = "fp32"
    ops: Literal["composite", "primitive", "dense"] = "composite"
    dynamic_batch: bool = False
    dynamic_size: bool = False
    with_decisions: bool = False


class BuildSection(Section):
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
            ours(parse_shapes, value)
        if self.workspace is not None:
            ours(parse_size, self.workspace)
        return self


class DataSection(Section):
    """``[data]``: the images that compare and bench run on."""

    images: str = NOISE
    """An image, a folder of images, a .npy, a .npz that holds ``x``, ``noise`` or ``noise:N``."""
    mean: Channels = (0.0, 0.0, 0.0)
    """Subtracted after scaling to 0..1, red, green, blue; one number for a network of one channel."""
    std: Channels = (1.0, 1.0, 1.0)
    seed: Natural = 0
    """Of noise, of masks, and of the order in which a benchmark runs."""

    @model_validator(mode="after")
    def _usable(self) -> DataSection:
        if not self.images.strip():
            raise ValueError("the name of the images is empty; leave it out for noise")
        ours(check_normalisation, self.mean, self.std)
        return self


Bounds = Annotated[Tolerances, BeforeValidator(tolerances_of)]


class CompareSection(Section):
    """``[compare]``: what is compared, and how far two runtimes may differ, in Polygraphy's syntax.

    Tolerances are written like ``["1e-5", "out0:1e-4"]``.
    """

    backends: Names = ("torch", "onnxruntime", "tensorrt")
    """The first is the reference."""
    tolerances: Bounds = Tolerances()
    """Of ‖y−r‖/‖r‖ an output; where it says nothing, the precision's default."""
    rtol: Bounds | None = None
    """Of Polygraphy's elementwise check |y−r| ≤ atol + rtol·|r|, which is made in addition where either is given."""
    atol: Bounds | None = None
    bisect: bool = False
    """Find the first gated block, or dynamic convolution, that diverges."""
    provider: str = "cpu"
    """Execution provider of ONNX Runtime: cpu, cuda, or a full name."""


class BenchSection(Section):
    """``[bench]``: what is measured, and for how long."""

    batch_sizes: BatchSizes = ()
    """Empty: the batch that the model was exported at."""
    active_ratios: Ratios = (0.0625, 0.125, 0.25, 0.375, 0.5, 0.75, 1.0)
    """Active ratios of the sweep; empty for none."""
    patterns: Names = get_args(Pattern)
    """Mask patterns of the sweep."""
    masks_per_ratio: Positive = 4
    warmup: Natural = 3
    """Rounds before the measured ones."""
    iterations: Positive = 20
    """Rounds at least."""
    seconds: Annotated[float, Field(ge=0)] = 20.0
    """Measure this long for each batch size; the blocks of ``per_block`` share as long among them."""
    threads: Positive | None = None
    """Intra-op threads of ONNX Runtime; None takes every core that this process may use."""
    per_block: bool = False
    """Time every gated block alone too."""
    memory: bool = True
    cuda_graphs: bool = True
    """Replay a CUDA graph per run (TensorRT)."""
    transfers: bool = False
    """Let times include copies between host and device (TensorRT)."""
