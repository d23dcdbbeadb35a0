"""BatchNorm of evaluation mode as part of the convolution before it."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights

from dyn2trt.blocks.dynamic import DynamicConv2d
from dyn2trt.blocks.observe import Call

_BATCHNORM = ("native_batch_norm", "cudnn_batch_norm", "miopen_batch_norm")
_PLAIN_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def is_evaluated_batchnorm(call: Call) -> bool:
    """Whether ``call`` normalises by running statistics."""
    return call.op in _BATCHNORM and call.args[3] is not None and call.args[4] is not None and not call.args[5]


def folded_weights(
    weight: Tensor, bias: Tensor | None, call: Call | None, *, kernels: int = 1
) -> tuple[Tensor, Tensor]:
    """Return weight and bias [Cout] of a convolution with a BatchNorm behind it, in evaluation.

    Computed in float64 and returned in the dtype of ``weight``.

    Args:
        weight: [Cout·kernels, Cin/groups, ...].
        bias: [Cout] or None.
        call: the BatchNorm, see `is_evaluated_batchnorm`; None where there is none.
        kernels: a channel of a dynamic convolution has so many, side by side; all are scaled, so their weighted sum is.
    """
    channels = weight.shape[0] // kernels
    if call is None:
        return weight.detach(), weight.new_zeros(channels) if bias is None else bias.detach()

    def double(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else tensor.detach().double()

    _, scale, shift, mean, variance, _, _, eps = call.args[:8]
    by_channel = weight.detach().double().reshape(channels, -1, *weight.shape[2:])
    folded = fuse_conv_bn_weights(
        by_channel, double(bias), mean.double(), variance.double(), eps, double(scale), double(shift)
    )
    return folded[0].detach().reshape(weight.shape).to(weight.dtype), folded[1].detach().to(weight.dtype)


def is_plain_convolution(module: nn.Module | None) -> bool:
    """Whether calling ``module`` convolves with its parameters ``weight`` and ``bias`` and does nothing behind it."""
    if type(module) is DynamicConv2d:
        return is_untouched(module)
    return any(
        isinstance(module, kind)
        and type(module).forward is kind.forward
        and type(module)._conv_forward is kind._conv_forward
        and is_untouched(module)
        for kind in _PLAIN_CONVOLUTIONS
    )


def is_plain_batchnorm(module: nn.Module | None) -> bool:
    """Whether calling ``module`` normalises by its parameters and statistics and does nothing else."""
    return isinstance(module, _BatchNorm) and type(module).forward is _BatchNorm.forward and is_untouched(module)


def is_untouched(module: nn.Module) -> bool:
    """Nothing was hung on this very module: a hook, or another forward."""
    hooks = (module._forward_hooks, module._forward_pre_hooks)
    return not any(hooks) and not {"forward", "_conv_forward", "_check_input_dim"} & vars(module).keys()
