"""The whole pipeline from a recipe: what it makes, skips, resumes and refuses."""

import json
import re
from pathlib import Path

import pytest
from official import FOLDER
from typer.testing import CliRunner

from dyn2trt.cli.main import app
from dyn2trt.compare import comparison
from dyn2trt.errors import Dyn2trtError, Interrupted
from dyn2trt.pipeline import recipe_stages
from dyn2trt.recipe import load_recipe
from dyn2trt.run_folder import RunFolder

RECIPE = f"""
[network]
name = "cifar_resnet"
options = {{ depth = 8, classes = 10 }}
checkpoint = "{FOLDER / "cifar_resnet8.pth"}"

[export]
input_shape = "1x3x32x32"

[data]
images = "noise:2"

[bench]
active_ratios = [0.25, 1.0]
warmup = 1
iterations = 6
seconds = 0
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds a recipe and its finished run."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "small.toml").write_text(RECIPE)
    result = dyn2trt("run", folder / "small.toml", "-o", folder / "run")
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(folder / "run" / "report.html")
    return folder


def dyn2trt(*arguments: str | Path):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def states(folder: Path, *arguments: str) -> dict[str, str]:
    result = dyn2trt("run", folder / "small.toml", "-o", folder / "run", "--json", *arguments)
    assert result.exit_code == 0, result.output
    return {stage["name"]: stage["state"] for stage in json.loads(result.stdout)["stages"]}


def test_a_run_leaves_every_artefact(finished: Path) -> None:
    names = {path.name for path in (finished / "run").iterdir()}
    assert {"model.onnx", "compare.json", "activity.npz", "bench.json", "report.html", "report.md"} <= names
    assert "cifar_resnet" in (finished / "run" / "report.html").read_text()


@pytest.mark.skipif(recipe_stages.why_no_engine() is None, reason="this machine can build and run an engine")
def test_the_report_says_why_there_is_no_engine(finished: Path) -> None:
    why = recipe_stages.why_no_engine()
    assert f"- **comparison with tensorrt**: {why}" in (finished / "run" / "report.md").read_text()


def test_a_second_run_does_nothing(finished: Path) -> None:
    again = states(finished)
    assert again.pop("build") == "not run"
    assert set(again.values()) == {"up to date"}


def test_other_settings_run_again_what_depends_on_them(finished: Path) -> None:
    recipe = finished / "small.toml"
    recipe.write_text(RECIPE.replace("iterations = 6", "iterations = 7"))
    again = states(finished)
    assert again["export"] == again["compare"] == "up to date"
    assert again["bench"] == again["report"] == "done"


def test_force_runs_everything_again(finished: Path) -> None:
    again = states(finished, "--force")
    assert again.pop("build") == "not run"
    assert set(again.values()) == {"done"}


def test_an_interrupted_run_goes_on_at_its_stage(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (finished / "run" / "report.html").read_bytes()
    (finished / "run" / "compare.json").unlink()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(comparison, "compare_model", interrupt)
    result = dyn2trt("run", finished / "small.toml", "-o", finished / "run")
    assert isinstance(result.exception, Interrupted)
    assert result.exception.exit_code == 130
    assert re.search(r"interrupted; the same command goes on", str(result.exception))
    assert (finished / "run" / "report.html").read_bytes() == before
    monkeypatch.undo()
    again = states(finished)
    assert again["export"] == "up to date"
    assert again["compare"] == "done"


def test_a_failed_comparison_is_reported_and_fails_the_run(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(RECIPE + '\n[compare]\ntolerances = ["1e-12"]\n')
    result = dyn2trt("run", tmp_path / "small.toml", "-o", tmp_path / "run")
    assert isinstance(result.exception, Dyn2trtError)
    assert result.exception.exit_code == 1
    assert "the comparison failed" in str(result.exception)
    assert (tmp_path / "run" / "report.html").exists()


def test_a_run_builds_and_measures_an_engine_where_one_can_run(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(RECIPE)
    folder = RunFolder(tmp_path)
    recipe = load_recipe(tmp_path / "small.toml")
    quiet = {"progress": lambda _: None, "warn": lambda _: None}
    with_engine = [stage.name for stage in recipe_stages.stages_of(recipe, folder, engine=True, **quiet)]
    without = [stage.name for stage in recipe_stages.stages_of(recipe, folder, engine=False, **quiet)]
    assert with_engine == ["export", "build", "compare", "bench", "bench-tensorrt", "report"]
    assert without == ["export", "compare", "bench", "report"]


def test_a_file_in_the_place_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(RECIPE)
    (tmp_path / "run").write_text("")
    result = dyn2trt("run", tmp_path / "small.toml", "-o", tmp_path / "run")
    assert isinstance(result.exception, Dyn2trtError)
    assert "is a file, and a run needs a folder" in str(result.exception)


def test_a_typo_in_a_recipe_names_the_nearest_key(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(RECIPE.replace("iterations", "iteration"))
    result = dyn2trt("run", tmp_path / "small.toml", "-o", tmp_path / "run")
    assert "did you mean bench.iterations?" in str(result.exception)
    assert not (tmp_path / "run").exists()
