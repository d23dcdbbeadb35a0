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
EXPORT = Path(__file__).resolve().parents[2] / "export"
SHIPPED = sorted(path.stem for path in (EXPORT / "checkpoints").glob("*.md"))
DIGITS = [name for name in SHIPPED if name.startswith("digits")]
ALONE = Process(0, 1, torch.device("cpu"))
SCORE_AND_MACS = ("(?:accuracy|pckh@0.5) ", "multiply-accumulates an image")
TOLERANCE = 0.01
"""Of fractions. A card's figures are of training's own precision and machine, those found here of fp32 and this one."""


def on_test_part(card: str) -> dict[str, float]:
    """What the card's tables say of the test part, by row; percents as fractions, M as millions."""
    rows = re.findall(r"^\| `?([^|]+?)`? \|.*\| ([\d.]+)(%| M)? \|$", card, re.MULTILINE)
    return {name: float(value) * {"%": 0.01, " M": 1e6, "": 1}[unit] for name, value, unit in rows}


def test_every_network_of_the_family_ships_trained() -> None:
    assert {"digits", "digits_sact", "digits_aig", "digits_dynet"} <= set(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_card_belongs_to_its_checkpoint(name: str) -> None:
    file = EXPORT / "checkpoints" / f"{name}.pth"
    card = file.with_suffix(".md").read_text()
    assert card.startswith(f"# {name}.pth\n")
    assert f"{file.stat().st_size} bytes, sha256 `{sha256(file)}`" in card
    assert file.stat().st_size < 2_000_000
    recipe = load_recipe(EXPORT / f"{name}.toml")
    assert recipe.network.checkpoint == file
    load_checkpoint(build_network(recipe.network.name, recipe.network.options), file)
    assert f"dyn2trt train export/{name}.toml" in card


@pytest.mark.parametrize("name", SHIPPED)
def test_the_table_of_trained_networks_says_what_the_card_says(name: str) -> None:
    card = (EXPORT / "checkpoints" / f"{name}.md").read_text()
    lines = (EXPORT / "README.md").read_text().splitlines()
    row = next(line for line in lines if f"[{name}](checkpoints/{name}.md)" in line)
    score, macs = (re.findall(rf"^\| {start}[^|]*\|.*\| ([^|]+) \|$", card, re.M)[0] for start in SCORE_AND_MACS)
    assert f"`{name}.toml`" in row
    assert f"| {macs} " in row
    assert f"| {score} " in row


@pytest.mark.parametrize("name", DIGITS)
def test_a_digits_checkpoint_does_what_its_card_says(name: str) -> None:
    recipe = load_recipe(EXPORT / f"{name}.toml")
    assert recipe.train is not None
    assert recipe.network.checkpoint is not None
    task = make_task(recipe.train.model_copy(update={"samples": 1}), recipe.export.input_shape)  # it is not trained
    assert task.test is not None
    network = build_network(recipe.network.name, recipe.network.options)
    load_checkpoint(network, recipe.network.checkpoint)
    report = count_macs(network, recipe.export.input_shape)
    found = evaluate(network, task, evaluation_loader(task.test, 100, ALONE, 0), report, ALONE)
    said = on_test_part(recipe.network.checkpoint.with_suffix(".md").read_text())
    assert found.images == said["images"]
    assert found.scores["accuracy"] == pytest.approx(said["accuracy"], abs=TOLERANCE)
    assert found.scores["accuracy"] > 0.94
    assert found.activity == {block: pytest.approx(said[block], abs=TOLERANCE) for block in found.activity}
    macs = next(value for row, value in said.items() if row.startswith("multiply-accumulates an image"))
    assert found.macs == pytest.approx(macs, rel=TOLERANCE)
    if report.blocks:
        assert found.executed == pytest.approx(said["executed of the gated blocks"], abs=TOLERANCE)
        assert found.executed < 0.8, "gates that skip nothing are not worth shipping"
        assert found.on_object == pytest.approx(said["executed positions on the object"], abs=TOLERANCE)
        assert found.object_area == pytest.approx(said["the object's share of the image"], abs=TOLERANCE)


def test_positions_are_spent_on_the_digit() -> None:
    said = on_test_part((EXPORT / "checkpoints" / "digits.md").read_text())
    assert said["executed positions on the object"] > 2 * said["the object's share of the image"]


def test_the_recipes_pictures_are_the_test_parts() -> None:
    recipe = load_recipe(EXPORT / "digits.toml")
    shown = load_inputs(recipe.data.images, (None, 3, 64, 64), mean=recipe.data.mean, std=recipe.data.std)
    data = digits.DigitCanvases("test", digits.EVALUATED, (64, 64), seed=0)
    for index, image in enumerate(shown):
        assert torch.allclose(torch.from_numpy(image), data[index][0], atol=1e-5)
