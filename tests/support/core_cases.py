"""Inputs for the core's tests: masks of every kind, random tensors in any layout, errors against float64."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from dyn2trt.contract import SCHEMAS
from dyn2trt.ops.reference_blocks import implementation

MASKS = ("some", "blob", "none", "all", "one", "corners", "nan", "images")
LAYOUTS = ("nchw", "nhwc", "nhwc_padded", "nchw_padded")
DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def mask(kind: str, n: int, h: int, w: int, generator: torch.Generator) -> Tensor:
    """Logits float32 [n, 1, h, w]; every image has another pattern of its kind where it has more than one."""
    logits = -1 - torch.rand(n, 1, h, w, generator=generator)
    if kind == "some":
        logits = torch.randn(n, 1, h, w, generator=generator) - 0.5
    elif kind == "blob":
        y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
        for i in range(n):
            centre = torch.rand(2, generator=generator) * torch.tensor([h, w])
            logits[i, 0] = (min(h, w) / 3) ** 2 - (y - centre[0]) ** 2 - (x - centre[1]) ** 2
    elif kind == "all":
        logits = -logits
    elif kind == "one":
        for i in range(n):
            position = int(torch.randint(h * w, (1,), generator=generator))
            logits[i].view(-1)[position] = 0.0  # exactly at the threshold: active
    elif kind == "corners":
        logits[:, :, :: max(h - 1, 1), :: max(w - 1, 1)] = 1.0
    elif kind == "images":  # all of an image or nothing, as a gate of layers decides
        logits[::2] = -logits[::2]
    elif kind == "nan":
        logits = torch.randn(n, 1, h, w, generator=generator)
        logits.view(-1)[::3] = torch.nan
    return logits


def dense(shape: tuple[int, int, int, int], dtype: torch.dtype, layout: str, generator: torch.Generator) -> Tensor:
    """Normal [n, c, h, w] in a layout; the padded ones have room beside each pixel (as kHWC8) or each line."""
    n, c, h, w = shape
    values = torch.randn(shape, generator=generator).to(dtype)
    if layout == "nchw":
        return values
    if layout == "nchw_padded":
        return torch.zeros(n, c, h, w + 3, dtype=dtype)[..., :w].copy_(values)
    room = c + (-c % 8 or 8 if layout == "nhwc_padded" else 0)
    return torch.zeros(n, h, w, room, dtype=dtype)[..., :c].permute(0, 3, 1, 2).copy_(values)


def parameters(
    shapes: Iterable[tuple[int, ...]], fans: Iterable[int], dtype: torch.dtype, generator: torch.Generator
) -> list[Tensor]:
    """A weight a shape, scaled by its fan-in so that activations stay near one, each followed by its bias."""
    tensors = []
    for shape, fan in zip(shapes, fans, strict=True):
        depthwise = len(shape) == 3
        tensors.append((torch.randn(shape, generator=generator) / fan**0.5).to(dtype))
        tensors.append(torch.randn(shape[-1] if depthwise else shape[0], generator=generator).to(dtype))
    return tensors


def reference_of(name: str) -> Callable[..., Any]:
    """The reference of an op by its torch name."""
    return implementation(next(schema for schema in SCHEMAS.values() if schema.torch_name == name))


def error(value: Tensor, reference: Tensor) -> float:
    """‖value − reference‖ / ‖reference‖, NaN where value has one."""
    norm = reference.double().norm()
    return float((value.double() - reference.double()).norm() / (norm if norm > 0 else 1))


def assert_close(value: Tensor, reference: Tensor, at_precision: Tensor) -> None:
    """1e-5 in fp32, else twice the error that torch makes at the same precision.

    Of a few values that error is a matter of luck, so no less than the type's unit roundoff is allowed.
    """
    assert value.shape == reference.shape
    roundoff = torch.finfo(value.dtype).eps / 2
    allowed = 1e-5 if value.dtype == torch.float32 else max(2 * error(at_precision, reference), roundoff)
    assert error(value, reference) <= allowed
