"""The criteria of layers and of halting: by hand, by finite differences, and only for the networks that they fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dyn2trt.blocks import HaltingStage
from dyn2trt.errors import Dyn2trtError
from dyn2trt.gates import Decision, record_decisions, set_gumbel
from dyn2trt.gates.halting import EPSILON
from dyn2trt.macs import BlockMacs, MacReport, count_macs
from dyn2trt.networks.zoo import build_network
from dyn2trt.recipe import TrainSection, recipe_of
from dyn2trt.train.budget import SparsityCriterion
from dyn2trt.train.criterion import make_criterion
from dyn2trt.train.ponder import PonderCriterion, ponder_cost, stages_of
from dyn2trt.train.start import load_start
from dyn2trt.train.target_rate import TargetRateCriterion

SMALL = {"depth": 14, "width": 0.25}


def report_of(decides: str) -> MacReport:
    a = BlockMacs("s.1", "GatedBasicBlock", (2, 2), (2, 2), 1, 30, 10, decides)
    b = BlockMacs("s.2", "GatedBasicBlock", (2, 2), (2, 2), 1, 60, 20, decides)
    return MacReport((a, b), a.macs_total + b.macs_total, 0, 0)


def decision(name: str, mask: torch.Tensor, logits: torch.Tensor | None = None) -> Decision:
    return Decision(name, 2 * mask - 1 if logits is None else logits, mask)


def test_target_rate_by_hand() -> None:
    """Layer a executes for three of four images, layer b for one; b costs twice as much."""
    a = torch.tensor([1.0, 1, 0, 1]).view(4, 1, 1, 1).expand(4, 1, 2, 2)
    b = torch.tensor([0.0, 0, 1, 0]).view(4, 1, 1, 1).expand(4, 1, 2, 2)
    terms = TargetRateCriterion(report_of("layer"), 0.6)([decision("s.1", a), decision("s.2", b)], 0.0)
    assert terms.rates.tolist() == [0.75, 0.25]
    assert terms.total.item() == pytest.approx((0.15**2 + 0.35**2) / 2)
    assert terms.executed.item() == pytest.approx((0.75 * 1 + 0.25 * 2) / 3)
    assert set(terms.logged()) == {"loss_rate", "executed"}
    each = TargetRateCriterion(report_of("layer"), (1.0, 0.1))([decision("s.1", a), decision("s.2", b)], 0.0)
    assert each.total.item() == pytest.approx((0.25**2 + 0.15**2) / 2)
    assert each.executed == terms.executed


def halted(*scores: float) -> torch.Tensor:
    """Logits of the units after the first, of one position, from the scores of the units before the last."""
    cumulative = torch.tensor(scores, dtype=torch.float64).cumsum(0)
    return (1 - EPSILON - cumulative).view(-1, 1, 1, 1, 1)


@pytest.mark.parametrize(
    ("scores", "cost"),
    [
        ((0.995, 0.5), 1 + 1.0),  # halts at the first unit, where all of 1 is left
        ((0.3, 0.8), 2 + 0.7),  # at the second
        ((0.3, 0.2), 3 + 0.5),  # at the last, which ends everything
        ((0.6, 0.395), 2 + 0.4),  # 0.995 is over 1 − ε
        ((0.0, 0.0), 3 + 1.0),
    ],
)
def test_ponder_cost_by_hand(scores: tuple[float, ...], cost: float) -> None:
    assert ponder_cost(halted(*scores)).item() == pytest.approx(cost)


def test_ponder_cost_is_the_mean_over_positions_and_the_sum_over_stages() -> None:
    logits = torch.cat([halted(0.995, 0.5), halted(0.3, 0.2)], dim=3).expand(-1, -1, -1, -1, 2)
    assert ponder_cost(logits).item() == pytest.approx((2 + 3.5) / 2)
    report = report_of("halting")
    decisions = [decision(f"s.{i + 1}", (part >= 0).double(), part) for i, part in enumerate(logits)]
    one = PonderCriterion(report, [["s.1", "s.2"]])(decisions, 0.0)
    assert one.total.item() == pytest.approx(2.75)
    # Both units run in the second row, two of four positions; their halo is all four.
    assert one.executed.item() == pytest.approx((2 * 30 + 4 * 10) / 160)
    # As stages of two units each: (1 + 1, 2 + 0.7) and (1 + 1, 2 + 0.5).
    two = PonderCriterion(report, [["s.1"], ["s.2"]])(decisions, 0.0)
    assert two.stages.tolist() == pytest.approx([2.35, 2.25])
    assert two.total.item() == pytest.approx(4.6)


def test_ponder_gradient_is_that_of_the_remainder() -> None:
    """By finite differences away from the jumps of N; raising a score before the halt lowers the cost one to one."""
    scores = torch.tensor([0.3, 0.2, 0.6, 0.1], dtype=torch.float64, requires_grad=True)

    def cost(values: torch.Tensor) -> torch.Tensor:
        return ponder_cost((1 - EPSILON - values.cumsum(0)).view(-1, 1, 1, 1, 1))

    (gradient,) = torch.autograd.grad(cost(scores), scores)
    assert gradient.tolist() == [-1, -1, 0, 0]
    for index in range(4):
        step = torch.zeros(4, dtype=torch.float64)
        step[index] = 1e-4
        slope = (cost(scores.detach() + step) - cost(scores.detach() - step)) / 2e-4
        assert slope.item() == pytest.approx(gradient[index].item(), abs=1e-9)


@pytest.mark.parametrize("rate", [0.6, (0.9, 0.1)])
def test_target_rate_gradient_by_finite_differences(rate: float | tuple[float, float]) -> None:
    criterion = TargetRateCriterion(report_of("layer"), rate)
    masks = [torch.full((4, 1, 2, 2), value, dtype=torch.float64, requires_grad=True) for value in (0.7, 0.2)]
    terms = criterion([decision(f"s.{i + 1}", m) for i, m in enumerate(masks)], 0.0)
    gradients = torch.autograd.grad(terms.total, masks)
    for target, gradient in enumerate(gradients):
        ends = []
        for step in (1e-4, -1e-4):
            moved = [m.detach().clone() for m in masks]
            moved[target][1, 0, 0, 1] += step
            ends.append(criterion([decision(f"s.{i + 1}", m) for i, m in enumerate(moved)], 0.0).total.item())
        assert gradient[1, 0, 0, 1].item() == pytest.approx((ends[0] - ends[1]) / 2e-4, rel=1e-6)


@pytest.mark.parametrize(("target", "start"), [([0.3] * 6, 1.9), ([0.8] * 6, -1.0), ([0.2, 0.8] * 3, 0.5)])
def test_descent_on_the_rate_brings_every_layer_to_it(target: list[float], start: float) -> None:
    torch.manual_seed(0)
    network = build_network("cifar_convnet_aig", SMALL).train()
    criterion = TargetRateCriterion(count_macs(network, (1, 3, 16, 16)), target)
    for module in network.modules():
        if hasattr(module, "fc2"):
            torch.nn.init.constant_(module.fc2.bias, 0)
            module.fc2.bias.data[1] = start
    gates = [p for n, p in network.named_parameters() if "masker" in n]
    optimizer = torch.optim.Adam(gates, 0.03)
    x = torch.randn(64, 3, 16, 16)
    for _ in range(60):
        with record_decisions(network) as decisions:
            network(x)
        terms = criterion(decisions, 0.5)
        optimizer.zero_grad()
        terms.total.backward()
        optimizer.step()
    # Rates of 64 draws have a standard deviation of 0.06.
    assert terms.rates.tolist() == pytest.approx(target, abs=0.25)
    assert terms.rates.mean().item() == pytest.approx(sum(target) / 6, abs=0.1)


def test_descent_on_the_ponder_cost_makes_positions_halt() -> None:
    torch.manual_seed(0)
    network = build_network("cifar_sact", {"depth": 20, "width": 0.25}).train()
    report = count_macs(network, (1, 3, 16, 16))
    criterion = PonderCriterion(report, stages_of(network), 0.005)
    assert criterion.stages == tuple((f"layer{i}.1", f"layer{i}.2") for i in (1, 2, 3))
    optimizer = torch.optim.Adam([p for n, p in network.named_parameters() if "masker" in n], 0.05)
    x = torch.randn(4, 3, 16, 16)
    seen = []
    for _ in range(60):
        with record_decisions(network) as decisions:
            network(x)
        terms = criterion(decisions, 0.5)
        seen.append((terms.total.item(), terms.executed.item()))
        optimizer.zero_grad()
        terms.total.backward()
        optimizer.step()
    assert seen[0][1] > 0.9
    assert seen[-1][1] < 0.3
    assert seen[-1][0] < seen[0][0]
    assert all(isinstance(network.get_submodule(f"layer{i}"), HaltingStage) for i in (1, 2, 3))


def settings(**given: object) -> TrainSection:
    return TrainSection.model_validate({"task": "digits", "epochs": 1, "batch_size": 4, "learning_rate": 0.1, **given})


@pytest.mark.parametrize(
    ("network", "given", "expected"),
    [
        ("cifar_resnet", {}, None),
        ("cifar_resnet", {"budget": 0.3, "alpha": 7}, SparsityCriterion),
        ("cifar_convnet_aig", {"budget": 0.3, "alpha": 7}, SparsityCriterion),
        ("cifar_convnet_aig", {"target_rate": 0.6, "alpha": 7}, TargetRateCriterion),
        ("cifar_convnet_aig", {"budget": 0.3}, SparsityCriterion),
        ("cifar_convnet_aig", {"target_rate": 0.6}, TargetRateCriterion),
        ("cifar_convnet_aig", {"target_rate": [1, 0.6, 0.5, 0.4, 0.3, 0]}, TargetRateCriterion),
        ("cifar_convnet_aig", {"target_rate": [0.6, 0.5]}, "has 2 rates, and the network has 6 gated layers, layer1.0"),
        ("cifar_sact", {"ponder": 0.01}, PonderCriterion),
        ("cifar_resnet", {"target_rate": 0.6}, "skip whole layers"),
        ("cifar_resnet", {"ponder": 0.01}, "positions halt .* set train.budget"),
        ("cifar_convnet_aig", {"ponder": 0.01}, "positions halt .* set train.budget"),
        ("cifar_sact", {"budget": 0.3}, "set train.ponder instead"),
        ("cifar_sact", {"target_rate": 0.6}, "skip whole layers"),
    ],
)
def test_a_recipe_gets_its_criterion_or_is_told_why_not(network: str, given: dict, expected: type | str | None) -> None:
    made = build_network(network, SMALL)
    report = count_macs(made, (1, 3, 16, 16))
    if isinstance(expected, str):
        with pytest.raises(Dyn2trtError, match=expected):
            make_criterion(settings(**given), made, report)
        return
    criterion = make_criterion(settings(**given), made, report)
    assert type(criterion) is (type(None) if expected is None else expected)
    if criterion is not None:
        left_out = {"budget": 10, "target_rate": 2, "ponder": given.get("ponder")}[next(iter(given))]
        assert criterion.weight == given.get("alpha", left_out)


@pytest.mark.parametrize("given", [{"budget": 0.3}, {"target_rate": 0.5}, {"ponder": 0.1}])
def test_a_network_without_gates_has_nothing_to_train_to(given: dict) -> None:
    plain = build_network("cifar_resnet", {**SMALL, "mask_unit": "none"})
    report = count_macs(plain, (1, 3, 16, 16))
    with pytest.raises(Dyn2trtError, match=f"no gated block, so train.{next(iter(given))} means nothing"):
        make_criterion(settings(**given), plain, report)
    assert make_criterion(settings(), plain, report) is None


def test_keys_exclude_each_other() -> None:
    train = {"task": "digits", "epochs": 1, "batch_size": 4, "learning_rate": 0.1, "budget": 0.3, "ponder": 0.01}
    document = {"network": {"name": "cifar_sact"}, "export": {"input_shape": "1x3x32x32"}, "train": train}
    with pytest.raises(Dyn2trtError, match="budget and ponder exclude each other"):
        recipe_of(document, "recipe")


def test_a_budget_closes_layers() -> None:
    torch.manual_seed(0)
    network = build_network("cifar_convnet_aig", SMALL).train()
    criterion = SparsityCriterion(count_macs(network, (1, 3, 16, 16)), budget=0.4)
    set_gumbel(network, noise=True)
    optimizer = torch.optim.Adam([p for n, p in network.named_parameters() if "masker" in n], 0.03)
    x = torch.randn(32, 3, 16, 16)
    executed = []
    for _ in range(60):
        with record_decisions(network) as decisions:
            network(x)
        terms = criterion(decisions, 0.5)
        executed.append(terms.executed.item())
        optimizer.zero_grad()
        terms.total.backward()
        optimizer.step()
    assert executed[0] > 0.75
    assert abs(sum(executed[-5:]) / 5 - 0.4) < 0.12


@pytest.mark.parametrize("name", ["cifar_convnet_aig", "cifar_sact"])
def test_an_ungated_checkpoint_becomes_a_network_whose_gates_are_open(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    plain = build_network("cifar_resnet", {**SMALL, "mask_unit": "none"})
    torch.save(plain.state_dict(), tmp_path / "plain.pth")
    network = build_network(name, SMALL)
    assert load_start(network, tmp_path / "plain.pth")
    network.eval()
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad(), record_decisions(network) as decisions:
        y = network(x)
    assert all(bool((d.logits > 0).all()) for d in decisions)
    if name == "cifar_convnet_aig":
        torch.testing.assert_close(y, plain.eval()(x))


@pytest.mark.parametrize("gates", ["layer", "none"])
def test_a_partly_ungated_network_starts_from_gates_at_all_layers_or_at_none(tmp_path: Path, gates: str) -> None:
    torch.manual_seed(0)
    start = build_network("cifar_resnet", {**SMALL, "mask_unit": gates})
    torch.save(start.state_dict(), tmp_path / "start.pth")
    network = build_network("cifar_convnet_aig", {**SMALL, "ungated": "layer1.0 layer3.1"})
    assert load_start(network, tmp_path / "start.pth") == (gates == "none")
    state, begun = network.state_dict(), start.state_dict()
    kept = [key for key in state if key in begun]
    assert len(kept) == len(state) - (gates == "none") * sum(".masker." in key for key in state)
    assert all(torch.equal(state[key], begun[key]) for key in kept)
    whole = build_network("cifar_convnet_aig", SMALL)
    torch.save(state, tmp_path / "partly.pth")
    with pytest.raises(Dyn2trtError, match=r"missing layer1\.0\.masker\."):
        load_start(whole, tmp_path / "partly.pth")
