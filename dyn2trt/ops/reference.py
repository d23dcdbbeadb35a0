"""Reference kernels of the primitives in plain torch: the meaning of the contract, on any device that torch indexes.

Each convolution accumulates in float32 (float64 for float64 tensors) and rounds once, after bias and activation.
Site sets are exact here: P is the number of sites, rows stand in row-major order of their sites.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from dyn2trt.contract import ACTIVATIONS, REDUCTIONS
from dyn2trt.ops.geometry import Geometry
from dyn2trt.ops.memory_format import output_format

SiteSet = tuple[Tensor, Tensor, Tensor]
"""sites int32[P], slots int32[N, H, W], count int32[N]."""


def activate(x: Tensor, activation: str) -> Tensor:
    """Apply one of `ACTIVATIONS`."""
    match activation:
        case "none":
            return x
        case "relu":
            return F.relu(x)
        case "relu6":
            return F.relu6(x)
        case "hard_swish":
            return F.hardswish(x)
    raise ValueError(f"activation is one of {', '.join(ACTIVATIONS)}, not {activation!r}")


def read_sites(active: Tensor, geometry: Geometry, size: tuple[int, int]) -> Tensor:
    """Mark the input sites that a convolution reads when evaluated at the active output sites.

    Args:
        active: bool [N, Ho, Wo].
        geometry: of the convolution.
        size: (H, W) of the input grid.

    Returns:
        bool [N, H, W].
    """
    (kh, kw), (sh, sw), (top, left, _, _), (dh, dw) = (
        geometry.kernel_shape,
        geometry.strides,
        geometry.pads,
        geometry.dilations,
    )
    n, ho, wo = active.shape
    height, width = size
    padded = active.new_zeros(
        n, max(top + height, (ho - 1) * sh + dh * (kh - 1) + 1), max(left + width, (wo - 1) * sw + dw * (kw - 1) + 1)
    )
    for i in range(kh):
        for j in range(kw):
            y, x = i * dh, j * dw
            padded[:, y : y + (ho - 1) * sh + 1 : sh, x : x + (wo - 1) * sw + 1 : sw] |= active
    return padded[:, top : top + height, left : left + width]


def site_set(members: Tensor) -> SiteSet:
    """Compact bool [N, H, W] into a site set in row-major order."""
    sites = members.flatten().nonzero().flatten()
    slots = torch.full(members.shape, -1, dtype=torch.int32, device=members.device)
    slots.view(-1)[sites] = torch.arange(sites.numel(), dtype=torch.int32, device=members.device)
    return sites.to(torch.int32), slots, members.sum((1, 2), dtype=torch.int32)


def mask_gather(
    mask: Tensor,
    x: Tensor | None = None,
    *,
    threshold: float = 0.0,
    kernel_shape: Sequence[int] = (1, 1),
    strides: Sequence[int] = (1, 1),
    pads: Sequence[int] = (0, 0, 0, 0),
    dilations: Sequence[int] = (1, 1),
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Reference of ``MaskGather``; without ``x`` the rows are an empty [P, 0] tensor."""
    geometry = Geometry.checked(kernel_shape, strides, pads, dilations)
    size = geometry.smallest_input(*mask.shape[2:]) if x is None else (x.shape[2], x.shape[3])
    if x is not None and geometry.output_size(*size) != tuple(mask.shape[2:]):
        raise ValueError(
            f"mask_gather: a mask of {tuple(mask.shape[2:])} expected of x {tuple(x.shape)} and {geometry}, "
            f"whose output grid is {geometry.output_size(*size)}"
        )
    sites, slots, count = site_set(read_sites(mask[:, 0] >= threshold, geometry, size))
    rows = mask.new_empty(sites.numel(), 0) if x is None else _flat(x)[sites.long()]
    return sites, slots, count, rows


def sparse_conv(
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
    """Reference of ``SparseConv``."""
    geometry = Geometry.checked(kernel_shape, strides, pads, dilations)
    wide = torch.float64 if rows.dtype == torch.float64 else torch.float32
    source, taps = rows.to(wide), weight.to(wide)
    depthwise = group != 1
    if depthwise and group not in (0, rows.shape[1]):
        raise ValueError(f"sparse_conv: group is 1 or the number of channels {rows.shape[1]}, not {group}")
    if geometry.is_pointwise or slots is None or sites is None:
        if not geometry.is_pointwise:
            raise ValueError(
                f"sparse_conv: only a pointwise 1×1 keeps its set; {geometry} needs slots, sites and count"
            )
        out = source * taps.flatten() if depthwise else source @ taps.flatten(1).T
    else:
        neighbours = neighbour_rows(slots, sites, geometry)
        source = torch.cat([source, source.new_zeros(1, source.shape[1])])  # slot −1 reads this row
        shape = (sites.numel(), rows.shape[1] if depthwise else weight.shape[0])
        out = source.new_zeros(shape)
        for tap, neighbour in enumerate(neighbours):
            i, j = divmod(tap, geometry.kernel_shape[1])
            gathered = source[neighbour]
            out = out + gathered * taps[i, j] if depthwise else torch.addmm(out, gathered, taps[:, i, j].T)
    return activate(out + bias.to(wide), activation).to(rows.dtype)


def neighbour_rows(slots: Tensor, sites: Tensor, geometry: Geometry) -> list[Tensor]:
    """Rows of the input set that each tap reads at every output site: kh·kw tensors int64[Po], −1 where absent."""
    (kh, kw), (sh, sw), (top, left, bottom, right), (dh, dw) = (
        geometry.kernel_shape,
        geometry.strides,
        geometry.pads,
        geometry.dilations,
    )
    ho, wo = geometry.output_size(slots.shape[1], slots.shape[2])
    padded = F.pad(slots.long(), (left, right, top, bottom), value=-1)
    site = sites.long()
    n, h, w = site // (ho * wo), site // wo % ho, site % wo
    return [padded[n, h * sh + i * dh, w * sw + j * dw] for i in range(kh) for j in range(kw)]


def mask_scatter(
    base: Tensor, rows: Tensor, sites: Tensor, count: Tensor, *, reduction: str = "add", activation: str = "none"
) -> Tensor:
    """Reference of ``MaskScatter``."""
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction is one of {', '.join(REDUCTIONS)}, not {reduction!r}")
    n, c, h, w = base.shape
    wide = torch.float64 if base.dtype == torch.float64 else torch.float32
    flat = _flat(base).to(wide)
    site = sites.long()
    # Sites are unique, so reading, adding and writing back equals an accumulating scatter.
    flat[site] = flat[site] + rows.to(wide) if reduction == "add" else rows.to(wide)
    y = activate(flat, activation).to(base.dtype).view(n, h, w, c).permute(0, 3, 1, 2)
    return y.contiguous(memory_format=output_format(base))


def _flat(x: Tensor) -> Tensor:
    """[N, C, H, W] → [N·H·W, C], one row a site, a copy."""
    return x.permute(0, 2, 3, 1).contiguous().view(-1, x.shape[1]).clone()
