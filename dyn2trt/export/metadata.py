"""What an exported ONNX file says about itself: ``metadata_props["dyn2trt"]``, one JSON document."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import Literal

import onnx
from google.protobuf.message import DecodeError
from pydantic import TypeAdapter, ValidationError

from dyn2trt.errors import Dyn2trtError
from dyn2trt.export.dynamic_kernels.geometry import ConvGeometry, Geometry
from dyn2trt.export.model_file import read_model

KEY = "dyn2trt"
FORMAT = 2
"""Raised when a reader of an older version would misread the document."""

INPUT = "x"
OUTPUT_PREFIX = "out"
LOGITS_PREFIX = "logits"
MASK_PREFIX = "mask"
COEFFICIENTS_PREFIX = "coefficients"
FORCED_PREFIX = "forced"

Precision = Literal["fp32", "fp16", "bf16"]
Ops = Literal["composite", "primitive", "dense"]
KernelForm = Literal["grouped", "matmul", "unfold", "feature_maps"]
"""How a file writes a dynamic convolution in standard ops; see docs/dynamic_kernels.md."""


@dataclass(frozen=True)
class Checkpoint:
    """The file the weights came from."""

    name: str
    sha256: str


@dataclass(frozen=True)
class Block:
    """A gated block, in execution order.

    The multiply-accumulate counts are of one image at `ExportMetadata.input_shape`; ``macs_per_halo_site`` is the
    part done at every input site that the active sites read (a 1×1 before a 3×3), ``macs_per_active_site`` the part
    done at every active output site.
    """

    name: str
    """Module path in the network; the name of the node, or the prefix of the nodes with ``ops="primitive"``."""
    op: str
    """Composite of `dyn2trt.contract` that the block is, whatever the file writes it as."""
    logits: str
    """Value that holds the gate's logits, float32 [N, 1, Ho, Wo]."""
    grid: tuple[int, int]
    """(Ho, Wo) at `ExportMetadata.input_shape`."""
    macs_total: int
    macs_per_active_site: int
    macs_per_halo_site: int
    active_fraction: float | None = None
    """Average share of active sites on the user's data, where somebody has measured it."""
    halo_grid: tuple[int, int] | None = None
    """(H, W) of the grid that the halo lies on; larger than ``grid`` where a strided block reads its input."""
    halo_stride: int | None = None
    """From ``halo_grid`` to ``grid``; None in a file from before it was written."""
    gate: Literal["positions", "layer", "halting"] = "positions"
    """What the gate decides on: each position for itself; the whole layer, so its mask is one value an image; or
    positions that halt, idle from here to the end of their stage, so the stage's masks shrink."""


@dataclass(frozen=True)
class DynamicConvolution(Geometry):
    """A convolution whose kernels are made for every image, in execution order."""

    name: str
    """Module path in the network; the prefix of the nodes that it is written as."""
    form: KernelForm
    input: str
    """Value that is convolved, [N, in_channels, H, W], in the file as it was exported."""
    coefficients: str
    """Value with the convolution's own coefficients, [N, out_channels · kernels]."""
    weight: str
    """Initializer of the fixed kernels, in the order [out_channels, kernels, in_channels / groups, kh, kw]."""
    bias: str | None
    """Initializer of the bias; None without one. It may hold it several times, once an image of the batch."""
    output: str
    """Value that holds the result, bias included, [N, out_channels, Ho, Wo]."""


@dataclass(frozen=True)
class KernelPredictor:
    """What predicts the coefficients of some dynamic convolutions, in execution order.

    Multiply-accumulates are of one image at `ExportMetadata.input_shape`, with the kernels summed first.
    """

    name: str
    """Module path in the network."""
    coefficients: str
    """Value that holds them all, float32 [N, size], each in (0, 1)."""
    size: int
    macs_generation: int
    """Of predicting the coefficients, and of weighing and summing the fixed kernels."""
    macs_convolutions: int
    """Of the convolutions themselves."""
    convolutions: tuple[DynamicConvolution, ...]


@dataclass(frozen=True)
class ImageKernels(ConvGeometry):
    """A convolution of a user's own whose kernels are computed from the image, by code that dyn2trt does not know."""

    name: str
    """Module path in the network; the prefix of the nodes that it is written as."""
    form: KernelForm
    input: str
    """Value that is convolved, [N, in_channels, H, W], or [1, N·in_channels, H, W] where no such value is there."""
    output: str
    """Value that holds the result, bias included, in the same way."""
    transposed: bool = False
    pads_behind: tuple[int, int] | None = None
    """Rows below and columns to the right, where they are others than ``pads``."""
    output_padding: tuple[int, int] = (0, 0)
    """Of a transposed convolution."""


@dataclass(frozen=True)
class ExportMetadata:
    """One exported file. ``blocks`` is empty for ``ops="dense"``: such a file has no gates."""

    version: str
    """Version of dyn2trt that wrote the file."""
    network: str
    options: dict[str, str | int | float | bool]
    checkpoint: Checkpoint | None
    """None when the weights are random, see ``seed``."""
    seed: int | None
    """Seed of the random weights; None when a checkpoint was loaded or the caller passed a network of its own."""
    precision: Precision
    ops: Ops
    input_shape: tuple[int, int, int, int]
    """[N, C, H, W] the network was exported at; the static shape unless ``dynamic_axes`` says otherwise."""
    dynamic_axes: tuple[int, ...]
    """Axes of ``x`` that may vary: () , (0,), (2, 3) or (0, 2, 3)."""
    size_multiple: int
    """A dynamic height and width are multiples of this."""
    outputs: tuple[str, ...]
    """The network's own outputs: ``out0``, ..., or the keys that it returns them under."""
    masks: tuple[str, ...]
    """``mask0``, ... where the file gives its gates' decisions as outputs too."""
    blocks: tuple[Block, ...]
    macs_gated: int
    """Multiply-accumulates of one image in the gated blocks when every site is active."""
    macs_ungated: int
    """Multiply-accumulates of one image outside the gated blocks, without the gates' own."""
    task: str
    """``classification`` or ``pose``; ``other`` for a user's network."""
    macs_gates: int = 0
    """Multiply-accumulates of one image in the gates."""
    kernels: tuple[KernelPredictor, ...] = ()
    """Predictors of dynamic kernels; empty for a network without any."""
    macs_generation: int = 0
    """Multiply-accumulates of one image in predicting coefficients and making kernels; part of ``macs_ungated``."""
    image_kernels: tuple[ImageKernels, ...] = ()
    """Convolutions with kernels of the image beside those of ``kernels``, in execution order."""
    coefficients: tuple[str, ...] = ()
    """``coefficients0``, ... where the file gives those of its dynamic kernels as outputs too."""
    format: int = FORMAT

    @property
    def decisions(self) -> tuple[str, ...]:
        """Outputs beside the network's own: what it decided."""
        return self.masks + self.coefficients

    def to_json(self, indent: int | None = None) -> str:
        """Serialise; the same metadata gives the same text."""
        return json.dumps(asdict(self), indent=indent, ensure_ascii=False)


_ADAPTER = TypeAdapter(ExportMetadata)


def read_metadata(model: onnx.ModelProto | str | os.PathLike[str]) -> ExportMetadata:
    """Return the metadata of an exported model, or of the ONNX file at a path.

    Raises:
        Dyn2trtError: the file is absent or no ONNX file, was not exported by dyn2trt, or by a later format of it.
    """
    where = "the ONNX model"
    if not isinstance(model, onnx.ModelProto):
        where = str(model)
        model = load_model(model, weights=False)
    text = next((p.value for p in model.metadata_props if p.key == KEY), None)
    if text is None:
        maker = f" (its producer is {model.producer_name})" if model.producer_name else ""
        raise Dyn2trtError(
            f"{where} was not exported by dyn2trt{maker}: it has no '{KEY}' metadata; write it with dyn2trt export"
        )
    return parse_metadata(text, where)


def parse_metadata(text: str, where: str = "the metadata") -> ExportMetadata:
    """Parse the JSON document of `ExportMetadata.to_json`; ``where`` names its origin in errors."""
    try:
        document = json.loads(text)
        written = document["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise Dyn2trtError(f"{where} holds damaged dyn2trt metadata ({error}); export it again") from error
    if written != FORMAT:
        by = document.get("version", "an unknown version")
        raise Dyn2trtError(
            f"{where} has metadata of format {written}, written by dyn2trt {by}; this one reads format {FORMAT}: "
            "export it again with this version"
        )
    try:
        return _ADAPTER.validate_python(document)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise Dyn2trtError(
            f"{where} holds damaged dyn2trt metadata ({field}: {first['msg']}); export it again"
        ) from error


def write_metadata(model: onnx.ModelProto, metadata: ExportMetadata) -> None:
    """Put ``metadata`` into ``model`` in place, replacing what is there."""
    kept = [p for p in model.metadata_props if p.key != KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    model.metadata_props.add(key=KEY, value=metadata.to_json())


def load_model(path: str | os.PathLike[str], *, weights: bool = True) -> onnx.ModelProto:
    """Read an ONNX file.

    Args:
        weights: read those that lie in files beside it too.

    Raises:
        Dyn2trtError: there is no such file, it cannot be read, it is not ONNX, or its weights are not beside it.
    """
    try:
        model = read_model(path, weights=weights)
    except OSError as error:
        raise Dyn2trtError(f"cannot read {path}: {error.strerror or error}") from error
    except (DecodeError, ValueError, RuntimeError, onnx.checker.ValidationError) as error:
        raise Dyn2trtError(f"{path} is no ONNX file, or is damaged: {error}") from error
    # Protobuf reads some foreign bytes as an empty message.
    if not model.graph.node:
        raise Dyn2trtError(f"{path} is no ONNX file, or is damaged: it has no graph")
    return model
