"""The op contract of domain ``dyn2trt``, stated once.

The torch ops, the ONNX function bodies, the plugin creators' fields and ``docs/ops.md``
all derive from `SCHEMAS`, and tests hold them to it.

Terms. A *site* is a position (n, h, w) with flat id (n·H + h)·W + w. A *site set* is
``sites`` int32[P] (flat id of each row), ``slots`` int32[N, H, W] (row of each site, −1
where there is none) and ``count`` int32[N] (rows in use of each image). *Rows* are a
tensor [P, C], one row a site. P may exceed the rows in use (an implementation with static
shapes uses the capacity N·H·W); the order of rows is deterministic but unspecified, so only
dyn2trt ops read them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

DOMAIN = "dyn2trt"
VERSION = 1

ACTIVATIONS = ("none", "relu", "relu6", "hard_swish")
REDUCTIONS = ("add", "none")
FLOATS = ("float32", "float16", "bfloat16")
"""What the type variable ``T`` of a schema may stand for."""


@dataclass(frozen=True)
class Tensor:
    """One input or output: its type is ``T`` (one of `FLOATS`, the same throughout a node) or a dtype's name."""

    name: str
    type: str
    shape: tuple[str | int, ...]
    doc: str
    optional: bool = False


@dataclass(frozen=True)
class Attribute:
    """One attribute. ``kind`` is ``int``, ``ints``, ``float`` or ``string``."""

    name: str
    kind: str
    default: Any
    doc: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class OpSchema:
    name: str
    doc: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    attributes: tuple[Attribute, ...]

    @property
    def is_composite(self) -> bool:
        return self.name.startswith("Gated")

    @property
    def torch_name(self) -> str:
        """``MaskGather`` → ``mask_gather``: the op's name under ``torch.ops.dyn2trt``."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", self.name).lower()

    @property
    def torch_schema(self) -> str:
        """The signature that ``torch.library`` registers: tensors by position, attributes by keyword."""
        torch_types = {"int": "int", "ints": "int[]", "float": "float", "string": "str"}
        tensors = [f"Tensor{'?' if t.optional else ''} {t.name}{'=None' if t.optional else ''}" for t in self.inputs]
        keywords = [f"{torch_types[a.kind]} {a.name}={_literal(a.default)}" for a in self.attributes]
        results = ["Tensor"] * len(self.outputs)
        returns = results[0] if len(results) == 1 else f"({', '.join(results)})"
        return f"{self.torch_name}({', '.join([*tensors, '*', *keywords])}) -> {returns}"

    def complete(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return every attribute with defaults filled in, in the schema's order.

        Raises:
            ValueError: an unknown name, a value of the wrong kind, or a string that is no choice.
        """
        known = {a.name: a for a in self.attributes}
        if unknown := sorted(given.keys() - known.keys()):
            raise ValueError(f"{self.name} has no attribute {', '.join(unknown)}; it has {', '.join(known)}")
        return {name: _checked(self.name, a, given.get(name, a.default)) for name, a in known.items()}


def _literal(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, Sequence):
        return f"[{', '.join(map(str, value))}]"
    return str(value)


def _checked(op: str, attribute: Attribute, value: Any) -> Any:
    is_int = lambda v: isinstance(v, int) and not isinstance(v, bool)  # noqa: E731
    fits = {
        "int": is_int,
        "ints": lambda v: (
            isinstance(v, Sequence)
            and not isinstance(v, str)
            and len(v) == len(attribute.default)
            and all(map(is_int, v))
        ),
        "float": lambda v: isinstance(v, float) or is_int(v),
        "string": lambda v: isinstance(v, str),
    }[attribute.kind]
    if not fits(value):
        raise ValueError(f"{op}.{attribute.name} is {attribute.kind} like {attribute.default!r}, not {value!r}")
    if attribute.choices and value not in attribute.choices:
        raise ValueError(f"{op}.{attribute.name} is one of {', '.join(attribute.choices)}, not {value!r}")
    return value


_THRESHOLD = Attribute("threshold", "float", 0.0, "A site is active when mask ≥ threshold.")
_GEOMETRY = (
    Attribute("kernel_shape", "ints", (1, 1), "Kernel height and width."),
    Attribute("strides", "ints", (1, 1), "Stride along height and width."),
    Attribute("pads", "ints", (0, 0, 0, 0), "Zero padding: top, left, bottom, right."),
    Attribute("dilations", "ints", (1, 1), "Dilation along height and width."),
)
_MASK = Tensor("mask", "float32", ("N", 1, "Ho", "Wo"), "Gate logits at the resolution of the gated output.")
_X = Tensor("x", "T", ("N", "C", "H", "W"), "Dense input of the block.")
_SITES = Tensor("sites", "int32", ("P",), "Flat id of the site of each row.")
_SLOTS = Tensor("slots", "int32", ("N", "H", "W"), "Row of each site, −1 where there is none.")
_COUNT = Tensor("count", "int32", ("N",), "Rows in use of each image.")


def _activation(default: str, doc: str) -> Attribute:
    return Attribute("activation", "string", default, doc, ACTIVATIONS)


def _convolution(name: str, weight_shape: tuple[str | int, ...], cout: str) -> tuple[Tensor, Tensor]:
    weight = Tensor(f"{name}_weight", "T", weight_shape, f"Weight of {name}, BatchNorm folded in.")
    return weight, Tensor(f"{name}_bias", "T", (cout,), f"Bias of {name}, BatchNorm folded in.")


MASK_GATHER = OpSchema(
    name="MaskGather",
    doc=(
        "Compacts a mask into a site set, and gathers x there. The set is every input site that a convolution of "
        "the given geometry reads when it is evaluated at the active output sites: the active set itself for a 1×1, "
        "its halo for a 3×3, the receptive field for stacked convolutions. Without x the input grid is the smallest "
        "that yields (Ho, Wo), which is exact for stride 1."
    ),
    inputs=(_MASK, Tensor("x", "T", ("N", "C", "H", "W"), "Dense tensor to gather from.", optional=True)),
    outputs=(
        _SITES,
        _SLOTS,
        _COUNT,
        Tensor("rows", "T", ("P", "C"), "x at the sites; empty when x is absent.", optional=True),
    ),
    attributes=(_THRESHOLD, *_GEOMETRY),
)

SPARSE_CONV = OpSchema(
    name="SparseConv",
    doc=(
        "Convolution evaluated at the sites of the output set only; a site that the input set lacks reads as zero. "
        "A 1×1 keeps the set and needs only rows, weight and bias. The grid of the output set is the one that the "
        "geometry gives for the grid of slots."
    ),
    inputs=(
        Tensor("rows", "T", ("Pi", "Cin"), "Rows of the input set."),
        Tensor(
            "weight",
            "T",
            ("Cout", "kh", "kw", "Cin/group"),
            "Weight with a contiguous K axis; depthwise (group = C) is laid out [kh, kw, C].",
        ),
        Tensor("bias", "T", ("Cout",), "Bias."),
        Tensor("slots", "int32", ("N", "H", "W"), "slots of the input set.", optional=True),
        Tensor("sites", "int32", ("Po",), "sites of the output set.", optional=True),
        Tensor("count", "int32", ("N",), "count of the output set.", optional=True),
    ),
    outputs=(Tensor("rows_out", "T", ("Po", "Cout"), "Rows of the output set."),),
    attributes=(
        *_GEOMETRY,
        Attribute("group", "int", 1, "1, or C for a depthwise convolution; 0 stands for C."),
        _activation("none", "Applied to the rows."),
    ),
)

MASK_SCATTER = OpSchema(
    name="MaskScatter",
    doc="Writes rows into a copy of base at their sites.",
    inputs=(
        Tensor("base", "T", ("N", "C", "H", "W"), "Dense tensor that idle positions keep."),
        Tensor("rows", "T", ("P", "C"), "Rows to write."),
        _SITES,
        _COUNT,
    ),
    outputs=(Tensor("y", "T", ("N", "C", "H", "W"), "base with the rows written."),),
    attributes=(
        Attribute("reduction", "string", "add", "add: base + row; none: the row replaces base.", REDUCTIONS),
        _activation("none", "Applied to all of y, idle positions included."),
    ),
)

GATED_INVERTED_RESIDUAL = OpSchema(
    name="GatedInvertedResidual",
    doc="1×1 expand → 3×3 depthwise → 1×1 project at the active sites, added to x (MobileNetV2's identity block).",
    inputs=(
        _X,
        _MASK,
        *_convolution("expand", ("E", 1, 1, "C"), "E"),
        *_convolution("depthwise", (3, 3, "E"), "E"),
        *_convolution("project", ("C", 1, 1, "E"), "C"),
    ),
    outputs=(Tensor("y", "T", ("N", "C", "H", "W"), "x plus the block's output at the active sites."),),
    attributes=(_THRESHOLD, _activation("relu6", "After expand and depthwise; project is linear.")),
)

_IDENTITY = Tensor("identity", "T", ("N", "Co", "Ho", "Wo"), "x, or its projection where the shape changes.")
_RESIDUAL_OUT = (Tensor("y", "T", ("N", "Co", "Ho", "Wo"), "activation(identity + block at the active sites)."),)
_RESIDUAL_ATTRIBUTES = (
    _THRESHOLD,
    Attribute("strides", "ints", (1, 1), "Stride of the block: (1, 1) or (2, 2)."),
    _activation("relu", "Between the convolutions, and on all of y."),
)

GATED_BASIC_BLOCK = OpSchema(
    name="GatedBasicBlock",
    doc="3×3 (strided) → 3×3 at the active sites, added to identity (ResNet's basic block).",
    inputs=(
        _X,
        _MASK,
        _IDENTITY,
        *_convolution("conv1", ("Co", 3, 3, "C"), "Co"),
        *_convolution("conv2", ("Co", 3, 3, "Co"), "Co"),
    ),
    outputs=_RESIDUAL_OUT,
    attributes=_RESIDUAL_ATTRIBUTES,
)

GATED_BOTTLENECK = OpSchema(
    name="GatedBottleneck",
    doc="1×1 → 3×3 (strided) → 1×1 at the active sites, added to identity (ResNet's bottleneck, stride on the 3×3).",
    inputs=(
        _X,
        _MASK,
        _IDENTITY,
        *_convolution("conv1", ("B", 1, 1, "C"), "B"),
        *_convolution("conv2", ("B", 3, 3, "B"), "B"),
        *_convolution("conv3", ("Co", 1, 1, "B"), "Co"),
    ),
    outputs=_RESIDUAL_OUT,
    attributes=_RESIDUAL_ATTRIBUTES,
)

PRIMITIVES = (MASK_GATHER, SPARSE_CONV, MASK_SCATTER)
COMPOSITES = (GATED_INVERTED_RESIDUAL, GATED_BASIC_BLOCK, GATED_BOTTLENECK)
SCHEMAS: dict[str, OpSchema] = {schema.name: schema for schema in (*PRIMITIVES, *COMPOSITES)}
