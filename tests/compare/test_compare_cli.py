"""The options of ``dyn2trt compare``, and the command itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from compare_models import CHECKPOINT, export_official
from typer.testing import CliRunner

from dyn2trt.cli.compare import compare
from dyn2trt.compare.options import compare_options
from dyn2trt.errors import Dyn2trtError
from dyn2trt.recipe.tolerances import Tolerances

RECIPE = """
[network]
name = "cifar_resnet"
options = { depth = 8, classes = 10 }
checkpoint = "weights.pth"

[export]
input_shape = "2x3x32x32"

[data]
images = "noise:2"
mean = [0.1, 0.2, 0.3]
std = [0.5, 0.5, 0.5]
seed = 5

[compare]
tolerances = ["1e-4"]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe, its checkpoint and its model."""
    folder = tmp_path_factory.mktemp("recipe")
    (folder / "recipe.toml").write_text(RECIPE)
    (folder / "weights.pth").write_bytes(CHECKPOINT.read_bytes())
    (folder / "model.onnx").write_bytes(export_official().read_bytes())
    return folder


def run(*words: object) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(compare)
    result = CliRunner().invoke(app, list(map(str, words)))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout


def test_what_is_typed_goes_before_the_recipe(folder: Path) -> None:
    model = folder / "model.onnx"
    options = compare_options(model=model, recipe=folder / "recipe.toml")
    assert options.checkpoint is not None
    assert options.checkpoint.samefile(folder / "weights.pth")
    assert (options.images, options.mean, options.seed, options.required) == ("noise:2", (0.1, 0.2, 0.3), 5, False)
    assert options.tolerances == Tolerances(1e-4)
    typed = compare_options(
        model=model,
        recipe=folder / "recipe.toml",
        backends="onnxruntime, torch",
        images="noise",
        std="1,2,3",
        seed=0,
        tolerances=["out0:1e-3"],
        rtol=["1e-2"],
    )
    assert (typed.backends, typed.required) == (("onnxruntime", "torch"), True)
    assert (typed.images, typed.mean, typed.std, typed.seed) == ("noise", (0.1, 0.2, 0.3), (1.0, 2.0, 3.0), 0)
    assert typed.tolerances == Tolerances(None, {"out0": 1e-3})
    assert (typed.atol, typed.rtol) == (None, Tolerances(1e-2))


@pytest.mark.parametrize("text", ["torch", "torch,torch", "torch,onnx", ""])
def test_backends_that_are_none(text: str) -> None:
    with pytest.raises(Dyn2trtError, match=r"there is no backend|expected two or more different backends"):
        compare_options(model=Path("model.onnx"), backends=text)


def test_normalisation_is_of_numbers(folder: Path) -> None:
    with pytest.raises(Dyn2trtError, match=r"expected --mean R,G,B.*not '0\.5,half'"):
        compare_options(model=folder / "model.onnx", mean="0.5,half")


def test_a_sound_model(folder: Path, tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    words = (folder / "model.onnx", "--recipe", folder / "recipe.toml", "--json", "-o", tmp_path / "compare.json")
    code, printed = run(*words, "--save", saved, "--save-activity", tmp_path / "activity.npz")
    assert code == 0
    document = json.loads(printed)
    assert document["passed"] is True
    assert document == json.loads((tmp_path / "compare.json").read_text())
    assert document["backends"][0]["outputs"][0]["tolerance"] == 1e-4
    assert sorted(file.name for file in saved.iterdir()) == [
        "forced_inputs.json",
        "forced_outputs.json",
        "inputs.json",
        "outputs.json",
    ]
    assert (tmp_path / "activity.npz").is_file()


def test_failing_is_exit_code_1_and_the_evidence_is_still_written(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "compare.json"
    words = (folder / "model.onnx", "--recipe", folder / "recipe.toml", "--tolerance", "0", "-o", output)
    code, printed = run(*words)
    assert code == 1
    assert "FAILED" in printed
    assert json.loads(output.read_text())["passed"] is False


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"not an onnx file")
    with pytest.raises(Dyn2trtError, match=r"model\.onnx"):
        run(tmp_path / "model.onnx")


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys, dyn2trt.cli.compare\n"
        "print([m for m in ('torch', 'onnx', 'onnxruntime', 'polygraphy', 'numpy', 'pydantic') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
