"""BatchNorm of evaluation mode as part of the convolution before it."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from dyn2trt.blocks.dynamic import DynamicConv2d


def folded_weights(convolution: nn.Conv2d | DynamicConv2d, batchnorm: nn.Module) -> tuple[Tensor, Tensor]:
    """Return the weight [Cout, Cin/groups, kh, kw] and bias [Cout] of ``batchnorm(convolution(·))`` in evaluation.

    Computed in float64 and returned in the dtype of the convolution's weight. ``nn.Identity`` stands for a BatchNorm
    that was folded already. Of a dynamic convolution all kernels of a channel are scaled, so that their weighted sum
    is; the weight keeps its shape.

    Raises:
        TypeError: another kind of module follows the convolution.
    """
    weight, bias = convolution.weight, convolution.bias
    if isinstance(batchnorm, nn.Identity):
        return weight, weight.new_zeros(convolution.out_channels) if bias is None else bias
    if not isinstance(batchnorm, nn.BatchNorm2d) or batchnorm.running_mean is None or batchnorm.running_var is None:
        raise TypeError(f"expected a BatchNorm2d with running statistics behind a convolution, not {batchnorm}")

    def double(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else tensor.detach().double()

    # A dynamic convolution's kernels of one channel lie side by side: folded as if they were one larger kernel.
    by_channel = weight.detach().double().reshape(convolution.out_channels, -1, *weight.shape[2:])
    folded = fuse_conv_bn_weights(
        by_channel,
        double(bias),
        batchnorm.running_mean.double(),
        batchnorm.running_var.double(),
        batchnorm.eps,
        double(batchnorm.weight),
        double(batchnorm.bias),
    )
    return folded[0].detach().reshape(weight.shape).to(weight.dtype), folded[1].detach().to(weight.dtype)
