"""Torch tensors as the core library's parameters: checked, in a form that it reads, with their strides."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dyn2trt.contract import FLOATS, OpSchema
from dyn2trt.ops import core_library as core
from dyn2trt.ops.geometry import Geometry

_DTYPES = {getattr(torch, name): code for code, name in enumerate(FLOATS)}


def dtype_of(*tensors: Tensor) -> int:
    """The library's code for the dtype that all tensors have.

    Raises:
        TypeError: they differ, or it is none of `FLOATS`.
    """
    dtypes = {tensor.dtype for tensor in tensors}
    if len(dtypes) > 1 or not dtypes <= _DTYPES.keys():
        raise TypeError(f"all of {', '.join(FLOATS)} or another alike expected, not {sorted(map(str, dtypes))}")
    return _DTYPES[dtypes.pop()]


def geometry_of(geometry: Geometry) -> core.Geometry:
    """The same as the library's struct."""
    return core.Geometry(*geometry.kernel_shape, *geometry.strides, *geometry.pads, *geometry.dilations)


def is_channels_last(x: Tensor) -> bool:
    """Whether neighbouring channels of [N, C, H, W] are neighbours in memory."""
    return x.stride(1) == 1 and x.shape[1] > 1


def strided(x: Tensor) -> Tensor:
    """x itself where the core library follows its strides: a contiguous axis, and nothing expanded."""
    if x.numel() == 0 or ((is_channels_last(x) or x.stride(3) == 1) and 0 not in x.stride()):
        return x
    return x.contiguous()


def dense_of(x: Tensor) -> core.Dense:
    """A tensor [N, C, H, W] that `strided` has let through, as the library's struct."""
    layout = core.NHWC if is_channels_last(x) else core.NCHW
    *strides, stride_w = x.stride()
    if layout == core.NCHW and x.shape[3] == 1:
        stride_w = 1  # torch leaves the stride of a single column as it happens to be
    return core.Dense(x.data_ptr(), *x.shape, *strides, stride_w, layout)


def checked_mask(mask: Tensor, shape: tuple[int, ...] | None = None) -> Tensor:
    """Logits float32 [N, 1, Ho, Wo], contiguous."""
    if mask.dtype != torch.float32 or mask.dim() != 4 or mask.shape[1] != 1:
        raise TypeError(f"mask is float32 [N, 1, Ho, Wo], not {mask.dtype} {list(mask.shape)}")
    if shape is not None:
        expect_shape("mask", mask, shape)
    return mask.contiguous()


def checked_inputs(schema: OpSchema, tensors: Sequence[Tensor]) -> dict[str, Tensor]:
    """A composite's inputs by name, of the schema's shapes, in a form that the core library reads."""
    sizes: dict[str | int, int] = {}
    given: dict[str, Tensor] = {}
    for spec, tensor in zip(schema.inputs, tensors, strict=True):
        if spec.type != "T" and tensor.dtype != getattr(torch, spec.type):
            raise TypeError(f"{spec.name} is {spec.type}, not {tensor.dtype}")
        if tensor.dim() != len(spec.shape):
            raise ValueError(f"{spec.name} is {list(spec.shape)}, not {list(tensor.shape)}")
        shape = [
            s if isinstance(s, int) else sizes.setdefault(s, n) for s, n in zip(spec.shape, tensor.shape, strict=True)
        ]
        expect_shape(spec.name, tensor, shape)
        is_dense = spec.type == "T" and spec.shape[0] == "N"
        given[spec.name] = strided(tensor) if is_dense else tensor.contiguous()
    return given


def checked_indices(name: str, tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """Part of a site set: int32 of that shape, contiguous."""
    if tensor.dtype != torch.int32:
        raise TypeError(f"{name} is int32, not {tensor.dtype}")
    expect_shape(name, tensor, shape)
    return tensor.contiguous()


def expect_shape(name: str, tensor: Tensor, shape: Sequence[int]) -> None:
    """Raise a ValueError unless the tensor has that shape."""
    if tuple(tensor.shape) != tuple(shape):
        raise ValueError(f"{name} is {list(shape)}, not {list(tensor.shape)}")


def address_of(tensor: Tensor | None) -> int | None:
    """Of its first element; None for none."""
    return None if tensor is None else tensor.data_ptr()
