"""``dyn2trt export`` and ``dyn2trt inspect``: what they accept, what they print, what each mistake is told."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from handmade_model import METADATA, Handmade
from official import FOLDER
from passports import PASSPORT
from typer.testing import CliRunner, Result

from dyn2trt.cli.main import app
from dyn2trt.engine.dense_check import GatedBlocks
from dyn2trt.engine.passport import write_passport
from dyn2trt.errors import Dyn2trtError
from dyn2trt.export.metadata import read_metadata
from dyn2trt.networks.zoo import NETWORKS
from dyn2trt.recipe import load_recipe

CHECKPOINT = FOLDER / "cifar_resnet8.pth"
RECIPES = Path(__file__).parents[2] / "export"
SMALL = ("--network", "cifar_resnet", "--set", "depth=8")


def dyn2trt(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refusal(*arguments: object) -> str:
    """The one message of a command that must fail by the user's mistake."""
    result = dyn2trt(*arguments)
    assert isinstance(result.exception, Dyn2trtError), result.output
    return str(result.exception)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    result = dyn2trt("export", *SMALL, "--checkpoint", CHECKPOINT, "--dynamic-batch", "-o", path)
    assert result.exit_code == 0, result.output
    assert "warning" not in result.stderr
    assert "cifar_resnet8.pth" in result.stdout
    return path


def test_the_metadata_holds_every_option_and_the_checkpoint(exported: Path) -> None:
    metadata = read_metadata(exported)
    assert metadata.network == "cifar_resnet"
    defaults = {option.name: option.default for option in NETWORKS["cifar_resnet"].options}
    assert metadata.options == {**defaults, "depth": 8}
    assert (metadata.task, metadata.seed, metadata.dynamic_axes) == ("classification", None, (0,))
    assert metadata.checkpoint is not None


def test_inspect_shows_every_block_and_its_json_is_the_metadata(exported: Path) -> None:
    table = dyn2trt("inspect", exported)
    assert table.exit_code == 0
    for text in ("layer1.0", "layer2.0", "layer3.0", "BasicBlock", "1 node", "[N, 3, 32, 32]"):
        assert text in table.stdout
    document = json.loads(dyn2trt("inspect", "--json", exported).stdout)
    assert [block["name"] for block in document["blocks"]] == ["layer1.0", "layer2.0", "layer3.0"]


def test_a_recipe_is_overridden_by_options_and_random_weights_are_announced(tmp_path: Path) -> None:
    recipe, path = tmp_path / "r.toml", tmp_path / "new folder" / "m.onnx"
    recipe.write_text(
        '[network]\nname = "cifar_resnet"\noptions = { depth = 8, classes = 7 }\n'
        '[export]\ninput_shape = "1x3x32x32"\nprecision = "fp16"\n'
    )
    result = dyn2trt(
        "export",
        recipe,
        "-o",
        path,
        "--precision",
        "fp32",
        "--set",
        "classes=5",
        "--seed",
        3,
        "--ops",
        "dense",
        "--json",
    )
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert (document["precision"], document["ops"], document["seed"]) == ("fp32", "dense", 3)
    assert document["options"]["classes"] == 5
    assert document["checkpoint"] is None
    assert "the weights of cifar_resnet are random (seed 3)" in result.stderr


@pytest.mark.parametrize("recipe", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_names_a_network_that_takes_its_input(recipe: Path) -> None:
    from dyn2trt.export.recipe_export import make_network
    from dyn2trt.macs import count_macs

    loaded = load_recipe(recipe)
    assert loaded.description
    macs = count_macs(make_network(loaded.network), loaded.export.input_shape)
    assert macs.blocks or macs.kernels
    assert Path(loaded.data.images).is_dir()


def _code(path: Path) -> None:
    class Malicious:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, ("touch harmed",)

    torch.save({"state_dict": Malicious()}, path)


def _nan(path: Path) -> None:
    content = torch.load(CHECKPOINT, weights_only=True)
    content["state_dict"]["conv1.weight"][0, 0, 0, 0] = float("nan")
    torch.save(content, path)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda path: path.write_bytes(CHECKPOINT.read_bytes()[:1000]), "is truncated or no checkpoint"),
        (lambda path: path.write_bytes(b""), "is no checkpoint: it is an empty file"),
        (_code, "code in a checkpoint is not run"),
        (_nan, "NaN or infinite, in conv1.weight"),
        (lambda path: path.write_bytes((FOLDER / "imagenet_resnet18_w025.pth").read_bytes()), "does not fit"),
        (lambda path: None, "no checkpoint at"),
    ],
    ids=["truncated", "empty", "code", "nan", "other", "absent"],
)
def test_a_bad_checkpoint_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Any, told: str) -> None:
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "bad.pth")
    message = refusal("export", *SMALL, "--checkpoint", "bad.pth", "-o", "model.onnx")
    assert told in message
    assert "bad.pth" in message
    assert {path.name for path in tmp_path.iterdir()} <= {"bad.pth"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "say what to export: a recipe, or --network NAME"),
        (("--network", "cifar_resnt"), "did you mean 'cifar_resnet'?"),
        (("--network", "cifar_resnet", "--set", "dept=8"), "did you mean 'depth'?"),
        (
            ("--network", "cifar_resnet", "--set", "depth"),
            "--set wants NAME=VALUE, such as --set depth=20, not 'depth'",
        ),
        (("--network", "cifar_resnet", "--set", "depth=9"), "depth is one of 8, 14, 20"),
        (("--network", "nowhere.at:all", "--input-shape", "1x3x8x8"), "no module is named 'nowhere'"),
        (("--network", "nowhere.at:all"), "give --input-shape NxCxHxW"),
        ((*SMALL, "--input-shape", "3x32x32"), "an input shape is written NxCxHxW"),
        ((*SMALL, "--input-shape", "1x1x32x32"), "takes images of 3 channels"),
        (("--network", "hourglass", "--input-shape", "1x3x200x200"), "multiples of 64, not 200x200"),
        ((*SMALL, "--precision", "int8"), "export.precision: input should be 'fp32', 'fp16' or 'bf16', not 'int8'"),
        ((*SMALL, "--ops", "dense", "--with-decisions"), "the dense network decides nothing"),
        ((RECIPES / "cifar_resnet32.toml", *SMALL), "give a recipe or --network, not both"),
    ],
)
def test_a_wrong_command_line_is_explained(tmp_path: Path, arguments: tuple[object, ...], told: str) -> None:
    assert told in refusal("export", *arguments, "-o", tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_a_recipe_with_a_typo_names_the_nearest_key(tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text('[network]\nname = "cifar_resnet"\n[export]\ninput_shap = "1x3x32x32"\n')
    message = refusal("export", recipe, "-o", tmp_path / "m.onnx")
    assert "export.input_shap is no key of a recipe; did you mean export.input_shape?" in message


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"old")

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    assert f"the disk is full: {path} was not written" in refusal("export", *SMALL, "-o", path)
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("path", ["/proc/model.onnx", "/dev/null/model.onnx"])
def test_an_unwritable_path_is_told_before_the_work(path: str) -> None:
    assert f"cannot write {path}" in refusal("export", *SMALL, "-o", path)


def test_a_folder_is_no_output(tmp_path: Path) -> None:
    assert f"cannot write {tmp_path}" in refusal("export", *SMALL, "-o", tmp_path)


@pytest.mark.parametrize("content", [b"no onnx", b""])
def test_inspecting_a_foreign_file_is_explained(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "foreign.onnx"
    path.write_bytes(content)
    assert "foreign.onnx is no ONNX file" in refusal("inspect", path)
    assert "cannot read" in refusal("inspect", tmp_path / "none.onnx")
    assert "no plan" in refusal("inspect", tmp_path / "none.plan")


def test_inspect_points_at_blocks_without_nodes_or_bodies(tmp_path: Path) -> None:
    model = Handmade().proto()
    del model.graph.node[-2]
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    lines = {line.split()[1]: line for line in dyn2trt("inspect", path).stdout.splitlines() if " stage." in line}
    assert lines["stage.0"].rstrip().endswith("1 node, no body")
    assert lines["stage.2"].rstrip().endswith("missing")


def test_inspect_shows_how_an_engine_runs_each_block(tmp_path: Path) -> None:
    plan = tmp_path / "model.plan"
    plan.write_bytes(b"plan")
    blocks = tuple(block.name for block in METADATA.blocks)
    passport = replace(PASSPORT, export=json.loads(METADATA.to_json()), gated_blocks=GatedBlocks(blocks, blocks[:1]))
    write_passport(plan, passport)
    shown = dyn2trt("inspect", plan).stdout
    rows = {line.split()[1]: line.split()[-1] for line in shown.splitlines() if " stage." in line}
    assert rows == {"stage.0": "plugin", "stage.1": "dense", "stage.2": "dense"}
    for text in ("tensorrt 11.4.0.106", "x 1x3x8x8 to 4x3x8x8, tuned for 1x3x8x8", "NVIDIA H200"):
        assert text in shown
    assert json.loads(dyn2trt("inspect", "--json", plan).stdout)["module"] == "tensorrt"
    write_passport(plan, replace(passport, export=None))
    assert "20 parsed, 1 of them plugins" in dyn2trt("inspect", plan).stdout


def test_a_file_for_trtexec_has_no_bodies_and_says_so_where_they_are_needed(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    made = dyn2trt("export", *SMALL, "--checkpoint", CHECKPOINT, "--for", "trtexec", "-o", path)
    assert made.exit_code == 0, made.output
    model = onnx.load(path)
    assert not model.functions
    assert [node for node in model.graph.node if node.domain == "dyn2trt"]
    assert "no body" in dyn2trt("inspect", path).stdout
    compared = dyn2trt("compare", path, "--checkpoint", CHECKPOINT, "--json")
    assert compared.exit_code == 1
    runtime = next(b for b in json.loads(compared.stdout)["backends"] if b["name"] == "onnxruntime")
    assert "without --for trtexec" in runtime["not_run"]
    assert "without --for trtexec" in refusal("bench", path)
    os.mkfifo(tmp_path / "fifo")
    assert "is none" in refusal("export", *SMALL, "--for", "trtexec", "-o", tmp_path / "fifo")
    assert "any or trtexec" in refusal("export", *SMALL, "--for", "trt", "-o", path)
