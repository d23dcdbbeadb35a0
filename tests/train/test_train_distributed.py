"""Two processes give the single process's losses and weights."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from test_train_trainer import RECIPE

from dyn2trt.errors import Dyn2trtError
from dyn2trt.train.batches import GlobalBatches
from dyn2trt.train.processes import Process

CPU = torch.device("cpu")


def run(folder: Path, output: str, *launcher: str) -> list[dict[str, str]]:
    """Train without noise, whose draws are each process's own; return the log."""
    recipe = folder / "tiny.toml"
    recipe.write_text(RECIPE.replace("pictures = 2", "noise_until = 0.0").replace("epochs = 3", "epochs = 2"))
    command = [sys.executable, *launcher, "-m", "dyn2trt", "train", str(recipe), "-o", str(folder / output)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "--threads", "1", "--device", "cpu"], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    with (folder / output / "train.csv").open() as file:
        return list(csv.DictReader(file))


def test_two_processes_give_the_single_process_loss(tmp_path: Path) -> None:
    one = run(tmp_path, "one")
    two = run(tmp_path, "two", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    assert len(one) == len(two) == 2
    for ours, theirs in zip(one, two, strict=True):
        for key in ours.keys() - {"seconds"}:
            assert float(theirs[key]) == pytest.approx(float(ours[key]), rel=1e-3, abs=1e-6), key
    states = [torch.load(tmp_path / name / "last.pth", weights_only=True)["state_dict"] for name in ("one", "two")]
    for name, value in states[0].items():
        assert torch.allclose(value.double(), states[1][name].double(), rtol=1e-3, atol=1e-5), name


def test_processes_divide_the_same_batches() -> None:
    whole = GlobalBatches(50, 8, seed=3, process=Process(0, 1, CPU))
    parts = [GlobalBatches(50, 8, seed=3, process=Process(rank, 2, CPU)) for rank in (0, 1)]
    for batches in (whole, *parts):
        batches.set_epoch(4)
    joined = [first + second for first, second in zip(*parts, strict=True)]
    assert joined == list(whole)
    assert len(whole) == 6
    assert len({index for batch in joined for index in batch}) == 48
    before = list(whole)
    whole.set_epoch(5)
    assert list(whole) != before


def test_a_batch_that_does_not_divide_is_refused() -> None:
    with pytest.raises(Dyn2trtError, match="a batch of 9 does not divide among 2 processes"):
        GlobalBatches(50, 9, seed=0, process=Process(0, 2, CPU))
