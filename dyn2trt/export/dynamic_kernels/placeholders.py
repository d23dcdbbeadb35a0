"""Dynamic convolutions and predictors as single nodes while torch traces a network.

A placeholder does not depend on the batch, so a graph with a dynamic one traces like any other;
`dyn2trt.export.dynamic_kernels.expand` puts standard ops in its place afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from types import MethodType
from typing import Any

import onnx
import torch
from onnx.defs import OpSchema
from onnxscript.values import Op, Opset
from torch import Tensor, nn
from torch.nn import functional as F

from dyn2trt.blocks.dynamic import CoefficientPredictor, DynamicConv2d

DOMAIN = "dyn2trt.export"
CONVOLUTION, COEFFICIENTS = "DynamicConvolution", "Coefficients"

FLOATS = ["tensor(float)", "tensor(float16)", "tensor(bfloat16)"]


def put_placeholders(network: nn.Module) -> None:
    """Let the predictors and dynamic convolutions of ``network`` trace as placeholders, in place.

    For a copy that is traced and thrown away.
    """
    for path, module in network.named_modules():
        if isinstance(module, DynamicConv2d):
            module.forward = MethodType(partial(_convolve, path=path), module)  # type: ignore[method-assign]
        elif isinstance(module, CoefficientPredictor):
            module.register_forward_hook(partial(_mark, path))


def _convolve(module: DynamicConv2d, x: Tensor, coefficients: Tensor, *, path: str) -> Tensor:
    geometry = ([n, n] for n in (module.stride, module.padding, module.dilation))
    return convolution(x, coefficients, module.weight, module.bias, path, module.kernels, module.groups, *geometry)


def _mark(path: str, _predictor: nn.Module, _args: Any, output: Tensor) -> Tensor:
    return coefficients(output, path)


@torch.library.custom_op("dyn2trt_export::dynamic_convolution", mutates_args=())
def convolution(
    x: Tensor,
    coefficients: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    path: str,
    kernels: int,
    groups: int,
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int],
) -> Tensor:
    """A `DynamicConv2d` at module path ``path``."""
    raise NotImplementedError("a placeholder is traced, not run")


@convolution.register_fake
def _(
    x: Tensor, _coefficients: Tensor, weight: Tensor, _bias: Any, _path: str, kernels: int, groups: int, *geometry: Any
) -> Tensor:
    strides, pads, dilations = geometry
    return F.conv2d(x, weight[: weight.shape[0] // kernels], None, strides, pads, dilations, groups)


@torch.library.custom_op("dyn2trt_export::coefficients", mutates_args=())
def coefficients(predicted: Tensor, path: str) -> Tensor:
    """The output of the `CoefficientPredictor` at module path ``path``."""
    return predicted.clone()


@coefficients.register_fake
def _(predicted: Tensor, path: str) -> Tensor:
    return torch.empty_like(predicted)


def translation_table() -> dict[Callable[..., Any], Callable[..., Any]]:
    """``custom_translation_table`` of the placeholders for ``torch.onnx.export``."""
    ints, text = onnx.AttributeProto.INTS, onnx.AttributeProto.STRING
    kinds = {"path": text, "kernels": onnx.AttributeProto.INT, "groups": onnx.AttributeProto.INT}
    kinds |= dict.fromkeys(("strides", "pads", "dilations"), ints)
    convolve = _op(CONVOLUTION, ("x", "coefficients", "weight"), ("bias",), kinds)
    mark = _op(COEFFICIENTS, ("predicted",), (), {"path": text})

    def emit_convolution(
        x: Any, coefficients: Any, weight: Any, bias: Any, path: Any, kernels: Any, groups: Any, *geometry: Any
    ) -> Any:
        strides, pads, dilations = map(list, geometry)
        return convolve(
            x,
            coefficients,
            weight,
            bias,
            path=path,
            kernels=kernels,
            groups=groups,
            strides=strides,
            pads=pads,
            dilations=dilations,
        )

    def emit_coefficients(predicted: Any, path: Any) -> Any:
        return mark(predicted, path=path)

    library = torch.ops.dyn2trt_export
    return {library.dynamic_convolution.default: emit_convolution, library.coefficients.default: emit_coefficients}


def _op(name: str, tensors: Sequence[str], optional: Sequence[str], attributes: dict[str, Any]) -> Op:
    option = OpSchema.FormalParameterOption
    inputs = [OpSchema.FormalParameter(tensor, "T") for tensor in tensors]
    inputs += [OpSchema.FormalParameter(tensor, "T", param_option=option.Optional) for tensor in optional]
    schema = OpSchema(
        name,
        DOMAIN,
        1,
        inputs=inputs,
        outputs=[OpSchema.FormalParameter("y", "T")],
        type_constraints=[("T", FLOATS, "Floating point.")],
        attributes=[OpSchema.Attribute(key, kind, required=True) for key, kind in attributes.items()],
    )
    return Op(Opset(DOMAIN, 1), name, schema)
