"""The ops on torch tensors by a core library: the CUDA one on CUDA tensors, the CPU emulator's on CPU tensors.

Nothing here waits for the device. Outputs and workspace come from torch's allocator, launches go to a stream that the
caller names. Site sets have the static capacity N·H·W, a segment an image; see ``core.h``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from dyn2trt.contract import ACTIVATIONS, BLOCKS, COMPOSITES, GATES, REDUCTIONS, OpSchema
from dyn2trt.ops import core_library as core
from dyn2trt.ops.core_arguments import (
    address_of,
    checked_indices,
    checked_inputs,
    checked_mask,
    dense_of,
    dtype_of,
    expect_shape,
    geometry_of,
    strided,
)
from dyn2trt.ops.geometry import Geometry
from dyn2trt.ops.memory_format import output_format

_COMPOSITES = {schema.torch_name: schema for schema in COMPOSITES}


def current_cuda_stream() -> int:
    """The handle of torch's current CUDA stream."""
    return torch.cuda.current_stream().cuda_stream


class CoreOps:
    """The ops of `SCHEMAS` with a core library behind them, called as the torch ops are.

    Args:
        library: where the kernels are.
        stream: called at every launch for the stream's handle.
        flags: of every call; `core_library.GENERIC_ONLY` for comparisons. tf32 follows torch's own switch.
        variant: of every gated block; 0 leaves the choice to the library, see ``Dyn2trtGatedBlock``.
    """

    def __init__(
        self,
        library: core.CoreLibrary,
        stream: Callable[[], int] = current_cuda_stream,
        flags: int = 0,
        variant: int = 0,
    ) -> None:
        self.library = library
        self.stream = stream
        self.flags = flags
        self.variant = variant

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
        mask = checked_mask(mask)
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
            geometry=geometry_of(geometry),
            set=core.SiteSet(sites.data_ptr(), slots.data_ptr(), count.data_ptr(), n, h, w),
        )
        if x is not None:
            x = strided(x)
            rows = self._empty((n * h * w, x.shape[1]), x.dtype, x.device)
            params.dtype = dtype_of(x)
            params.x = dense_of(x)
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
            None if tensor is None else checked_indices(name, tensor, tensor.shape)
            for name, tensor in (("slots", slots), ("sites", sites), ("count", count))
        )
        source, target = self._sets(rows, slots, sites, count, geometry)
        c_out = bias.shape[0]
        expected = (*kernel_shape, c_out) if group != 1 else (c_out, *kernel_shape, rows.shape[1])
        expect_shape("weight", weight, expected)
        out = self._empty((target.n * target.h * target.w, c_out), rows.dtype, rows.device)
        params = core.SparseConv(
            dtype=dtype_of(rows, weight, bias),
            flags=self._flags(),
            activation=ACTIVATIONS.index(activation),
            c_in=rows.shape[1],
            c_out=c_out,
            group=group,
            geometry=geometry_of(geometry),
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
        base, rows = strided(base), rows.contiguous()
        n, c, h, w = base.shape
        expect_shape("rows", rows, (n * h * w, c))
        sites, count = checked_indices("sites", sites, (n * h * w,)), checked_indices("count", count, (n,))
        y = self._empty_like(base)
        params = core.MaskScatter(
            dtype=dtype_of(base, rows),
            flags=self._flags(),
            reduction=REDUCTIONS.index(reduction),
            activation=ACTIVATIONS.index(activation),
            base=dense_of(base),
            rows=rows.data_ptr(),
            set=core.SiteSet(sites.data_ptr(), None, count.data_ptr(), n, h, w),
            y=dense_of(y),
        )
        self.library.primitive("mask_scatter", params, self.stream())
        return y

    def implementation(self, schema: OpSchema) -> Callable[..., Any]:
        """Any op, called as the torch op is."""
        return partial(self.gated_block, schema) if schema.is_composite else getattr(self, schema.torch_name)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """The composites by their torch names, as in ``torch.ops.dyn2trt``."""
        if name not in _COMPOSITES:
            raise AttributeError(f"{type(self).__name__} has no op {name}")
        return partial(self.gated_block, _COMPOSITES[name])

    def gated_block(self, schema: OpSchema, *tensors: Tensor, **attributes: Any) -> Tensor | tuple[Tensor, Tensor]:
        """The composite ``schema``: y, and the logits of a gate that the op owns."""
        assert schema.block is not None
        assert schema.gate is not None
        complete = schema.complete({k: tuple(v) if isinstance(v, list) else v for k, v in attributes.items()})
        given = checked_inputs(schema, tensors)
        x = given["x"]
        identity = given.get("identity", x)
        y = self._empty_like(identity)
        params = core.GatedBlock(
            kind=BLOCKS.index(schema.block),
            dtype=dtype_of(*(given[t.name] for t in schema.inputs if t.type == "T")),
            flags=self._flags(),
            variant=self.variant,
            activation=ACTIVATIONS.index(complete["activation"]),
            x=dense_of(x),
            identity=dense_of(identity),
            y=dense_of(y),
        )
        params.stride_h, params.stride_w = complete.get("strides", (1, 1))
        for index, convolution in enumerate(schema.block.convolutions):
            weight, bias = given[f"{convolution.name}_weight"], given[f"{convolution.name}_bias"]
            params.convolutions[index] = core.Convolution(weight.data_ptr(), bias.data_ptr(), bias.shape[0])
        gate = params.gate
        gate.kind, gate.threshold = GATES.index(schema.gate), complete["threshold"]
        logits: Tensor | None = None
        if schema.owns_gate:
            for tensor in schema.gate.parameters:
                setattr(gate, tensor.name.removeprefix("gate_"), given[tensor.name].data_ptr())
            gate.hidden = given["gate_bias"].shape[0] if schema.gate.pooled == "layers" else 0
            n, _, ho, wo = y.shape
            logits = self._empty((n, 1, ho, wo), torch.float32, y.device)
            gate.logits = logits.data_ptr()
        else:
            gate.given = given["mask"].data_ptr()
        size = self.library.workspace(params)
        workspace = self._empty((size,), torch.uint8, x.device)
        self.library.gated_block(params, workspace.data_ptr(), size, self.stream())
        return y if logits is None else (y, logits)

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
            return source, core.SiteSet(None, None, address_of(count), source.n, source.h, source.w)
        n, h, w = slots.shape
        ho, wo = geometry.output_size(h, w)
        expect_shape("rows", rows, (n * h * w, rows.shape[1]))
        if sites is None or count is None:
            raise ValueError("sparse_conv with slots needs the output set's sites and count too")
        expect_shape("sites", sites, (n * ho * wo,))
        expect_shape("count", count, (n,))
        return core.SiteSet(None, slots.data_ptr(), None, n, h, w), core.SiteSet(
            sites.data_ptr(), None, count.data_ptr(), n, ho, wo
        )
