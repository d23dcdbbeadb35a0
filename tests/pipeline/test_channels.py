"""Networks of other than three channels through compare, bench and run; warnings of gates that do not decide."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from dyn2trt.cli.main import app
from dyn2trt.errors import Dyn2trtError


def dyn2trt(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


QUICK = ("--active-ratios", "none", "--iterations", 6, "--seconds", 0, "--warmup", 0, "--threads", 1)


def export(folder: Path, channels: int, **options: float) -> Path:
    path = folder / "model.onnx"
    settings = [part for name, value in options.items() for part in ("--set", f"{name}={value}")]
    shape = f"1x{channels}x12x16"
    result = dyn2trt(
        *("export", "--network", "any_channels:gated", "--set", f"channels={channels}", *settings),
        *("--input-shape", shape, "--dynamic-batch", "-o", path),
    )
    assert result.exit_code == 0, result.output
    return path


def inputs(folder: Path, channels: int) -> list[Path | str]:
    x = np.random.default_rng(0).standard_normal((2, channels, 12, 16)).astype(np.float32)
    np.save(folder / "x.npy", x)
    np.savez(folder / "x.npz", x=x)
    return ["noise:2", folder / "x.npy", folder / "x.npz"]


@pytest.mark.parametrize("channels", [1, 4])
def test_compare_and_bench_take_any_number_of_channels(tmp_path: Path, channels: int) -> None:
    model = export(tmp_path, channels)
    for images in inputs(tmp_path, channels):
        compared = dyn2trt("compare", model, "--images", images, "--json", "--save-activity", tmp_path / "a.npz")
        assert compared.exit_code == 0, compared.output
        assert json.loads(compared.stdout)["passed"]
    assert np.load(tmp_path / "a.npz")["images"].shape == (2, 12, 16, 3)
    measured = dyn2trt("bench", model, "--images", tmp_path / "x.npy", "--json", *QUICK)
    assert measured.exit_code == 0, measured.output
    assert json.loads(measured.stdout)["model"]["input_shape"] == [1, channels, 12, 16]


def test_pictures_serve_a_network_of_one_channel(tmp_path: Path) -> None:
    model = export(tmp_path, 1)
    Image.fromarray(np.arange(12 * 16 * 3, dtype=np.uint8).reshape(12, 16, 3)).save(tmp_path / "a.png")
    for verb in (("compare",), ("bench", *QUICK)):
        result = dyn2trt(*verb, model, "--images", tmp_path / "a.png", "--mean", "0.5", "--std", "0.25")
        assert result.exit_code == 0, result.output


@pytest.mark.parametrize("channels", [1, 4])
def test_a_whole_run(tmp_path: Path, channels: int) -> None:
    inputs(tmp_path, channels)
    (tmp_path / "recipe.toml").write_text(
        f"""
        network = {{ name = "any_channels:gated", options = {{ channels = {channels} }} }}
        export = {{ input_shape = "1x{channels}x12x16" }}
        data = {{ images = "x.npy" }}
        bench = {{ active_ratios = [0.5], warmup = 0, iterations = 6, seconds = 0 }}
        """
    )
    result = dyn2trt("run", tmp_path / "recipe.toml", "-o", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert "<html" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.parametrize("verb", [("compare",), ("bench", *QUICK)])
def test_pictures_for_other_channels_and_empty_names_are_one_message(tmp_path: Path, verb: tuple[object, ...]) -> None:
    model = export(tmp_path, 4)
    Image.new("RGB", (16, 12)).save(tmp_path / "a.png")
    for option, value, said in (
        ("--images", tmp_path / "a.png", "or noise"),
        ("--images", "", "the name of the images is empty"),
        ("--mean", "", "--mean"),
        ("--std", "", "--std"),
        ("--mean", "123.675,116.28,103.53", "divide mean and std by 255"),
    ):
        result = dyn2trt(*verb, model, option, value)
        assert isinstance(result.exception, Dyn2trtError), result.output
        assert said in str(result.exception)


@pytest.mark.parametrize(("bias", "said"), [(-50, "every gate is closed"), (50, "every gate is open"), (0, None)])
def test_gates_that_all_decide_alike_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, bias: float, said: str | None
) -> None:
    model = export(tmp_path, 3, bias=bias)
    for verb in (("compare",), ("bench", *QUICK)):
        caplog.clear()
        from dyn2trt.notices import warn_once

        warn_once.cache_clear()
        assert dyn2trt(*verb, model, "--images", "noise:2").exit_code == 0
        told = [message for message in caplog.messages if "every gate" in message]
        assert len(told) == (said is not None)
        assert all(said in message and "all 2 images" in message for message in told if said)
