"""A task: data divided into training, validation and test, a loss, and a score that adds up over batches."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor

from dyn2trt.errors import Dyn2trtError
from dyn2trt.recipe import TrainSection

Outputs = Tensor | tuple[Tensor, ...]
Target = Mapping[str, Tensor]


class EpochDataset(Protocol):
    """A map-style data set whose augmentation depends on nothing but the seed, the epoch and the index."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next items belong to."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the normalised image, float32 [3, H, W], and its target, tensors by name."""
        ...


@dataclass(frozen=True)
class Task:
    """What a network is trained to do.

    Attributes:
        about: what the data is, in a sentence.
        train, validation: the data to learn from and to choose by.
        test: held out from both; None where the data set keeps its test labels to itself.
        check: takes the outputs for one image; raises Dyn2trtError where they are not what ``loss`` takes.
        loss: (outputs, target) → scalar, the mean over the batch.
        counts: (outputs, target) → float64 vector that adds up over batches and processes.
        scores: sum of ``counts`` → score by name, each a fraction where more is better; the first is the one that the
            best epoch is chosen by.
        mean, std: of the images' normalisation, of red, green and blue scaled to 0..1.
    """

    about: str
    train: EpochDataset
    validation: EpochDataset
    test: EpochDataset | None
    check: Callable[[Outputs], None]
    loss: Callable[[Outputs, Target], Tensor]
    counts: Callable[[Outputs, Target], Tensor]
    scores: Callable[[Tensor], dict[str, float]]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


_MODULES = {
    "digits": "dyn2trt.tasks.digits",
    "figures": "dyn2trt.tasks.figures",
    "cifar10": "dyn2trt.tasks.cifar10",
    "imagenet": "dyn2trt.tasks.imagenet",
    "mpii": "dyn2trt.tasks.mpii",
}


def make_task(settings: TrainSection, input_shape: tuple[int, int, int, int]) -> Task:
    """Load or make the data of a recipe's task, at the height and width of ``input_shape`` [N, 3, H, W].

    Raises:
        Dyn2trtError: the data is not where the recipe says (the message shows the layout expected), or the task does
            not come in that size, or in another number of channels than 3.
        MissingDependency: the task's library is not installed.
    """
    if input_shape[1] != 3:
        raise Dyn2trtError(f"{settings.task} has images of 3 channels, and export.input_shape has {input_shape[1]}")
    module = importlib.import_module(_MODULES[settings.task])
    make: Callable[[TrainSection, tuple[int, int]], Task] = module.make_task
    return make(settings, (input_shape[2], input_shape[3]))


def shown(outputs: Outputs) -> str:
    """The shapes of a network's outputs, for messages."""
    return ", ".join(str(list(part.shape)) for part in ((outputs,) if isinstance(outputs, Tensor) else outputs))


def data_folder(settings: TrainSection, layout: str, required: tuple[str, ...]) -> Path:
    """The data set's folder, once ``required`` (paths in it) are there.

    Raises:
        Dyn2trtError: something is missing; the message shows ``layout``.
    """
    folder = settings.data
    assert folder is not None  # the recipe's own check
    missing = [name for name in required if not (folder / name).exists()]
    if missing:
        raise Dyn2trtError(
            f"{settings.task} expects {', '.join(missing)} in {folder}; train.data names the folder that holds:\n"
            f"{layout}"
        )
    return folder
