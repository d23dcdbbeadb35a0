"""The ponder cost: how many units the positions of a stage go through, where positions halt.

Figurnov et al., "Spatially Adaptive Computation Time for Residual Networks", CVPR 2017, section 3.1: a position that
halts at unit N costs N + R, where R = 1 − (h_1 + … + h_{N−1}) is what was left of 1 when it came there. N has no
gradient, R has. A stage's cost is the mean over its positions, the network's the sum over its stages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dyn2trt.blocks import halting_stages
from dyn2trt.errors import Dyn2trtError
from dyn2trt.gates import Decision
from dyn2trt.gates.halting import EPSILON
from dyn2trt.macs import MacReport
from dyn2trt.train.executed import executed_fraction, executed_fractions
from dyn2trt.train.processes import mean_with_local_gradient


@dataclass(frozen=True)
class PonderTerms:
    """The criterion's term for one batch, float64, without its weight.

    Attributes:
        total: the ponder cost, the sum of ``stages``.
        stages: of each stage, [number of stages]; between 2 and its number of units + 1.
        executed: fraction of the gated blocks' multiply-accumulates that the batch executed.
    """

    total: Tensor
    stages: Tensor
    executed: Tensor

    def logged(self) -> dict[str, Tensor]:
        """By column of the log."""
        return {"loss_ponder": self.total, "executed": self.executed}


class PonderCriterion:
    """The criterion of one network at one input size. In a run of several processes, costs are of the whole batch.

    Args:
        report: of the network, of one gated block at least.
        stages: paths of the blocks with a gate, stage by stage (`stages_of`).
        weight: of the term beside the task's loss, the paper's τ.

    Raises:
        Dyn2trtError: not all of the network's gates halt.
    """

    def __init__(self, report: MacReport, stages: Sequence[Sequence[str]], weight: float = 0.005) -> None:
        if any(block.decides != "halting" for block in report.blocks):
            raise Dyn2trtError(
                "train.ponder is for networks whose positions halt (sact, cifar_sact), which this one's do not; leave "
                "it out or set train.budget"
            )
        self.report = report
        self.stages = tuple(stages)
        self.weight = weight

    def __call__(self, decisions: Sequence[Decision], progress: float) -> PonderTerms:
        """Judge the decisions of one forward pass; ``progress`` does not matter."""
        logits = {decision.block: decision.logits for decision in decisions}
        stages = torch.stack([ponder_cost(torch.stack([logits[block] for block in stage])) for stage in self.stages])
        stages = mean_with_local_gradient(stages)
        blocks = mean_with_local_gradient(executed_fractions(self.report, decisions).detach())
        return PonderTerms(stages.sum(), stages, executed_fraction(self.report, blocks))


def ponder_cost(logits: Tensor) -> Tensor:
    """Mean of N + R over the positions of one stage, float64 scalar.

    Args:
        logits: of the stage's second to last unit, [units − 1, N, 1, H, W]: 1 − ε less the scores so far.
    """
    logits = logits.double()
    active = logits.detach() >= 0
    goes_on = torch.cat([active[1:], torch.zeros_like(active[:1])])
    left = torch.where(active & ~goes_on, EPSILON + logits, 0.0).sum(dim=0)
    remainder = torch.where(active[0], left, 1.0)
    return (1 + active.sum(dim=0) + remainder).mean()


def stages_of(network: nn.Module) -> tuple[tuple[str, ...], ...]:
    """Paths of the gated blocks of each halting stage that has any."""
    return tuple(units for name, stage in halting_stages(network) if (units := stage.gated_units(name)))
