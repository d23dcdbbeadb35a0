"""Folding BatchNorm: whatever feeds what in a user's network, the file computes what the network does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from official import relative_error
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

from dyn2trt.blocks import BasicBlock, Bottleneck, InvertedResidual
from dyn2trt.blocks.fold import fold_batchnorm
from dyn2trt.errors import Dyn2trtError
from dyn2trt.export import export_network

SHAPE = (2, 3, 16, 16)


class StandardisedConv2d(nn.Conv2d):
    """Weight standardisation (Qiao et al., 2019): a subclass with its own forward."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean(dim=(1, 2, 3), keepdim=True)
        weight = weight / (weight.std(dim=(1, 2, 3), keepdim=True) + 1e-5)
        return self._conv_forward(x, weight, self.bias)


class Ending(nn.Module):
    """Some layers between a stem and a gated block."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.block = BasicBlock(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.block(self.layers(x))


class SharedHead(Ending):
    """One convolution, two levels, a BatchNorm each."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 8, 1))
        self.head = nn.Conv2d(8, 8, 3, padding=1)
        self.levels = nn.ModuleList(nn.Sequential(self.head, nn.BatchNorm2d(8)) for _ in range(2))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = super().forward(x)
        return self.levels[0](y), self.levels[1](F.max_pool2d(y, 2))


class ReadElsewhere(Ending):
    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + F.conv2d(x, self.layers[0].weight, padding=1)


class CalledElsewhere(ReadElsewhere):
    def forward(self, x: Tensor) -> Tensor:
        return Ending.forward(self, x) + self.layers[0](x)


class ShownBefore(ReadElsewhere):
    """What the convolution gives is an output too."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.layers[0](x)
        return self.block(self.layers[1](y)), y


class StatisticsReadElsewhere(ReadElsewhere):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.layers[1].running_mean.view(1, -1, 1, 1)


class InAPlainList(ReadElsewhere):
    def __init__(self) -> None:
        super().__init__()
        self.again = [self.layers[0], self.layers[1]]

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.again:
            x = layer(x)
        return self.block(x)


class Tied(Ending):
    def __init__(self) -> None:
        one, other = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        other.weight = one.weight
        super().__init__(nn.Conv2d(3, 8, 1), one, nn.BatchNorm2d(8), other, nn.BatchNorm2d(8))


class ShiftedBatchNorm(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 1


class Functional(ReadElsewhere):
    def forward(self, x: Tensor) -> Tensor:
        y, norm = F.conv2d(x, self.layers[0].weight, padding=1), self.layers[1]
        y = F.batch_norm(y, norm.running_mean, norm.running_var, norm.weight, norm.bias, False, 0.1, norm.eps)
        return self.block(y)


class OfTheBatch(ReadElsewhere):
    """Keeps its BatchNorm in training, whatever is asked of it."""

    def train(self, mode: bool = True) -> nn.Module:
        super().train(mode)
        self.layers[1].train()
        return self


class OwnSum(BasicBlock):
    def forward(self, x: Tensor, decision: tuple[Tensor, Tensor] | None = None) -> Tensor:
        assert self.masker is not None
        return F.relu(self.identity(x) + self.branch(x) * self.masker(x)[1])


def hooked(module: nn.Module) -> nn.Module:
    module.register_forward_hook(lambda _module, _args, output: output * 2)
    return module


def prehooked(module: nn.Module) -> nn.Module:
    module.register_forward_pre_hook(lambda _module, args: (args[0] + 1,))
    return module


def replaced(convolution: nn.Conv2d) -> nn.Module:
    original = convolution.forward
    convolution.forward = lambda x: original(x) * 3  # type: ignore[method-assign]
    return convolution


def pruned(convolution: nn.Conv2d) -> nn.Module:
    prune.l1_unstructured(convolution, "weight", amount=0.5)
    return convolution


class Doubled(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight


def parametrized(convolution: nn.Conv2d) -> nn.Module:
    nn.utils.parametrize.register_parametrization(convolution, "weight", Doubled())
    return convolution


def conv(**options: object) -> nn.Conv2d:
    return nn.Conv2d(3, 8, 3, **{"padding": 1, **options})  # type: ignore[arg-type]


def lazy() -> nn.Module:
    network = Ending(nn.LazyConv2d(8, 3, padding=1), nn.LazyBatchNorm2d())
    network(torch.zeros(SHAPE))
    return network


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "plain": lambda: Ending(conv(), nn.BatchNorm2d(8)),
    "shared head": SharedHead,
    "standardised": lambda: Ending(StandardisedConv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)),
    "weight read elsewhere": ReadElsewhere,
    "called elsewhere": CalledElsewhere,
    "shown before": ShownBefore,
    "statistics read elsewhere": StatisticsReadElsewhere,
    "in a plain list": InAPlainList,
    "tied": Tied,
    "hook of the convolution": lambda: Ending(hooked(conv()), nn.BatchNorm2d(8)),
    "hook of the batchnorm": lambda: Ending(conv(), hooked(nn.BatchNorm2d(8))),
    "pre-hook of the batchnorm": lambda: Ending(conv(), prehooked(nn.BatchNorm2d(8))),
    "replaced forward": lambda: Ending(replaced(conv()), nn.BatchNorm2d(8)),
    "subclass of BatchNorm": lambda: Ending(conv(), ShiftedBatchNorm(8)),
    "weight_norm": lambda: Ending(parametrizations.weight_norm(conv()), nn.BatchNorm2d(8)),
    "old weight_norm": lambda: Ending(weight_norm(conv()), nn.BatchNorm2d(8)),
    "spectral_norm": lambda: Ending(parametrizations.spectral_norm(conv()), nn.BatchNorm2d(8)),
    "old spectral_norm": lambda: Ending(spectral_norm(conv()), nn.BatchNorm2d(8)),
    "orthogonal": lambda: Ending(parametrizations.orthogonal(nn.Conv2d(3, 8, 1)), nn.BatchNorm2d(8)),
    "parametrized": lambda: Ending(parametrized(conv()), nn.BatchNorm2d(8)),
    "pruned": lambda: Ending(pruned(conv()), nn.BatchNorm2d(8)),
    "sync": lambda: nn.SyncBatchNorm.convert_sync_batchnorm(Ending(conv(), nn.BatchNorm2d(8))),
    "lazy": lazy,
    "no affine": lambda: Ending(conv(), nn.BatchNorm2d(8, affine=False)),
    "no momentum": lambda: Ending(conv(), nn.BatchNorm2d(8, momentum=None)),
    "no statistics": lambda: Ending(conv(), nn.BatchNorm2d(8, track_running_stats=False)),
    "reflected border": lambda: Ending(conv(padding_mode="reflect"), nn.BatchNorm2d(8)),
    "circular border": lambda: Ending(conv(padding_mode="circular"), nn.BatchNorm2d(8)),
    "same": lambda: Ending(conv(padding="same", dilation=2), nn.BatchNorm2d(8)),
    "groups": lambda: Ending(nn.Conv2d(3, 6, 1), nn.Conv2d(6, 8, 3, padding=1, groups=2), nn.BatchNorm2d(8)),
    "transposed": lambda: Ending(
        nn.Conv2d(3, 4, 1), nn.ConvTranspose2d(4, 8, 3, padding=1, groups=2), nn.BatchNorm2d(8)
    ),
    "dropout between": lambda: Ending(conv(), nn.Dropout2d(), nn.BatchNorm2d(8)),
    "functional": Functional,
    "instance norm": lambda: Ending(conv(), nn.InstanceNorm2d(8, affine=True, track_running_stats=True)),
    "activation between": lambda: Ending(conv(), nn.ReLU(inplace=True), nn.BatchNorm2d(8)),
    "two in a row": lambda: Ending(conv(), nn.BatchNorm2d(8), nn.BatchNorm2d(8)),
}
FOLDED = {
    *("plain", "in a plain list", "weight_norm", "old weight_norm", "spectral_norm", "old spectral_norm", "orthogonal"),
    *("parametrized", "pruned", "sync", "lazy", "no affine", "no momentum", "reflected border", "circular border"),
    *("same", "groups", "dropout between", "instance norm"),
}


def randomise(network: nn.Module) -> nn.Module:
    for module in network.modules():
        if is_batchnorm(module):
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, std=0.3)
            if module.running_mean is not None:
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.2, 3)
    return network.eval()


def outputs_of(network: nn.Module, x: Tensor) -> list[Tensor]:
    from dyn2trt.blocks.evaluation import evaluation_copy

    with torch.no_grad():
        outputs = (network if not has_sync(network) else evaluation_copy(network))(x)
    return [outputs] if isinstance(outputs, Tensor) else list(outputs)


def has_sync(network: nn.Module) -> bool:
    return any(isinstance(module, nn.SyncBatchNorm) for module in network.modules())


def assert_exported_right(network: nn.Module, path: Path, shape: tuple[int, ...] = SHAPE) -> None:
    before = {key: value.clone() for key, value in network.state_dict().items()}
    export_network(network, input_shape=shape, path=path)
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for got, wanted in zip(session.run(None, {"x": x.numpy()}), outputs_of(network, x), strict=True):
        assert np.isfinite(got).all()
        assert relative_error(torch.from_numpy(got), wanted) < 1e-5


@pytest.mark.parametrize("name", NETWORKS)
def test_the_file_computes_what_the_network_does(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = randomise(NETWORKS[name]())
    assert_exported_right(network, tmp_path / "model.onnx")
    left = [path for path, module in fold_batchnorm(network, SHAPE).named_modules() if is_batchnorm(module)]
    assert (not [path for path in left if "block" not in path]) == (name in FOLDED)


def is_batchnorm(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.batchnorm._BatchNorm)


def with_block(block: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 1), block)


def with_conv1(change: Callable[[nn.Conv2d], nn.Module]) -> nn.Module:
    block = BasicBlock(8, 8)
    block.conv1 = change(block.conv1)  # type: ignore[assignment]
    return block


def standardised(convolution: nn.Conv2d) -> nn.Module:
    made = StandardisedConv2d(8, 8, 3, padding=1, bias=False)
    made.weight = convolution.weight
    return made


def watched(convolution: nn.Conv2d) -> nn.Module:
    convolution.register_forward_hook(lambda _module, _args, _output: None)
    return convolution


GATED: dict[str, Callable[[], nn.Module]] = {
    "weight_norm": lambda: with_conv1(parametrizations.weight_norm),
    "old weight_norm": lambda: with_conv1(weight_norm),
    "spectral_norm": lambda: with_conv1(parametrizations.spectral_norm),
    "old spectral_norm": lambda: with_conv1(spectral_norm),
    "pruned": lambda: with_conv1(pruned),
    "standardised": lambda: with_conv1(standardised),
    "a hook that only looks": lambda: with_conv1(watched),
    "bias": lambda: with_conv1(lambda c: nn.Conv2d(8, 8, 3, padding=1)),
    "sync": lambda: nn.SyncBatchNorm.convert_sync_batchnorm(Bottleneck(8, 2)),
}


@pytest.mark.parametrize("name", GATED)
def test_a_gated_block_computes_with_the_weights_that_its_branch_uses(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    assert_exported_right(randomise(with_block(GATED[name]())), tmp_path / "model.onnx")


class Excited(BasicBlock):
    """A branch that goes on after the last BatchNorm, which the block's op does not know."""

    def branch(self, x: Tensor) -> Tensor:
        y = super().branch(x)
        return y * torch.sigmoid(y.mean(dim=(2, 3), keepdim=True))


class Scaled(InvertedResidual):
    def identity(self, x: Tensor) -> Tensor:
        return 2 * x


def with_silu() -> nn.Module:
    block = InvertedResidual(8, 8)
    block.conv[2] = nn.SiLU()
    return block


def with_batchnorm(batchnorm: nn.Module) -> nn.Module:
    block = BasicBlock(8, 8)
    block.bn1 = batchnorm  # type: ignore[assignment]
    return block


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (lambda: Excited(8, 8), "ends where its own goes on with mean"),
        (lambda: Scaled(8, 8), "adds its input to its branch"),
        (with_silu, "relu6 where its branch has silu"),
        (lambda: with_conv1(hooked), "relu where its branch has mul"),
        (lambda: with_conv1(prehooked), "conv1 where its branch has add"),
        (lambda: with_conv1(lambda c: nn.Conv2d(8, 8, 3, padding=2, dilation=2)), "dilation [2, 2]"),
        (lambda: with_conv1(lambda c: nn.Conv2d(8, 8, 3, padding=1, groups=2)), "2 groups"),
        (lambda: with_conv1(lambda c: nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect")), "reflection_pad2d"),
        (lambda: with_batchnorm(ShiftedBatchNorm(8)), "relu where its branch has add"),
        (lambda: with_batchnorm(nn.BatchNorm2d(8, track_running_stats=False)), "native_batch_norm"),
        (lambda: with_batchnorm(nn.GroupNorm(2, 8)), "native_group_norm"),
    ],
)
def test_a_gated_block_that_its_op_cannot_run_is_refused(
    build: Callable[[], nn.Module], told: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    with pytest.raises(Dyn2trtError) as refusal:
        export_network(randomise(with_block(build())), input_shape=SHAPE, path=tmp_path / "model.onnx")
    assert told in str(refusal.value)
    assert "the gated block 1 cannot run as Gated" in str(refusal.value)
    assert "mask_unit='none'" in str(refusal.value)
    assert not list(tmp_path.iterdir())


def test_a_batchnorm_of_the_batchs_own_statistics_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        Dyn2trtError, match=r"statistics of the batch in layers\.1 \(BatchNorm2d\) at .*cannot be exported"
    ):
        export_network(OfTheBatch().eval(), input_shape=SHAPE, path=tmp_path / "model.onnx")


def test_a_block_that_does_not_run_through_its_op_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Dyn2trtError, match=r"1 gated blocks ran \(1\), but 0 of them through their op"):
        export_network(with_block(OwnSum(8, 8)).eval(), input_shape=SHAPE, path=tmp_path / "model.onnx")


def test_a_lazy_module_without_weights_is_explained(tmp_path: Path) -> None:
    network = Ending(nn.LazyConv2d(8, 3, padding=1), nn.LazyBatchNorm2d())
    with pytest.raises(Dyn2trtError, match=r"layers\.0 is a lazy module that has not seen an input"):
        export_network(network.eval(), input_shape=SHAPE, path=tmp_path / "model.onnx")
