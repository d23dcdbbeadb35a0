"""Dy-ResNet, its dilated FCN and the ResNet for small images."""

import copy
import functools

import pytest
import torch
from dynet_cases import normalised, varied_images
from official import relative_error
from torch import Tensor, nn
from torch.nn import functional as F

from dyn2trt.blocks.dynamic import DynamicConv2d, dynamic_blocks, record_coefficients, set_kernel_execution
from dyn2trt.blocks.fold import fold_batchnorm
from dyn2trt.blocks.precision import to_precision
from dyn2trt.errors import Dyn2trtError
from dyn2trt.macs import MacReport, count_macs
from dyn2trt.networks.zoo import build_network

IMAGENET, CITYSCAPES = (1, 3, 224, 224), (1, 3, 768, 768)
SMALL: dict[str, dict[str, int | float]] = {
    "dy_resnet 18": {"depth": 18, "width": 0.125, "stem": 8, "classes": 7},
    "dy_resnet 50": {"depth": 50, "width": 0.125, "stem": 8, "classes": 7},
    "dy_fcn": {"width": 0.125, "stem": 8, "features": 12, "classes": 7},
    "dy_cifar_resnet": {"depth": 14, "classes": 7},
}


@functools.cache
def small(name: str, kernels: int = 3) -> nn.Module:
    """A narrow network whose BatchNorms normalise, as after training, and scale and shift at random."""
    torch.manual_seed(0)
    network = build_network(name.split()[0], {**SMALL[name], "kernels": kernels})
    return normalised(network, images(8))


def images(n: int) -> Tensor:
    """Of one small odd size."""
    return varied_images(n, 49, 67)


def macs(name: str, shape: tuple[int, int, int, int], **options: int | float) -> MacReport:
    with torch.device("meta"):
        return count_macs(build_network(name, options), shape)


@pytest.mark.parametrize(
    ("depth", "convolutions", "total"),
    # Table 1; the totals are the arXiv abstract's 67.2 % off 1730 M and 71.3 % off 3890 M.
    [(18, 550e6, (1 - 0.672) * 1730e6), (50, 1075e6, (1 - 0.713) * 3890e6)],
)
def test_multiply_accumulates_of_dy_resnet_are_the_papers(depth: int, convolutions: float, total: float) -> None:
    report = macs("dy_resnet", IMAGENET, depth=depth)
    assert report.macs_dense - report.macs_generation == pytest.approx(convolutions, rel=0.03)
    assert report.macs_dense == pytest.approx(total, rel=0.03)
    assert report.macs_dense == pytest.approx(convolutions, rel=0.03)
    static = macs("dy_resnet", IMAGENET, depth=depth, kernels=0)
    assert (static.macs_dense, static.macs_generation) == (report.macs_dense - report.macs_generation, 0)


def test_multiply_accumulates_of_the_segmentation_networks_are_the_papers() -> None:
    """Table 3, at the crop of 768×768 for which the static one has the paper's count."""
    static = macs("dy_fcn", CITYSCAPES, width=1.0, stem=64, features=512, kernels=0)
    assert static.macs_dense == pytest.approx(310.8e9, rel=0.003)
    assert macs("dy_fcn", CITYSCAPES).macs_dense == pytest.approx(95.6e9, rel=0.01)


@pytest.mark.parametrize("depth", [18, 50])
def test_full_width_without_kernels_is_resnet(depth: int) -> None:
    """Multiply-accumulates of He et al., table 1, where ResNet-50 has its stride on the first 1×1."""
    static = macs("dy_resnet", IMAGENET, depth=depth, width=1.0, stem=64, kernels=0)
    assert static.macs_dense == {18: 1_814_073_344, 50: 3_857_973_248}[depth]


@pytest.mark.parametrize("name", SMALL)
def test_every_convolution_of_a_block_but_the_projection_is_dynamic(name: str) -> None:
    blocks = dict(dynamic_blocks(small(name)))
    assert len(blocks) == {"dy_resnet 18": 8, "dy_cifar_resnet": 6}.get(name, 16)
    for block in blocks.values():
        static = [path for path, module in block.named_modules() if isinstance(module, nn.Conv2d)]
        assert static in ([], ["downsample.0"])


@pytest.mark.parametrize("depth", [18, 50])
def test_the_predictors_hidden_layer_is_a_quarter_of_the_blocks_input(depth: int) -> None:
    with torch.device("meta"):
        network = build_network("dy_resnet", {"depth": depth})
    for _, block in dynamic_blocks(network):
        first, last = [module for module in block.predictor.modules() if isinstance(module, nn.Linear)]
        assert first.in_features == block.conv1.in_channels
        assert first.out_features == last.in_features == block.conv1.in_channels // 4
        convolutions = [module for module in block.modules() if isinstance(module, DynamicConv2d)]
        assert last.out_features == sum(6 * convolution.out_channels for convolution in convolutions)


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("name", SMALL)
@torch.no_grad()
def test_every_execution_gives_one_output(name: str, batch: int) -> None:
    network, x = copy.deepcopy(small(name)).double(), images(batch).double()
    folded = fold_batchnorm(network, x.shape)
    assert not [module for module in folded.modules() if isinstance(module, nn.BatchNorm2d)]
    expected = by_definition(network, x)
    for candidate in (network, folded):
        for execution in ("feature_maps", "fused"):
            set_kernel_execution(candidate, execution)
            assert relative_error(candidate(x), expected) < 1e-11, execution


def by_definition(network: nn.Module, x: Tensor) -> Tensor:
    """Image by image, each convolution an ordinary one whose kernels are summed by loops over the coefficients."""
    hooks = [module.register_forward_hook(_summed) for module in network.modules() if isinstance(module, DynamicConv2d)]
    try:
        return torch.cat([network(image[None]) for image in x])
    finally:
        for hook in hooks:
            hook.remove()


def _summed(module: DynamicConv2d, args: tuple[Tensor, Tensor], _output: Tensor) -> Tensor:
    x, coefficients = args
    g = module.kernels
    kernels = [
        sum(coefficients[0, row] * module.weight[row] for row in range(c * g, (c + 1) * g))
        for c in range(module.out_channels)
    ]
    return F.conv2d(x, torch.stack(kernels), None, module.stride, module.padding, module.dilation, module.groups)


@pytest.mark.parametrize("name", SMALL)
@torch.no_grad()
def test_the_coefficients_depend_on_the_image(name: str) -> None:
    network = small(name)
    with record_coefficients(network) as recorded:
        network(images(4))
    assert [c.predictor for c in recorded] == [f"{path}.predictor" for path, _ in dynamic_blocks(network)]
    for one in recorded:
        assert float((one.coefficients - one.coefficients[:1]).abs().max()) > 1e-3


@pytest.mark.parametrize("name", SMALL)
@torch.no_grad()
def test_fp16_errs_no_more_than_twice_as_far_as_torch(name: str) -> None:
    """Torch's own error is that of the static network with the kernels of this image, cast to fp16 as a whole."""
    x = images(1)
    network = fold_batchnorm(small(name), x.shape)
    half, own = to_precision(network, "fp16"), to_precision(static_for(network, x), "fp16")
    expected = network.double()(x.double())  # The copies are made by now.
    assert relative_error(half(x), expected) <= 2 * relative_error(own(x), expected)


def static_for(network: nn.Module, image: Tensor) -> nn.Module:
    """A copy of a folded ``network`` with ordinary convolutions that hold the kernels it generates for one image."""
    static = copy.deepcopy(network)
    made: dict[str, nn.Conv2d] = {}

    def make(module: DynamicConv2d, args: tuple[Tensor, Tensor], _output: Tensor, path: str) -> None:
        shape = (module.in_channels, module.out_channels, module.kernel_size, module.stride, module.padding)
        made[path] = nn.Conv2d(*shape, module.dilation, module.groups)
        made[path].weight.copy_(module.generate(args[1])[0])
        made[path].bias.copy_(module.bias)

    for path, module in static.named_modules():
        if isinstance(module, DynamicConv2d):
            module.register_forward_hook(functools.partial(make, path=path))
    static(image)
    for _, block in list(dynamic_blocks(static)):
        block.predictor = None
    for path, convolution in made.items():
        parent, _, name = path.rpartition(".")
        setattr(static.get_submodule(parent), name, convolution)
    return static


def test_training_moves_predictors_and_kernels() -> None:
    torch.manual_seed(0)
    network = build_network("dy_cifar_resnet", {"depth": 8, "width": 0.25})
    F.cross_entropy(network(images(4)), torch.tensor([0, 1, 2, 3])).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert float(parameter.grad.abs().max()) > 0, name


@torch.no_grad()
def test_segmentation_scores_every_pixel() -> None:
    network = small("dy_fcn")
    assert network(images(2)).shape == (2, 7, 49, 67)
    assert network.backbone(torch.zeros(1, 3, 64, 96)).shape == (1, 256, 8, 12)
    assert [block.conv2.dilation for block in network.backbone.layer4] == [2, 4, 4]


def test_mistakes_are_told() -> None:
    with pytest.raises(Dyn2trtError, match="leaves the first stage no channels"):
        build_network("dy_resnet", {"width": 0.01})
    with pytest.raises(Dyn2trtError, match="leaves the stem no channels"):
        build_network("dy_cifar_resnet", {"width": 0.01})
    with pytest.raises(Dyn2trtError, match="kernels is more than -1"):
        build_network("dy_resnet", {"kernels": -1})


@pytest.mark.parametrize("name", SMALL)
@torch.no_grad()
def test_an_untrained_network_stays_in_the_range_of_fp16(name: str) -> None:
    torch.manual_seed(0)
    network = fold_batchnorm(build_network(name.split()[0], SMALL[name]), images(2).shape)
    assert relative_error(to_precision(network, "fp16")(images(2)), network.double()(images(2).double())) < 5e-3
