"""The whole pipeline for a network of somebody else's layers that make kernels for every image."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from dyn2trt.cli.main import app

RECIPE = """
[network]
name = "image_kernels:network_of"
options = { layer = "unparted" }

[export]
input_shape = "1x3x20x16"
dynamic_batch = true

[data]
images = "noise:3"

[bench]
batch_sizes = [1, 3]
warmup = 0
iterations = 6
seconds = 0
"""


def test_a_run_compares_and_measures_it_against_fixed_kernels(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE)
    result = CliRunner().invoke(app, ["run", str(tmp_path / "recipe.toml"), "-o", str(tmp_path / "run")])
    assert result.exit_code == 0, result.output
    record = json.loads((tmp_path / "run" / "bench.json").read_text())
    assert [batch["batch"] for batch in record["batches"]] == [1, 3]
    assert all("enerating kernels" in batch["generation"]["text"] for batch in record["batches"])
    assert "enerating kernels" in (tmp_path / "run" / "report.md").read_text()
