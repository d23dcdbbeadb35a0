"""``torch.ops.dyn2trt.*``: every op of `SCHEMAS` registered with its CPU reference, CUDA kernels and a fake kernel.

The fake kernels give shapes and dtypes only, so that ``torch.export`` and ``torch.compile`` trace the ops; the number
of rows, which the mask decides, is an unbacked symbolic integer.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from dyn2trt.contract import DOMAIN, SCHEMAS, OpSchema
from dyn2trt.ops.cuda import register_cuda_ops
from dyn2trt.ops.geometry import Geometry
from dyn2trt.ops.memory_format import output_format
from dyn2trt.ops.reference_blocks import implementation

_LIBRARY: torch.library.Library | None = None


def register_torch_ops() -> None:
    """Define the ops; a second call does nothing."""
    global _LIBRARY
    if _LIBRARY is not None:
        return
    _LIBRARY = torch.library.Library(DOMAIN, "DEF")
    for schema in SCHEMAS.values():
        _LIBRARY.define(schema.torch_schema, tags=(torch.Tag.needs_exact_strides,))
        _LIBRARY.impl(schema.torch_name, implementation(schema), "CPU")
        fake = partial(_fake_block, schema) if schema.is_composite else _FAKES[schema.torch_name]
        torch.library.register_fake(f"{DOMAIN}::{schema.torch_name}", fake, lib=_LIBRARY)
    register_cuda_ops(_LIBRARY)


def _fake_mask_gather(mask: Tensor, x: Tensor | None = None, **attributes: Any) -> tuple[Tensor, ...]:
    geometry = Geometry.checked(*(attributes.get(k, v) for k, v in Geometry().attributes.items()))
    n = mask.shape[0]
    size = geometry.smallest_input(*mask.shape[2:]) if x is None else (x.shape[2], x.shape[3])
    rows = torch.library.get_ctx().new_dynamic_size()
    return (
        mask.new_empty(rows, dtype=torch.int32),
        mask.new_empty(n, *size, dtype=torch.int32),
        mask.new_empty(n, dtype=torch.int32),
        mask.new_empty(rows, 0) if x is None else x.new_empty(rows, x.shape[1]),
    )


def _fake_sparse_conv(
    rows: Tensor,
    weight: Tensor,
    bias: Tensor,
    slots: Tensor | None = None,
    sites: Tensor | None = None,
    count: Tensor | None = None,
    **attributes: Any,
) -> Tensor:
    geometry = Geometry.checked(*(attributes.get(k, v) for k, v in Geometry().attributes.items()))
    if geometry.is_pointwise or sites is None:
        return rows.new_empty(rows.shape[0], bias.shape[0])
    return rows.new_empty(sites.shape[0], bias.shape[0])


def _fake_mask_scatter(base: Tensor, rows: Tensor, sites: Tensor, count: Tensor, **attributes: Any) -> Tensor:
    return torch.empty_like(base, memory_format=output_format(base))


def _fake_block(schema: OpSchema, *tensors: Tensor, **attributes: Any) -> Tensor | tuple[Tensor, Tensor]:
    given = {tensor.name: value for tensor, value in zip(schema.inputs, tensors, strict=True)}
    like = given.get("identity", given["x"])
    y = torch.empty_like(like, memory_format=output_format(like))
    if not schema.owns_gate:
        return y
    wide = torch.float64 if like.dtype == torch.float64 else torch.float32
    return y, like.new_empty(like.shape[0], 1, *like.shape[2:], dtype=wide)


_FAKES: dict[str, Callable[..., Any]] = {
    "mask_gather": _fake_mask_gather,
    "sparse_conv": _fake_sparse_conv,
    "mask_scatter": _fake_mask_scatter,
}
