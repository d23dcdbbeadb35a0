"""The training loop on tiny digits: it learns what it is told, resumes exactly, stops when it goes wrong."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from dyn2trt.blocks import gated_blocks
from dyn2trt.checkpoint import load_checkpoint
from dyn2trt.cli.main import app
from dyn2trt.errors import Dyn2trtError, MissingDependency
from dyn2trt.gates import record_decisions
from dyn2trt.networks.zoo import build_network
from dyn2trt.recipe import Recipe, load_recipe, overrule_train
from dyn2trt.train.processes import Process
from dyn2trt.train.trainer import Outcome, train_recipe

ALONE = Process(0, 1, torch.device("cpu"))
RECIPE = """
[network]
name = "cifar_resnet"
options = { depth = 8, width = 0.25, stem_stride = 2 }
[train]
task = "digits"
samples = 64
budget = 0.4
epochs = 3
batch_size = 16
learning_rate = 0.05
pictures = 2
[export]
input_shape = [1, 3, 32, 32]
"""


@pytest.fixture(autouse=True)
def small_and_repeatable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("dyn2trt.tasks.digits.EVALUATED", 40)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the order of sums depends on it
    yield
    torch.set_num_threads(threads)


def recipe_of(folder: Path, *overruled: str) -> Recipe:
    file = folder / "tiny.toml"
    file.write_text(RECIPE)
    return overrule_train(load_recipe(file), overruled)


def train(folder: Path, *overruled: str, output: str = "out", **options: Any) -> Outcome:
    return train_recipe(recipe_of(folder, *overruled), folder / output, ALONE, **options)


def weights(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["state_dict"]


def assert_same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    assert [key for key in ours if not torch.equal(ours[key], theirs[key])] == []


def test_a_training_leaves_all_its_files(tmp_path: Path) -> None:
    outcome = train(tmp_path)
    folder = tmp_path / "out"
    with (folder / "train.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert {"loss_task", "loss_network", "loss_lower", "loss_upper", "executed"} < set(rows[0])
    assert {path.name for path in (folder / "pictures").iterdir()} == {"epoch_002.png", "epoch_003.png"}
    assert Image.open(folder / "pictures" / "epoch_003.png").size == (4 * 2 * 32, 4 * 32)
    result = json.loads((folder / "result.json").read_text())
    assert result["test"]["scores"].keys() == {"accuracy", "top5"}
    assert result["settings"]["budget"] == 0.4
    assert 0 < result["test"]["executed"] < 1
    assert outcome.weights == folder / "best.pth"
    for name in ("best.pth", "last.pth"):  # both are checkpoints for export
        load_checkpoint(build_network("cifar_resnet", {"depth": 8, "width": 0.25, "stem_stride": 2}), folder / name)


@pytest.mark.parametrize(
    ("network", "key", "term", "aim"),
    [
        ("cifar_convnet_aig", "target_rate=0.5", "loss_rate", "execute each gated layer for 0.5 of the images"),
        ("cifar_sact", "ponder=0.01", "loss_ponder", "a ponder cost of weight 0.01"),
        ("cifar_sact", "samples=48", None, "trained dense"),
    ],
)
def test_the_other_gates_train_log_and_go_on(
    tmp_path: Path, network: str, key: str, term: str | None, aim: str
) -> None:
    (tmp_path / "other.toml").write_text(RECIPE.replace("cifar_resnet", network).replace("depth = 8", "depth = 14"))
    given = ["budget=none", key, "epochs=2", "learning_rate=0.01"]
    recipe = overrule_train(load_recipe(tmp_path / "other.toml"), given)
    outcome = train_recipe(recipe, tmp_path / "out", ALONE)
    with (tmp_path / "out" / "train.csv").open() as file:
        rows = list(csv.DictReader(file))
    terms = {name for name in rows[0] if name.startswith("loss_")}
    assert terms == {"loss_task", *([term] if term else [])}
    assert all(0 <= float(row["executed"]) <= 1 for row in rows)
    assert aim in (tmp_path / "out" / "card.md").read_text()
    loaded = build_network(network, {"depth": 14, "width": 0.25, "stem_stride": 2}).eval()
    load_checkpoint(loaded, outcome.weights)
    if term is None:  # its gates are open to whoever runs them
        with torch.no_grad(), record_decisions(loaded) as decisions:
            loaded(torch.randn(2, 3, 32, 32))
        assert all(bool(d.mask.all()) for d in decisions)
    assert train_recipe(recipe, tmp_path / "out", ALONE).test == outcome.test


def test_a_stopped_training_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    whole = train(tmp_path, output="whole")

    class StopError(Exception):
        pass

    def stop(kind: str, values: dict[str, float]) -> None:
        if kind == "step" and (values["epoch"], values["step"]) == (1, 2):
            raise StopError

    with pytest.raises(StopError):
        train(tmp_path, output="parts", listener=stop)
    assert not (tmp_path / "parts" / "result.json").exists()
    resumed = train(tmp_path, output="parts")
    assert resumed.epochs == whole.epochs
    for name in ("best.pth", "last.pth"):
        assert_same(weights(tmp_path / "whole" / name), weights(tmp_path / "parts" / name))
    with (tmp_path / "whole" / "train.csv").open() as one, (tmp_path / "parts" / "train.csv").open() as other:
        for row, same in zip(csv.DictReader(one), csv.DictReader(other), strict=True):
            assert {**row, "seconds": ""} == {**same, "seconds": ""}


def test_a_killed_training_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    adam = ("optimizer=adam", "learning_rate=0.01", "epochs=12", "pictures=0")
    recipe_of(tmp_path)
    small = "from dyn2trt.tasks import digits; digits.EVALUATED = 40; from dyn2trt.cli.main import main; main()"
    command = [sys.executable, "-c", small, "train", str(tmp_path / "tiny.toml"), "-o", str(tmp_path / "killed")]
    command += ["--threads", "1", *(word for setting in adam for word in ("--set", setting))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as running:
        last = tmp_path / "killed" / "last.pth"
        deadline = time.monotonic() + 120
        while not last.exists() and running.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        assert running.poll() is None, running.stdout.read() if running.stdout else ""
        running.send_signal(signal.SIGKILL)
    done = torch.load(last, weights_only=True)["progress"]["epochs"]
    assert 1 <= done < 12
    subprocess.run(command, env=environment, check=True, capture_output=True)
    train(tmp_path, *adam, output="whole")
    assert_same(weights(tmp_path / "whole" / "best.pth"), weights(tmp_path / "killed" / "best.pth"))
    assert_same(weights(tmp_path / "whole" / "last.pth"), weights(last))


def test_a_finished_training_is_not_repeated(tmp_path: Path) -> None:
    train(tmp_path)
    before = (tmp_path / "out" / "last.pth").stat().st_mtime_ns
    heard: list[str] = []
    train(tmp_path, listener=lambda kind, values: heard.append(kind))
    assert heard == []
    assert (tmp_path / "out" / "last.pth").stat().st_mtime_ns == before


def test_other_settings_are_named(tmp_path: Path) -> None:
    train(tmp_path, "epochs=1")
    with pytest.raises(Dyn2trtError, match=r"learning_rate was 0\.05 and is 0\.2.*--restart"):
        train(tmp_path, "epochs=1", "learning_rate=0.2")
    train(tmp_path, "epochs=1", "learning_rate=0.2", restart=True)


def test_a_criterion_that_is_no_longer_asked_for_is_named(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text(RECIPE.replace("cifar_resnet", "cifar_convnet_aig"))
    recipe = overrule_train(load_recipe(tmp_path / "other.toml"), ["budget=none", "target_rate=0.5", "epochs=1"])
    train_recipe(recipe, tmp_path / "out", ALONE)
    with pytest.raises(Dyn2trtError, match=r"target_rate was 0\.5 and is None.*--restart"):
        train_recipe(overrule_train(recipe, ["target_rate=none"]), tmp_path / "out", ALONE)


def test_a_training_from_before_a_key_existed_goes_on(tmp_path: Path) -> None:
    train(tmp_path, "epochs=1")
    last = tmp_path / "out" / "last.pth"
    content = torch.load(last, weights_only=True)
    settings = json.loads(content["settings"])
    del settings["label_smoothing"], settings["target_rate"]
    torch.save({**content, "settings": json.dumps(settings)}, last)
    train(tmp_path, "epochs=1")
    with pytest.raises(Dyn2trtError, match=r"label_smoothing was 0\.0 and is 0\.1; train to"):
        train(tmp_path, "epochs=1", "label_smoothing=0.1")


def test_a_training_without_a_budget_is_dense(tmp_path: Path) -> None:
    outcome = train(tmp_path, "budget=none", "epochs=1")
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert outcome.validation.executed == 1
    assert outcome.validation.macs == result["macs_dense"]
    assert result["settings"]["budget"] is None


def test_a_dense_checkpoint_becomes_a_gated_network_with_open_gates(tmp_path: Path) -> None:
    dense = train(tmp_path, "budget=none", "epochs=1", output="dense")
    without_gates = {key: value for key, value in weights(dense.weights).items() if ".masker." not in key}
    torch.save({"state_dict": without_gates}, tmp_path / "dense.pth")
    from dyn2trt.train.start import load_start

    network = build_network("cifar_resnet", {"depth": 8, "width": 0.25, "stem_stride": 2}).eval()
    assert load_start(network, tmp_path / "dense.pth")
    assert all(block.masker is not None for _, block in gated_blocks(network))
    with record_decisions(network) as decisions:
        network(torch.randn(2, 3, 32, 32))
    assert all(decision.mask.all() for decision in decisions)
    assert torch.equal(network.state_dict()["conv1.weight"], without_gates["conv1.weight"])
    tuned = train(tmp_path, f"start={tmp_path / 'dense.pth'}", "learning_rate=0.0001", "epochs=1", output="tuned")
    assert tuned.validation.executed > 0.9  # a step so small leaves the gates open
    del without_gates["fc.weight"]
    torch.save(without_gates, tmp_path / "less.pth")
    with pytest.raises(Dyn2trtError, match=r"missing fc\.weight"):
        load_start(network, tmp_path / "less.pth")
    assert all(block.masker is not None for _, block in gated_blocks(network))


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_trains_and_keeps_the_gates_in_fp32(
    tmp_path: Path, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[torch.dtype] = set()
    from dyn2trt.gates.gumbel import GumbelGate

    forward = GumbelGate.forward
    monkeypatch.setattr(GumbelGate, "forward", lambda self, logits: seen.add(logits.dtype) or forward(self, logits))
    linear = torch.nn.Linear.forward
    heads: set[torch.dtype] = set()

    def note(self: torch.nn.Linear, x: torch.Tensor) -> torch.Tensor:
        y = linear(self, x)
        if self.out_features == 10 and self.training:
            heads.add(y.dtype)
        return y

    monkeypatch.setattr(torch.nn.Linear, "forward", note)
    outcome = train(tmp_path, f"precision={precision}", "epochs=1")
    assert seen == {torch.float32}
    assert heads == {torch.bfloat16 if precision == "bf16" else torch.float16}
    assert {value.dtype for value in weights(outcome.weights).values()} <= {torch.float32, torch.int64}


def test_a_loss_that_is_nan_or_rises_stops_the_training(tmp_path: Path) -> None:
    from dyn2trt.train.divergence import WINDOW, DivergenceGuard

    with pytest.raises(Dyn2trtError, match=r"the loss became (nan|inf) in epoch .* lower train.learning_rate"):
        train(tmp_path, "learning_rate=1e12")
    guard = DivergenceGuard()
    for step in range(WINDOW):
        guard.watch(2.0, epoch=0, step=step, learning_rate=0.1)
    with pytest.raises(Dyn2trtError, match=r"rose from 2 to 8.* in epoch 2, step \d+, at a learning rate of 0.1"):
        for step in range(2 * WINDOW):
            guard.watch(9.0, epoch=1, step=step, learning_rate=0.1)
    tuned = DivergenceGuard(blind=2.3)  # a good start, whose gates then close
    for step in range(100):
        tuned.watch(min(0.1 + step / 10, 3.0), epoch=0, step=step, learning_rate=0.1)
    falling = DivergenceGuard(reference=2.0)
    for step in range(100):
        falling.watch(2.0 / (step + 1), epoch=0, step=step, learning_rate=0.1)


def test_a_recipe_without_a_train_section_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bare.toml").write_text(RECIPE.split("[train]")[0] + "[export]\ninput_shape = [1, 3, 32, 32]\n")
    recipe = load_recipe(tmp_path / "bare.toml")
    with pytest.raises(Dyn2trtError, match=r"no \[train\] section"):
        train_recipe(recipe, tmp_path / "out", ALONE)
    with pytest.raises(Dyn2trtError, match="no \\[train\\] section to overrule"):
        overrule_train(recipe, ["budget=0.3"])


@pytest.mark.parametrize(
    ("overruled", "told"),
    [
        ("budgt=0.3", "train.budgt is no key of a recipe; did you mean train.budget?"),
        ("budget=30", "train.budget: input should be less than or equal to 1"),
        ("budget", "--set takes KEY=VALUE"),
        ("task=cifar10", "train: task cifar10 needs data"),
        ("batch_size=65", "larger than the training data, 64 images"),
    ],
)
def test_wrong_settings_are_explained(tmp_path: Path, overruled: str, told: str) -> None:
    with pytest.raises(Dyn2trtError) as raised:
        train(tmp_path, overruled)
    assert told in str(raised.value)


def test_tensorboard_gets_the_log_or_is_asked_for(tmp_path: Path) -> None:
    if importlib.util.find_spec("tensorboard") is None:
        with pytest.raises(MissingDependency, match="pip install tensorboard"):
            train(tmp_path, "epochs=1", tensorboard=True)
        return
    train(tmp_path, "epochs=2", tensorboard=True)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "out" / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("loss_network")] == [1, 2]
    assert [event.step for event in events.Images("heat maps")] == [2]


def test_the_command_line_trains_and_says_where_the_weights_are(tmp_path: Path) -> None:
    recipe_of(tmp_path)
    runner = CliRunner()
    command = ["train", str(tmp_path / "tiny.toml"), "-o", str(tmp_path / "out"), "--set", "epochs=1"]
    done = runner.invoke(app, command)
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == str(tmp_path / "out" / "best.pth")
    assert "epoch 1: loss" in done.stderr
    assert "executed of the gated blocks" in done.stderr
    again = runner.invoke(app, [*command, "--json"])
    assert json.loads(again.stdout)["epochs"] == 1
    assert "# best.pth" in (tmp_path / "out" / "card.md").read_text()


def test_a_card_has_the_commands_of_the_training_that_it_starts_from(tmp_path: Path) -> None:
    train(tmp_path, "epochs=1", output="first", command="the first")
    assert "the last of" not in (tmp_path / "first" / "card.md").read_text()
    train(tmp_path, "epochs=1", f"start={tmp_path / 'first' / 'last.pth'}", output="second", command="the second")
    card = (tmp_path / "second" / "card.md").read_text()
    assert "```sh\nthe first\nthe second\n```" in card
    assert "the last of 2 trainings" in card


def test_a_network_without_gates_is_told_of_without_them(tmp_path: Path) -> None:
    text = RECIPE.replace("cifar_resnet", "dy_cifar_resnet").replace("budget = 0.4\n", "")
    (tmp_path / "kernels.toml").write_text(text)
    command = ["train", str(tmp_path / "kernels.toml"), "-o", str(tmp_path / "out"), "--set", "epochs=1"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "multiply-accumulates an image" in done.stderr
    card = (tmp_path / "out" / "card.md").read_text()
    assert "trained without gates" in card
    for told in (done.stderr, card, (tmp_path / "out" / "train.csv").read_text()):
        assert "executed" not in told
        assert "gated block" not in told
