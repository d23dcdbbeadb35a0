"""The sparsity criterion: a budget for the network's executed multiply-accumulates and annealed bounds for each block.

Verelst & Tuytelaars, "Dynamic Convolutions: Exploiting Spatial Sparsity for Faster Inference", CVPR 2020, section 3.4:
the loss of training is L_task + α (L_net + L_lower + L_upper).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from dyn2trt.errors import Dyn2trtError
from dyn2trt.gates import Decision
from dyn2trt.macs import MacReport
from dyn2trt.train.executed import executed_fraction, executed_fractions
from dyn2trt.train.processes import mean_with_local_gradient


@dataclass(frozen=True)
class Bounds:
    """What fraction of its own multiply-accumulates a block may execute without a penalty."""

    lower: float
    upper: float


def annealed_bounds(budget: float, progress: float, anneal: float = 1 / 3) -> Bounds:
    """The bounds at one moment of training.

    Both start at the budget, so that no gate can close or open for good before it has learned anything, and part by
    cos² until they allow everything.

    Args:
        budget: fraction of the multiply-accumulates in gated blocks, 0 to 1.
        progress: fraction of training that has passed, 0 to 1.
        anneal: the progress at which the bounds have reached 0 and 1.
    """
    tightness = math.cos(min(max(progress / anneal, 0.0), 1.0) * math.pi / 2) ** 2
    return Bounds(lower=tightness * budget, upper=1 - tightness * (1 - budget))


@dataclass(frozen=True)
class SparsityTerms:
    """The criterion's terms for one batch, scalars of float64, without α.

    Attributes:
        network: L_net, the squared distance of ``executed`` from the budget.
        lower: L_lower, the mean over blocks of the squared shortfall below the lower bound.
        upper: L_upper, the mean over blocks of the squared excess over the upper bound.
        executed: fraction of the gated blocks' multiply-accumulates that the batch executed.
        blocks: the same of each block, [number of blocks].
    """

    network: Tensor
    lower: Tensor
    upper: Tensor
    executed: Tensor
    blocks: Tensor

    @property
    def total(self) -> Tensor:
        """L_net + L_lower + L_upper."""
        return self.network + self.lower + self.upper

    def logged(self) -> dict[str, Tensor]:
        """By column of the log."""
        return {
            "loss_network": self.network,
            "loss_lower": self.lower,
            "loss_upper": self.upper,
            "executed": self.executed,
        }


class SparsityCriterion:
    """The criterion of one network at one input size.

    In a run of several processes the executed fractions are those of the whole batch, so that the terms do not depend
    on how the batch is divided.

    Args:
        report: what each block costs; of one block at least.
        budget: target fraction of the gated blocks' multiply-accumulates, 0 to 1.
        weight: the paper's α.
        anneal: fraction of training over which the bounds widen.

    Raises:
        Dyn2trtError: a budget outside 0 to 1, or a network whose positions halt.
    """

    def __init__(self, report: MacReport, budget: float, anneal: float = 1 / 3, weight: float = 10.0) -> None:
        if not 0 <= budget <= 1:
            raise Dyn2trtError(f"a budget is a fraction of the multiply-accumulates, 0 to 1, not {budget}")
        if any(block.decides == "halting" for block in report.blocks):
            raise Dyn2trtError(
                "train.budget has nothing to pull at where positions halt, for their decisions have no gradient; set "
                "train.ponder instead"
            )
        self.report = report
        self.weight = weight
        self.budget = budget
        self.anneal = anneal

    def __call__(self, decisions: Sequence[Decision], progress: float) -> SparsityTerms:
        """Judge the decisions of one forward pass.

        Args:
            decisions: from `dyn2trt.gates.record_decisions`, with their gradients.
            progress: fraction of training that has passed.

        Raises:
            ValueError: the decisions are of other blocks than the report.
        """
        blocks = mean_with_local_gradient(executed_fractions(self.report, decisions))
        executed = executed_fraction(self.report, blocks)
        bounds = annealed_bounds(self.budget, progress, self.anneal)
        return SparsityTerms(
            network=(executed - self.budget) ** 2,
            lower=(bounds.lower - blocks).clamp(min=0).square().mean(),
            upper=(blocks - bounds.upper).clamp(min=0).square().mean(),
            executed=executed,
            blocks=blocks,
        )
