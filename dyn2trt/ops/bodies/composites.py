"""Bodies of the composites: calls of the primitives."""

from __future__ import annotations

from dyn2trt.ops.bodies.signature import call

_SAME = {"kernel_shape": "ints = [3, 3]", "pads": "ints = [1, 1, 1, 1]"}
_SAME_STRIDED = {**_SAME, "strides": "ints = @strides"}
_THRESHOLD = {"threshold": "float = @threshold"}
_ACTIVATION = {"activation": "string = @activation"}
_ADD = {"reduction": 'string = "add"'}


_MID_MASK = """
    mid_float = Cast <to = 1> (mid_slots)
    channel = Constant <value_ints = [1]> ()
    mid_mask = Unsqueeze (mid_float, channel)
"""


def _body(*lines: str) -> str:
    return "\n".join(lines)


_INVERTED_RESIDUAL = _body(
    call("sites, slots, count, unused", "MaskGather", "mask, mask", **_THRESHOLD),
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
    call("y", "MaskScatter", "x, projected, sites, count", **_ADD),
)

_BASIC_BLOCK = _body(
    call("sites, slots, count, unused", "MaskGather", "mask, mask", **_THRESHOLD),
    call("mid_sites, mid_slots, mid_count, mid_unused", "MaskGather", "mask, mask", **_THRESHOLD, **_SAME),
    _MID_MASK,
    call("in_sites, in_slots, in_count, rows", "MaskGather", "mid_mask, x", **_SAME_STRIDED),
    call(
        "middle",
        "SparseConv",
        "rows, conv1_weight, conv1_bias, in_slots, mid_sites, mid_count",
        **_SAME_STRIDED,
        **_ACTIVATION,
    ),
    call("out", "SparseConv", "middle, conv2_weight, conv2_bias, mid_slots, sites, count", **_SAME),
    call("y", "MaskScatter", "identity, out, sites, count", **_ADD, **_ACTIVATION),
)

_BOTTLENECK = _body(
    call("sites, slots, count, unused", "MaskGather", "mask, mask", **_THRESHOLD),
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
    call("y", "MaskScatter", "identity, out, sites, count", **_ADD, **_ACTIVATION),
)

COMPOSITE_BODIES = {
    "GatedInvertedResidual": _INVERTED_RESIDUAL,
    "GatedBasicBlock": _BASIC_BLOCK,
    "GatedBottleneck": _BOTTLENECK,
}
