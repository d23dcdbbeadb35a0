"""The sparsity criterion: each term by hand, and gradients by finite differences."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dyn2trt.errors import Dyn2trtError
from dyn2trt.gates import Decision, record_decisions, set_gumbel
from dyn2trt.macs import BlockMacs, MacReport, count_macs
from dyn2trt.networks.zoo import build_network
from dyn2trt.train.budget import SparsityCriterion, annealed_bounds
from dyn2trt.train.executed import executed_fractions

A = BlockMacs("a", "GatedBasicBlock", (4, 4), (4, 4), 1, macs_per_active_site=30, macs_per_halo_site=10)
B = BlockMacs("b", "GatedBottleneck", (2, 2), (4, 4), 2, macs_per_active_site=100, macs_per_halo_site=5)
REPORT = MacReport((A, B), A.macs_total + B.macs_total, 0, 0)


def decision(name: str, mask: torch.Tensor) -> Decision:
    return Decision(name, 2 * mask - 1, mask)


def one_site_each() -> list[Decision]:
    """Block a: the corner of image 0 of 2 (a halo of 4 sites). Block b: site (1, 1) of both images."""
    a, b = torch.zeros(2, 1, 4, 4), torch.zeros(2, 1, 2, 2)
    a[0, 0, 0, 0] = 1
    b[:, 0, 1, 1] = 1
    return [decision("a", a), decision("b", b)]


def test_executed_fractions_by_hand() -> None:
    # a: 1 active site · 30 + 4 halo sites · 10 of 2 images · 16 sites · (30 + 10).
    # b: an output (1, 1) at stride 2 reads rows and columns 1 to 3, 9 sites: 2 · (100 + 9 · 5) of 2 · (400 + 80).
    expected = [70 / (2 * 640), 290 / (2 * 480)]
    assert executed_fractions(REPORT, one_site_each()).tolist() == pytest.approx(expected)


def test_terms_by_hand() -> None:
    terms = SparsityCriterion(REPORT, budget=0.25)(one_site_each(), progress=0.0)
    a, b = 70 / 1280, 290 / 960
    executed = (70 + 290) / (2 * (640 + 480))
    assert terms.executed.item() == pytest.approx(executed)
    assert terms.network.item() == pytest.approx((executed - 0.25) ** 2)
    # At the beginning both bounds are the budget: a falls short of it, b exceeds it.
    assert terms.lower.item() == pytest.approx((0.25 - a) ** 2 / 2)
    assert terms.upper.item() == pytest.approx((b - 0.25) ** 2 / 2)
    assert terms.total.item() == pytest.approx((terms.network + terms.lower + terms.upper).item())


def test_the_authors_numbers() -> None:
    """The formulas of the authors' criterion, written out for epoch 40 of 350, on the same fractions."""
    tightness = math.cos(40 / 350 / (1 / 3) * math.pi / 2) ** 2
    upper, lower = 1 - tightness * (1 - 0.25), tightness * 0.25
    expected = [(max(0, p - upper) ** 2, max(0, lower - p) ** 2) for p in (70 / 1280, 290 / 960)]
    terms = SparsityCriterion(REPORT, budget=0.25)(one_site_each(), progress=40 / 350)
    assert terms.upper.item() == pytest.approx(sum(u for u, _ in expected) / 2)
    assert terms.lower.item() == pytest.approx(sum(low for _, low in expected) / 2)


@pytest.mark.parametrize(
    ("progress", "lower", "upper"),
    [(0, 0.4, 0.4), (1 / 6, 0.2, 0.7), (1 / 3, 0, 1), (0.9, 0, 1), (1 / 9, 0.3, 0.55)],
)
def test_bounds_by_hand(progress: float, lower: float, upper: float) -> None:
    bounds = annealed_bounds(0.4, progress)
    assert (bounds.lower, bounds.upper) == pytest.approx((lower, upper), abs=1e-12)


@given(budget=st.floats(0, 1), first=st.floats(0, 1), second=st.floats(0, 1))
@settings(deadline=None, max_examples=50)
def test_bounds_only_widen_and_hold_the_budget(budget: float, first: float, second: float) -> None:
    early, late = (annealed_bounds(budget, p) for p in sorted((first, second)))
    for bounds in (early, late):
        assert 0 <= bounds.lower <= budget + 1e-12
        assert budget - 1e-12 <= bounds.upper <= 1
    assert late.lower <= early.lower + 1e-12
    assert late.upper >= early.upper - 1e-12


@pytest.mark.parametrize("progress", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("term", ["network", "lower", "upper", "total"])
def test_gradients_by_finite_differences(term: str, progress: float) -> None:
    criterion = SparsityCriterion(REPORT, budget=0.25)
    masks = [d.mask.double().requires_grad_() for d in one_site_each()]

    def value() -> torch.Tensor:
        decisions = [decision(name, mask) for name, mask in zip("ab", masks, strict=True)]
        return getattr(criterion(decisions, progress), term)

    gradients = torch.autograd.grad(value(), masks)
    for mask, gradient in zip(masks, gradients, strict=True):
        for index in range(mask.numel()):
            ends = []
            for step in (1e-4, -1e-4):
                with torch.no_grad():
                    mask.view(-1)[index] += step
                    ends.append(value().item())
                    mask.view(-1)[index] -= step
            assert gradient.view(-1)[index].item() == pytest.approx((ends[0] - ends[1]) / 2e-4, rel=1e-3, abs=1e-9)


def test_terms_reach_the_gates_of_a_real_network() -> None:
    torch.manual_seed(0)
    network = build_network("cifar_resnet", {"depth": 8}).train()
    report = count_macs(network, (1, 3, 32, 32))
    set_gumbel(network, noise=False)
    with record_decisions(network) as decisions:
        network(torch.randn(4, 3, 32, 32))
    terms = SparsityCriterion(report, budget=0.0)(decisions, progress=0.5)
    counted = report.active([Decision(d.block, d.logits, d.mask.detach()) for d in decisions]).gated.sum() / 4
    assert terms.executed.item() == pytest.approx(counted.item() / report.macs_gated)
    terms.network.backward()
    for name, parameter in network.named_parameters():
        # Of the decisions alone nothing depends on the last block's branch and the classifier.
        if "masker" in name:
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name


def test_gradient_descent_on_the_criterion_meets_the_budget() -> None:
    torch.manual_seed(0)
    network = build_network("cifar_resnet", {"depth": 8}).train()
    criterion = SparsityCriterion(count_macs(network, (1, 3, 32, 32)), budget=0.3)
    set_gumbel(network, noise=False)
    x = torch.randn(4, 3, 32, 32)
    optimizer = torch.optim.Adam([p for n, p in network.named_parameters() if "masker" in n], 0.01)
    executed = []
    for _ in range(60):
        with record_decisions(network) as decisions:
            network(x)
        terms = criterion(decisions, progress=0.5)
        executed.append(terms.executed.item())
        optimizer.zero_grad()
        terms.total.backward()
        optimizer.step()
    assert abs(executed[0] - 0.3) > 0.1
    assert abs(executed[-1] - 0.3) < 0.05


def test_other_blocks_and_budgets_are_refused() -> None:
    with pytest.raises(ValueError, match="in this order"):
        executed_fractions(REPORT, one_site_each()[::-1])
    with pytest.raises(Dyn2trtError, match="0 to 1, not 30"):
        SparsityCriterion(REPORT, budget=30)
