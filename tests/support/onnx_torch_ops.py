"""Standard ONNX ops in torch, as far as the files that dyn2trt writes hold them.

An op takes its node's attributes and its inputs, None where one is left out, and gives its output or a tuple of them.
Integers that describe shapes (int64) are tensors of the CPU wherever the data is, so that no host waits for a device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import TensorProto, numpy_helper
from torch import Tensor

from dyn2trt.errors import Dyn2trtError

Attributes = dict[str, Any]
Op = Callable[..., Tensor | tuple[Tensor, ...]]

DTYPES = {
    TensorProto.FLOAT: torch.float32,
    TensorProto.FLOAT16: torch.float16,
    TensorProto.BFLOAT16: torch.bfloat16,
    TensorProto.DOUBLE: torch.float64,
    TensorProto.INT32: torch.int32,
    TensorProto.INT64: torch.int64,
    TensorProto.BOOL: torch.bool,
}


def to_torch(proto: onnx.TensorProto, device: torch.device | str) -> Tensor:
    """A constant of a file; int64 stays on the CPU."""
    array = numpy_helper.to_array(proto)
    if proto.data_type == TensorProto.BFLOAT16:
        tensor = torch.from_numpy(array.view(np.int16).copy()).view(torch.bfloat16)
    else:
        tensor = torch.from_numpy(array.copy())
    return tensor if tensor.dtype == torch.int64 else tensor.to(device)


def _unsupported(op: str, what: str) -> Dyn2trtError:
    return Dyn2trtError(f"the executor runs no {op} with {what}; write it in {__name__}")


def _convolution(a: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    if a.get("auto_pad", "NOTSET") != "NOTSET":
        raise _unsupported("Conv", f"auto_pad {a['auto_pad']}")
    axes = x.dim() - 2
    x, pads = _padded(x, a.get("pads", [0] * 2 * axes), 0.0)
    run = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[axes]
    return run(x, weight, bias, a.get("strides", 1), pads, a.get("dilations", 1), a.get("group", 1))


def _padded(x: Tensor, pads: Sequence[int], value: float) -> tuple[Tensor, list[int]]:
    """The input with what one side is padded more than the other, and the pads that remain for both sides."""
    axes = x.dim() - 2
    before, behind = list(pads[:axes]), list(pads[axes:])
    if before == behind:
        return x, before
    both = [n for pair in zip(reversed(before), reversed(behind), strict=True) for n in pair]
    return F.pad(x, both, value=value), [0] * axes


def _max_pool(a: Attributes, x: Tensor) -> Tensor:
    if a.get("ceil_mode"):
        raise _unsupported("MaxPool", "ceil_mode")
    kernel = a["kernel_shape"]
    x, pads = _padded(x, a.get("pads", [0] * 2 * len(kernel)), -torch.inf)
    return F.max_pool2d(x, kernel, a.get("strides", 1), pads, a.get("dilations", 1))


def _average_pool(a: Attributes, x: Tensor) -> Tensor:
    kernel = a["kernel_shape"]
    pads = a.get("pads", [0] * 2 * len(kernel))
    if pads[: len(kernel)] != pads[len(kernel) :]:
        raise _unsupported("AveragePool", f"pads {pads}")
    counted = bool(a.get("count_include_pad", 0))
    return F.avg_pool2d(x, kernel, a.get("strides", 1), pads[: len(kernel)], bool(a.get("ceil_mode", 0)), counted)


def _resize(
    a: Attributes, x: Tensor, _roi: Tensor | None = None, scales: Tensor | None = None, sizes: Tensor | None = None
) -> Tensor:
    size = sizes.tolist()[2:] if sizes is not None else None
    factors = scales.tolist()[2:] if size is None and scales is not None else None
    mode, coordinates = a.get("mode", "nearest"), a.get("coordinate_transformation_mode", "half_pixel")
    if mode == "nearest" and (coordinates, a.get("nearest_mode")) == ("asymmetric", "floor"):
        return F.interpolate(x, size, factors, "nearest")
    if mode == "linear" and coordinates in ("half_pixel", "pytorch_half_pixel", "align_corners"):
        return F.interpolate(x, size, factors, "bilinear", align_corners=coordinates == "align_corners")
    raise _unsupported("Resize", f"mode {mode}, {coordinates}, {a.get('nearest_mode')}")


def _gemm(a: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    left, right = x.T if a.get("transA") else x, weight.T if a.get("transB") else weight
    y = left @ right * a.get("alpha", 1.0) if a.get("alpha", 1.0) != 1.0 else left @ right
    return y if bias is None else y + bias * a.get("beta", 1.0)


def _axes(a: Attributes, given: Tensor | None) -> list[int] | None:
    """An input in newer opsets, an attribute in older ones."""
    return given.tolist() if given is not None else a.get("axes")


def _reduce_mean(a: Attributes, x: Tensor, given: Tensor | None = None) -> Tensor:
    axes = _axes(a, given)
    if not axes and a.get("noop_with_empty_axes"):
        return x
    return torch.mean(x, dim=tuple(axes or range(x.dim())), keepdim=bool(a.get("keepdims", 1)))


def _reshape(a: Attributes, x: Tensor, shape: Tensor) -> Tensor:
    sizes = [x.shape[i] if size == 0 and not a.get("allowzero") else size for i, size in enumerate(shape.tolist())]
    return x.reshape(sizes)


def _flatten(a: Attributes, x: Tensor) -> Tensor:
    axis = a.get("axis", 1)
    return x.reshape(int(np.prod(x.shape[:axis])), -1)


def _squeeze(a: Attributes, x: Tensor, given: Tensor | None = None) -> Tensor:
    axes = _axes(a, given)
    return x.squeeze() if axes is None else x.squeeze(tuple(axes))


def _unsqueeze(a: Attributes, x: Tensor, given: Tensor | None = None) -> Tensor:
    axes = _axes(a, given) or []
    rank = x.dim() + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


def _slice(
    _: Attributes, x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor | None = None, steps: Tensor | None = None
) -> Tensor:
    first, last = starts.tolist(), ends.tolist()
    along = axes.tolist() if axes is not None else list(range(len(first)))
    strides = steps.tolist() if steps is not None else [1] * len(first)
    if min(strides) < 1:
        raise _unsupported("Slice", f"steps {strides}")
    index = [slice(None)] * x.dim()
    for axis, start, end, step in zip(along, first, last, strides, strict=True):
        index[axis] = slice(start, end, step)
    return x[tuple(index)]


def _split(a: Attributes, x: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
    axis = a.get("axis", 0)
    if sizes is not None:
        return torch.split(x, sizes.tolist(), axis)
    return torch.split(x, -(-x.shape[axis] // a["num_outputs"]), axis)


def _gather(a: Attributes, x: Tensor, index: Tensor) -> Tensor:
    axis = a.get("axis", 0)
    if index.dim() == 0:
        return x.select(axis, int(index))
    if index.dim() > 1:
        raise _unsupported("Gather", f"indices of {index.dim()} axes")
    return torch.stack([x.select(axis, i) for i in index.tolist()], axis)


def _clip(_: Attributes, x: Tensor, least: Tensor | None = None, most: Tensor | None = None) -> Tensor:
    x = x if least is None else torch.maximum(x, least)
    return x if most is None else torch.minimum(x, most)


def _shape(a: Attributes, x: Tensor) -> Tensor:
    return torch.tensor(x.shape[a.get("start", 0) : a.get("end")], dtype=torch.int64)


def _expand(_: Attributes, x: Tensor, shape: Tensor) -> Tensor:
    return x.expand(torch.broadcast_shapes(x.shape, tuple(shape.tolist())))


def _constant_of_shape(a: Attributes, shape: Tensor) -> Tensor:
    value = to_torch(a["value"], "cpu") if "value" in a else torch.zeros(1)
    return value.expand(shape.tolist())


def _cast(a: Attributes, x: Tensor) -> Tensor:
    if a["to"] not in DTYPES:
        raise _unsupported("Cast", f"type {TensorProto.DataType.Name(a['to'])}")
    return x.to(DTYPES[a["to"]])


def _constant(a: Attributes) -> Tensor:
    value = a.get("value")
    if value is not None:
        return to_torch(value, "cpu")
    name, plain = next((n, v) for n, v in a.items() if n.startswith("value_"))
    return torch.tensor(plain, dtype=torch.int64 if "int" in name else torch.float32)


def _plain(run: Callable[..., Tensor]) -> Op:
    return lambda _, *tensors: run(*tensors)


def _folded(run: Callable[[Tensor, Tensor], Tensor]) -> Op:
    def fold(_: Attributes, first: Tensor, *others: Tensor) -> Tensor:
        for other in others:
            first = run(first, other)
        return first

    return fold


OPS: dict[str, Op] = {
    "Add": _plain(torch.add),
    "AveragePool": _average_pool,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": lambda a, *tensors: torch.cat(tensors, a["axis"]),
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Conv": _convolution,
    "Div": lambda _, x, y: x / y if x.is_floating_point() else x // y,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Gemm": _gemm,
    "GlobalAveragePool": lambda _, x: x.mean(tuple(range(2, x.dim())), keepdim=True),
    "Greater": _plain(torch.gt),
    "GreaterOrEqual": _plain(torch.ge),
    "HardSigmoid": lambda a, x: (x * a.get("alpha", 0.2) + a.get("beta", 0.5)).clamp(0, 1),
    "HardSwish": _plain(F.hardswish),
    "Identity": lambda _, x: x,
    "MatMul": _plain(torch.matmul),
    "Max": _folded(torch.maximum),
    "MaxPool": _max_pool,
    "Min": _folded(torch.minimum),
    "Mul": _plain(torch.mul),
    "ReduceMean": _reduce_mean,
    "Relu": _plain(torch.relu),
    "Reshape": _reshape,
    "Resize": _resize,
    "Shape": _shape,
    "Sigmoid": _plain(torch.sigmoid),
    "Slice": _slice,
    "Softmax": lambda a, x: torch.softmax(x, a.get("axis", -1)),
    "Split": _split,
    "Squeeze": _squeeze,
    "Sub": _plain(torch.sub),
    "Transpose": lambda a, x: x.permute(a.get("perm") or list(range(x.dim()))[::-1]),
    "Unsqueeze": _unsqueeze,
    "Where": _plain(torch.where),
}
