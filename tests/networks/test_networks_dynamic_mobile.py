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
from dyn2trt.macs import count_macs
from dyn2trt.networks.dy_mobilenet_v2 import DyMobileBlock, dy_mobilenet_v2
from dyn2trt.networks.dy_mobilenet_v3 import dy_mobilenet_v3
from dyn2trt.networks.dy_shufflenet_v2 import DyShuffleNetV2, DyShuffleUnit, dy_shufflenet_v2
from dyn2trt.networks.zoo import build_network

IMAGENET = (1, 3, 224, 224)
SMALL = {
    "dy_shufflenet_v2": {"width": 0.5, "classes": 7},
    "dy_mobilenet_v2": {"width": 0.25, "classes": 7},
    "dy_mobilenet_v3 small": {"variant": "small", "width": 0.5, "classes": 7},
    "dy_mobilenet_v3 large": {"variant": "large", "width": 0.25, "classes": 7},
}


def small(name: str, kernels: int = 3) -> nn.Module:
    """A narrow network whose BatchNorms normalise, as after training, and scale and shift at random."""
    return copy.deepcopy(_small(name, kernels))


@functools.cache
def _small(name: str, kernels: int) -> nn.Module:
    torch.manual_seed(0)
    network = build_network(name.split()[0], {**SMALL[name], "kernels": kernels})
    return normalised(network, images(8))


def images(n: int) -> Tensor:
    """Of one small odd size."""
    return varied_images(n, 35, 49)


@pytest.mark.parametrize(
    ("name", "options", "convolutions", "total"),
    [
        # Tables 1 and 4 of the ICLR 2020 submission; the totals are the arXiv abstract's 37.0 % off 146 M and 54.7 %
        # off 298 M.
        ("dy_shufflenet_v2", {}, 88e6, (1 - 0.370) * 146e6),
        ("dy_shufflenet_v2", {"width": 1.5}, 171e6, None),
        ("dy_mobilenet_v2", {}, 129e6, (1 - 0.547) * 298e6),
        ("dy_mobilenet_v2", {"kernels": 1}, 129e6, None),
        ("dy_mobilenet_v2", {"kernels": 2}, 129e6, None),
        ("dy_mobilenet_v2", {"kernels": 4}, 129e6, None),
        # MobileNetV3's own tables (Howard et al., ICCV 2019): the widths are kept.
        ("dy_mobilenet_v3", {"variant": "large"}, 219e6, None),
        ("dy_mobilenet_v3", {"variant": "small"}, 56e6, None),
    ],
)
def test_multiply_accumulates_are_the_papers(
    name: str, options: dict, convolutions: float, total: float | None
) -> None:
    with torch.device("meta"):
        dynamic, static = build_network(name, options), build_network(name, {**options, "kernels": 0})
    report = count_macs(dynamic, IMAGENET)
    assert report.macs_ungated - report.macs_generation == pytest.approx(convolutions, rel=0.03)
    assert count_macs(static, IMAGENET).macs_ungated == report.macs_ungated - report.macs_generation
    assert count_macs(static, IMAGENET).macs_generation == 0
    if total:
        assert report.macs_ungated == pytest.approx(total, rel=0.03)


@pytest.mark.parametrize(("width", "parameters", "macs"), [(0.5, 1_366_792, 41e6), (1.0, 2_278_604, 146e6)])
def test_halves_without_dynamic_kernels_are_shufflenet_v2(width: float, parameters: int, macs: float) -> None:
    """Ma et al., ECCV 2018, table 8; parameters as torchvision counts them."""
    with torch.device("meta"):
        network = DyShuffleNetV2(width, classes=1000, kernels=0, share=2)
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert count_macs(network, IMAGENET).macs_ungated == pytest.approx(macs, rel=0.02)
    convolutions = [m for m in network.units.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    assert all(convolution.groups == convolution.in_channels for convolution in convolutions)


@pytest.mark.parametrize(("variant", "parameters"), [("small", 2_542_856), ("large", 5_483_032)])
def test_without_dynamic_kernels_it_is_mobilenet_v3(variant: str, parameters: int) -> None:
    """Parameters as torchvision counts them."""
    with torch.device("meta"):
        network = dy_mobilenet_v3(variant, kernels=0)
    assert sum(p.numel() for p in network.parameters()) == parameters


@pytest.mark.parametrize("name", SMALL)
@torch.no_grad()
def test_a_static_network_is_the_dynamic_one_with_fixed_coefficients(name: str) -> None:
    dynamic, static = small(name), small(name, kernels=0)
    assert not list(dynamic_blocks(static))
    for _, block in dynamic_blocks(dynamic):
        for parameter in block.predictor.parameters():
            parameter.zero_()  # every coefficient is then 1/2
    weights = {key: tensor for key, tensor in dynamic.state_dict().items() if ".predictor." not in key}
    for key, module in dynamic.named_modules():
        if isinstance(module, DynamicConv2d):
            weights[f"{key}.weight"] = module.weight.unflatten(0, (-1, 3)).sum(dim=1) / 2
    static.load_state_dict(weights)
    x = images(2)
    assert relative_error(dynamic(x), static(x)) <= 1e-5


@pytest.mark.parametrize("name", SMALL)
@torch.no_grad()
def test_summed_feature_maps_equal_fused_kernels(name: str) -> None:
    network, x = small(name).double(), images(3).double()
    outputs = {}
    for execution in ("feature_maps", "fused", "auto"):
        set_kernel_execution(network, execution)
        outputs[execution] = network(x)
    assert relative_error(outputs["fused"], outputs["feature_maps"]) <= 1e-12
    assert torch.equal(outputs["auto"], outputs["fused"])
    # Each image has kernels of its own, whatever its neighbours in the batch.
    alone = torch.cat([network(image[None]) for image in x])
    assert relative_error(alone, outputs["fused"]) <= 1e-12


@pytest.mark.parametrize("name", SMALL)
@torch.no_grad()
def test_folded_networks_agree(name: str) -> None:
    network, x = small(name), images(2)
    folded = fold_batchnorm(network, x.shape)
    assert not [m for m in folded.modules() if isinstance(m, nn.BatchNorm2d)]
    for execution in ("feature_maps", "fused"):
        set_kernel_execution(folded, execution)
        assert relative_error(folded(x), network(x)) <= 1e-4, execution


@pytest.mark.parametrize("name", SMALL)
@torch.no_grad()
def test_half_precision_is_as_good_as_torchs_own(name: str) -> None:
    """The error allowed is twice that of the static network of the same widths, whose kernels nobody generates."""
    x = images(2)
    errors = {}
    for kernels in (0, 3):
        network = fold_batchnorm(small(name, kernels), x.shape)
        half = to_precision(network, "fp16")
        y = half(x)
        assert y.dtype == torch.float32
        assert torch.isfinite(y).all()
        errors[kernels] = relative_error(y, network(x))
        predictors = [block.predictor for _, block in dynamic_blocks(half)]
        assert all(p.dtype == torch.float32 for predictor in predictors for p in predictor.parameters())
    assert errors[3] <= 2 * errors[0], errors


@pytest.mark.parametrize("name", SMALL)
def test_every_fixed_kernel_and_predictor_learns(name: str) -> None:
    network = small(name).train()
    with record_coefficients(network) as recorded:
        F.cross_entropy(network(images(4)), torch.arange(4)).backward()
    blocks = dict(dynamic_blocks(network))
    assert [r.predictor for r in recorded] == [f"{name}.predictor" for name in blocks]
    for record in recorded:
        assert record.coefficients.std(dim=0).max() > 1e-4, f"{record.predictor} gives every image the same kernels"
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert 0 < parameter.grad.abs().max() < float("inf"), key
    for key, module in network.named_modules():
        if isinstance(module, DynamicConv2d):
            dead = module.weight.grad.flatten(1).abs().amax(dim=1) == 0
            assert dead.float().mean() < 0.3, key  # a ReLU behind may stop a few for so few images


def test_mobile_blocks_are_the_texts() -> None:
    with torch.device("meta"):
        network = dy_mobilenet_v2()
    blocks = [module for module in network.modules() if isinstance(module, DyMobileBlock)]
    assert [block.conv3.out_channels for block in blocks] == [
        *[18],
        *[24] * 2,
        *[36] * 3,
        *[66] * 4,
        *[96] * 3,
        *[162] * 3,
        *[324],
    ]
    for block in blocks:
        channels = block.conv3.out_channels
        assert {block.conv1.out_channels, block.conv2.out_channels} == {channels}, "no expansion"
        assert block.conv2.groups == channels // 6
        assert block.predictor.outputs == 3 * 6 * channels
        assert block.predictor.linear[0].in_features == block.conv1.in_channels
    assert [i for i, block in enumerate(blocks) if block.residual] == [2, 4, 5, 7, 8, 9, 11, 12, 14, 15]


def test_shuffle_units_are_the_texts() -> None:
    with torch.device("meta"):
        network = dy_shufflenet_v2(1.5)
    units = [module for module in network.units if isinstance(module, DyShuffleUnit)]
    assert len(units) == 16
    for unit in units:
        right = unit.conv3.out_channels
        assert unit.left == 3 * right
        assert unit.predictor.linear[0].in_features == unit.conv1.in_channels
        assert unit.predictor.outputs == 6 * (2 * unit.conv1.out_channels + right)
        if unit.projection is None:
            # As many multiply-accumulates a position as the depthwise 3x3 of half of the channels.
            assert unit.conv2.weight.numel() // 6 == 2 * right * 9
        else:
            assert not [m for m in unit.projection.modules() if isinstance(m, DynamicConv2d)]


@torch.no_grad()
def test_a_shuffle_unit_passes_its_left_channels_and_deals_the_quarters_out() -> None:
    torch.manual_seed(0)
    unit = DyShuffleUnit(16, 16, right=4, stride=1, kernels=2).eval()
    x = torch.randn(2, 16, 5, 3)
    y = unit(x)
    places = torch.arange(16.0)[None, :, None, None]
    came_from = F.channel_shuffle(places, 4).flatten().long()
    left = came_from < 12
    assert torch.equal(y[:, left], x[:, came_from[left]])
    assert (y[:, ~left] != x[:, came_from[~left]]).any()
    assert (came_from[12:] < 12).sum() == 3, "the next right branch sees one channel of every quarter"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("dy_shufflenet_v2", {"width": 0.75}, "width is one of 0.5, 1.0, 1.5, 2.0, not 0.75"),
        ("dy_mobilenet_v3", {"variant": "medium"}, "variant is one of small, large, not medium"),
        ("dy_mobilenet_v2", {"kernel": 2}, "did you mean 'kernels'"),
        ("dy_mobilenet_v2", {"kernels": -1}, "kernels is"),
        ("dy_mobilenet_v2", {"kernels": 1.5}, "kernels is a whole number"),
    ],
)
def test_mistakes_name_what_would_be_right(name: str, options: dict, message: str) -> None:
    with pytest.raises(Dyn2trtError, match=message):
        build_network(name, options)
