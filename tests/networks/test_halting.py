"""SACT's stages: masks that shrink, outputs weighed by halting scores, the same in every execution."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

from dyn2trt.blocks import BasicBlock, Bottleneck, HaltingStage, halting_stages, set_execution
from dyn2trt.blocks.fold import fold_batchnorm
from dyn2trt.blocks.precision import to_precision
from dyn2trt.errors import Dyn2trtError
from dyn2trt.gates import Decision, HaltingMaskUnit, forced_masks, record_decisions
from dyn2trt.gates.halting import HaltingScore
from dyn2trt.macs import count_macs
from dyn2trt.networks.zoo import build_network
from dyn2trt.train.ponder import ponder_cost


@torch.no_grad()
def spread_scores(network: nn.Module, bias: float = -0.7) -> nn.Module:
    """Let positions halt at different units."""
    for unit in network.modules():
        if isinstance(unit, HaltingMaskUnit):
            unit.initialise()
            unit._set_bias(bias)
    return network.eval()


def stage(units: int = 4, *, strided: bool = False) -> HaltingStage:
    torch.manual_seed(0)
    first = Bottleneck(6, 2, 2 if strided else 1, mask_unit=None)
    made = HaltingStage([first, *(Bottleneck(8, 2, mask_unit=None) for _ in range(units - 1))])
    spread_scores(made)
    return made


def algorithm_2(made: HaltingStage, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The paper's algorithm 2, position by position in plain words; returns output, N and R."""
    units = list(made)
    values = [units[0](x)]
    n, _, height, width = values[0].shape
    active = torch.ones(n, 1, height, width, dtype=torch.bool)
    cumulative, remainder = torch.zeros(n, 1, height, width), torch.ones(n, 1, height, width)
    number, output = torch.zeros(n, 1, height, width), torch.zeros_like(values[0])
    rest = torch.zeros(n, 1, height, width)
    for index, unit in enumerate(units):
        if index:
            branch = unit.branch(values[-1])
            values.append(torch.where(active, torch.relu(values[-1] + branch), values[-1]))
        last = index == len(units) - 1
        score = torch.ones_like(cumulative) if last else units[index + 1].masker.score(values[-1])
        number += active
        cumulative = cumulative + score
        halts = active & ((cumulative >= 0.99) | last)
        output += torch.where(halts, remainder, torch.where(active, score, 0.0)) * values[-1]
        rest = torch.where(halts, remainder, rest)
        remainder = torch.where(active & ~halts, remainder - score, remainder)
        active = active & ~halts
    return output, number, rest


@pytest.mark.parametrize("strided", [False, True])
@torch.no_grad()
def test_a_stage_is_the_papers_algorithm(strided: bool) -> None:
    made = stage(strided=strided)
    x = torch.randn(3, 6, 9, 8)
    with record_decisions(made) as decisions:
        y = made(x)
    expected, number, remainder = algorithm_2(made, x)
    assert {3, 4} <= set(number.unique().tolist()), "too alike to show anything"
    torch.testing.assert_close(y, expected)
    assert torch.equal(1 + torch.stack([d.mask for d in decisions]).sum(dim=0), number)
    cost = ponder_cost(torch.stack([d.logits for d in decisions]))
    assert cost.item() == pytest.approx((number + remainder).mean().item())
    for earlier, later in itertools.pairwise(decisions):
        assert (later.mask <= earlier.mask).all(), "a position came back"
        assert (later.logits < earlier.logits).all()


@torch.no_grad()
def test_executions_and_folding_agree() -> None:
    network = spread_scores(build_network("cifar_sact", {"depth": 20, "width": 0.5}))
    x = torch.randn(2, 3, 21, 18)
    with record_decisions(network) as decisions:
        y = network(x)
    assert any(0 < float(d.mask.mean()) < 1 for d in decisions)
    folded = fold_batchnorm(network, x.shape)
    for candidate, execution in ((network, "sparse"), (folded, "masked"), (folded, "sparse")):
        set_execution(candidate, execution)
        torch.testing.assert_close(candidate(x), y, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_dense_execution_halts_nowhere_and_weighs_all_the_same() -> None:
    made = stage(units=5)
    x = torch.randn(2, 6, 7, 7)
    with record_decisions(made) as decisions:
        free = made(x)
    with forced_masks(made, [torch.ones_like(d.mask) for d in decisions]):
        everywhere = made(x)
    set_execution(made, "dense")
    assert torch.equal(made(x), everywhere)
    assert not torch.allclose(everywhere, free)


@torch.no_grad()
def test_weights_add_up_to_one_whatever_masks_are_forced() -> None:
    """Every unit's output is the same here, so the weighed sum is that output, if the weights add up to one."""
    first = BasicBlock(4, 4, mask_unit=None)
    made = HaltingStage([first, *(BasicBlock(4, 4, mask_unit=None) for _ in range(5))])
    spread_scores(made, bias=0.5)
    for unit in list(made)[1:]:
        nn.init.zeros_(unit.bn2.weight)
        nn.init.zeros_(unit.bn2.bias)
    x = torch.randn(2, 4, 6, 6)
    for seed in range(5):
        masks = [torch.rand(2, 1, 6, 6, generator=torch.Generator().manual_seed(9 * seed + i)) < 0.6 for i in range(5)]
        with forced_masks(made, masks):
            torch.testing.assert_close(made(x), first(x))


@torch.no_grad()
def test_a_position_that_halts_keeps_its_value() -> None:
    made = stage(units=3)
    x = torch.randn(1, 6, 5, 5)
    masks = [torch.zeros(1, 1, 5, 5, dtype=torch.bool)] * 2
    with forced_masks(made, masks):
        torch.testing.assert_close(made(x), made[0](x))


def test_scores_learn_through_weights_and_decisions_have_no_gradient() -> None:
    made = stage(units=3).train()
    with record_decisions(made) as decisions:
        made(torch.randn(2, 6, 8, 8)).square().sum().backward()
    assert not any(d.mask.requires_grad for d in decisions)
    for name, parameter in made.named_parameters():
        if "masker" in name:
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name


def test_scores_are_gates_in_precision_and_in_counts() -> None:
    network = build_network("cifar_sact", {"depth": 14, "width": 0.25})
    half = to_precision(network, "fp16")
    for module in half.modules():
        if isinstance(module, HaltingScore):
            assert {p.dtype for p in module.parameters()} == {torch.float32}
    report = count_macs(network, (1, 3, 32, 32))
    assert [(block.name, block.decides) for block in report.blocks] == [(f"layer{i}.1", "halting") for i in (1, 2, 3)]
    # One 3×3 convolution to a channel at every position and one linear layer, of 4, 8 and 16 channels.
    assert report.macs_gates == sum(c * 9 * side**2 + c for c, side in ((4, 32), (8, 16), (16, 8)))
    dense = build_network("cifar_resnet", {"depth": 14, "width": 0.25, "mask_unit": "none"})
    assert report.macs_dense == count_macs(dense, (1, 3, 32, 32)).macs_dense


def test_names_and_weights_are_those_of_the_plain_resnet() -> None:
    with torch.device("meta"):
        plain = build_network("resnet", {"depth": 50, "mask_unit": "none"}).state_dict()
        for name in ("sact", "convnet_aig"):
            gated = build_network(name, {"depth": 50}).state_dict()
            assert {k: v.shape for k, v in gated.items() if ".masker." not in k} == {
                k: v.shape for k, v in plain.items()
            }
    network = build_network("sact", {"depth": 18, "width": 0.125})
    assert [(name, made.gated_units(name)) for name, made in halting_stages(network)] == [
        (f"layer{i}", (f"layer{i}.1",)) for i in (1, 2, 3, 4)
    ]


def test_an_opened_stage_halts_nowhere_and_a_lone_unit_says_where_it_belongs() -> None:
    network = build_network("sact", {"depth": 152, "width": 0.03125, "classes": 3}).eval()
    for unit in network.modules():
        if isinstance(unit, HaltingMaskUnit):
            unit.open(2.0)
    with torch.no_grad(), record_decisions(network) as decisions:
        network(torch.randn(1, 3, 64, 64))
    assert len(decisions) == 46
    assert all(isinstance(d, Decision) and bool(d.mask.all()) for d in decisions)
    with pytest.raises(Dyn2trtError, match="inside its HaltingStage"):
        network.layer1[1](torch.randn(1, 8, 4, 4))


@pytest.mark.parametrize(
    ("units", "told"),
    [
        ([], "has one unit at least"),
        (
            [BasicBlock(4, 4, mask_unit=None), BasicBlock(4, 4, 2, mask_unit=None)],
            "unit 2 of a halting stage has stride 2",
        ),
        ([BasicBlock(4, 4, mask_unit=None), BasicBlock(4, 4)], "unit 2 .* has a gate of its own"),
        ([BasicBlock(4, 4), BasicBlock(4, 4, mask_unit=None)], "unit 1 .* make it with mask_unit=None"),
    ],
)
def test_units_that_do_not_make_a_stage_are_refused(units: list[BasicBlock], told: str) -> None:
    with pytest.raises(Dyn2trtError, match=told):
        HaltingStage(units)
