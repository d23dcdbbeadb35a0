"""The composites as the primitives that define them, in ONNX text."""

from __future__ import annotations

from dyn2trt.ops.bodies.text import call

_SAME = {"kernel_shape": "ints = [3, 3]", "pads": "ints = [1, 1, 1, 1]"}
_SAME_STRIDED = {**_SAME, "strides": "ints = @strides"}
_THRESHOLD = {"threshold": "float = @threshold"}
_ACTIVATION = {"activation": "string = @activation"}
_ADD = {"reduction": 'string = "add"'}

# The active set gathers nothing: the mask itself stands for x. All outputs are named, as shape inference demands.
_ACTIVE = call("sites, slots, count, gathered_mask", "MaskGather", "mask, mask", **_THRESHOLD)


def _lines(*lines: str) -> str:
    return "\n".join(lines)


INVERTED_RESIDUAL = _lines(
    _ACTIVE,
    call("halo_sites, halo_slots, halo_count, rows", "MaskGather", "mask, x", **_THRESHOLD, **_SAME),
    call(
        "expanded",
        "SparseConv",
        "rows, expand_weight, expand_bias, halo_slots, halo_sites, halo_count",
        **_ACTIVATION,
    ),
    call(
        "filtered",
        "SparseConv",
        "expanded, depthwise_weight, depthwise_bias, halo_slots, sites, count",
        **_SAME,
        **_ACTIVATION,
        group="int = 0",
    ),
    call("projected", "SparseConv", "filtered, project_weight, project_bias, slots, sites, count"),
    call("{y}", "MaskScatter", "x, projected, sites, count", **_ADD),
)

# The receptive field of both convolutions is the halo of the middle set, whose slots are −1 where it has no site.
BASIC_BLOCK = _lines(
    _ACTIVE,
    call("mid_sites, mid_slots, mid_count, mid_gathered", "MaskGather", "mask, mask", **_THRESHOLD, **_SAME),
    """
    mid_float = Cast <to = 1> (mid_slots)
    mid_channel = Constant <value_ints = [1]> ()
    mid_mask = Unsqueeze (mid_float, mid_channel)""",
    call("in_sites, in_slots, in_count, rows", "MaskGather", "mid_mask, x", **_SAME_STRIDED),
    call(
        "middle",
        "SparseConv",
        "rows, conv1_weight, conv1_bias, in_slots, mid_sites, mid_count",
        **_SAME_STRIDED,
        **_ACTIVATION,
    ),
    call("out", "SparseConv", "middle, conv2_weight, conv2_bias, mid_slots, sites, count", **_SAME),
    call("{y}", "MaskScatter", "identity, out, sites, count", **_ADD, **_ACTIVATION),
)

BOTTLENECK = _lines(
    _ACTIVE,
    call("in_sites, in_slots, in_count, rows", "MaskGather", "mask, x", **_THRESHOLD, **_SAME_STRIDED),
    call("reduced", "SparseConv", "rows, conv1_weight, conv1_bias, in_slots, in_sites, in_count", **_ACTIVATION),
    call(
        "filtered",
        "SparseConv",
        "reduced, conv2_weight, conv2_bias, in_slots, sites, count",
        **_SAME_STRIDED,
        **_ACTIVATION,
    ),
    call("out", "SparseConv", "filtered, conv3_weight, conv3_bias, slots, sites, count"),
    call("{y}", "MaskScatter", "identity, out, sites, count", **_ADD, **_ACTIVATION),
)

_TEXTS = {
    "GatedInvertedResidual": INVERTED_RESIDUAL,
    "GatedBasicBlock": BASIC_BLOCK,
    "GatedBottleneck": BOTTLENECK,
}


def composition(op: str, result: str = "y") -> str:
    """The primitives that define a composite; the last writes ``result``."""
    return _TEXTS[op].replace("{y}", result)


COMPOSITIONS = {op: composition(op) for op in _TEXTS}
