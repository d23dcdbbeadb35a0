"""Training that has gone wrong stops with a message instead of running on."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from dyn2trt.errors import Dyn2trtError

WINDOW = 20
FACTOR = 4.0


@dataclass
class DivergenceGuard:
    """Watches the task's loss: it must be finite, and may not rise far above what an untrained network gives.

    Attributes:
        blind: the loss of outputs that are zero everywhere, which do without the image.
        reference: the mean of the first `WINDOW` losses or ``blind``, whichever is more, once there are as many. A
            network that is fine-tuned begins below ``blind`` and may rise to it while its gates close.
        recent: the latest losses, at most `WINDOW`.
    """

    blind: float = 0.0
    reference: float | None = None
    recent: list[float] = field(default_factory=list)

    def watch(self, loss: float, *, epoch: int, step: int, learning_rate: float) -> None:
        """Take note of one step's loss.

        Raises:
            Dyn2trtError: it is NaN or infinite, or the mean of the last steps is `FACTOR` times the reference.
        """
        where = f"in epoch {epoch + 1}, step {step + 1}, at a learning rate of {learning_rate:.3g}"
        mend = "lower train.learning_rate or lengthen train.warmup"
        if not math.isfinite(loss):
            raise Dyn2trtError(f"the loss became {loss} {where}; the last checkpoint is from before; {mend}")
        self.recent = [*self.recent[1 - WINDOW :], loss]
        if len(self.recent) < WINDOW:
            return
        mean = sum(self.recent) / WINDOW
        if self.reference is None:
            self.reference = max(mean, self.blind)
        if mean > FACTOR * self.reference:
            raise Dyn2trtError(
                f"training diverges: the loss rose from {self.reference:.3g} to {mean:.3g} {where}; {mend}"
            )
