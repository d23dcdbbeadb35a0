import pytest
import torch
from official import NETWORKS as OFFICIAL
from official import load_official
from torch import nn
from torch.nn import functional as F

from dyn2trt.blocks import BasicBlock, Bottleneck, GatedBlock, InvertedResidual, gated_blocks
from dyn2trt.gates import forced_masks, record_decisions
from dyn2trt.macs import MacReport, count_macs
from dyn2trt.networks.zoo import NETWORKS, build_network


def zoo_macs(name: str, options: dict) -> tuple[nn.Module, MacReport]:
    with torch.device("meta"):
        network = build_network(name, options)
    return network, count_macs(network, NETWORKS[name].input_shape)


def test_the_authors_pose_network() -> None:
    network, report = zoo_macs("hourglass", {"stacks": 4, "features": 96})
    assert report.macs_gated == 6_157_430_784
    assert sum(p.numel() for p in network.parameters()) == 6_885_433


def test_the_authors_cifar_resnet_32() -> None:
    _, report = zoo_macs("cifar_resnet", {"depth": 32})
    assert report.macs_dense == pytest.approx(69.1e6, abs=0.05e6)


@pytest.mark.parametrize(
    ("name", "options", "macs"),
    [
        ("resnet", {"depth": 18}, 1.814e9),
        ("resnet", {"depth": 34}, 3.664e9),
        ("resnet", {"depth": 50}, 4.089e9),
        ("resnet", {"depth": 101}, 7.801e9),
        ("mobilenet_v2", {}, 300.8e6),
    ],
)
def test_imagenet_networks_without_gates_cost_what_torchvision_states(name: str, options: dict, macs: float) -> None:
    _, report = zoo_macs(name, options)
    assert report.macs_dense == pytest.approx(macs, rel=5e-4)
    assert 0 < report.macs_gates < 0.02 * report.macs_dense


@pytest.mark.parametrize("name", OFFICIAL)
@torch.no_grad()
def test_active_work_is_the_authors_count_of_active_and_dilated_positions(name: str) -> None:
    case = load_official(name)
    report = count_macs(case.network, case.x.shape)
    with record_decisions(case.network) as decisions, forced_masks(case.network, case.masks):
        case.network(case.x)
    active = report.active(decisions)
    blocks = dict(gated_blocks(case.network))
    expected = [authors_cost(blocks[d.block], d.mask) for d in decisions]
    assert [cost.tolist() for cost in active.blocks] == [cost.tolist() for cost in expected]
    assert torch.equal(active.gated, sum(expected))
    assert torch.equal(
        active.total - active.gated, torch.full_like(active.gated, report.macs_gates + report.macs_ungated)
    )
    assert (active.gated < report.macs_gated).all()


def authors_cost(block: GatedBlock, mask: torch.Tensor) -> torch.Tensor:
    """Their cost_per_layer: positions of the mask and of the dilated mask times weights a position."""
    upsampled = mask
    if isinstance(block, Bottleneck) and block.stride == 2:
        upsampled = torch.zeros(*mask.shape[:2], 2 * mask.shape[2], 2 * mask.shape[3])
        upsampled[:, :, ::2, ::2] = mask
    dilated = F.max_pool2d(upsampled, 3, stride=1, padding=1)
    first, *rest = (stage.convolution.weight.numel() for stage in block.stages())
    return (dilated.sum(dim=(1, 2, 3)) * first + mask.sum(dim=(1, 2, 3)) * sum(rest)).long()


@pytest.mark.parametrize(
    ("block", "channels"),
    [(InvertedResidual(4, 4), 4), (BasicBlock(4, 6, 2), 4), (Bottleneck(4, 2, 2), 4)],
    ids=["inverted_residual", "basic", "bottleneck"],
)
@pytest.mark.parametrize("size", [(5, 8), (7, 7)], ids=str)
def test_everything_active_is_the_total_and_nothing_active_is_nothing(
    block: GatedBlock, channels: int, size: tuple[int, int]
) -> None:
    network = nn.Sequential(block).eval()
    report = count_macs(network, (1, channels, *size))
    (counted,) = report.blocks
    assert counted.name == "0"
    assert counted.op == block.op
    stages_at = {True: size if block.halo_stride == block.stride else counted.grid, False: counted.grid}
    by_hand = sum(
        s.convolution.weight.numel() * stages_at[s.on_halo][0] * stages_at[s.on_halo][1] for s in block.stages()
    )
    assert counted.macs_total == report.macs_gated == by_hand
    assert counted.active(torch.ones(3, 1, *counted.grid)).tolist() == [counted.macs_total] * 3
    assert counted.active(torch.zeros(3, 1, *counted.grid)).tolist() == [0] * 3


def test_counting_leaves_the_network_alone_and_needs_no_arithmetic() -> None:
    network = build_network("cifar_resnet", {"depth": 8}).train()
    with torch.no_grad():
        network.conv1.weight.fill_(float("nan"))
    count_macs(network, (1, 3, 32, 32))
    assert network.training
    assert all(p.device.type == "cpu" and p.requires_grad for p in network.parameters())
    assert not any(m._forward_hooks for m in network.modules())


def test_decisions_of_another_pass_or_size_are_refused() -> None:
    network = nn.Sequential(InvertedResidual(4, 4)).eval()
    report = count_macs(network, (1, 4, 6, 6))
    with record_decisions(network) as decisions:
        network(torch.randn(1, 4, 5, 5))
    with pytest.raises(ValueError, match=r"grid of \(6, 6\)"):
        report.active(decisions)
    with pytest.raises(ValueError, match="one decision for each"):
        report.active(decisions * 2)


def test_a_block_that_runs_twice_is_counted_twice() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = InvertedResidual(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.block(F.max_pool2d(self.block(x), 2))

    network = Twice().eval()
    report = count_macs(network, (1, 4, 8, 8))
    assert [(b.name, b.grid) for b in report.blocks] == [("block", (8, 8)), ("block", (4, 4))]
    with record_decisions(network) as decisions, torch.no_grad():
        network(torch.randn(2, 4, 8, 8))
    assert report.active(decisions).gated.shape == (2,)
