"""The target rate: how often each layer of a network executes, where gates decide on layers.

Veit & Belongie, "Convolutional Networks with Adaptive Inference Graphs", ECCV 2018, section 3.3: every layer's rate of
execution over a batch is pulled to a target, so that no gate closes or opens for good and the layers share the work.
The authors' schedules for ImageNet have one target a layer (README of their code).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dyn2trt.errors import Dyn2trtError
from dyn2trt.gates import Decision
from dyn2trt.macs import MacReport
from dyn2trt.train.executed import executed_fraction, executed_fractions
from dyn2trt.train.processes import mean_with_local_gradient


@dataclass(frozen=True)
class RateTerms:
    """The criterion's term for one batch, float64, without its weight.

    Attributes:
        total: the mean over layers of the squared distance of the rate from its target.
        rates: fraction of the images for which each layer executed, [number of layers].
        executed: fraction of the gated blocks' multiply-accumulates that the batch executed.
    """

    total: Tensor
    rates: Tensor
    executed: Tensor

    def logged(self) -> dict[str, Tensor]:
        """By column of the log."""
        return {"loss_rate": self.total, "executed": self.executed}


class TargetRateCriterion:
    """The criterion of one network at one input size. In a run of several processes, rates are of the whole batch.

    Args:
        report: of the network, of one gated block at least.
        target: rate that every gated layer is to have, 0 to 1, or the rate of each, in order of execution.
        weight: of the term beside the task's loss; the authors' 2 for CIFAR-10 and 1 for ImageNet. Theirs is beside a
            mean over all layers, also those that they keep on; this one is over the layers that have a gate.

    Raises:
        Dyn2trtError: not all of the network's gates decide on layers, or there are not as many targets as layers.
    """

    def __init__(self, report: MacReport, target: float | Sequence[float], weight: float = 2.0) -> None:
        if any(block.decides != "layer" for block in report.blocks):
            raise Dyn2trtError(
                "train.target_rate is for gates that skip whole layers (convnet_aig, cifar_convnet_aig, or mask_unit "
                "layer), which this network has none of, or others too; leave it out or set train.budget"
            )
        layers = [block.name for block in report.blocks]
        self.targets = tuple(target) if isinstance(target, Sequence) else (target,) * len(layers)
        """Of each gated layer, in order of execution."""
        if len(self.targets) != len(layers):
            raise Dyn2trtError(
                f"train.target_rate has {len(self.targets)} rates, and the network has {len(layers)} gated layers, "
                f"{', '.join(layers)}; give one rate for each, in this order, or one number for all"
            )
        self.report = report
        self.weight = weight

    def __call__(self, decisions: Sequence[Decision], progress: float) -> RateTerms:
        """Judge the decisions of one forward pass; ``progress`` does not matter."""
        rates = torch.stack([decision.mask.mean(dtype=torch.float64) for decision in decisions])
        rates = mean_with_local_gradient(rates)
        blocks = mean_with_local_gradient(executed_fractions(self.report, decisions).detach())
        executed = executed_fraction(self.report, blocks)
        return RateTerms((rates - rates.new_tensor(self.targets)).square().mean(), rates, executed)
