"""What is added to the task's loss so that a network computes less: one class a method, each in its own file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from torch import Tensor, nn

from dyn2trt.errors import Dyn2trtError
from dyn2trt.gates import Decision
from dyn2trt.macs import MacReport
from dyn2trt.recipe import CRITERIA, TrainSection
from dyn2trt.train.budget import SparsityCriterion
from dyn2trt.train.ponder import PonderCriterion, stages_of
from dyn2trt.train.target_rate import TargetRateCriterion


class Terms(Protocol):
    """A criterion's judgement of one batch."""

    @property
    def total(self) -> Tensor:
        """What is added to the task's loss once it is weighed, scalar."""

    def logged(self) -> Mapping[str, Tensor]:
        """Scalars of float64 by column of the log, among them ``executed``, a fraction of the gated blocks' work."""


class Criterion(Protocol):
    """Judges the decisions of a forward pass at a ``progress`` of training from 0 to 1.

    Attributes:
        weight: of the terms' total beside the task's loss.
    """

    weight: float

    def __call__(self, decisions: Sequence[Decision], progress: float) -> Terms: ...


def make_criterion(settings: TrainSection, network: nn.Module, report: MacReport) -> Criterion | None:
    """The criterion that a recipe asks for, None where it asks for none and the network trains dense.

    Raises:
        Dyn2trtError: it does not fit the network's gates, or there are none.
    """
    given = [key for key in CRITERIA if getattr(settings, key) is not None]
    if given and not report.blocks:
        raise Dyn2trtError(f"the network has no gated block, so train.{given[0]} means nothing; leave it out")
    alpha = settings.alpha
    if settings.budget is not None:
        return SparsityCriterion(report, settings.budget, settings.anneal, 10.0 if alpha is None else alpha)
    if settings.target_rate is not None:
        return TargetRateCriterion(report, settings.target_rate, 2.0 if alpha is None else alpha)
    if settings.ponder is not None:
        return PonderCriterion(report, stages_of(network), settings.ponder)
    return None
