"""Networks of which some blocks have no gate: they run, count and export as ordinary dense blocks there."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch

from dyn2trt.blocks import Bottleneck, gated_blocks, set_execution
from dyn2trt.contract import DOMAIN
from dyn2trt.export import export_network
from dyn2trt.export.surgery import with_forced_masks
from dyn2trt.gates import forced_masks, record_decisions
from dyn2trt.macs import count_macs
from dyn2trt.networks.zoo import build_network
from dyn2trt.recipe import load_recipe, overrule_train
from dyn2trt.train.criterion import make_criterion


@pytest.mark.parametrize("name", ["cifar_convnet_aig", "cifar_resnet"])
@torch.no_grad()
def test_an_ungated_block_is_one_that_always_runs(name: str) -> None:
    torch.manual_seed(0)
    gated = build_network(name, {"depth": 14, "width": 0.25}).eval()
    partly = build_network(name, {"depth": 14, "width": 0.25, "ungated": "layer1.0 layer3.1"}).eval()
    assert [block for block, _ in gated_blocks(partly)] == ["layer1.1", "layer2.0", "layer2.1", "layer3.0"]
    state = gated.state_dict()
    partly.load_state_dict({key: state[key] for key in partly.state_dict()})
    x = torch.randn(2, 3, 16, 16)
    with record_decisions(gated) as decisions:
        gated(x)
    masks = [(torch.arange(2).view(2, 1, 1, 1) == i % 2).expand_as(d.mask) for i, d in enumerate(decisions)]
    for ungated in (0, 5):
        masks[ungated] = torch.ones_like(masks[ungated])
    for execution in ("masked", "sparse"):
        set_execution(gated, execution)
        set_execution(partly, execution)
        with forced_masks(gated, masks), forced_masks(partly, masks[1:5]):
            torch.testing.assert_close(partly(x), gated(x))
    whole, part = count_macs(gated, x.shape), count_macs(partly, x.shape)
    assert part.blocks == whole.blocks[1:5]
    assert part.macs_dense == whole.macs_dense


@pytest.mark.parametrize("t", [0.4, 0.7])
def test_the_recipe_of_convnet_aig_50_is_the_authors_schedule(t: float) -> None:
    recipe = load_recipe(Path(__file__).resolve().parents[2] / "export" / "convnet_aig50.toml")
    rates = ",".join(map(str, (0.8, *[t] * 8, 0.7)))
    train = overrule_train(recipe, [f"target_rate=[{rates}]"]).train
    with torch.device("meta"):
        network = build_network(recipe.network.name, recipe.network.options)
    criterion = make_criterion(train, network, count_macs(network, recipe.export.input_shape))
    gated = {name: rate for (name, _), rate in zip(gated_blocks(network), criterion.targets, strict=True)}
    blocks = [name for name, module in network.named_modules() if isinstance(module, Bottleneck)]
    published = [1, 1, 0.8, 1, t, t, t, 1, t, t, t, t, t, 1, 0.7, 1]
    assert [gated.get(name, 1) for name in blocks] == published
    if t == 0.7:
        assert train == recipe.train


@pytest.mark.parametrize(
    ("name", "op"), [("cifar_convnet_aig", "LayerGatedBasicBlock"), ("cifar_resnet", "SqueezeGatedBasicBlock")]
)
@torch.no_grad()
def test_an_ungated_block_is_exported_as_ordinary_convolutions(tmp_path: Path, name: str, op: str) -> None:
    torch.manual_seed(0)
    network = build_network(name, {"depth": 8, "width": 0.25, "ungated": "layer1.0 layer3.0"}).eval()
    x = torch.randn(2, 3, 32, 32)
    metadata = export_network(network, input_shape=x.shape, path=tmp_path / "model.onnx")
    assert [block.name for block in metadata.blocks] == ["layer2.0"]
    model = onnx.load(tmp_path / "model.onnx")
    assert [node.op_type for node in model.graph.node if node.domain == DOMAIN] == [op]
    session = onnxruntime.InferenceSession(with_forced_masks(model).SerializeToString())
    grid = metadata.blocks[0].grid
    for active in (True, False):
        mask = torch.full((2, 1, *grid), active)
        logits = mask.float() * 2 - 1
        (y,) = session.run(None, {"x": x.numpy(), "logits0": logits.numpy()})
        with forced_masks(network, [mask]):
            torch.testing.assert_close(torch.from_numpy(y), network(x), rtol=1e-4, atol=1e-5)
