import math

import pytest
import torch

from dyn2trt.errors import Dyn2trtError
from dyn2trt.recipe import recipe_of
from dyn2trt.tasks.classification import cross_entropy
from dyn2trt.tasks.task import make_task


@pytest.mark.parametrize(
    ("smoothing", "expected"),
    [
        (0.0, math.log(2)),
        (0.5, (2 / 3) * math.log(2) + (1 / 3) * math.log(4)),
        (0.75, 0.5 * math.log(2) + 0.5 * math.log(4)),
    ],
)
def test_smoothing_spreads_a_share_of_the_target_over_all_classes(smoothing: float, expected: float) -> None:
    # Probabilities of 1/2, 1/4 and 1/4. Of the target, the label keeps 1 - smoothing + smoothing / 3.
    scores = torch.tensor([[2.0, 1.0, 1.0]]) * math.log(2)
    loss = cross_entropy(smoothing)(scores, {"label": torch.tensor([0])})
    assert loss.item() == pytest.approx(expected)


def recipe(task: str) -> dict:
    train = {"task": task, "samples": 8, "label_smoothing": 0.3, "epochs": 1, "batch_size": 4, "learning_rate": 0.1}
    return {"network": {"name": "cifar_resnet"}, "train": train, "export": {"input_shape": [1, 3, 32, 32]}}


def test_a_recipe_chooses_the_smoothing() -> None:
    settings = recipe_of(recipe("digits"), "here").train
    assert settings is not None
    scores, target = torch.randn(5, 10), {"label": torch.arange(5)}
    assert make_task(settings, (1, 3, 32, 32)).loss(scores, target) == cross_entropy(0.3)(scores, target)


def test_smoothing_is_for_classes() -> None:
    with pytest.raises(Dyn2trtError, match="label_smoothing is for classification; figures has no classes"):
        recipe_of(recipe("figures"), "here")
