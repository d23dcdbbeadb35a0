"""CIFAR-10 and ImageNet, read from tiny samples in their own formats."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dyn2trt.errors import Dyn2trtError
from dyn2trt.recipe import TrainSection, load_recipe, overrule_train, recipe_of
from dyn2trt.tasks.augment import generator_of, padded_crop, resized_crop
from dyn2trt.tasks.task import Task, make_task
from dyn2trt.train.processes import Process
from dyn2trt.train.trainer import train_recipe

EXPORT = Path(__file__).resolve().parents[2] / "export"


def task_of(task: str, data: Path, size: int) -> Task:
    given = {"task": task, "data": data, "epochs": 1, "batch_size": 4, "learning_rate": 0.1}
    return make_task(TrainSection.model_validate(given), (1, 3, size, size))


@pytest.fixture
def cifar(tmp_path: Path) -> Path:
    """Six batches as the distribution has them: Python 2 pickles of byte keys; the red of image i is i."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    names = [*(f"data_batch_{index}" for index in range(1, 6)), "test_batch"]
    for batch, name in enumerate(names):
        data = np.zeros((4, 3, 32, 32), np.uint8)
        data[:, 0] = (4 * batch + np.arange(4))[:, None, None]
        data[:, 1, 0, 31] = 255  # green at the upper right
        content = {b"batch_label": b"x", b"labels": [(4 * batch + i) % 10 for i in range(4)], b"filenames": [b"a"] * 4}
        (folder / name).write_bytes(pickle.dumps({**content, b"data": data.reshape(4, 3072)}, protocol=2))
    return tmp_path


def test_cifar_reads_its_batches(cifar: Path) -> None:
    task = task_of("cifar10", cifar, 32)
    assert (len(task.train), len(task.validation), task.test) == (20, 4, None)
    image, target = task.validation[2]
    rgb = image * torch.tensor(task.std)[:, None, None] + torch.tensor(task.mean)[:, None, None]
    assert rgb[0].mean().item() * 255 == pytest.approx(22)
    assert rgb[1].argmax() == 31
    assert target["label"] == 2
    assert len(task_of("cifar10", cifar / "cifar-10-batches-py", 32).train) == 20


def test_cifar_augments_by_epoch_and_index_alone(cifar: Path) -> None:
    data = task_of("cifar10", cifar, 32).train
    pictures = []
    for epoch in range(8):
        data.set_epoch(epoch)
        pictures.append(data[5][0])
        assert torch.equal(pictures[-1], data[5][0])
    assert len({tuple(picture.flatten().tolist()) for picture in pictures}) > 2


def test_cifar_says_what_it_misses(cifar: Path, tmp_path: Path) -> None:
    with pytest.raises(Dyn2trtError) as raised:
        task_of("cifar10", tmp_path / "nowhere", 32)
    assert "data_batch_1" in str(raised.value)
    assert "https://www.cs.toronto.edu/~kriz/cifar.html" in str(raised.value)
    with pytest.raises(Dyn2trtError, match="images of 32x32; the recipe's input shape says 64x64"):
        task_of("cifar10", cifar, 64)
    (cifar / "cifar-10-batches-py" / "data_batch_2").write_bytes(b"no pickle")
    with pytest.raises(Dyn2trtError, match="data_batch_2 is no batch"):
        task_of("cifar10", cifar, 32)


class _Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("harm",)


def test_cifar_runs_no_code_from_a_batch(cifar: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(cifar)
    (cifar / "cifar-10-batches-py" / "data_batch_1").write_bytes(pickle.dumps(_Harmful()))
    with pytest.raises(Dyn2trtError, match=r"it wants to call posix\.mkdir"):
        task_of("cifar10", cifar, 32)
    assert not (cifar / "harm").exists()


@pytest.fixture
def imagenet(tmp_path: Path) -> Path:
    colours = {"n01440764": (255, 0, 0), "n01443537": (0, 255, 0)}
    for part, count in (("train", 3), ("val", 2)):
        for name, colour in colours.items():
            (tmp_path / part / name).mkdir(parents=True)
            for index in range(count):
                Image.new("RGB", (90, 60), colour).save(tmp_path / part / name / f"{name}_{index}.JPEG")
    return tmp_path


def test_imagenet_reads_folders_of_classes(imagenet: Path) -> None:
    task = task_of("imagenet", imagenet, 32)
    assert (len(task.train), len(task.validation)) == (6, 4)
    for data in (task.train, task.validation):
        for index in range(len(data)):
            image, target = data[index]
            assert image.shape == (3, 32, 32)
            assert image.mean(dim=(1, 2)).argmax() == target["label"]


def test_imagenet_says_what_it_misses(imagenet: Path, tmp_path: Path) -> None:
    with pytest.raises(Dyn2trtError, match=r"(?s)expects train, val in .*train/n01440764/\*\.JPEG"):
        task_of("imagenet", tmp_path / "nowhere", 32)
    (imagenet / "val" / "n09").mkdir()
    with pytest.raises(Dyn2trtError, match=r"train has 2 class folders and val 3 .* only in one: n09"):
        task_of("imagenet", imagenet, 32)
    (imagenet / "val" / "n09").rmdir()
    broken = imagenet / "val" / "n01440764" / "n01440764_0.JPEG"
    broken.write_bytes(broken.read_bytes()[:100])
    with pytest.raises(Dyn2trtError, match=r"cannot read .*n01440764_0\.JPEG as an image"):
        task_of("imagenet", imagenet, 32).validation[0]


def test_what_other_programs_leave_in_the_folders_is_no_class_and_no_image(imagenet: Path) -> None:
    for part in ("train", "val"):
        (imagenet / part / ".ipynb_checkpoints").mkdir()
        for name in ("._n01440764_0.JPEG", ".DS_Store", "Thumbs.db"):
            (imagenet / part / "n01440764" / name).write_bytes(b"\0\5\x16\7")
    task = task_of("imagenet", imagenet, 32)
    assert (len(task.train), len(task.validation)) == (6, 4)


@pytest.mark.parametrize(
    ("task", "network", "said"),
    [
        ("imagenet", {"name": "mobilenet_v2", "options": {"classes": 1}}, "has 2 classes, and the network scores 1"),
        ("imagenet", {"name": "hourglass", "options": {"stacks": 1, "features": 16}}, r"one output \[N, classes\]"),
        ("figures", {"name": "cifar_resnet", "options": {"depth": 8}}, r"heat maps \[N, 16, 16, 16\].*\[1, 10\]"),
    ],
)
def test_a_network_of_other_outputs_is_told_before_training(
    imagenet: Path, tmp_path: Path, task: str, network: dict[str, Any], said: str
) -> None:
    train = {"task": task, "epochs": 1, "batch_size": 2, "learning_rate": 0.1, "budget": 0.5}
    train |= {"data": imagenet} if task == "imagenet" else {"samples": 4}
    recipe = recipe_of({"network": network, "export": {"input_shape": [1, 3, 64, 64]}, "train": train}, "the recipe")
    with pytest.raises(Dyn2trtError, match=said):
        train_recipe(recipe, tmp_path / "run", Process(0, 1, torch.device("cpu")))


def test_central_crop_keeps_seven_eighths_of_the_short_side(imagenet: Path) -> None:
    wide = Image.new("RGB", (320, 160))
    wide.paste((255, 255, 255), (90, 10, 230, 150))  # the middle 140 of 160
    wide.save(imagenet / "val" / "n01440764" / "n01440764_0.JPEG", quality=95)
    image = task_of("imagenet", imagenet, 64).validation[0][0]
    assert (image[:, 1:-1, 1:-1] > 2).all()
    assert (image[:, 0, 0] > 1).all()  # white but for the filter's reach


def test_random_crops_stay_inside_and_vary() -> None:
    picture = np.arange(32 * 32 * 3, dtype=np.uint8).reshape(32, 32, 3) | 1  # black comes from the margin alone
    crops = [padded_crop(picture, 4, generator_of(0, 0, index)) for index in range(20)]
    assert all(crop.shape == (32, 32, 3) for crop in crops)
    assert all((crop[4:28, 4:28] != 0).all() for crop in crops)
    assert len({crop.tobytes() for crop in crops}) > 10
    narrow = Image.new("RGB", (200, 3), (9, 9, 9))
    for index in range(20):
        assert np.unique(np.asarray(resized_crop(narrow, (8, 8), generator_of(0, 0, index)))).tolist() == [9]


def test_the_published_recipe_trains_on_cifar(cifar: Path, tmp_path: Path) -> None:
    recipe = load_recipe(EXPORT / "cifar_resnet32.toml")
    assert recipe.train is not None
    train = recipe.train
    published = (train.optimizer, train.learning_rate, train.momentum, train.weight_decay, train.epochs)
    assert published == ("sgd", 0.1, 0.9, 5e-4, 350)
    assert (train.batch_size, train.milestones, train.alpha) == (256, (150, 250), 10)
    recipe = overrule_train(recipe, [f"data={cifar}", "epochs=1", "batch_size=10", "workers=1", "milestones=none"])
    outcome = train_recipe(recipe, tmp_path / "out", Process(0, 1, torch.device("cpu")))
    assert outcome.validation.images == 4
    assert outcome.test is None
    assert 0 < outcome.validation.executed <= 1
