"""Networks of dynamic kernels in the training loop, on tiny digits."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from dyn2trt.blocks.dynamic import CoefficientPredictor, dynamic_blocks, record_coefficients
from dyn2trt.checkpoint import load_checkpoint
from dyn2trt.networks.zoo import build_network
from dyn2trt.recipe import load_recipe
from dyn2trt.train.precision import autocast, keep_gates_in_fp32
from dyn2trt.train.processes import Process
from dyn2trt.train.trainer import train_recipe

NETWORKS = {
    "dy_shufflenet_v2": "{ width = 0.5, classes = 10, kernels = 2 }",
    "dy_mobilenet_v2": "{ width = 0.25, classes = 10, kernels = 2 }",
    "dy_mobilenet_v3": '{ variant = "small", width = 0.25, classes = 10, kernels = 2 }',
}
RECIPE = """
[network]
name = "{name}"
options = {options}
[train]
task = "digits"
samples = 16
epochs = 1
batch_size = 8
learning_rate = 0.02
label_smoothing = 0.1
precision = "{precision}"
[export]
input_shape = [1, 3, 32, 32]
"""


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("dyn2trt.tasks.digits.EVALUATED", 20)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", NETWORKS)
def test_mobile_networks_train(name: str, precision: str, tmp_path: Path) -> None:
    file = tmp_path / "tiny.toml"
    file.write_text(RECIPE.format(name=name, options=NETWORKS[name], precision=precision))
    recipe = load_recipe(file)
    outcome = train_recipe(recipe, tmp_path / "run", Process(0, 1, torch.device("cpu")))
    (row,) = csv.DictReader((tmp_path / "run" / "train.csv").open())
    assert math.isfinite(float(row["loss_task"]))
    assert float(row["validation_loss"]) < 10
    network = build_network(name, recipe.network.options)
    drawn = {key: parameter.clone() for key, parameter in network.named_parameters()}
    load_checkpoint(network, outcome.weights)
    assert dict(dynamic_blocks(network))
    assert all((drawn[key] != parameter).any() for key, parameter in network.named_parameters())


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_keeps_the_coefficients_in_fp32(precision: str) -> None:
    torch.manual_seed(0)
    network = build_network("dy_mobilenet_v2", {"width": 0.25, "classes": 10, "kernels": 2})
    keep_gates_in_fp32(network)
    half: set[torch.dtype] = set()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.register_forward_hook(lambda _module, args, _output: half.add(args[0].dtype))
    with autocast(torch.device("cpu"), precision), record_coefficients(network) as recorded:
        network(torch.randn(4, 3, 32, 32)).sum().backward()
    assert len(recorded) == sum(isinstance(module, CoefficientPredictor) for module in network.modules()) == 17
    assert {record.coefficients.dtype for record in recorded} == {torch.float32}
    assert half == {torch.bfloat16 if precision == "bf16" else torch.float16}
