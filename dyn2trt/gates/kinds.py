"""The mask units by name."""

from __future__ import annotations

from collections.abc import Callable

from dyn2trt.gates.layer import LayerMaskUnit
from dyn2trt.gates.mask_unit import MaskUnit, PointwiseMaskUnit, SqueezeMaskUnit

KINDS: dict[str, Callable[[int, int], MaskUnit]] = {
    "pointwise": PointwiseMaskUnit,
    "squeeze": SqueezeMaskUnit,
    "layer": LayerMaskUnit,
}
NO_GATE = "none"


def make_mask_unit(kind: str | None, channels: int, stride: int = 1) -> MaskUnit | None:
    """Build the mask unit of a block with ``channels`` inputs.

    Args:
        kind: ``pointwise``, ``squeeze`` or ``layer``; ``none`` or None for a block without a gate.

    Raises:
        ValueError: another name.
    """
    if kind is None or kind == NO_GATE:
        return None
    if kind not in KINDS:
        raise ValueError(f"a mask unit is one of {', '.join(KINDS)}, {NO_GATE}, not {kind!r}")
    return KINDS[kind](channels, stride)
