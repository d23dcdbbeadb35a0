"""The composites as masked dense convolutions, in ONNX text.

Used for busy masks and small maps, where gathering costs more than it saves.
"""

from __future__ import annotations

from dyn2trt.ops.bodies.text import activation

# Weights as Conv takes them; folded away, since weights are initializers.
_DENSE = """
    {0}_conv = Transpose <perm = [0, 3, 1, 2]> ({0}_weight)"""
_DEPTHWISE = """
    {0}_axis = Constant <value_ints = [1]> ()
    {0}_perm = Transpose <perm = [2, 0, 1]> ({0}_weight)
    {0}_conv = Unsqueeze ({0}_perm, {0}_axis)"""


def _weights(*names: str, depthwise: bool = False) -> str:
    return "".join((_DEPTHWISE if depthwise else _DENSE).format(name) for name in names)


WEIGHTS = {
    "GatedInvertedResidual": _weights("expand", "project") + _weights("depthwise", depthwise=True),
    "GatedBasicBlock": _weights("conv1", "conv2"),
    "GatedBottleneck": _weights("conv1", "conv2", "conv3"),
}
_SAME = "pads = [1, 1, 1, 1]"
_STRIDED = f"{_SAME}, strides: ints = @strides"


def _chain(result: str, x: str, kind: str, prefix: str, *steps: tuple[str, str]) -> str:
    """Convolutions (name, attributes) one after another, activations between them."""
    text, value = "", x
    for index, (name, attributes) in enumerate(steps):
        last = index == len(steps) - 1
        linear = result if last else f"{prefix}{name}_linear"
        given = f"<{attributes}> " if attributes else ""
        text += f"\n    {linear} = Conv {given}({value}, {name}_conv, {name}_bias)"
        if not last:
            value = f"{prefix}{name}_y"
            text += activation(value, linear, kind)
    return text


def convolutions(op: str, result: str, x: str, kind: str, prefix: str = "dense_") -> str:
    """``result`` = the block's convolutions of all of x, after `WEIGHTS` of the op."""
    steps = {
        "GatedInvertedResidual": (
            ("expand", ""),
            ("depthwise", f"group: int = @expanded_channels, {_SAME}"),
            ("project", ""),
        ),
        "GatedBasicBlock": (("conv1", _STRIDED), ("conv2", _SAME)),
        "GatedBottleneck": (("conv1", ""), ("conv2", _STRIDED), ("conv3", "")),
    }[op]
    return _chain(result, x, kind, prefix, *steps)


def masked_sum(op: str, result: str, out: str, kind: str, prefix: str = "dense_") -> str:
    """``result`` = x, or identity, plus ``out`` where ``active`` (bool [N, 1, Ho, Wo]); then the block's activation."""
    inverted = op == "GatedInvertedResidual"
    base = "x" if inverted else "identity"
    total = result if inverted else f"{prefix}sum"
    text = f"""
    {prefix}factor = CastLike (active, {out})
    {prefix}kept = Mul ({out}, {prefix}factor)
    {total} = Add ({base}, {prefix}kept)"""
    return text if inverted else text + activation(result, total, kind)
