"""The blocks as masked dense convolutions, in ONNX text.

Used for busy masks and small maps, where gathering costs more than it saves.
"""

from __future__ import annotations

from dyn2trt.contract import BlockKind, Convolution
from dyn2trt.ops.bodies.text import activation


def weights(block: BlockKind) -> str:
    """Weights as Conv takes them, ``<name>_conv``; folded away, since weights are initializers."""
    return "".join(map(_weight, block.convolutions))


def _weight(convolution: Convolution) -> str:
    name = convolution.name
    if not convolution.depthwise:
        return f"""
    {name}_conv = Transpose <perm = [0, 3, 1, 2]> ({name}_weight)"""
    return f"""
    {name}_axis = Constant <value_ints = [1]> ()
    {name}_perm = Transpose <perm = [2, 0, 1]> ({name}_weight)
    {name}_conv = Unsqueeze ({name}_perm, {name}_axis)"""


def convolutions(block: BlockKind, result: str, x: str, kind: str, prefix: str = "dense_") -> str:
    """``result`` = the block's convolutions of all of x, after `weights`."""
    text, value = "", x
    for convolution in block.convolutions:
        name = convolution.name
        linear = result if convolution is block.convolutions[-1] else f"{prefix}{name}_linear"
        attributes = _attributes(convolution)
        given = f"<{attributes}> " if attributes else ""
        text += f"\n    {linear} = Conv {given}({value}, {name}_conv, {name}_bias)"
        value = linear
        if convolution.activated:
            value = f"{prefix}{name}_y"
            text += activation(value, linear, kind)
    return text


def _attributes(convolution: Convolution) -> str:
    pad = convolution.kernel // 2
    parts = ["group: int = @expanded_channels"] if convolution.depthwise else []
    parts += [f"pads = {[pad] * 4}"] if pad else []
    parts += ["strides: ints = @strides"] if convolution.strided else []
    return ", ".join(parts)


def masked_sum(block: BlockKind, result: str, out: str, kind: str, prefix: str = "dense_") -> str:
    """``result`` = x, or identity, plus ``out`` where ``active`` (bool [N, 1, Ho, Wo]); then the block's activation."""
    base = "x" if block.identity_is_x else "identity"
    total = f"{prefix}sum" if block.activated_sum else result
    text = f"""
    {prefix}factor = CastLike (active, {out})
    {prefix}kept = Mul ({out}, {prefix}factor)
    {total} = Add ({base}, {prefix}kept)"""
    return text + activation(result, total, kind) if block.activated_sum else text
