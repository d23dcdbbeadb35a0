"""Pieces of ONNX text that the bodies share."""

from __future__ import annotations

from dyn2trt.contract import DOMAIN, PLUGIN_ATTRIBUTES


def call(results: str, op: str, arguments: str, **attributes: str) -> str:
    """A call of another op of the domain, carrying the plugin attributes.

    ``attributes`` are texts in ONNX syntax with their type, such as ``kernel_shape="ints = [3, 3]"``.
    """
    texts = {**{k: f'string = "{v}"' for k, v in PLUGIN_ATTRIBUTES.items()}, **attributes}
    listed = ", ".join(f"{name}: {text}" for name, text in texts.items())
    return f"    {results} = {DOMAIN}.{op} <{listed}> ({arguments})"


def int_lists(**lists: list[int]) -> str:
    """Constants int64[k]."""
    return "\n".join(f"    {name} = Constant <value_ints = {values}> ()" for name, values in lists.items())


def is_attribute(result: str, attribute: str, value: str) -> str:
    """``result`` = whether a string attribute of the function is ``value``; a constant once the function is inlined."""
    return f"""
    {result}_has = Constant <value_string: string = @{attribute}> ()
    {result}_asked = Constant <value_string = "{value}"> ()
    {result} = Equal ({result}_has, {result}_asked)"""


_BOUNDS = """
    act_zero_f = Constant <value_float = 0.0> ()
    act_six_f = Constant <value_float = 6.0> ()"""
_CHOICE = (
    is_attribute("act_relu", "activation", "relu")
    + is_attribute("act_relu6", "activation", "relu6")
    + is_attribute("act_swish", "activation", "hard_swish")
    + """
    act_least_f = Constant <value_float = -3.4028235e38> ()
    act_most_f = Constant <value_float = 3.4028235e38> ()
    act_floored = Or (act_relu, act_relu6)
    act_low = Where (act_floored, act_zero_f, act_least_f)
    act_high = Where (act_relu6, act_six_f, act_most_f)"""
)


def activation_constants(kind: str) -> str:
    """What `activation` of a kind reads; all but hard_swish are a Clip between ``act_low`` and ``act_high``."""
    return _BOUNDS + _CHOICE if kind in ("clip", "any") else _BOUNDS


def activation(result: str, x: str, kind: str) -> str:
    """``result`` = activation(x), after `activation_constants`.

    ``kind`` is one of `ACTIVATIONS`, or says what ``@activation`` may be: ``clip``, all but hard_swish, or ``any``. The
    narrower, the fewer subgraphs; ONNX Runtime folds them away, but loads a model in time quadratic in their number.
    """
    p = f"{result}_"
    match kind:
        case "none":
            return f"\n    {result} = Identity ({x})"
        case "relu":
            return f"\n    {result} = Relu ({x})"
        case "hard_swish":
            return f"\n    {result} = HardSwish ({x})"
        case "relu6":
            return f"""
    {p}0 = CastLike (act_zero_f, {x})
    {p}6 = CastLike (act_six_f, {x})
    {result} = Clip ({x}, {p}0, {p}6)"""
    clip = f"""
    {p}low = CastLike (act_low, {x})
    {p}high = CastLike (act_high, {x})"""
    if kind == "clip":
        return f"{clip}\n    {result} = Clip ({x}, {p}low, {p}high)"
    return f"""{clip}
    {result} = If (act_swish) <
      then_branch = {p}swish () => ({p}y1) {{ {p}y1 = HardSwish ({x}) }},
      else_branch = {p}clip () => ({p}y2) {{ {p}y2 = Clip ({x}, {p}low, {p}high) }}
    >"""


def activation_kind(activations: set[str]) -> str:
    """The narrowest kind that covers the activations of all nodes that share a body."""
    if len(activations) == 1:
        return next(iter(activations))
    return "any" if "hard_swish" in activations else "clip"


def fitted(result: str, x: str, shape: str) -> str:
    """``result`` = x reshaped to ``shape``, cropped or zero-padded where the number of elements differs.

    It differs only in a branch that is not taken; there it keeps the shapes consistent, which ONNX's type inference
    asks of both branches. In the branch that is taken this is a plain reshape, folded away for constant weights.
    """
    p = f"{result}_"
    return f"""
    {p}minus = Constant <value_ints = [-1]> ()
    {p}zero = Constant <value_ints = [0]> ()
    {p}flat = Reshape ({x}, {p}minus)
    {p}has = Shape ({p}flat)
    {p}needs = ReduceProd <keepdims = 1> ({shape})
    {p}more = Sub ({p}needs, {p}has)
    {p}pads = Concat <axis = 0> ({p}zero, {p}more)
    {p}sized = Pad ({p}flat, {p}pads)
    {result} = Reshape <allowzero = 1> ({p}sized, {shape})"""
