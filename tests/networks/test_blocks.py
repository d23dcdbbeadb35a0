import copy
from collections.abc import Callable

import pytest
import torch
from official import relative_error
from torch import Tensor, nn

from dyn2trt.blocks import BasicBlock, Bottleneck, GatedBlock, InvertedResidual, gated_blocks, set_execution
from dyn2trt.blocks.fold import fold_batchnorm
from dyn2trt.blocks.precision import to_precision
from dyn2trt.errors import Dyn2trtError
from dyn2trt.gates import MaskUnit, forced_masks, record_decisions

BLOCKS: dict[str, Callable[[], GatedBlock]] = {
    "inverted_residual": lambda: InvertedResidual(5, 5, expand_ratio=3),
    "inverted_residual_hard_swish": lambda: InvertedResidual(5, 5, activation="hard_swish", mask_unit="squeeze"),
    "inverted_residual_grouped": lambda: InvertedResidual(5, 5, grouped=True),
    "basic": lambda: BasicBlock(5, 5),
    "basic_projected": lambda: BasicBlock(5, 6, mask_unit="pointwise"),
    "basic_strided": lambda: BasicBlock(5, 7, stride=2),
    "bottleneck": lambda: Bottleneck(8, 2),
    "bottleneck_projected": lambda: Bottleneck(5, 3),
    "bottleneck_strided": lambda: Bottleneck(5, 2, stride=2),
}
SIZES = [(4, 6), (5, 7), (1, 1), (6, 3)]


def randomise(network: nn.Module, seed: int = 0) -> nn.Module:
    """Give BatchNorm statistics and weights that folding must not lose, in evaluation mode."""
    torch.manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, std=0.3)
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
    return network.eval()


def channels(block: GatedBlock) -> int:
    return block.stages()[0].convolution.in_channels


def masks_of(grid: tuple[int, int]) -> dict[str, Tensor]:
    corners = torch.zeros(2, 1, *grid, dtype=torch.bool)
    corners[0, :, 0, 0] = corners[0, :, -1, -1] = corners[1, :, 0, -1] = True
    one = torch.zeros_like(corners)
    one[1, 0, grid[0] // 2, grid[1] // 2] = True
    random = torch.rand(corners.shape, generator=torch.Generator().manual_seed(1)) < 0.4
    return {
        "none": torch.zeros_like(one),
        "all": torch.ones_like(one),
        "one": one,
        "corners": corners,
        "random": random,
    }


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", BLOCKS)
@torch.no_grad()
def test_the_three_executions_agree(name: str, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    block = randomise(BLOCKS[name]())
    x = torch.randn(2, channels(block), *size)
    folded = fold_batchnorm(block, x.shape)
    set_execution(block, "dense")
    dense, idle = block(x), block.identity(x)
    if block.kind.activated_sum:
        idle = idle.relu()
    for kind, mask in masks_of(tuple(dense.shape[2:])).items():
        expected = torch.where(mask, dense, idle)
        for network in (block, folded):
            for execution in ("masked", "sparse"):
                set_execution(network, execution)
                with forced_masks(network, [mask]):
                    y = network(x)
                assert torch.allclose(y, expected, rtol=1e-5, atol=2e-6), f"{execution} with {kind} active"


@pytest.mark.parametrize("name", BLOCKS)
@torch.no_grad()
def test_the_sparse_execution_decides_like_the_masked_one(name: str) -> None:
    torch.manual_seed(3)
    block = randomise(BLOCKS[name]())
    x = torch.randn(3, channels(block), 9, 8)
    with record_decisions(block) as decisions:
        masked = block(x)
    assert 0 < float(decisions[0].mask.mean()) < 1, "the gate is stuck, so the test shows nothing"
    set_execution(block, "sparse")
    assert relative_error(block(x), masked) < 1e-5


def test_training_reaches_the_gate_through_the_mask() -> None:
    torch.manual_seed(0)
    for make in BLOCKS.values():
        block = make().train()
        block(torch.randn(2, channels(block), 8, 8)).square().sum().backward()
        missing = [name for name, p in block.named_parameters() if p.grad is None or not p.grad.any()]
        # A BatchNorm of this batch's own statistics takes away any constant, but no block has such a bias.
        assert missing == []


def test_sparse_execution_refuses_to_train() -> None:
    block = BasicBlock(4, 4).train()
    set_execution(block, "sparse")
    with pytest.raises(Dyn2trtError, match="no gradient"):
        block(torch.randn(1, 4, 4, 4))


def test_set_execution_names_the_choices() -> None:
    with pytest.raises(Dyn2trtError, match="masked, sparse, dense, not 'quick'"):
        set_execution(BasicBlock(4, 4), "quick")  # type: ignore[arg-type]


@pytest.mark.parametrize("arguments", [(4, 6), (4, 4, 2), (4, 4, 1, 1)], ids=["channels", "stride", "no expansion"])
def test_inverted_residuals_that_are_no_expanding_identity_have_no_gate(arguments: tuple) -> None:
    block = InvertedResidual(*arguments)
    assert block.masker is None
    assert list(gated_blocks(block)) == []
    x = torch.randn(1, 4, 5, 5)
    assert block.eval()(x).shape[1] == arguments[1]


def test_an_ungated_block_runs_dense_whatever_the_execution() -> None:
    block = BasicBlock(4, 4, mask_unit=None).eval()
    x = torch.randn(1, 4, 5, 5)
    torch.testing.assert_close(block(x), torch.relu(x + block.branch(x)))


class PreActivation(nn.Module):
    """bn1 comes before conv1, whatever the names suggest; bn2 follows conv2."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4, affine=False)
        self.tail = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.BatchNorm2d(4))

    def forward(self, x: Tensor) -> Tensor:
        return self.tail(self.bn2(self.conv2(self.conv1(self.bn1(x).relu()))))


@torch.no_grad()
def test_folding_keeps_a_batchnorm_that_follows_no_convolution() -> None:
    network = randomise(PreActivation())
    folded = fold_batchnorm(network, (2, 4, 9, 9))
    x = torch.randn(2, 4, 9, 9)
    assert relative_error(folded(x), network(x)) < 1e-6
    left = [name for name, m in folded.named_modules() if isinstance(m, nn.BatchNorm2d)]
    assert left == ["bn1", "tail.2"]


@torch.no_grad()
def test_folding_copies_and_is_repeatable() -> None:
    block = randomise(Bottleneck(5, 2, stride=2)).train()
    before = copy.deepcopy(block.state_dict())
    folded = fold_batchnorm(block, (1, 5, 7, 7))
    assert all(torch.equal(v, before[k]) for k, v in block.state_dict().items())
    assert block.training
    assert not folded.training
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
    twice = fold_batchnorm(folded, (1, 5, 7, 7))
    x = torch.randn(1, 5, 7, 7)
    assert torch.equal(twice(x), folded(x))


@pytest.mark.parametrize(
    ("precision", "dtype", "bound"), [("fp16", torch.float16, 2e-3), ("bf16", torch.bfloat16, 2e-2)]
)
@torch.no_grad()
def test_precision_casts_the_weights_but_not_the_gates(precision: str, dtype: torch.dtype, bound: float) -> None:
    network = fold_batchnorm(randomise(nn.Sequential(BasicBlock(5, 8), InvertedResidual(8, 8))), (2, 5, 6, 7))
    cast = to_precision(network, precision)
    x = torch.randn(2, 5, 6, 7)
    masks = [torch.rand(2, 1, 6, 7) < 0.5] * 2
    for (name, module), original in zip(cast.named_modules(), network.modules(), strict=True):
        if isinstance(module, MaskUnit):
            for p, q in zip(module.parameters(), original.parameters(), strict=True):
                assert p.dtype == torch.float32, name
                assert torch.equal(p, q), f"{name} lost digits"
        elif isinstance(module, nn.Conv2d) and "masker" not in name:
            assert module.weight.dtype == dtype, name
    for execution in ("masked", "sparse"):
        set_execution(cast, execution)
        with record_decisions(cast) as decisions, forced_masks(cast, masks):
            y = cast(x)
        with forced_masks(network, masks):
            assert relative_error(y, network(x)) < bound
        assert y.dtype == torch.float32
        assert decisions[1].logits.dtype == torch.float32
    assert next(network.parameters()).dtype == torch.float32, "the original was cast"


@torch.no_grad()
def test_packed_weights_stay_as_the_ops_want_them_in_channels_last() -> None:
    network = fold_batchnorm(randomise(nn.Sequential(BasicBlock(5, 8))), (1, 5, 6, 7)).to(
        memory_format=torch.channels_last
    )
    (block,) = (block for _, block in gated_blocks(network))
    weights = block.op_weights()
    assert len(weights) == 4
    assert all(weight.is_contiguous() for weight in weights)
    assert network[0].conv1.weight.is_contiguous(memory_format=torch.channels_last)


def test_precision_names_the_choices() -> None:
    with pytest.raises(Dyn2trtError, match="fp32, fp16, bf16, not 'int8'"):
        to_precision(BasicBlock(4, 4), "int8")
