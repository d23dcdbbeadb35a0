"""Inputs from photographs, folders, .npz files and noise, good and bad."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dyn2trt import images
from dyn2trt.errors import Dyn2trtError
from dyn2trt.images import load_inputs, load_pictures, normalise, to_pictures

SHAPE = (None, 3, 20, 30)


def save(path: Path, pixels: np.ndarray, **options: object) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


def gradient(height: int, width: int) -> np.ndarray:
    """Red grows to the right, green downwards."""
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[..., 0] = np.linspace(0, 255, width).astype(np.uint8)
    rgb[..., 1] = np.linspace(0, 255, height).astype(np.uint8)[:, None]
    return rgb


def test_an_image_of_the_right_size_is_only_normalised(tmp_path: Path) -> None:
    rgb = gradient(20, 30)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    x = load_inputs(save(tmp_path / "a.png", rgb), SHAPE, mean=mean, std=std)
    assert x.dtype == np.float32
    assert x.flags.c_contiguous
    np.testing.assert_allclose(x, ((rgb / 255 - mean) / std).transpose(2, 0, 1)[None], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(to_pictures(x, mean=mean, std=std)[0], rgb)


def test_a_wide_image_is_resized_and_cropped_at_the_centre(tmp_path: Path) -> None:
    rgb = np.zeros((40, 200, 3), np.uint8)
    rgb[:, 70:130, 1] = 200  # exactly the centre of 20:30 at this height
    picture = load_pictures(save(tmp_path / "a.png", rgb), SHAPE)[0]
    assert picture.shape == (20, 30, 3)
    assert (picture[:, 1:-1, 1] == 200).all()  # the filter looks one pixel past the crop's edge
    assert (picture[:, [0, -1], 1] > 100).all()


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    rgb = gradient(20, 30)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 270 degrees to show it
    turned = np.rot90(rgb)  # what the sensor saw
    path = save(tmp_path / "a.png", np.ascontiguousarray(turned), exif=exif)
    np.testing.assert_array_equal(load_pictures(path, SHAPE)[0], rgb)


def test_a_folder_beyond_the_free_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "ab":
        save(tmp_path / f"{name}.png", gradient(20, 30))
    needed = 2 * 20 * 30 * 3 * 6
    monkeypatch.setattr(images, "free_memory", lambda: needed)
    assert len(load_inputs(tmp_path, SHAPE)) == 2
    monkeypatch.setattr(images, "free_memory", lambda: needed - 1)
    with pytest.raises(Dyn2trtError, match=r"2 images from .* at 20x30 take 0\.0 GiB .* a folder of fewer images"):
        load_inputs(tmp_path, SHAPE)
    assert len(load_inputs(tmp_path, (1, *SHAPE[1:]))) == 1
    monkeypatch.undo()
    free = images.free_memory()
    assert free is None or 2**20 < free < 2**50


def test_greyscale_sixteen_bits_and_palette(tmp_path: Path) -> None:
    grey = gradient(20, 30)[..., 0]
    expected = np.repeat(grey[..., None], 3, axis=2)
    save(tmp_path / "grey.png", grey)
    save(tmp_path / "deep.png", grey.astype(np.uint16) * 257)
    Image.fromarray(grey).convert("P").save(tmp_path / "palette.png")
    for name in ("grey.png", "deep.png", "palette.png"):
        np.testing.assert_array_equal(load_pictures(tmp_path / name, SHAPE)[0], expected, err_msg=name)


def test_sixteen_bits_are_turned_upright_too(tmp_path: Path) -> None:
    grey = gradient(20, 30)[..., 0]
    exif = Image.Exif()
    exif[0x0112] = 3
    path = save(tmp_path / "deep.png", grey[::-1, ::-1].astype(np.uint16) * 257, exif=exif)
    np.testing.assert_array_equal(load_pictures(path, SHAPE)[0, ..., 0], grey)


def test_transparency_shows_white(tmp_path: Path) -> None:
    rgba = np.zeros((20, 30, 4), np.uint8)
    rgba[:, :15, 3] = 255
    picture = load_pictures(save(tmp_path / "a.png", rgba), SHAPE)[0]
    assert (picture[:, :15] == 0).all()
    assert (picture[:, 15:] == 255).all()


def test_floating_point_pixels_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tiff", np.ones((20, 30), np.float32))
    with pytest.raises(Dyn2trtError, match=r"a\.tiff.*floating-point"):
        load_inputs(path, SHAPE)


def test_a_folder_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    for name, value in (("b.PNG", 2), ("a.jpg", 1), ("c.bmp", 3)):
        save(tmp_path / name, np.full((20, 30, 3), value, np.uint8))
    (tmp_path / "notes.txt").write_text("not an image")
    assert load_pictures(tmp_path, SHAPE)[:, 0, 0, 0].tolist() == [1, 2, 3]
    assert load_pictures(tmp_path, (2, 3, 20, 30))[:, 0, 0, 0].tolist() == [1, 2]
    assert load_pictures(tmp_path, (5, 3, 20, 30))[:, 0, 0, 0].tolist() == [1, 2, 3, 1, 2]


def test_an_empty_folder_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "val").mkdir()
    with pytest.raises(Dyn2trtError, match=r"no image in .*\.jpg.*1 subfolders"):
        load_inputs(tmp_path, SHAPE)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_an_unreadable_image_is_named(tmp_path: Path, content: bytes) -> None:
    save(tmp_path / "a.png", gradient(20, 30))
    (tmp_path / "b.png").write_bytes(content)
    with pytest.raises(Dyn2trtError, match=r"cannot read .*b\.png as an image"):
        load_inputs(tmp_path, SHAPE)


def test_a_truncated_jpeg_is_named(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    path = save(tmp_path / "a.jpg", noise)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(Dyn2trtError, match=r"cannot read .*a\.jpg as an image.*truncated"):
        load_inputs(path, SHAPE)


def test_a_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.png", gradient(20, 30))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(Dyn2trtError, match=r"cannot read .*a\.png"):
        load_inputs(path, SHAPE)


def test_npz(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 20, 30))
    np.savez(tmp_path / "x.npz", x=x, out0=x)
    loaded = load_inputs(tmp_path / "x.npz", (3, 3, 20, 30))
    assert loaded.dtype == np.float32
    np.testing.assert_array_equal(loaded, x[[0, 1, 0]].astype(np.float32))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"y": np.zeros((1, 3, 20, 30), np.float32)}, r"holds y, expected float32 x \[N, 3, 20, 30\]"),
        ({"x": np.zeros((1, 3, 20, 31), np.float32)}, r"\[1, 3, 20, 31\], expected"),
        ({"x": np.zeros((3, 20, 30), np.float32)}, r"\[3, 20, 30\], expected"),
        ({"x": np.zeros((0, 3, 20, 30), np.float32)}, r"\[0, 3, 20, 30\], expected"),
        ({"x": np.zeros((1, 3, 20, 30), np.uint8)}, r"uint8"),
        ({"x": np.full((1, 3, 20, 30), np.nan, np.float32)}, r"1800 values that are NaN"),
        ({"x": np.array([{}], object)}, r"cannot read .*x\.npz"),
    ],
)
def test_a_wrong_npz_is_refused(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(Dyn2trtError, match=message):
        load_inputs(tmp_path / "x.npz", SHAPE)


def test_a_file_that_is_no_npz_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(Dyn2trtError, match=r"cannot read .*x\.npz"):
        load_inputs(tmp_path / "x.npz", SHAPE)


def test_noise_is_seeded() -> None:
    x = load_inputs("noise:2", SHAPE, seed=3)
    assert x.shape == (2, 3, 20, 30)
    np.testing.assert_array_equal(x, load_inputs("noise", (2, 3, 20, 30), seed=3))
    assert (x != load_inputs("noise:2", SHAPE, seed=4)).all()
    assert load_inputs("noise", SHAPE).shape == (1, 3, 20, 30)


@pytest.mark.parametrize("spec", ["noise:0", "noise:many", "nowhere.png"])
def test_a_spec_that_names_nothing(spec: str) -> None:
    with pytest.raises(Dyn2trtError, match=r"expected noise|no such file or folder: nowhere\.png"):
        load_inputs(spec, SHAPE)


def test_statistics_and_channels_are_checked() -> None:
    rgb = gradient(20, 30)[None]
    with pytest.raises(Dyn2trtError, match="mean"):
        normalise(rgb, mean=(0.5,), std=(1, 1, 1))
    with pytest.raises(Dyn2trtError, match="above zero"):
        normalise(rgb, mean=(0, 0, 0), std=(1, 0, 1))
    with pytest.raises(Dyn2trtError, match=r"mean has one number a channel \(1\)"):
        normalise(rgb[..., :1], mean=(0.5, 0.4, 0.3), std=(1, 1, 1))


@pytest.mark.parametrize(
    ("mean", "std", "mend"),
    [
        ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), r"mean \[0\.485, 0\.456, 0\.406\], std \[0\.229, 0\.224"),
        ((123.675, 116.28, 103.53), (1, 1, 1), r"divide mean and std by 255: .*std \[0\.003922"),
        ((-123.675, -116.28, -103.53), (1, 1, 1), "units of rgb / 255"),
        ((0.485, 0.456, 0.406), (58.395, 57.12, 57.375), r"divide it by 255: std \[0\.229"),
        ((0, 0, 0), (255, 255, 255), r"divide it by 255: std \[1\.0"),
    ],
)
def test_normalisation_of_pixels_up_to_255_is_refused_with_its_mend(mean: tuple, std: tuple, mend: str) -> None:
    with pytest.raises(Dyn2trtError, match=mend):
        load_inputs("noise", SHAPE, mean=mean, std=std)


@pytest.mark.parametrize("channels", [1, 2, 4, 13])
def test_noise_and_arrays_serve_any_number_of_channels(tmp_path: Path, channels: int) -> None:
    assert load_inputs("noise:2", (None, channels, 20, 30)).shape == (2, channels, 20, 30)
    x = np.random.default_rng(0).standard_normal((2, channels, 20, 30)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=x)
    np.save(tmp_path / "x.npy", x)
    for name in ("x.npz", "x.npy"):
        np.testing.assert_array_equal(load_inputs(tmp_path / name, (None, channels, 20, 30)), x)
        with pytest.raises(Dyn2trtError, match=rf"expected float32 x \[N, {channels + 1}, 20, 30\]"):
            load_inputs(tmp_path / name, (None, channels + 1, 20, 30))
    assert to_pictures(x).shape == (2, 20, 30, 3)


def test_pictures_serve_one_channel_in_grey(tmp_path: Path) -> None:
    rgb = gradient(20, 30)
    grey = np.asarray(Image.fromarray(rgb).convert("L"))
    path = save(tmp_path / "a.png", rgb)
    x = load_inputs(path, (None, 1, 20, 30), mean=(0.5,), std=(0.25,))
    np.testing.assert_allclose(x[0, 0], (grey / 255 - 0.5) / 0.25, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(to_pictures(x, mean=(0.5,), std=(0.25,))[0], np.repeat(grey[..., None], 3, axis=2))
    assert load_inputs(path, (None, 1, 20, 30)).shape == (1, 1, 20, 30)
    deep = save(tmp_path / "deep.png", grey.astype(np.uint16) * 257)
    np.testing.assert_array_equal(load_pictures(deep, (None, 1, 20, 30))[0, ..., 0], grey)


@pytest.mark.parametrize("channels", [2, 4])
def test_pictures_for_other_channels_are_refused_with_what_to_give(tmp_path: Path, channels: int) -> None:
    with pytest.raises(Dyn2trtError, match=rf"3 channels .* or 1 .*x{channels}x20x30; .*\.npy.*noise"):
        load_inputs(save(tmp_path / "a.png", gradient(20, 30)), (None, channels, 20, 30))


def test_hidden_files_and_what_is_no_picture_are_left_out_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path / "a.png", gradient(20, 30))
    for name in ("._a.png", ".DS_Store", "Thumbs.db"):
        (tmp_path / name).write_bytes(b"\0\5\x16\7 no picture")
    (tmp_path / ".ipynb_checkpoints").mkdir()
    for _ in range(2):
        assert load_inputs(tmp_path, SHAPE).shape == (1, 3, 20, 30)
    (said,) = caplog.messages
    assert all(name in said for name in ("._a.png", ".DS_Store", "1 images"))


@pytest.mark.parametrize("spec", ["", " "])
def test_an_empty_name_is_no_noise(spec: str) -> None:
    with pytest.raises(Dyn2trtError, match="the name of the images is empty"):
        load_inputs(spec, SHAPE)


def test_noise_is_stretched_to_be_shown() -> None:
    shown = to_pictures(load_inputs("noise:2", SHAPE))
    assert shown.reshape(2, -1).min(1).tolist() == [0, 0]
    assert shown.reshape(2, -1).max(1).tolist() == [255, 255]
