"""A stage of units whose positions halt one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from dyn2trt.blocks.base import GatedBlock
from dyn2trt.errors import Dyn2trtError
from dyn2trt.gates.halting import HaltingMaskUnit


class HaltingStage(nn.Sequential):
    """Residual units of one resolution, each evaluated where no halt has come yet (Figurnov et al., CVPR 2017).

    The paper's "block" with its algorithm 2. The first unit runs everywhere. Each unit's output x_l has halting
    scores h_l in (0, 1); unit l + 1 is evaluated where h_1 + … + h_l ≤ 1 − ε, and other positions keep their values.
    The output is Σ p_l · x_l, where p_l = h_l for the units before the one at which a position halts, and what is left
    of 1 at that one; the last unit ends everything. Units are those of this project, with the ReLU after the sum, so
    their ops run them; the paper's have it before (ResNet v2).

    What is active follows from the gates' logits alone, so masks that are forced from outside mean the same here and
    in an exported file, also masks that do not shrink: no p_l is then more than what is left of 1.

    With execution ``dense`` every unit runs everywhere, and the outputs are weighed all the same.

    Args:
        units: blocks without gates; all but the first get one. Their strides, but the first's, are 1.

    Raises:
        Dyn2trtError: there is no unit, a unit has a gate, or one after the first a stride.
    """

    def __init__(self, units: Sequence[GatedBlock]) -> None:
        if not units:
            raise Dyn2trtError("a halting stage has one unit at least, came none")
        for number, unit in enumerate(units, 1):
            if unit.masker is not None:
                raise Dyn2trtError(
                    f"unit {number} of a halting stage has a gate of its own, but the stage gives units theirs; make "
                    "it with mask_unit=None"
                )
            if number > 1 and unit.stride != 1:
                raise Dyn2trtError(
                    f"unit {number} of a halting stage has stride {unit.stride}, but positions that halt keep their "
                    "place: only the first unit may have one; begin another stage with this unit"
                )
        super().__init__(*units)
        for unit in units[1:]:
            unit.masker = HaltingMaskUnit(unit.stages()[0].convolution.in_channels)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] → [N, Co, Ho, Wo]."""
        first, *others = self
        x = first(x)
        weighed: Tensor | None = None
        remaining: Tensor | None = None
        cumulative: Tensor | None = None
        for unit in others:
            assert isinstance(unit, GatedBlock)
            assert isinstance(unit.masker, HaltingMaskUnit)
            score = unit.masker.score(x)
            cumulative = score if cumulative is None else cumulative + score
            weight = score if remaining is None else torch.minimum(score, remaining)
            decision = None
            if unit.execution != "dense":
                decision = unit.masker(cumulative)
                left = torch.ones_like(score) if remaining is None else remaining
                weight = torch.where(decision[0] >= 0, weight, left)
            part = weight.to(x.dtype) * x
            weighed = part if weighed is None else weighed + part
            remaining = 1 - weight if remaining is None else remaining - weight
            x = unit(x, decision)
        return x if weighed is None or remaining is None else weighed + remaining.to(x.dtype) * x

    def gated_units(self, prefix: str) -> tuple[str, ...]:
        """Module paths of the units with a gate, in order, where ``prefix`` is the stage's own path."""
        return tuple(f"{prefix}.{name}".lstrip(".") for name, _ in list(self.named_children())[1:])


def halting_stages(network: nn.Module) -> Iterator[tuple[str, HaltingStage]]:
    """The stages of ``network`` that halt, with their module paths, in the order of definition."""
    for name, module in network.named_modules():
        if isinstance(module, HaltingStage):
            yield name, module
