"""Digits on canvases: seeded, divided honestly, and what they say they are."""

from __future__ import annotations

import numpy as np
import pytest

from dyn2trt.errors import Dyn2trtError
from dyn2trt.recipe import TrainSection
from dyn2trt.tasks.digits import PARTS, DigitCanvases, load_digits, make_canvases, make_task

pytest.importorskip("sklearn")
SIZE = (64, 48)


def settings(**given: object) -> TrainSection:
    return TrainSection.model_validate({"task": "digits", "epochs": 1, "batch_size": 4, "learning_rate": 0.1, **given})


def test_no_digit_is_in_two_parts_and_none_is_left_out() -> None:
    parts = [set(range(1797)[chosen]) for chosen in PARTS.values()]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 1797
    assert [len(load_digits(part)[0]) for part in PARTS] == [1197, 300, 300]
    glyphs, _ = load_digits("train")
    assert (glyphs.min(), glyphs.max(), glyphs.shape[1:]) == (0, 1, (8, 8))


def test_canvases_follow_from_their_arguments_alone() -> None:
    first, again = (make_canvases("train", 12, SIZE, seed=1, epoch=2) for _ in range(2))
    assert np.array_equal(first.pictures, again.pictures)
    for other in (
        make_canvases("train", 12, SIZE, seed=2, epoch=2),
        make_canvases("train", 12, SIZE, seed=1, epoch=3),
        make_canvases("validation", 12, SIZE, seed=1, epoch=2),
    ):
        assert not np.array_equal(first.pictures, other.pictures)


def test_a_canvas_holds_one_digit_of_its_label_in_its_box() -> None:
    canvases = make_canvases("test", 300, SIZE, seed=0)
    assert canvases.pictures.shape == (300, *SIZE, 3)
    assert sorted(canvases.labels) == sorted(load_digits("test")[1])
    for picture, box in zip(canvases.pictures, canvases.objects, strict=True):
        rows, columns = (np.flatnonzero(box.any(axis=axis)) for axis in (1, 0))
        assert len(rows) == len(columns)
        assert 48 // 4 <= len(rows) <= 48 // 2
        assert box.sum() == len(rows) ** 2
        inside = picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].mean(axis=2)
        assert inside.max() - inside.min() > 60  # ink on paper


def test_the_training_part_changes_with_the_epoch_and_the_others_do_not() -> None:
    for part, changes in (("train", True), ("validation", False)):
        data = DigitCanvases(part, 4, SIZE, seed=0)
        before = data[0][0]
        data.set_epoch(1)
        assert (not before.equal(data[0][0])) == changes


def test_items_are_normalised_images_with_labels_and_boxes() -> None:
    task = make_task(settings(samples=20), SIZE)
    assert len(task.train) == 20
    image, target = task.train[3]
    assert image.shape == (3, *SIZE)
    assert -2 <= image.min() < image.max() <= 2
    assert 0 <= target["label"] < 10
    assert target["object"].shape == SIZE
    assert task.test is not None
    assert len(task.validation) == len(task.test)


def test_canvases_too_small_are_refused() -> None:
    with pytest.raises(Dyn2trtError, match="at least 32x32 to place digits on, not 16x64"):
        make_task(settings(), (16, 64))
