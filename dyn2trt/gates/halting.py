"""Gates that halt: a position adds up scores from unit to unit of a stage, and is done when the sum reaches 1.

Figurnov et al., "Spatially Adaptive Computation Time for Residual Networks", CVPR 2017, section 3.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from dyn2trt.errors import Dyn2trtError
from dyn2trt.gates.mask_unit import GatePart, MaskUnit, Squeeze

EPSILON = 0.01
"""A position halts once its scores add up to 1 − ε, so that it can halt after a single unit."""
INITIAL_BIAS = -3.0
"""Of a score, before its sigmoid: 0.05 a unit, so that training begins with deep stages (the authors' code)."""


class HaltingScore(GatePart):
    """Halting scores in (0, 1) of a unit's output: sigmoid(3×3 convolution + linear layer of the pooled features)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = Squeeze(channels)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] → [N, 1, H, W] in the dtype of the weights."""
        return torch.sigmoid(self.squeeze(x.to(next(self.parameters()).dtype)))


class HaltingMaskUnit(MaskUnit):
    """Decides by the scores of the units before: active where their sum is at most 1 − ε.

    The logits are (1 − ε) − sum, so they fall from unit to unit and the masks of a stage shrink. The decision is
    deterministic, in training too, and has no gradient: the scores learn through the weights that they give the
    units' outputs, and through the ponder cost (`dyn2trt.blocks.halting.HaltingStage` runs the unit and its score).

    Attributes:
        score: scores of the block's input, which is the output of the unit before.
    """

    decides: ClassVar[str] = "halting"

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.score = HaltingScore(channels)
        self.initialise()

    def forward(self, cumulative: Tensor) -> tuple[Tensor, Tensor]:
        """Decide for every position.

        Args:
            cumulative: sums of scores [N, 1, H, W].

        Returns:
            logits and mask (0 or 1), both [N, 1, H, W] in the dtype of ``cumulative``.
        """
        if cumulative.shape[1] != 1:
            raise Dyn2trtError("a unit with a halting gate runs inside its HaltingStage, which adds up the scores")
        logits = (1 - EPSILON) - cumulative
        return logits, (logits >= 0).to(logits.dtype)

    @torch.no_grad()
    def initialise(self) -> None:
        """Scores of sigmoid(`INITIAL_BIAS`), varied by the features with a standard deviation of 1 before it."""
        squeeze = self.score.squeeze
        for layer in (squeeze.conv, squeeze.fc):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
        self._set_bias(INITIAL_BIAS)

    @torch.no_grad()
    def open(self, logit: float) -> None:
        """Set every score to sigmoid(−2 · ``logit``): with 2, a stage of up to 55 units runs to its end."""
        for parameter in self.parameters():
            parameter.zero_()
        self._set_bias(-2 * logit)

    def _set_bias(self, value: float) -> None:
        squeeze = self.score.squeeze
        assert squeeze.conv.bias is not None
        squeeze.fc.bias.zero_()
        squeeze.conv.bias.fill_(value)
