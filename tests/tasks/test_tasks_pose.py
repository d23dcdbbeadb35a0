"""Pose: heat maps, PCKh, MPII's annotations from a tiny sample in its format, and the made figure."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dyn2trt.errors import Dyn2trtError
from dyn2trt.recipe import TrainSection, load_recipe, overrule_train
from dyn2trt.tasks import pose
from dyn2trt.tasks.figures import make_figure
from dyn2trt.tasks.mpii import ANNOTATIONS, Person, crop_matrix, inverse, read_annotations, warp
from dyn2trt.tasks.task import Task, make_task
from dyn2trt.train.processes import Process
from dyn2trt.train.trainer import train_recipe

scipy_io = pytest.importorskip("scipy.io")
ALL = np.ones(16, bool)
EXPORT = Path(__file__).resolve().parents[2] / "export"


def task_of(task: str, data: Path | None = None, size: int = 128) -> Task:
    given = {"task": task, "epochs": 1, "batch_size": 4, "learning_rate": 0.1} | ({"data": data} if data else {})
    return make_task(TrainSection.model_validate(given), (1, 3, size, size))


def test_heat_maps_by_hand() -> None:
    joints = np.full((16, 2), 20.0)
    joints[0] = 13.9, 30  # nearest position (3, 8): 3.475 and 7.5 rounded half up
    joints[1] = 400, 20  # beyond reach
    joints[2] = -20, 20  # outside, but within three sigma
    visible = ALL.copy()
    visible[3] = False
    maps, there = pose.heat_maps(joints, visible, (16, 20))
    assert maps.shape == (16, 16, 20)
    assert there.tolist() == [True, False, True, False] + [True] * 12
    assert np.unravel_index(maps[0].argmax(), maps[0].shape) == (8, 3)
    assert maps[0, 8, 3] == 1
    assert maps[0, 8, 5] == pytest.approx(np.exp(-4 / 8))
    assert maps[0, 9, 6] == pytest.approx(np.exp(-10 / 8))
    assert maps[0, 8, 10] == 0  # seven positions away
    assert maps[1].max() == maps[3].max() == 0
    assert maps[2, 5, 0] == pytest.approx(np.exp(-25 / 8))


def test_loss_by_hand() -> None:
    target = {"heat_maps": torch.zeros(2, 16, 4, 4), "visible": torch.ones(2, 16, dtype=torch.bool)}
    target["visible"][1] = False
    # Half the mean square, of which half the images count; two stacks of 2 and 1.
    stacks = (torch.full((2, 16, 4, 4), 2.0), torch.full((2, 16, 4, 4), 1.0))
    assert pose.loss(stacks, target).item() == pytest.approx(0.5 * 4 / 2 + 0.5 * 1 / 2)


def test_positions_move_towards_the_higher_neighbour() -> None:
    maps = torch.zeros(1, 2, 8, 8)
    maps[0, 0, 3, 5], maps[0, 0, 3, 4], maps[0, 0, 4, 5] = 1, 0.5, 0.2
    maps[0, 1, 0, 7], maps[0, 1, 0, 6] = 1, 0.5  # at the border: not moved
    assert pose.positions(maps)[0].tolist() == [[4.75, 3.25], [7, 0]]


def test_pckh_by_hand() -> None:
    joints = torch.zeros(1, 16, 2)
    joints[0, :, 0] = 4 * torch.arange(16) + 100
    maps = torch.zeros(1, 16, 32, 32)
    maps[0, torch.arange(16), 8, torch.arange(16) + 2] = 1
    annotated = torch.ones(1, 16, dtype=torch.bool)
    annotated[0, 0] = False
    # Positions (j + 2, 8) go to (4 j + 108 - 5, 32 - 32): 3 away from the joint in x.
    to_picture = torch.tensor([[[4.0, 0, 95], [0, 4.0, -32]]])
    target = {"joints": joints, "annotated": annotated, "to_picture": to_picture}
    near = pose.scores(pose.counts(maps, {**target, "head": torch.tensor([6.0])}))
    assert (near["pckh@0.5"], near["pckh@0.1"], near["elbow"]) == (1, 0, 1)
    far = pose.scores(pose.counts((maps * 0, maps), {**target, "head": torch.tensor([5.9])}))
    assert far["pckh@0.5"] == 0
    exact = pose.scores(pose.counts(maps, {**target, "head": torch.tensor([30.0])}))
    assert exact["pckh@0.1"] == 1
    total = pose.counts(maps, {**target, "head": torch.tensor([6.0])})
    assert total[:16].tolist() == [0] + [1] * 15
    assert pose.scores(total + total) == pytest.approx(near, nan_ok=True)


def test_a_crop_maps_positions_there_and_back() -> None:
    person = Person("a.jpg", (300.0, 200.0), 128.0, np.zeros((16, 2)), ALL, 30.0)
    upright = crop_matrix(person, 64, zoom=1, degrees=0, mirrored=False)
    assert upright @ (300, 200, 1) == pytest.approx((32, 32))
    assert upright @ (310, 200, 1) == pytest.approx((37, 32))
    mirrored = crop_matrix(person, 64, zoom=1, degrees=0, mirrored=True)
    assert mirrored @ (310, 200, 1) == pytest.approx((27, 32))
    turned = crop_matrix(person, 64, zoom=2, degrees=30, mirrored=True)
    point = np.array([280.0, 260.0])
    there = turned @ (*point, 1)
    assert inverse(turned) @ (*there, 1) == pytest.approx(point)


@pytest.mark.parametrize("degrees", [0, 90, 37])
@pytest.mark.parametrize("mirrored", [False, True])
def test_pictures_are_cut_where_positions_say(degrees: float, mirrored: bool) -> None:
    picture = Image.new("RGB", (200, 160))
    spot = (120, 70)
    picture.paste((255, 255, 255), (spot[0] - 2, spot[1] - 2, spot[0] + 3, spot[1] + 3))
    person = Person("a.jpg", (110.0, 80.0), 64.0, np.zeros((16, 2)), ALL, 30.0)
    matrix = crop_matrix(person, 128, zoom=1, degrees=degrees, mirrored=mirrored)
    cut = warp(picture, matrix, 128)[:, :, 0].astype(float)
    rows, columns = np.mgrid[:128, :128]
    centre = (columns * cut).sum() / cut.sum(), (rows * cut).sum() / cut.sum()
    assert centre == pytest.approx(tuple(matrix @ (*spot, 1)), abs=0.05)


def point(number: int, x: float, y: float) -> dict[str, object]:
    return {"x": x, "y": y, "id": number, "is_visible": np.array([])}


def struct(*rows: dict[str, object]) -> np.ndarray:
    """A MATLAB struct array as scipy.io writes it."""
    array = np.empty((1, len(rows)), [(name, object) for name in rows[0]])
    for index, row in enumerate(rows):
        for name, value in row.items():
            array[0, index][name] = value
    return array


@pytest.fixture
def mpii(tmp_path: Path) -> Path:
    """Ten training images and a test image, in the layout of MPII's release; some people lack some annotation."""

    def person(**changes: object) -> dict[str, object]:
        points = struct(*(point(joint, 101 + 4 * joint, 51 + joint) for joint in range(16) if joint != 7))
        whole = {"x1": 161, "y1": 31, "x2": 191, "y2": 71, "annopoints": struct({"point": points})}
        return {**whole, "scale": 0.8, "objpos": struct({"x": 121, "y": 81}), **changes}

    none = np.array([])
    images = [struct(person(), person(annopoints=none))] + [struct(person())] * 8 + [struct(person(scale=none))]
    untold = struct({"scale": 0.8, "objpos": struct({"x": 121, "y": 81})})
    annolist = struct(
        *({"image": struct({"name": f"{i:03d}.jpg"}), "annorect": rects} for i, rects in enumerate([*images, untold]))
    )
    training = np.array([[1] * 10 + [0]])
    scipy_io.savemat(tmp_path / ANNOTATIONS, {"RELEASE": struct({"annolist": annolist, "img_train": training})})
    (tmp_path / "images").mkdir()
    for index in range(10):
        Image.new("RGB", (240, 180), (index, 100, 50)).save(tmp_path / "images" / f"{index:03d}.jpg")
    return tmp_path


def test_mpii_reads_its_annotations(mpii: Path) -> None:
    people = read_annotations(mpii / ANNOTATIONS)
    assert [person.image for person in people] == [f"{index:03d}.jpg" for index in range(9)]
    person = people[0]
    assert person.joints[9].tolist() == [136, 59]  # counted from 0
    assert person.annotated.tolist() == [joint != 7 for joint in range(16)]
    assert person.centre == (120, 80 + 15 * 0.8)
    assert person.side == pytest.approx(200 * 0.8 * 1.25)
    assert person.head == pytest.approx(0.6 * 50)


def test_mpii_gives_crops_with_consistent_targets(mpii: Path) -> None:
    task = task_of("mpii", mpii)
    assert (len(task.train), len(task.validation)) == (8, 1)
    for epoch in range(6):
        task.train.set_epoch(epoch)
        image, target = task.train[0]
        assert image.shape == (3, 128, 128)
        batch = {name: value[None] for name, value in target.items()}
        # Heat maps that are right are right wherever the crop moved the joints to.
        total = pose.counts(target["heat_maps"][None], batch).view(3, 16)
        inside = target["visible"].double()
        assert torch.equal(total[1] * inside, inside)
        assert total[0, 7] == 0


def test_mpii_follows_the_published_validation_list(mpii: Path) -> None:
    (mpii / "annot").mkdir()
    (mpii / "annot" / "valid.json").write_text(json.dumps([{"image": "002.jpg"}, {"image": "005.jpg"}]))
    task = task_of("mpii", mpii)
    assert (len(task.train), len(task.validation)) == (7, 2)


def test_mpii_says_what_it_misses(mpii: Path, tmp_path: Path) -> None:
    with pytest.raises(Dyn2trtError, match=r"(?s)expects images, mpii_human.*http://human-pose\.mpi-inf\.mpg\.de/"):
        task_of("mpii", tmp_path / "nowhere")
    (mpii / "images" / "001.jpg").unlink()
    with pytest.raises(Dyn2trtError, match=r"cannot read .*001\.jpg"):
        task_of("mpii", mpii).train[0]
    scipy_io.savemat(mpii / ANNOTATIONS, {"OTHER": 1})
    with pytest.raises(Dyn2trtError, match="does not read as MPII's annotations"):
        task_of("mpii", mpii)
    (mpii / ANNOTATIONS).write_bytes(b"nothing")
    with pytest.raises(Dyn2trtError, match="does not read as MPII's annotations"):
        task_of("mpii", mpii)


def test_figures_lie_in_their_pictures_with_joints_on_the_figure() -> None:
    pytest.importorskip("sklearn")
    for index in range(20):
        figure = make_figure("train", 128, np.random.default_rng(index))
        assert figure.picture.shape == (128, 128, 3)
        assert (figure.joints >= 0).all()
        assert (figure.joints <= 127).all()
        drawn = [figure.covered[round(y), round(x)] for x, y in figure.joints]
        assert sum(drawn) >= 15  # the top of the head is the circle's edge
        assert 0.005 < figure.covered.mean() < 0.4
        assert 3 < figure.head < 40


def test_figures_differ_by_part_epoch_and_index_and_repeat() -> None:
    pytest.importorskip("sklearn")
    task = task_of("figures")
    first = task.train[0]
    assert torch.equal(first[0], task.train[0][0])
    assert not torch.equal(first[0], task.train[1][0])
    assert not torch.equal(first[0], task.validation[0][0])
    task.train.set_epoch(1)
    assert not torch.equal(first[0], task.train[0][0])
    batch = {name: value[None] for name, value in first[1].items()}
    perfect = pose.scores(pose.counts(first[1]["heat_maps"][None], batch))
    assert perfect["pckh@0.5"] == 1
    with pytest.raises(Dyn2trtError, match="multiple of 64"):
        task_of("figures", size=100)


def test_the_published_recipe_trains_on_mpii(mpii: Path, tmp_path: Path) -> None:
    recipe = load_recipe(EXPORT / "hourglass_pose.toml")
    assert recipe.train is not None
    train = recipe.train
    published = (train.optimizer, train.learning_rate, train.epochs, train.milestones, train.batch_size, train.alpha)
    assert published == ("adam", 2.5e-4, 100, (60, 90), 6, 0.01)
    assert recipe.export.input_shape[2] // pose.STRIDE == 64
    network = recipe.network.model_copy(update={"options": {"stacks": 2, "features": 8}})
    export = recipe.export.model_copy(update={"input_shape": (1, 3, 128, 128)})
    settings = [f"data={mpii}", "epochs=1", "batch_size=4", "workers=0", "milestones=none", "pictures=1"]
    smaller = {"network": network, "export": export, "build": type(recipe.build)()}  # its shapes are of the full size
    recipe = overrule_train(recipe.model_copy(update=smaller), settings)
    outcome = train_recipe(recipe, tmp_path / "out", Process(0, 1, torch.device("cpu")))
    assert list(outcome.validation.scores)[:2] == ["pckh@0.5", "pckh@0.1"]
    assert (tmp_path / "out" / "pictures" / "epoch_001.png").exists()
