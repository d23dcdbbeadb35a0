"""BatchNorm of evaluation mode as part of the convolution before it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights


def folded_weights(convolution: nn.Conv2d, batchnorm: nn.Module) -> tuple[Tensor, Tensor]:
    """Return the weight [Cout, Cin/groups, kh, kw] and bias [Cout] of ``batchnorm(convolution(·))`` in evaluation.

    Computed in float64 and returned in the dtype of the convolution's weight. ``nn.Identity`` stands for a BatchNorm
    that was folded already.

    Raises:
        TypeError: another kind of module follows the convolution.
    """
    weight, bias = convolution.weight, convolution.bias
    if isinstance(batchnorm, nn.Identity):
        return weight, torch.zeros_like(weight[:, 0, 0, 0]) if bias is None else bias
    if not isinstance(batchnorm, nn.BatchNorm2d) or batchnorm.running_mean is None or batchnorm.running_var is None:
        raise TypeError(f"expected a BatchNorm2d with running statistics behind a convolution, not {batchnorm}")

    def double(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else tensor.detach().double()

    folded = fuse_conv_bn_weights(
        weight.detach().double(),
        double(bias),
        batchnorm.running_mean.double(),
        batchnorm.running_var.double(),
        batchnorm.eps,
        double(batchnorm.weight),
        double(batchnorm.bias),
    )
    return folded[0].detach().to(weight.dtype), folded[1].detach().to(weight.dtype)
