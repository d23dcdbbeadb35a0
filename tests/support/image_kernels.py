"""Layers of public code that compute kernels for every image and convolve a batch in groups, as their authors write it.

Each takes and gives [N, 8, H, W]. The forward passes are those of the sources named, line by line where it matters:
what is laid side by side, how kernels are made, how the result is taken apart again.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class CondConv(nn.Module):
    """CondConv2d of timm (layers/cond_conv2d.py), after Yang et al. 2019; with ``same`` it pads as TensorFlow does."""

    def __init__(
        self, *, kernel: int = 3, stride: int = 1, groups: int = 1, bias: bool = True, same: bool = False
    ) -> None:
        super().__init__()
        self.out_channels, self.per_group, self.kernel, self.stride = 8, 8 // groups, kernel, stride
        self.groups, self.same = groups, same
        self.routing = nn.Linear(8, 4)
        self.weight = nn.Parameter(
            torch.randn(4, 8 * self.per_group * kernel**2) / math.sqrt(self.per_group * kernel**2)
        )
        self.bias = nn.Parameter(torch.randn(4, 8)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        routing_weights = torch.sigmoid(self.routing(F.adaptive_avg_pool2d(x, 1).flatten(1)))
        B, C, H, W = x.shape
        weight = torch.matmul(routing_weights, self.weight)
        weight = weight.view((B * self.out_channels, self.per_group, self.kernel, self.kernel))
        bias = None
        if self.bias is not None:
            bias = torch.matmul(routing_weights, self.bias)
            bias = bias.view(B * self.out_channels)
        x = x.reshape(1, B * C, H, W)
        padding = self.kernel // 2
        if self.same:
            pad_h, pad_w = (max((math.ceil(n / self.stride) - 1) * self.stride + self.kernel - n, 0) for n in (H, W))
            x = F.pad(x, [pad_w // 2, pad_w - pad_w // 2, pad_h // 2, pad_h - pad_h // 2])
            padding = 0
        out = F.conv2d(x, weight, bias, stride=self.stride, padding=padding, groups=self.groups * B)
        return out.permute([1, 0, 2, 3]).view(B, self.out_channels, out.shape[-2], out.shape[-1])


class KernelAttention(nn.Module):
    """Attention over kernels of Chen et al. 2020, as in the public PyTorch code of the paper's readers."""

    def __init__(self, *, dilation: int = 1) -> None:
        super().__init__()
        self.attention = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1))
        self.weight = nn.Parameter(torch.randn(4, 8, 8, 3, 3) / 8)
        self.bias = nn.Parameter(torch.randn(4, 8))
        self.dilation = dilation

    def forward(self, x: Tensor) -> Tensor:
        softmax_attention = F.softmax(self.attention(x).view(x.size(0), -1) / 34, 1)
        batch_size, _, height, width = x.size()
        x = x.view(1, -1, height, width)
        weight = self.weight.view(4, -1)
        aggregate_weight = torch.mm(softmax_attention, weight).view(-1, 8, 3, 3)
        aggregate_bias = torch.mm(softmax_attention, self.bias).view(-1)
        output = F.conv2d(
            x,
            weight=aggregate_weight,
            bias=aggregate_bias,
            padding=self.dilation,
            dilation=self.dilation,
            groups=batch_size,
        )
        return output.view(batch_size, 8, output.size(-2), output.size(-1))


class ODConv(nn.Module):
    """Omni-dimensional dynamic convolution of Li et al. 2022, after the authors' odconv.py."""

    def __init__(self, *, groups: int = 1) -> None:
        super().__init__()
        self.groups = groups
        self.fc, self.bn = nn.Conv2d(8, 4, 1, bias=False), nn.BatchNorm2d(4)
        self.channel_fc, self.filter_fc = nn.Conv2d(4, 8, 1), nn.Conv2d(4, 8, 1)
        self.spatial_fc, self.kernel_fc = nn.Conv2d(4, 9, 1), nn.Conv2d(4, 4, 1)
        self.weight = nn.Parameter(torch.randn(4, 8, 8 // groups, 3, 3) / math.sqrt(2 / groups))

    def forward(self, x: Tensor) -> Tensor:
        attention = F.relu(self.bn(self.fc(F.adaptive_avg_pool2d(x, 1))))
        channel_attention = torch.sigmoid(self.channel_fc(attention).view(attention.size(0), -1, 1, 1))
        filter_attention = torch.sigmoid(self.filter_fc(attention).view(attention.size(0), -1, 1, 1))
        spatial_attention = torch.sigmoid(self.spatial_fc(attention).view(attention.size(0), 1, 1, 1, 3, 3))
        kernel_attention = F.softmax(self.kernel_fc(attention).view(attention.size(0), -1, 1, 1, 1, 1), dim=1)
        batch_size, _, height, width = x.size()
        x = x * channel_attention
        x = x.reshape(1, -1, height, width)
        aggregate_weight = spatial_attention * kernel_attention * self.weight.unsqueeze(dim=0)
        aggregate_weight = torch.sum(aggregate_weight, dim=1).view([-1, 8 // self.groups, 3, 3])
        output = F.conv2d(x, weight=aggregate_weight, bias=None, padding=1, groups=self.groups * batch_size)
        output = output.view(batch_size, 8, output.size(-2), output.size(-1))
        return output * filter_attention


class Depthwise(nn.Module):
    """Correlation of every channel with a kernel pooled from the image itself, as Siamese trackers correlate."""

    def forward(self, x: Tensor) -> Tensor:
        kernel = F.adaptive_avg_pool2d(x, 3)
        batch, channel = kernel.shape[:2]
        x = x.view(1, batch * channel, x.size(2), x.size(3))
        kernel = kernel.view(batch * channel, 1, kernel.size(2), kernel.size(3))
        out = F.conv2d(x, kernel, groups=batch * channel)
        return out.view(batch, channel, out.size(2), out.size(3))


class Modulated(nn.Module):
    """Modulated convolution of StyleGAN2 (Karras et al. 2020), its style taken from the image; ``up`` transposes."""

    def __init__(self, *, up: bool = False) -> None:
        super().__init__()
        self.up = up
        self.style = nn.Linear(8, 8)
        self.weight = nn.Parameter(torch.randn(8, 8, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        styles = self.style(x.mean(dim=(2, 3))) + 1
        batch_size = x.shape[0]
        w = self.weight.unsqueeze(0) * styles.reshape(batch_size, 1, -1, 1, 1)
        dcoefs = (w.square().sum(dim=[2, 3, 4]) + 1e-8).rsqrt()
        w = w * dcoefs.reshape(batch_size, -1, 1, 1, 1)
        x = x.reshape(1, -1, *x.shape[2:])
        if self.up:
            w = w.transpose(1, 2).reshape(batch_size * 8, 8, 3, 3)
            x = F.conv_transpose2d(x, w, stride=2, padding=1, output_padding=1, groups=batch_size)
        else:
            x = F.conv2d(x, w.reshape(-1, 8, 3, 3), padding="same", groups=batch_size)
        return x.reshape(batch_size, -1, *x.shape[2:])


class Unparted(nn.Module):
    """Convolves images side by side twice and takes the result apart only then."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels = nn.Linear(8, 8 * 9)

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        kernels = torch.tanh(self.kernels(x.mean((2, 3)))).reshape(n * c, 1, 3, 3)
        y = F.conv2d(x.reshape(1, n * c, h, w), kernels, padding=1, groups=n * c)
        y = F.conv2d(F.relu(y), kernels, padding=1, groups=n * c)
        return y.reshape(n, c, h, w)


LAYERS = {
    "condconv": lambda: CondConv(),
    "condconv_strided_in_groups": lambda: CondConv(stride=2, groups=2),
    "condconv_depthwise": lambda: CondConv(kernel=5, groups=8, bias=False),
    "condconv_pointwise": lambda: CondConv(kernel=1, stride=2),
    "condconv_same": lambda: CondConv(stride=2, same=True),
    "kernel_attention": lambda: KernelAttention(),
    "kernel_attention_dilated": lambda: KernelAttention(dilation=2),
    "odconv": lambda: ODConv(),
    "odconv_in_groups": lambda: ODConv(groups=4),
    "depthwise_correlation": lambda: Depthwise(),
    "modulated": lambda: Modulated(),
    "modulated_up": lambda: Modulated(up=True),
    "unparted": lambda: Unparted(),
}


def network_of(layer: str) -> nn.Module:
    """A seeded network in evaluation mode around one of `LAYERS`, [N, 3, H, W] → [N, 4, H', W']."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        return nn.Sequential(stem, LAYERS[layer](), nn.ReLU(), nn.Conv2d(8, 4, 1)).eval()
