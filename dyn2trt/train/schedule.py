"""What changes as training goes on: the learning rate and the Gumbel noise. All of it follows from the step."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dyn2trt.recipe import TrainSection


@dataclass(frozen=True)
class Moment:
    """What holds for one step of training.

    Attributes:
        progress: fraction of training that has passed, 0 up to but not including 1.
        learning_rate: of the optimizer.
        noise: whether the gates add Gumbel noise.
    """

    progress: float
    learning_rate: float
    noise: bool


def moment(settings: TrainSection, epoch: int, step: int, steps: int) -> Moment:
    """The moment of ``step`` (0 to ``steps`` − 1) of ``epoch`` (0 to ``settings.epochs`` − 1).

    The noise goes off and milestones act between epochs, as in the authors' code; the bounds, the warm-up and the
    cosine (Loshchilov & Hutter, ICLR 2017, without restarts) move with every step.
    """
    passed = epoch + step / steps
    rate = settings.learning_rate
    if settings.schedule == "cosine":
        rate *= 0.5 * (1 + math.cos(math.pi * passed / settings.epochs))
    else:
        rate *= 0.1 ** sum(epoch >= milestone for milestone in settings.milestones)
    if passed < settings.warmup:
        rate *= (passed + 1 / steps) / (settings.warmup + 1 / steps)
    return Moment(passed / settings.epochs, rate, noise=epoch < settings.noise_until * settings.epochs)
