"""Convolutions whose groups are the images of a batch, as single nodes of a traced graph.

CondConv (Yang et al. 2019), attention over kernels (Chen et al. 2020, "Dynamic Convolution"), ODConv (Li et al. 2022)
and much public code besides compute kernels for every image, lay the images of a batch side by side as
[1, N·C, H, W], and convolve them once with N·G groups. An ONNX Conv has a constant number of groups, so that serves
one batch only. torch traces it for any batch all the same; here each such convolution becomes a placeholder, which
`dyn2trt.export.dynamic_kernels.expand_batch_groups` writes in standard ops.

Nothing is guessed: a convolution with N·G groups is, whatever its operands are, the N convolutions with G groups of
the N slices of its input and of its kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import onnx
import sympy
import torch
from onnx.defs import OpSchema
from onnxscript.values import Op, Opset
from torch import Tensor, fx
from torch.nn import functional as F

from dyn2trt.errors import Dyn2trtError
from dyn2trt.export.dynamic_kernels.placeholders import DOMAIN, FLOATS

CONVOLUTION = "BatchGroupsConvolution"

_SIZES = ("strides", "pads", "dilations", "output_padding")
_COUNTS = ("in_channels", "out_channels", "groups", "transposed")


def put_batch_groups(program: torch.export.ExportedProgram) -> None:
    """Let every convolution of ``program`` whose groups depend on the batch be a placeholder, in place.

    Raises:
        Dyn2trtError: such a convolution is not of the pattern; its module is named.
    """
    for node in program.graph.nodes:
        if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload):
            continue
        names = [argument.name for argument in node.target._schema.arguments]
        if "groups" not in names:
            continue
        given = {a.name: a.default_value for a in node.target._schema.arguments if a.has_default_value()}
        given |= dict(zip(names, node.args, strict=False)) | node.kwargs
        if isinstance(given["groups"], fx.Node):
            _replace(node, given)
    program.graph_module.recompile()


def _replace(node: fx.Node, given: dict[str, Any]) -> None:
    aten = torch.ops.aten
    transposed = node.target is aten.conv_transpose2d.input
    if node.target not in (aten.conv2d.default, aten.conv2d.padding, aten.conv_transpose2d.input):
        raise Dyn2trtError(f"{_where(node)}: {node.target} has groups that depend on the batch; {_MEND}")
    x, weight = (given[name].meta["val"] for name in ("input", "weight"))
    groups, symbol = _groups_and_images(node, given["groups"].meta["val"])
    channels, filters = (_a_share(node, size, symbol) for size in (x.shape[1], weight.shape[0]))
    if x.shape[0] != 1:
        raise Dyn2trtError(
            f"{_where(node)}: expected images side by side, [1, N·C, H, W], not {list(x.shape)}; {_MEND}"
        )
    dilations = _pair(given["dilation"])
    pads = given["padding"]
    if isinstance(pads, str):
        pads = _named_pads(node, pads, [int(k) for k in weight.shape[2:]], dilations)
    node.args = (
        *(given[name] for name in ("input", "weight", "bias")),
        _path(node),
        filters if transposed else channels,
        int(weight.shape[1]) * groups if transposed else filters,
        groups,
        int(transposed),
        _pair(given["stride"]),
        _pair(pads),
        dilations,
        _pair(given.get("output_padding", 0)),
    )
    node.kwargs = {}
    node.target = torch.ops.dyn2trt_export.batch_groups_convolution.default


_MEND = (
    "a dynamic batch takes the form of conv2d or conv_transpose2d with groups = N·G over [1, N·C, H, W] and kernels "
    "[N·O, C/G, kh, kw]; write it so, or export a static batch"
)


def _groups_and_images(node: fx.Node, groups: torch.SymInt) -> tuple[int, sympy.Symbol]:
    """G and the symbol of N of a number of groups N·G."""
    count, rest = groups.node.expr.as_coeff_Mul()
    if not (isinstance(rest, sympy.Symbol) and count.is_Integer):
        raise Dyn2trtError(f"{_where(node)}: expected a multiple of the batch as groups, not {groups}; {_MEND}")
    return int(count), rest


def _a_share(node: fx.Node, size: torch.SymInt | int, symbol: sympy.Symbol) -> int:
    """What of ``size`` belongs to one image."""
    share = (size.node.expr if isinstance(size, torch.SymInt) else sympy.Integer(size)) / symbol
    if not share.is_Integer:
        raise Dyn2trtError(f"{_where(node)}: {size} channels are no multiple of the batch; {_MEND}")
    return int(share)


def _named_pads(node: fx.Node, name: str, kernel: Sequence[int], dilations: Sequence[int]) -> list[int]:
    if name == "valid":
        return [0, 0]
    both = [d * (k - 1) for k, d in zip(kernel, dilations, strict=True)]
    if any(n % 2 for n in both):
        raise Dyn2trtError(f"{_where(node)}: padding 'same' of an even kernel is uneven; pad before the convolution")
    return [n // 2 for n in both]


def _pair(value: Any) -> list[int]:
    numbers = list(value) if isinstance(value, (list, tuple)) else [value]
    return [int(n) for n in (numbers * 2 if len(numbers) == 1 else numbers)]


def _path(node: fx.Node) -> str:
    """Path of the module that convolves, in the network."""
    stack = list(node.meta.get("nn_module_stack", {}).values())
    path = stack[-1][0] if stack else ""
    return path.removeprefix("L['self'].") or "convolution"


def _where(node: fx.Node) -> str:
    return f"the network cannot be traced with a dynamic batch: module {_path(node)}"


@torch.library.custom_op("dyn2trt_export::batch_groups_convolution", mutates_args=())
def batch_groups_convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    path: str,
    in_channels: int,
    out_channels: int,
    groups: int,
    transposed: int,
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int],
    output_padding: Sequence[int],
) -> Tensor:
    """Convolve N images side by side, each with kernels of its own.

    Args:
        x: [1, N·in_channels, H, W].
        weight: [N·out_channels, in_channels/groups, kh, kw]; transposed [N·in_channels, out_channels/groups, kh, kw].
        bias: [N·out_channels] or None.
        groups: of one image.

    Returns:
        [1, N·out_channels, Ho, Wo].
    """
    raise NotImplementedError("a placeholder is traced, not run")


@batch_groups_convolution.register_fake
def _(
    x: Tensor,
    weight: Tensor,
    _bias: Any,
    _path: str,
    in_channels: int,
    out_channels: int,
    _groups: int,
    transposed: int,
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int],
    output_padding: Sequence[int],
) -> Tensor:
    channel, kernel = x[:, :1], weight[:1, :1]
    if transposed:
        y = F.conv_transpose2d(channel, kernel, None, strides, pads, output_padding, 1, dilations)
    else:
        y = F.conv2d(channel, kernel, None, strides, pads, dilations)
    return x.new_empty(1, x.shape[1] // in_channels * out_channels, *y.shape[2:])


def translation_table() -> dict[Callable[..., Any], Callable[..., Any]]:
    """``custom_translation_table`` of the placeholder for ``torch.onnx.export``."""
    option = OpSchema.FormalParameterOption
    kinds: Any = onnx.AttributeProto
    schema = OpSchema(
        CONVOLUTION,
        DOMAIN,
        1,
        inputs=[
            OpSchema.FormalParameter("x", "T"),
            OpSchema.FormalParameter("weight", "T"),
            OpSchema.FormalParameter("bias", "T", param_option=option.Optional),
        ],
        outputs=[OpSchema.FormalParameter("y", "T")],
        type_constraints=[("T", FLOATS, "Floating point.")],
        attributes=[
            OpSchema.Attribute("path", kinds.STRING, required=True),
            *(OpSchema.Attribute(name, kinds.INT, required=True) for name in _COUNTS),
            *(OpSchema.Attribute(name, kinds.INTS, required=True) for name in _SIZES),
        ],
    )
    convolve = Op(Opset(DOMAIN, 1), CONVOLUTION, schema)

    def emit(x: Any, weight: Any, bias: Any, path: Any, *numbers: Any) -> Any:
        counts, sizes = numbers[: len(_COUNTS)], map(list, numbers[len(_COUNTS) :])
        attributes = dict(zip((*_COUNTS, *_SIZES), (*counts, *sizes), strict=True))
        return convolve(x, weight, bias, path=path, **attributes)

    return {torch.ops.dyn2trt_export.batch_groups_convolution.default: emit}
