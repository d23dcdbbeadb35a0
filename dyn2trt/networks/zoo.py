"""The networks by name, with their options. Listing them imports no torch; building one does."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dyn2trt.errors import Dyn2trtError
from dyn2trt.networks.options import Option, Value, nearest, parse_options
from dyn2trt.networks.user import build_user_network

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class NetworkEntry:
    """One network of the zoo.

    Attributes:
        name: as on the command line.
        doc: one line.
        dynamic: what every image decides: ``positions``, ``layers`` or ``kernels``.
        task: ``classification``, ``pose`` or ``segmentation``.
        input_shape: default input, (N, C, H, W).
        options: what may be set.
        builder: ``module:function`` taking the options as keywords.
    """

    name: str
    doc: str
    dynamic: str
    task: str
    input_shape: tuple[int, int, int, int]
    options: tuple[Option, ...]
    builder: str

    def build(self, options: Mapping[str, Value]) -> nn.Module:
        """Build the network with random weights. Raises Dyn2trtError for a wrong option."""
        keywords = parse_options(self.name, self.options, options)
        module, _, function = self.builder.partition(":")
        return getattr(importlib.import_module(module), function)(**keywords)


def _mask_unit(default: str) -> Option:
    about = "gate of a block: of positions (pointwise, squeeze), of the whole layer, or none"
    return Option("mask_unit", default, about, choices=("pointwise", "squeeze", "layer", "none"))


def _classes(default: int) -> Option:
    return Option("classes", default, "number of classes", above=0)


_WIDTH = Option("width", 1.0, "multiplier of the channels", above=0)
_HALF_WIDTH = Option("width", 0.5, "multiplier of the channels of every stage", above=0)
_STEM = Option("stem", 54, "channels of the first convolution", above=0)
_UNGATED = Option("ungated", "none", "blocks without a gate, module paths like 'layer1.0 layer2.0'")
_KERNELS = Option("kernels", 6, "fixed kernels a channel of a dynamic convolution; 0: ordinary ones", above=-1)
_CIFAR_RESNET = (
    Option("depth", 20, "weighted layers", choices=(8, 14, 20, 26, 32, 110)),
    _classes(10),
    _WIDTH,
    Option("stem_stride", 1, "stride of the first convolution; 2 suits 64x64 images", choices=(1, 2)),
)
_RESNET = (Option("depth", 50, "weighted layers", choices=(18, 34, 50, 101, 152)), _WIDTH, _classes(1000))

_ENTRIES = (
    NetworkEntry(
        "cifar_resnet",
        "ResNet for 32x32 images, gated basic blocks",
        "positions",
        "classification",
        (1, 3, 32, 32),
        (*_CIFAR_RESNET, _mask_unit("squeeze"), _UNGATED),
        "dyn2trt.networks.cifar_resnet:cifar_resnet",
    ),
    NetworkEntry(
        "resnet",
        "ResNet for ImageNet, gated basic blocks (18, 34) or bottlenecks",
        "positions",
        "classification",
        (1, 3, 224, 224),
        (*_RESNET, _mask_unit("squeeze"), _UNGATED),
        "dyn2trt.networks.resnet:resnet",
    ),
    NetworkEntry(
        "mobilenet_v2",
        "MobileNetV2 for ImageNet, gated identity blocks",
        "positions",
        "classification",
        (1, 3, 224, 224),
        (_WIDTH, _classes(1000), _mask_unit("squeeze")),
        "dyn2trt.networks.mobilenet_v2:mobilenet_v2",
    ),
    NetworkEntry(
        "hourglass",
        "stacked hourglass of gated inverted residuals",
        "positions",
        "pose",
        (1, 3, 256, 256),
        (
            Option("stacks", 4, "hourglasses, one heat map a joint each", above=0),
            Option("features", 96, "channels", above=3),
            Option("joints", 16, "joints", above=0),
            Option("blocks", 1, "inverted residuals a place", above=0),
            _mask_unit("pointwise"),
        ),
        "dyn2trt.networks.hourglass:hourglass",
    ),
    NetworkEntry(
        "cifar_sact",
        "SACT for 32x32 images: ResNet whose positions halt one by one",
        "positions",
        "classification",
        (1, 3, 32, 32),
        (Option("depth", 20, "weighted layers", choices=(14, 20, 26, 32, 110)), *_CIFAR_RESNET[1:]),
        "dyn2trt.networks.cifar_resnet:cifar_sact",
    ),
    NetworkEntry(
        "sact",
        "SACT for ImageNet: ResNet whose positions halt one by one",
        "positions",
        "classification",
        (1, 3, 224, 224),
        _RESNET,
        "dyn2trt.networks.resnet:sact",
    ),
    NetworkEntry(
        "cifar_convnet_aig",
        "ConvNet-AIG for 32x32 images: ResNet that skips whole layers, image by image",
        "layers",
        "classification",
        (1, 3, 32, 32),
        (*_CIFAR_RESNET, _UNGATED),
        "dyn2trt.networks.cifar_resnet:cifar_convnet_aig",
    ),
    NetworkEntry(
        "convnet_aig",
        "ConvNet-AIG for ImageNet: ResNet that skips whole layers, image by image",
        "layers",
        "classification",
        (1, 3, 224, 224),
        (*_RESNET, _UNGATED),
        "dyn2trt.networks.resnet:convnet_aig",
    ),
    NetworkEntry(
        "dy_cifar_resnet",
        "ResNet for 32x32 images, dynamic convolutions",
        "kernels",
        "classification",
        (1, 3, 32, 32),
        (*_CIFAR_RESNET[:2], _HALF_WIDTH, _CIFAR_RESNET[3], _KERNELS),
        "dyn2trt.networks.dy_cifar_resnet:dy_cifar_resnet",
    ),
    NetworkEntry(
        "dy_resnet",
        "ResNet for ImageNet, dynamic convolutions at half the width (DyNet)",
        "kernels",
        "classification",
        (1, 3, 224, 224),
        (
            Option("depth", 18, "weighted layers", choices=(18, 50)),
            _HALF_WIDTH,
            _STEM,
            _classes(1000),
            _KERNELS,
        ),
        "dyn2trt.networks.dy_resnet:dy_resnet",
    ),
    NetworkEntry(
        "dy_shufflenet_v2",
        "ShuffleNetV2 for ImageNet, dynamic convolutions in the right branches (DyNet)",
        "kernels",
        "classification",
        (1, 3, 224, 224),
        (
            Option("width", 1.0, "width of ShuffleNetV2's table", choices=(0.5, 1.0, 1.5, 2.0)),
            _classes(1000),
            _KERNELS,
        ),
        "dyn2trt.networks.dy_shufflenet_v2:dy_shufflenet_v2",
    ),
    NetworkEntry(
        "dy_mobilenet_v2",
        "MobileNetV2 for ImageNet without expansion, dynamic convolutions (DyNet)",
        "kernels",
        "classification",
        (1, 3, 224, 224),
        (_WIDTH, _classes(1000), _KERNELS),
        "dyn2trt.networks.dy_mobilenet_v2:dy_mobilenet_v2",
    ),
    NetworkEntry(
        "dy_mobilenet_v3",
        "MobileNetV3 for ImageNet, dynamic convolutions (DyNet)",
        "kernels",
        "classification",
        (1, 3, 224, 224),
        (
            Option("variant", "large", "which of the two tables", choices=("small", "large")),
            _WIDTH,
            _classes(1000),
            _KERNELS,
        ),
        "dyn2trt.networks.dy_mobilenet_v3:dy_mobilenet_v3",
    ),
    NetworkEntry(
        "dy_fcn",
        "dilated FCN on Dy-ResNet50 for Cityscapes (DyNet)",
        "kernels",
        "segmentation",
        (1, 3, 768, 768),
        (
            _HALF_WIDTH,
            _STEM,
            Option("features", 448, "channels of the head", above=0),
            _classes(19),
            _KERNELS,
        ),
        "dyn2trt.networks.dy_fcn:dy_fcn",
    ),
)

NETWORKS: dict[str, NetworkEntry] = {entry.name: entry for entry in _ENTRIES}


def network_entry(name: str) -> NetworkEntry:
    """The network of the zoo with this name. Raises Dyn2trtError, naming the nearest, where there is none."""
    if name not in NETWORKS:
        raise Dyn2trtError(
            f"no network is named {name!r}{nearest(name, NETWORKS)}; there are {', '.join(NETWORKS)}, and your own as "
            "package.module:callable"
        )
    return NETWORKS[name]


def build_network(name: str, options: Mapping[str, Value] | None = None) -> nn.Module:
    """Build a network of the zoo, or a user's own by ``package.module:callable``, with random weights.

    Args:
        name: a key of `NETWORKS`, or ``package.module:callable`` where the callable takes the options as keywords
            and returns an ``nn.Module``; the module may lie in the working directory.
        options: values, or strings as typed on the command line.

    Raises:
        Dyn2trtError: an unknown network or option, or a value that the option refuses.
    """
    if ":" in name:
        return build_user_network(name, options or {})
    return network_entry(name).build(options or {})
