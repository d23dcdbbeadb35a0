"""``torch.ops.dyn2trt.*``: every op of `SCHEMAS` registered with its CPU reference, CUDA kernels and a fake kernel.

The fake kernels give shapes and dtypes only, so that ``torch.export`` and ``torch.compile`` trace the ops; the number
of rows, which the mask decides, is an unbacked symbolic integer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from dyn2trt.contract import DOMAIN, SCHEMAS
from dyn2trt.ops import reference
from dyn2trt.ops.cuda import register_cuda_ops
from dyn2trt.ops.geometry import Geometry
from dyn2trt.ops.memory_format import output_format

_LIBRARY: torch.library.Library | None = None


def register_torch_ops() -> None:
    """Define the ops; a second call does nothing."""
    global _LIBRARY
    if _LIBRARY is not None:
        return
    _LIBRARY = torch.library.Library(DOMAIN, "DEF")
    for schema in SCHEMAS.values():
        _LIBRARY.define(schema.torch_schema, tags=(torch.Tag.needs_exact_strides,))
        _LIBRARY.impl(schema.torch_name, getattr(reference, schema.torch_name), "CPU")
        torch.library.register_fake(f"{DOMAIN}::{schema.torch_name}", _FAKES[schema.torch_name], lib=_LIBRARY)
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


def _fake_inverted_residual(x: Tensor, mask: Tensor, *weights: Tensor, **attributes: Any) -> Tensor:
    return torch.empty_like(x, memory_format=output_format(x))


def _fake_residual(x: Tensor, mask: Tensor, identity: Tensor, *weights: Tensor, **attributes: Any) -> Tensor:
    return torch.empty_like(identity, memory_format=output_format(identity))


_FAKES: dict[str, Callable[..., Any]] = {
    "mask_gather": _fake_mask_gather,
    "sparse_conv": _fake_sparse_conv,
    "mask_scatter": _fake_mask_scatter,
    "gated_inverted_residual": _fake_inverted_residual,
    "gated_basic_block": _fake_residual,
    "gated_bottleneck": _fake_residual,
}
