import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from dyn2trt.blocks import InvertedResidual, set_execution
from dyn2trt.errors import Dyn2trtError
from dyn2trt.gates import (
    GumbelGate,
    LayerMaskUnit,
    PointwiseMaskUnit,
    SqueezeMaskUnit,
    forced_masks,
    halo,
    make_mask_unit,
    record_decisions,
    set_gumbel,
)


def test_evaluation_decides_by_the_sign_and_counts_zero_as_active() -> None:
    logits = torch.tensor([-1.0, -1e-30, -0.0, 0.0, 1e-30, 2.0])
    assert GumbelGate().eval()(logits).tolist() == [0, 0, 1, 1, 1, 1]


@pytest.mark.parametrize("noise", [False, True])
def test_training_masks_are_exactly_zero_or_one(noise: bool) -> None:
    mask = GumbelGate(temperature=0.37, noise=noise)(torch.randn(10_000))
    assert set(mask.tolist()) == {0.0, 1.0}


def test_gradient_is_that_of_the_relaxed_decision() -> None:
    logits = torch.linspace(-3, 3, 13, requires_grad=True)
    GumbelGate(temperature=0.5, noise=False)(logits).sum().backward()
    soft = torch.sigmoid(logits.detach() / 0.5)
    torch.testing.assert_close(logits.grad, soft * (1 - soft) / 0.5)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("logit", [-1.5, 0.0, 0.8])
def test_noise_activates_with_the_probability_of_the_logit(logit: float, temperature: float) -> None:
    torch.manual_seed(0)
    mask = GumbelGate(temperature)(torch.full((200_000,), logit))
    # Five standard deviations of a mean of 200 000 draws are below 0.006.
    assert float(mask.mean()) == pytest.approx(1 / (1 + np.exp(-logit)), abs=0.006)


def test_noise_follows_the_difference_of_two_gumbel_samples() -> None:
    torch.manual_seed(0)
    logits = torch.zeros(200_000, requires_grad=True)
    GumbelGate()(logits).sum().backward()
    # sigmoid of a standard logistic sample is uniform, and its slope s(1 - s) then averages 1/6.
    assert float(logits.grad.mean()) == pytest.approx(1 / 6, abs=1e-3)
    assert float(logits.grad.min()) >= 0


def test_set_gumbel_reaches_every_gate_and_keeps_what_is_not_given() -> None:
    network = nn.Sequential(InvertedResidual(4, 4), InvertedResidual(4, 4))
    set_gumbel(network, temperature=0.5)
    set_gumbel(network, noise=False)
    gates = [m for m in network.modules() if isinstance(m, GumbelGate)]
    assert [(gate.temperature, gate.noise) for gate in gates] == [(0.5, False)] * 2
    with pytest.raises(Dyn2trtError, match="positive, not 0"):
        set_gumbel(network, temperature=0)


@pytest.mark.parametrize("unit", [PointwiseMaskUnit, SqueezeMaskUnit, LayerMaskUnit])
@pytest.mark.parametrize(("size", "stride", "grid"), [((5, 8), 1, (5, 8)), ((5, 8), 2, (3, 4)), ((7, 1), 2, (4, 1))])
def test_mask_units_decide_at_the_resolution_of_the_output(unit: type, size: tuple, stride: int, grid: tuple) -> None:
    logits, mask = unit(6, stride)(torch.randn(2, 6, *size))
    assert logits.shape == mask.shape == (2, 1, *grid)
    assert logits.dtype == mask.dtype == torch.float32


def test_squeeze_adds_the_pooled_context_to_every_position() -> None:
    unit = SqueezeMaskUnit(3)
    x = torch.randn(2, 3, 4, 5)
    expected = unit.maskconv.conv(x) + unit.maskconv.fc(nn.AdaptiveAvgPool2d(1)(x).flatten(1)).view(2, 1, 1, 1)
    torch.testing.assert_close(unit(x)[0], expected)


def test_a_layers_gate_is_that_of_its_paper() -> None:
    """Pool → 1×1 (16) → BatchNorm → ReLU → 1×1 (2), by plain arithmetic; one decision an image, everywhere the same."""
    torch.manual_seed(0)
    unit = LayerMaskUnit(3, stride=2).eval()
    gate = unit.maskconv
    nn.init.normal_(gate.fc2.weight)
    x = torch.randn(8, 3, 5, 6)
    hidden = x.mean((2, 3)) @ gate.fc1.weight[:, :, 0, 0].T + gate.fc1.bias
    hidden = (hidden / (1 + gate.fc1bn.eps) ** 0.5).clamp(min=0)
    skip, execute = (hidden @ gate.fc2.weight[:, :, 0, 0].T + gate.fc2.bias).T
    logits, mask = unit(x)
    torch.testing.assert_close(logits, (execute - skip).view(8, 1, 1, 1).expand(8, 1, 3, 3))
    assert torch.equal(mask[:, 0, 0, 0], (execute >= skip).float())
    assert 0 < float(mask.mean()) < 1


def test_a_layers_gate_draws_one_noise_an_image_and_starts_open() -> None:
    torch.manual_seed(0)
    unit = LayerMaskUnit(4).train()
    _, mask = unit(torch.randn(4000, 4, 3, 2))
    assert torch.equal(mask, mask[:, :, :1, :1].expand_as(mask))
    # The authors' biases, 0.1 and 2: sigmoid(1.9). Five standard deviations of the mean are 0.027.
    assert mask.mean().item() == pytest.approx(1 / (1 + np.exp(-1.9)), abs=0.03)
    assert float(make_mask_unit("layer", 4).maskconv.fc2.weight.abs().max()) < 0.01


@pytest.mark.parametrize("kind", ["pointwise", "squeeze", "layer"])
def test_an_opened_unit_gives_its_logit_whatever_the_input(kind: str) -> None:
    unit = make_mask_unit(kind, 4).eval()
    unit.open(1.5)
    assert unit(100 * torch.randn(2, 4, 3, 3))[0].unique().tolist() == [1.5]


def test_make_mask_unit_names_the_choices() -> None:
    assert isinstance(make_mask_unit("squeeze", 4), SqueezeMaskUnit)
    assert make_mask_unit("none", 4) is make_mask_unit(None, 4) is None
    with pytest.raises(ValueError, match="pointwise, squeeze, layer, none, not 'sqeeze'"):
        make_mask_unit("sqeeze", 4)


def sites_read(mask: Tensor, size: tuple[int, int], kernel: int, stride: int) -> Tensor:
    """By hand: every input position in the window of an active output position."""
    reads = torch.zeros(mask.shape[0], 1, *size, dtype=torch.bool)
    for n, _, ho, wo in mask.nonzero().tolist():
        top, left = ho * stride - kernel // 2, wo * stride - kernel // 2
        reads[n, 0, max(top, 0) : top + kernel, max(left, 0) : left + kernel] = True
    return reads


@settings(deadline=None, max_examples=60)
@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    stride=st.sampled_from([1, 2]),
    kernel=st.sampled_from([1, 3]),
    density=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    seed=st.integers(0, 99),
)
def test_halo_is_what_the_convolution_reads(
    size: tuple[int, int], stride: int, kernel: int, density: float, seed: int
) -> None:
    grid = tuple((n - 1) // stride + 1 for n in size)
    mask = torch.rand(2, 1, *grid, generator=torch.Generator().manual_seed(seed)) < density
    reads = halo(mask, size, kernel=kernel, stride=stride, padding=kernel // 2)
    assert torch.equal(reads, sites_read(mask, size, kernel, stride))


def test_halo_refuses_a_grid_that_the_size_does_not_give() -> None:
    with pytest.raises(ValueError, match=r"\(8, 8\) gives a grid of \(4, 4\)"):
        halo(torch.ones(1, 1, 5, 4), (8, 8), stride=2)


@pytest.fixture
def two_blocks() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(InvertedResidual(4, 4), nn.ReLU(), InvertedResidual(4, 4)).eval()


def test_recorded_decisions_carry_block_names_in_execution_order(two_blocks: nn.Sequential) -> None:
    with record_decisions(two_blocks) as decisions:
        two_blocks(torch.randn(3, 4, 5, 6))
    assert [d.block for d in decisions] == ["0", "2"]
    for decision in decisions:
        assert decision.logits.shape == (3, 1, 5, 6)
        assert torch.equal(decision.mask, (decision.logits >= 0).float())
    two_blocks(torch.randn(1, 4, 5, 6))
    assert len(decisions) == 2, "recording goes on after the block"


def test_forced_masks_decide_and_are_what_is_recorded(two_blocks: nn.Sequential) -> None:
    x = torch.randn(1, 4, 3, 3)
    masks = [torch.rand(1, 1, 3, 3) < 0.5, torch.zeros(1, 1, 3, 3, dtype=torch.bool)]
    with record_decisions(two_blocks) as decisions, forced_masks(two_blocks, masks):
        y = two_blocks(x)
        assert torch.equal(two_blocks(x), y), "a second pass starts from the first mask again"
    assert [torch.equal(d.mask != 0, m) for d, m in zip(decisions[:2], masks, strict=True)] == [True, True]
    assert torch.equal(decisions[0].logits, masks[0].float() * 2 - 1)
    torch.testing.assert_close(y, torch.relu(x + masks[0] * two_blocks[0].branch(x)))
    assert not torch.equal(two_blocks(x), y), "forcing goes on after the block"


def test_forced_masks_of_the_wrong_number_or_shape_are_refused(two_blocks: nn.Sequential) -> None:
    x, mask = torch.randn(1, 4, 3, 3), torch.ones(1, 1, 3, 3, dtype=torch.bool)
    cases = [
        ([mask], "2 is a further gate"),
        ([mask] * 3, "3 masks were given, but only 2"),
        ([mask[:, :, 1:]], "mask 0"),
    ]
    for masks, message in cases:
        with pytest.raises(Dyn2trtError, match=message), forced_masks(two_blocks, masks):
            two_blocks(x)


def test_dense_execution_asks_no_gate(two_blocks: nn.Sequential) -> None:
    set_execution(two_blocks, "dense")
    with record_decisions(two_blocks) as decisions:
        two_blocks(torch.randn(1, 4, 3, 3))
    assert decisions == []
