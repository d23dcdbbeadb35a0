"""BatchNorm over the batch of all processes.

`torch.nn.SyncBatchNorm` runs on GPUs only; this one runs wherever the processes can reduce a tensor, and remains a
`torch.nn.BatchNorm2d`, with its names in the state dict.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce


class SharedBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm2d whose statistics in training are those of all processes' equally large parts of a batch."""

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] → the same."""
        if not (self.training and dist.is_initialized()):
            return super().forward(x)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.momentum is not None
        wide = x.float()
        count = wide.numel() // wide.shape[1] * dist.get_world_size()
        sums = all_reduce(wide.sum(dim=(0, 2, 3)))
        mean = sums / count
        # Squares of what is left after the mean, not E[x²] − mean²: that difference cancels.
        centred = wide - mean[:, None, None]
        variance = all_reduce(centred.square().sum(dim=(0, 2, 3))) / count
        with torch.no_grad():
            self.running_mean.lerp_(mean.detach(), self.momentum)
            self.running_var.lerp_(variance.detach() * count / (count - 1), self.momentum)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
        # F.batch_norm with given statistics would not carry their gradient.
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)


def share_batchnorm(network: nn.Module) -> None:
    """Make every BatchNorm2d of ``network`` a `SharedBatchNorm2d`, in place, with the same parameters."""
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SharedBatchNorm2d
