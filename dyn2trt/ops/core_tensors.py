"""The ops on torch tensors by a core library: the CUDA one on CUDA tensors, the CPU emulator's on CPU tensors.

Nothing here waits for the device. Outputs and workspace come from torch's allocator, launches go to a stream that the
caller names. Site sets have the static capacity N·H·W, a segment an image; see ``core.h``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ctypes import Structure
from typing import Any

import torch
from torch import Tensor

from dyn2trt.contract import ACTIVATIONS, FLOATS, REDUCTIONS
from dyn2trt.ops import core_library as core
from dyn2trt.ops.geometry import Geometry
from dyn2trt.ops.memory_format import output_format

_DTYPES = {getattr(torch, name): code for code, name in enumerate(FLOATS)}


def current_cuda_stream() -> int:
    """The handle of torch's current CUDA stream."""
    return torch.cuda.current_stream().cuda_stream


class CoreOps:
    """The ops of `SCHEMAS` with a core library behind them, called as the torch ops are.

    Args:
        library: where the kernels are.
        stream: called at every launch for the stream's handle.
        flags: of every call; `core_library.GENERIC_ONLY` for comparisons. tf32 follows torch's own switch.
    """

    def __init__(
        self, library: core.CoreLibrary, stream: Callable[[], int] = current_cuda_stream, flags: int = 0
    ) -> None:
        self.library = library
        self.stream = stream
        self.flags = flags

    def mask_gather(
        self,
        mask: Tensor,
        x: Tensor | None = None,
        *,
        threshold: float = 0.0,
        kernel_shape: Sequence[int] = (1, 1),
        strides: Sequence[int] = (1, 1),
        pads: Sequence[int] = (0, 0, 0, 0),
        dilations: Sequence[int] = (1, 1),
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        geometry = Geometry.checked(kernel_shape, strides, pads, dilations)
        mask = _mask(mask)
        n, _, mask_h, mask_w = mask.shape
        h, w = geometry.smallest_input(mask_h, mask_w) if x is None else (x.shape[2], x.shape[3])
        slots = self._empty((n, h, w), torch.int32, mask.device)
        sites = self._empty((n * h * w,), torch.int32, mask.device)
        count = self._empty((n,), torch.int32, mask.device)
        rows = mask.new_empty(n * h * w, 0)
        params = core.MaskGather(
            mask=mask.data_ptr(),
            mask_h=mask_h,
            mask_w=mask_w,
            threshold=threshold,
            geometry=_geometry(geometry),
            set=core.SiteSet(sites.data_ptr(), slots.data_ptr(), count.data_ptr(), n, h, w),
        )
        if x is not None:
            x = _strided(x)
            rows = self._empty((n * h * w, x.shape[1]), x.dtype, x.device)
            params.dtype = _dtype(x)
            params.x = _dense(x)
            params.rows = rows.data_ptr()
        self.library.primitive("mask_gather", params, self.stream())
        return sites, slots, count, rows

    def sparse_conv(
        self,
        rows: Tensor,
        weight: Tensor,
        bias: Tensor,
        slots: Tensor | None = None,
        sites: Tensor | None = None,
        count: Tensor | None = None,
        *,
        kernel_shape: Sequence[int] = (1, 1),
        strides: Sequence[int] = (1, 1),
        pads: Sequence[int] = (0, 0, 0, 0),
        dilations: Sequence[int] = (1, 1),
        group: int = 1,
        activation: str = "none",
    ) -> Tensor:
        geometry = Geometry.checked(kernel_shape, strides, pads, dilations)
        rows, weight, bias = rows.contiguous(), weight.contiguous(), bias.contiguous()
        slots, sites, count = (
            None if tensor is None else _indices(name, tensor, tensor.shape)
            for name, tensor in (("slots", slots), ("sites", sites), ("count", count))
        )
        source, target = self._sets(rows, slots, sites, count, geometry)
        c_out = bias.shape[0]
        expected = (*kernel_shape, c_out) if group != 1 else (c_out, *kernel_shape, rows.shape[1])
        _expect_shape("weight", weight, expected)
        out = self._empty((target.n * target.h * target.w, c_out), rows.dtype, rows.device)
        params = core.SparseConv(
            dtype=_dtype(rows, weight, bias),
            flags=self._flags(),
            activation=ACTIVATIONS.index(activation),
            c_in=rows.shape[1],
            c_out=c_out,
            group=group,
            geometry=_geometry(geometry),
            rows=rows.data_ptr(),
            weight=weight.data_ptr(),
            bias=bias.data_ptr(),
            input=source,
            output=target,
            rows_out=out.data_ptr(),
        )
        self.library.primitive("sparse_conv", params, self.stream())
        return out

    def mask_scatter(
        self,
        base: Tensor,
        rows: Tensor,
        sites: Tensor,
        count: Tensor,
        *,
        reduction: str = "add",
        activation: str = "none",
    ) -> Tensor:
        base, rows = _strided(base), rows.contiguous()
        n, c, h, w = base.shape
        _expect_shape("rows", rows, (n * h * w, c))
        sites, count = _indices("sites", sites, (n * h * w,)), _indices("count", count, (n,))
        y = self._empty_like(base)
        params = core.MaskScatter(
            dtype=_dtype(base, rows),
            flags=self._flags(),
            reduction=REDUCTIONS.index(reduction),
            activation=ACTIVATIONS.index(activation),
            base=_dense(base),
            rows=rows.data_ptr(),
            set=core.SiteSet(sites.data_ptr(), None, count.data_ptr(), n, h, w),
            y=_dense(y),
        )
        self.library.primitive("mask_scatter", params, self.stream())
        return y

    def gated_inverted_residual(
        self, x: Tensor, mask: Tensor, *parameters: Tensor, threshold: float = 0.0, activation: str = "relu6"
    ) -> Tensor:
        n, c, h, w = x.shape
        expanded = parameters[1].shape[0]
        mask = _mask(mask, (n, 1, h, w))
        x = _strided(x)
        named = _parameters(
            parameters, expand=(expanded, 1, 1, c), depthwise=(3, 3, expanded), project=(c, 1, 1, expanded)
        )
        y = self._empty_like(x)
        params = core.GatedInvertedResidual(
            dtype=_dtype(x, *named.values()),
            flags=self._flags(),
            activation=ACTIVATIONS.index(activation),
            threshold=threshold,
            mask=mask.data_ptr(),
            x=_dense(x),
            y=_dense(y),
            expanded=expanded,
            **{name: tensor.data_ptr() for name, tensor in named.items()},
        )
        self._composite("gated_inverted_residual", params, x)
        return y

    def gated_basic_block(
        self, x: Tensor, mask: Tensor, identity: Tensor, *parameters: Tensor, **attributes: Any
    ) -> Tensor:
        c, c_out = x.shape[1], identity.shape[1]
        named = _parameters(parameters, conv1=(c_out, 3, 3, c), conv2=(c_out, 3, 3, c_out))
        return self._residual("gated_basic_block", core.GatedBasicBlock(), x, mask, identity, named, **attributes)

    def gated_bottleneck(
        self, x: Tensor, mask: Tensor, identity: Tensor, *parameters: Tensor, **attributes: Any
    ) -> Tensor:
        c, c_out, width = x.shape[1], identity.shape[1], parameters[1].shape[0]
        named = _parameters(parameters, conv1=(width, 1, 1, c), conv2=(width, 3, 3, width), conv3=(c_out, 1, 1, width))
        params = core.GatedBottleneck(width=width)
        return self._residual("gated_bottleneck", params, x, mask, identity, named, **attributes)

    def _residual(
        self,
        name: str,
        params: core.GatedBasicBlock | core.GatedBottleneck,
        x: Tensor,
        mask: Tensor,
        identity: Tensor,
        parameters: dict[str, Tensor],
        *,
        threshold: float = 0.0,
        strides: Sequence[int] = (1, 1),
        activation: str = "relu",
    ) -> Tensor:
        x, identity = _strided(x), _strided(identity)
        n, _, ho, wo = identity.shape
        mask = _mask(mask, (n, 1, ho, wo))
        y = self._empty_like(identity)
        params.dtype = _dtype(x, identity, *parameters.values())
        params.flags = self._flags()
        params.activation = ACTIVATIONS.index(activation)
        params.stride_h, params.stride_w = strides
        params.threshold = threshold
        params.mask = mask.data_ptr()
        params.x, params.identity, params.y = _dense(x), _dense(identity), _dense(y)
        for parameter, tensor in parameters.items():
            setattr(params, parameter, tensor.data_ptr())
        self._composite(name, params, x)
        return y

    def _composite(self, name: str, params: Structure, like: Tensor) -> None:
        size = self.library.workspace(name, params)
        workspace = self._empty((size,), torch.uint8, like.device)
        self.library.composite(name, params, workspace.data_ptr(), size, self.stream())

    def _empty(self, shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
        """An uninitialised tensor, aligned to 256 bytes as torch's CUDA allocator does. The tests override this."""
        return torch.empty(shape, dtype=dtype, device=device)

    def _empty_like(self, x: Tensor) -> Tensor:
        """An uninitialised dense tensor of x's shape and type in the output's memory format."""
        n, c, h, w = x.shape
        if output_format(x) == torch.contiguous_format:
            return self._empty((n, c, h, w), x.dtype, x.device)
        return self._empty((n, h, w, c), x.dtype, x.device).permute(0, 3, 1, 2)

    def _flags(self) -> int:
        # Not allow_tf32: reading that raises once somebody has set this newer switch.
        return self.flags | (core.ALLOW_TF32 if torch.backends.cuda.matmul.fp32_precision == "tf32" else 0)

    @staticmethod
    def _sets(
        rows: Tensor, slots: Tensor | None, sites: Tensor | None, count: Tensor | None, geometry: Geometry
    ) -> tuple[core.SiteSet, core.SiteSet]:
        """The input and output set of a SparseConv."""
        if geometry.is_pointwise or slots is None:
            # It keeps its set: the grid does not matter, only how many rows an image's segment has.
            n = 1 if count is None else count.shape[0]
            source = core.SiteSet(n=n, h=1, w=rows.shape[0] // max(n, 1))
            return source, core.SiteSet(None, None, _address(count), source.n, source.h, source.w)
        n, h, w = slots.shape
        ho, wo = geometry.output_size(h, w)
        _expect_shape("rows", rows, (n * h * w, rows.shape[1]))
        if sites is None or count is None:
            raise ValueError("sparse_conv with slots needs the output set's sites and count too")
        _expect_shape("sites", sites, (n * ho * wo,))
        _expect_shape("count", count, (n,))
        return core.SiteSet(None, slots.data_ptr(), None, n, h, w), core.SiteSet(
            sites.data_ptr(), None, count.data_ptr(), n, ho, wo
        )


def _dtype(*tensors: Tensor) -> int:
    dtypes = {tensor.dtype for tensor in tensors}
    if len(dtypes) > 1 or not dtypes <= _DTYPES.keys():
        raise TypeError(f"all of {', '.join(FLOATS)} or another alike expected, not {sorted(map(str, dtypes))}")
    return _DTYPES[dtypes.pop()]


def _geometry(geometry: Geometry) -> core.Geometry:
    return core.Geometry(*geometry.kernel_shape, *geometry.strides, *geometry.pads, *geometry.dilations)


def _is_channels_last(x: Tensor) -> bool:
    return x.stride(1) == 1 and x.shape[1] > 1


def _strided(x: Tensor) -> Tensor:
    """x itself where the core library follows its strides: a contiguous axis, and nothing expanded."""
    if x.numel() == 0 or ((_is_channels_last(x) or x.stride(3) == 1) and 0 not in x.stride()):
        return x
    return x.contiguous()


def _dense(x: Tensor) -> core.Dense:
    layout = core.NHWC if _is_channels_last(x) else core.NCHW
    return core.Dense(x.data_ptr(), *x.shape, *x.stride(), layout)


def _mask(mask: Tensor, shape: tuple[int, ...] | None = None) -> Tensor:
    if mask.dtype != torch.float32 or mask.dim() != 4 or mask.shape[1] != 1:
        raise TypeError(f"mask is float32 [N, 1, Ho, Wo], not {mask.dtype} {list(mask.shape)}")
    if shape is not None:
        _expect_shape("mask", mask, shape)
    return mask.contiguous()


def _parameters(tensors: Sequence[Tensor], **weights: tuple[int, ...]) -> dict[str, Tensor]:
    """Contiguous parameters by field name: a weight of each shape and a bias, depthwise ones [3, 3, C] and [C]."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, shape in weights.items():
        shapes[f"{name}_weight"] = shape
        shapes[f"{name}_bias"] = (shape[0 if len(shape) == 4 else -1],)
    for (name, shape), tensor in zip(shapes.items(), tensors, strict=True):
        _expect_shape(name, tensor, shape)
    return {name: tensor.contiguous() for name, tensor in zip(shapes, tensors, strict=True)}


def _indices(name: str, tensor: Tensor, shape: Sequence[int]) -> Tensor:
    if tensor.dtype != torch.int32:
        raise TypeError(f"{name} is int32, not {tensor.dtype}")
    _expect_shape(name, tensor, shape)
    return tensor.contiguous()


def _expect_shape(name: str, tensor: Tensor, shape: Sequence[int]) -> None:
    if tuple(tensor.shape) != tuple(shape):
        raise ValueError(f"{name} is {list(shape)}, not {list(tensor.shape)}")


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()
