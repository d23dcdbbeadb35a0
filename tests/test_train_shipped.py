"""The checkpoints that ship are what their cards and recipes say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from dyn2trt.checkpoint import load_checkpoint
from dyn2trt.files import sha256
from dyn2trt.images import load_inputs
from dyn2trt.macs import count_macs
from dyn2trt.networks.zoo import build_network
from dyn2trt.recipe import load_recipe
from dyn2trt.tasks import digits
from dyn2trt.tasks.task import make_task
from dyn2trt.train.batches import evaluation_loader
from dyn2trt.train.evaluate import evaluate
from dyn2trt.train.processes import Process

pytest.importorskip("sklearn")
EXPORT = Path(__file__).resolve().parents[1] / "export"
ALONE = Process(0, 1, torch.device("cpu"))


@pytest.mark.parametrize("name", sorted(path.stem for path in (EXPORT / "checkpoints").glob("*.md")))
def test_a_card_belongs_to_its_checkpoint(name: str) -> None:
    file = EXPORT / "checkpoints" / f"{name}.pth"
    assert sha256(file) in file.with_suffix(".md").read_text()
    assert file.stat().st_size < 2_000_000
    recipe = load_recipe(EXPORT / f"{name}.toml")
    assert recipe.network.checkpoint == file
    load_checkpoint(build_network(recipe.network.name, recipe.network.options), file)


def test_the_digits_checkpoint_does_what_its_card_says() -> None:
    recipe = load_recipe(EXPORT / "digits.toml")
    assert recipe.train is not None
    task = make_task(recipe.train, recipe.export.input_shape)
    assert task.test is not None
    network = build_network(recipe.network.name, recipe.network.options)
    assert recipe.network.checkpoint is not None
    load_checkpoint(network, recipe.network.checkpoint)
    report = count_macs(network, recipe.export.input_shape)
    found = evaluate(network, task, evaluation_loader(task.test, 100, ALONE, 0), report, ALONE)
    card = recipe.network.checkpoint.with_suffix(".md").read_text()
    accuracy, executed = (
        float(re.findall(rf"\| {row} \|.*?([\d.]+)% \|\n", card)[0]) / 100
        for row in ("accuracy", "executed of the gated blocks")
    )
    # The card's figures are of training's own precision.
    assert found.scores["accuracy"] == pytest.approx(accuracy, abs=0.01)
    assert found.executed == pytest.approx(executed, abs=0.01)
    assert found.on_object is not None
    assert found.object_area is not None
    assert found.on_object > 2 * found.object_area


def test_the_recipes_pictures_are_the_test_parts() -> None:
    recipe = load_recipe(EXPORT / "digits.toml")
    shown = load_inputs(recipe.data.images, (None, 3, 64, 64), mean=recipe.data.mean, std=recipe.data.std)
    data = digits.DigitCanvases("test", digits.EVALUATED, (64, 64), seed=0)
    for index, image in enumerate(shown):
        assert torch.allclose(torch.from_numpy(image), data[index][0], atol=1e-5)
