"""The gate's decision: binary Gumbel-Softmax with a straight-through gradient."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dyn2trt.errors import Dyn2trtError


class GumbelGate(nn.Module):
    """Turns logits into a hard 0/1 mask (Verelst & Tuytelaars, "Dynamic Convolutions", CVPR 2020, section 3.2).

    In evaluation a position is active when its logit ≥ 0. In training the logits get logistic noise, which is the
    difference of the two Gumbel samples of a binary Gumbel-Softmax (Jang et al., ICLR 2017; Maddison et al., ICLR
    2017), the relaxed decision is sigmoid(logit / temperature), and the forward value is that decision rounded while
    the gradient is the relaxed one's (straight-through).

    Attributes:
        temperature: of the relaxation, > 0; training only.
        noise: whether training adds the noise; the authors switch it off for the last epochs.
    """

    def __init__(self, temperature: float = 1.0, noise: bool = True) -> None:
        super().__init__()
        self.temperature = temperature
        self.noise = noise

    def forward(self, logits: Tensor) -> Tensor:
        """Decide.

        Args:
            logits: floating point, any shape.

        Returns:
            The mask, of the shape and dtype of ``logits``, every element exactly 0 or 1.
        """
        if not self.training:
            return (logits >= 0).to(logits.dtype)
        if self.noise:
            # eps keeps the logit of a uniform sample finite at both ends: |noise| ≤ 16 in float32.
            logits = logits + torch.logit(torch.rand_like(logits), eps=torch.finfo(logits.dtype).eps)
        soft = torch.sigmoid(logits / self.temperature)
        # soft - soft.detach() is exactly zero, so the forward value stays exactly 0 or 1.
        return (logits >= 0).to(logits.dtype) + (soft - soft.detach())

    def extra_repr(self) -> str:
        return f"temperature={self.temperature}, noise={self.noise}"


def set_gumbel(network: nn.Module, *, temperature: float | None = None, noise: bool | None = None) -> None:
    """Set the temperature, the noise switch, or both on every gate of ``network``.

    Raises:
        Dyn2trtError: the temperature is not positive.
    """
    if temperature is not None and not temperature > 0:
        raise Dyn2trtError(f"the Gumbel temperature is positive, not {temperature}; the authors use 1.0")
    for module in network.modules():
        if isinstance(module, GumbelGate):
            module.temperature = module.temperature if temperature is None else temperature
            module.noise = module.noise if noise is None else noise
