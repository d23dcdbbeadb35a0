"""The composites that are given logits as the primitives that define them, in ONNX text."""

from __future__ import annotations

from typing import NamedTuple

from dyn2trt.contract import BlockKind, Convolution
from dyn2trt.ops.bodies.text import call

_THRESHOLD = {"threshold": "float = @threshold"}


class _Set(NamedTuple):
    """A site set by the names of its values; ``rows`` hold x at its sites where x was gathered there."""

    sites: str
    slots: str
    used: str
    rows: str


_ACTIVE = _Set("sites", "slots", "count", "gathered_mask")


def composition(block: BlockKind, result: str = "y") -> str:
    """The primitives that define a block; the last writes ``result``."""
    convolutions = block.convolutions
    # The active set gathers nothing: the mask itself stands for x. All outputs are named, as shape inference demands.
    lines = [call(", ".join(_ACTIVE), "MaskGather", "mask, mask", **_THRESHOLD)]
    # What each convolution reads, from the last to the first. A 1×1 reads the set that it runs on.
    reads = [_ACTIVE]
    for index in reversed(range(len(convolutions))):
        if _keeps_set(convolutions[index]):
            reads.insert(0, reads[0])
            continue
        on_grid_of_x = any(convolution.strided for convolution in convolutions[index:])
        with_x = on_grid_of_x or all(map(_keeps_set, convolutions[:index]))
        lines += _reading(convolutions[index], reads[0], "x" if with_x else "mask")
        reads.insert(0, _set_read_by(convolutions[index]))
    rows = reads[0].rows
    if reads[0] is _ACTIVE:
        rows = "active_rows"
        lines.append(call(f"x_sites, x_slots, x_count, {rows}", "MaskGather", "mask, x", **_THRESHOLD))
    for convolution, source, target in zip(convolutions, reads, reads[1:], strict=False):
        name = convolution.name
        attributes = _geometry(convolution)
        if convolution.activated:
            attributes["activation"] = "string = @activation"
        if convolution.depthwise:
            attributes["group"] = "int = 0"
        arguments = f"{rows}, {name}_weight, {name}_bias, {source.slots}, {target.sites}, {target.used}"
        rows = f"{name}_rows"
        lines.append(call(rows, "SparseConv", arguments, **attributes))
    finish = {"reduction": 'string = "add"'}
    if block.activated_sum:
        finish["activation"] = "string = @activation"
    base = "x" if block.identity_is_x else "identity"
    lines.append(call(result, "MaskScatter", f"{base}, {rows}, sites, count", **finish))
    return "\n".join(lines)


def _keeps_set(convolution: Convolution) -> bool:
    return convolution.kernel == 1 and not convolution.strided


def _geometry(convolution: Convolution) -> dict[str, str]:
    if _keeps_set(convolution):
        return {}
    kernel, pad = convolution.kernel, convolution.kernel // 2
    geometry = {"kernel_shape": f"ints = [{kernel}, {kernel}]", "pads": f"ints = [{pad}, {pad}, {pad}, {pad}]"}
    return geometry | ({"strides": "ints = @strides"} if convolution.strided else {})


def _set_read_by(convolution: Convolution) -> _Set:
    return _Set(*(f"{convolution.name}_{part}" for part in ("in_sites", "in_slots", "in_count", "in_rows")))


def _reading(convolution: Convolution, at: _Set, like: str) -> list[str]:
    """The set that a convolution reads when it runs at the sites of a set."""
    outputs = ", ".join(_set_read_by(convolution))
    if at is _ACTIVE:
        return [call(outputs, "MaskGather", f"mask, {like}", **_THRESHOLD, **_geometry(convolution))]
    # Slots are −1 where the set has no site, so they are a mask of threshold 0.
    name = convolution.name
    return [
        f"""
    {name}_float = Cast <to = 1> ({at.slots})
    {name}_channel = Constant <value_ints = [1]> ()
    {name}_mask = Unsqueeze ({name}_float, {name}_channel)""",
        call(outputs, "MaskGather", f"{name}_mask, {like}", **_geometry(convolution)),
    ]
