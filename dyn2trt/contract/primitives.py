"""The primitives: compact a mask into sites, convolve at sites, write back."""

from __future__ import annotations

from dyn2trt.contract.schema import ACTIVATIONS, REDUCTIONS, Attribute, OpSchema, Tensor

THRESHOLD = Attribute("threshold", "float", 0.0, "A site is active when its logit ≥ threshold.")
MASK = Tensor("mask", "float32", ("N", 1, "Ho", "Wo"), "Gate logits at the resolution of the gated output.")
_GEOMETRY = (
    Attribute("kernel_shape", "ints", (1, 1), "Kernel height and width.", least=1),
    Attribute("strides", "ints", (1, 1), "Stride along height and width.", least=1),
    Attribute("pads", "ints", (0, 0, 0, 0), "Zero padding: top, left, bottom, right."),
    Attribute("dilations", "ints", (1, 1), "Dilation along height and width.", least=1),
)
_SITES = Tensor("sites", "int32", ("P",), "Flat id of the site of each row.")
_SLOTS = Tensor("slots", "int32", ("N", "H", "W"), "Row of each site, −1 where there is none.")
_COUNT = Tensor("count", "int32", ("N",), "Rows in use of each image.")


def activation(default: str, doc: str) -> Attribute:
    """The attribute that names one of `ACTIVATIONS`."""
    return Attribute("activation", "string", default, doc, ACTIVATIONS)


MASK_GATHER = OpSchema(
    name="MaskGather",
    doc=(
        "Compacts a mask into a site set, and gathers x there. The set is every input site that a convolution of "
        "the given geometry reads when it is evaluated at the active output sites: the active set itself for a 1×1, "
        "its halo for a 3×3, the receptive field for stacked convolutions. Without x the input grid is the smallest "
        "that yields (Ho, Wo), which is exact for stride 1."
    ),
    inputs=(MASK, Tensor("x", "T", ("N", "C", "H", "W"), "Dense tensor to gather from.", optional=True)),
    outputs=(
        _SITES,
        _SLOTS,
        _COUNT,
        Tensor("rows", "T", ("P", "C"), "x at the sites; empty when x is absent.", optional=True),
    ),
    attributes=(THRESHOLD, *_GEOMETRY),
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
        activation("none", "Applied to the rows."),
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
        activation("none", "Applied to all of y, idle positions included."),
    ),
)

PRIMITIVES = (MASK_GATHER, SPARSE_CONV, MASK_SCATTER)
