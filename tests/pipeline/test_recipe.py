"""Recipes: what a valid one means, and what each mistake is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from dyn2trt.errors import Dyn2trtError
from dyn2trt.recipe import load_recipe, overrule_train, parse_shape

MINIMAL = '[network]\nname = "cifar_resnet"\n[export]\ninput_shape = [1, 3, 32, 32]\n'


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text)
    return path


def test_a_minimal_recipe_has_defaults(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, MINIMAL))
    assert recipe.export.input_shape == (1, 3, 32, 32)
    assert (recipe.export.precision, recipe.export.ops) == ("fp32", "composite")
    assert recipe.network.checkpoint is None
    assert recipe.data.images == "noise"


def test_paths_are_relative_to_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = MINIMAL.replace("[export]", 'checkpoint = "weights/a.pth"\n[export]') + '[data]\nimages = "photos"\n'
    (tmp_path / "deep").mkdir()
    path = write(tmp_path / "deep", text)
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe(path.relative_to(tmp_path))
    assert recipe.network.checkpoint == tmp_path / "deep" / "weights" / "a.pth"
    assert recipe.data.images == str(tmp_path / "deep" / "photos")


def test_noise_is_no_path_and_shapes_may_be_written_with_x(tmp_path: Path) -> None:
    text = MINIMAL.replace("[1, 3, 32, 32]", '"2x3x64x48"') + '[data]\nimages = "noise:8"\n'
    recipe = load_recipe(write(tmp_path, text))
    assert recipe.data.images == "noise:8"
    assert recipe.export.input_shape == (2, 3, 64, 48)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (MINIMAL + 'precison = "fp16"\n', "export.precison is no key of a recipe; did you mean export.precision?"),
        (MINIMAL + "[bnech]\n", "bnech is no key of a recipe; did you mean bench?"),
        (MINIMAL + "batch_sizes = [1]\n", "export.batch_sizes is no key of a recipe; did you mean bench.batch_sizes?"),
        ('checkpoint = "a"\n' + MINIMAL, "checkpoint is no key of a recipe; did you mean network.checkpoint?"),
        (MINIMAL + "zzzz = 1\n", "export.zzzz is no key of a recipe; there are export.input_shape, export.precision"),
        (MINIMAL + 'precision = "fp61"\n', "export.precision: input should be 'fp32', 'fp16' or 'bf16', not 'fp61'"),
        (MINIMAL.replace('name = "cifar_resnet"', ""), "network.name is missing"),
        (MINIMAL.replace("32, 32]", "32]"), "export.input_shape"),
        (MINIMAL.replace("32, 32]", "32, 0]"), "export.input_shape.3: input should be greater than or equal to 1"),
        (MINIMAL.replace("[1, 3, 32, 32]", '"1x3x32"'), "such as 1x3x256x256, not '1x3x32'"),
        (MINIMAL + "[bench]\nactive_ratios = [0.5, 25]\n", "bench.active_ratios.1: input should be less than or equal"),
        (MINIMAL + '[build]\nmin_shapes = "x:1x3x32x32"\n', "build: min_shapes, opt_shapes and max_shapes go together"),
        (MINIMAL + "[data\n", "is no valid TOML"),
        ("", "network is missing; export is missing"),
    ],
)
def test_a_mistake_names_its_key(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(Dyn2trtError) as raised:
        load_recipe(write(tmp_path, text))
    message = str(raised.value)
    assert told in message
    assert "recipe.toml" in message
    assert "\n" not in message
    assert message.count(", not ") <= 1


TRAIN = '[train]\ntask = "digits"\nepochs = 1\nbatch_size = 4\nlearning_rate = 0.1\n'


def test_a_target_rate_is_one_number_or_one_a_layer(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, MINIMAL + TRAIN + "target_rate = 0.7\n"))
    assert recipe.train.target_rate == 0.7
    for given, expected in (("[0.8, 0.5]", (0.8, 0.5)), ("[1, 0]", (1, 0)), ("0.3", 0.3)):
        overruled = overrule_train(recipe, [f"target_rate={given}"])
        assert overruled.train.target_rate == expected
        assert overrule_train(overruled, ["epochs=2"]).train.target_rate == expected


@pytest.mark.parametrize("given", ["1.5", "nan", "[]", "[0.5, -0.1]", "true", "[[0.5]]", "half"])
def test_a_wrong_target_rate_is_told_what_would_be_right(tmp_path: Path, given: str) -> None:
    recipe = load_recipe(write(tmp_path, MINIMAL + TRAIN))
    with pytest.raises(Dyn2trtError) as raised:
        overrule_train(recipe, [f"target_rate={given}"])
    told = "--set: train.target_rate: a rate is a number from 0 to 1; give one for all layers or a list of them, not "
    assert str(raised.value).startswith(told)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("ponder = 0.01\nalpha = 10\n", "train: alpha does nothing beside ponder, a weight itself; leave it out"),
        ("anneal = 0.5\n", "train: anneal does nothing without a budget; leave it out (--set anneal=none unsets it)"),
        ("target_rate = 0.5\nanneal = 0.5\n", "train: anneal does nothing without a budget"),
    ],
)
def test_keys_of_training_that_would_do_nothing_are_refused(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(Dyn2trtError) as raised:
        load_recipe(write(tmp_path, MINIMAL + TRAIN + text))
    assert told in str(raised.value)


def test_defaults_are_not_taken_for_keys_that_were_given(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, MINIMAL + TRAIN + "budget = 0.5\nanneal = 0.5\nalpha = 3\n"))
    with pytest.raises(Dyn2trtError, match="anneal does nothing without a budget"):
        overrule_train(recipe, ["budget=none"])
    halting = overrule_train(recipe, ["budget=none", "anneal=none", "alpha=none", "ponder=0.01"])
    assert (halting.train.ponder, halting.train.alpha, halting.train.anneal) == (0.01, None, pytest.approx(1 / 3))
    assert overrule_train(halting, ["epochs=2"]).train.epochs == 2


def test_an_unreadable_recipe_is_named(tmp_path: Path) -> None:
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "none.toml", tmp_path, tmp_path / "binary.toml"):
        with pytest.raises(Dyn2trtError, match=f"cannot read the recipe {path}"):
            load_recipe(path)


@pytest.mark.parametrize("text", ["", "3x256x256", "1x3x256x256x1", "1x3x-1x2", "ax3x2x2", "0x3x2x2", "1,3,2,2"])
def test_a_bad_shape_is_refused(text: str) -> None:
    with pytest.raises(Dyn2trtError, match="1x3x256x256"):
        parse_shape(text)


def test_a_byte_order_mark_is_no_part_of_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(MINIMAL, encoding="utf-8-sig")
    assert load_recipe(tmp_path / "r.toml").network.name == "cifar_resnet"


RANGE = 'min_shapes = "x:1x3x32x32"\nopt_shapes = "x:4x3x32x32"\nmax_shapes = "x:8x3x32x32"\n'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[build]\n" + RANGE.replace("x:8x3", "x8x3"), "build: 'x8x3x32x32' is no shape"),
        ("[build]\n" + RANGE, r"build\.opt_shapes gives x the shape 4x3x32x32; the model has 1x3x32x32"),
        ("dynamic_batch = true\n[build]\n" + RANGE.replace("x:", "y:"), r"build\.min_shapes names 'y'"),
        ("dynamic_batch = true\n[build]\n" + RANGE.replace("x:1", "x:6"), "min ≤ opt ≤ max"),
        ("dynamic_batch = true\n[build]\n" + RANGE.replace("32x32", "64x64"), "only dimensions marked"),
        ('[build]\nworkspace = "lots"', "'lots' is no memory size"),
        ('[data]\nimages = ""', "name of the images is empty"),
        ("[data]\nmean = [123.675, 116.28, 103.53]", "divide mean and std by 255"),
        ("[data]\nmean = [0.5]", r"data\.mean has one number a channel \(3\)"),
    ],
)
def test_what_would_fail_later_fails_when_the_recipe_is_read(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "r.toml").write_text(MINIMAL + text)
    with pytest.raises(Dyn2trtError, match=told):
        load_recipe(tmp_path / "r.toml")


def test_shapes_that_fit_are_kept(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(MINIMAL + "dynamic_batch = true\n[build]\n" + RANGE)
    assert load_recipe(tmp_path / "r.toml").build.max_shapes == "x:8x3x32x32"
