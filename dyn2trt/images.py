"""Network inputs from photographs, saved arrays or seeded noise.

A *spec* names where inputs come from: an image, a folder of images, a ``.npz`` that holds ``x``, a ``.npy``, or
``noise`` (``noise:8`` for eight). Photographs are turned upright (EXIF), resized so that they cover the wanted size,
cropped at the centre and normalised as ``(rgb / 255 - mean) / std``, the preprocessing of ImageNet and MPII evaluation
without its margin. They serve networks of three channels and, in grey, of one; arrays and noise serve any number.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from dyn2trt.errors import Dyn2trtError
from dyn2trt.normalisation import check_normalisation, of_channels
from dyn2trt.notices import warn_once

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""What counts as an image in a folder; a file given by name may have any."""

ARRAYS = (".npy", ".npz")

Shape = tuple[int | None, int, int, int]

_BYTES_A_VALUE = 4 + 2
"""While images are loaded: float32, and 8 bits twice, for one moment."""
_SHOWN = 3


def load_inputs(
    spec: str | Path,
    shape: Shape,
    *,
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
    seed: int = 0,
) -> NDArray[np.float32]:
    """Load inputs as float32 [N, C, H, W], contiguous, finite.

    Args:
        spec: an image, a folder of images (taken in the order of their names), a .npy or a .npz holding ``x`` (float,
            already normalised, used as it is), ``noise`` or ``noise:N`` (standard normal, from ``seed``).
        shape: (N, C, H, W), of images C is 3 or 1. N images are returned, the source's being repeated in turn or left
            out as needed; with N None, as many as there are (1 for ``noise``).
        mean, std: per channel, in units of rgb / 255. Not applied to arrays or to noise.

    Raises:
        Dyn2trtError: the spec names nothing that can be read, or arrays of another size.
    """
    count, channels, height, width = shape
    if count is not None and count < 1:
        raise Dyn2trtError(f"expected at least one image, but the input shape is {_shown(shape)}")
    check_normalisation(mean, std)
    if noise_count := _noise(spec):
        size = (count or noise_count, channels, height, width)
        return np.random.default_rng(seed).standard_normal(size, dtype=np.float32)
    path = _existing(spec)
    if path.suffix.lower() in ARRAYS:
        x = _from_arrays(path, channels, height, width)
        return np.ascontiguousarray(x[np.arange(count or len(x)) % len(x)])
    return normalise(load_pictures(path, shape), mean=mean, std=std)


def load_pictures(spec: str | Path, shape: Shape) -> NDArray[np.uint8]:
    """Load an image, or a folder of them, as uint8 [N, H, W, C], RGB or grey; ``shape`` is (N, C, H, W).

    Raises:
        Dyn2trtError: C is neither 3 nor 1, no image is there, one cannot be read (named), or there are more than there
            is memory for.
    """
    count, channels, height, width = shape
    if channels not in (1, 3):
        raise Dyn2trtError(
            f"pictures have 3 channels (RGB) or 1 (grey), and the model takes {_shown(shape)}; give it a .npy, or a "
            f".npz holding x, of [N, {channels}, {height}, {width}], or noise"
        )
    files = image_files(spec)
    if count is not None:
        files = files[:count]
    free, needed = free_memory(), (count or len(files)) * height * width * channels * _BYTES_A_VALUE
    if free is not None and needed > free:
        raise Dyn2trtError(
            f"{count or len(files)} images from {spec} at {height}x{width} take {needed / 2**30:.1f} GiB at least, but "
            f"{free / 2**30:.1f} GiB of memory are free; name a folder of fewer images"
        )
    pictures = np.stack([_picture(file, height, width, grey=channels == 1) for file in files])
    return pictures[np.arange(count or len(files)) % len(files)]


def image_files(spec: str | Path) -> list[Path]:
    """Return the image, or the images of the folder in the order of their names.

    Hidden files, among them what other systems leave (``._a.png``, ``.DS_Store``), and files that are no images are
    left out, which is said once.

    Raises:
        Dyn2trtError: nothing there.
    """
    path = _existing(spec)
    if not path.is_dir():
        return [path]
    files: list[Path] = []
    skipped: list[Path] = []
    for file in sorted(path.iterdir()):
        if file.is_file() or file.name.startswith("."):
            (files if is_image_name(file) else skipped).append(file)
    if not files:
        folders = sum(file.is_dir() and not file.name.startswith(".") for file in path.iterdir())
        hint = f"; it has {folders} subfolders, name one of them" if folders else ""
        raise Dyn2trtError(f"no image in {path}: looked for {', '.join(SUFFIXES)}{hint}")
    if skipped:
        named = ", ".join(file.name for file in skipped[:_SHOWN]) + ", ..." * (len(skipped) > _SHOWN)
        warn_once(f"{path}: left out what is hidden or no image: {named}; {len(files)} images are there")
    return files


def is_image_name(file: Path) -> bool:
    """Whether a file of a folder counts as an image, by its name."""
    return file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and not file.is_dir()


def normalise(pictures: NDArray[np.uint8], *, mean: Sequence[float], std: Sequence[float]) -> NDArray[np.float32]:
    """Turn uint8 [N, H, W, C] into float32 [N, C, H, W]: ``(rgb / 255 - mean) / std``."""
    centre, scale = _statistics(mean, std, pictures.shape[3])
    x = pictures.transpose(0, 3, 1, 2).astype(np.float32, order="C")
    x /= np.float32(255)  # In place: a whole folder may be in here.
    x -= centre[:, None, None]
    x /= scale[:, None, None]
    return x


def to_pictures(
    x: NDArray[np.float32], *, mean: Sequence[float] = (0.0, 0.0, 0.0), std: Sequence[float] = (1.0, 1.0, 1.0)
) -> NDArray[np.uint8]:
    """Undo `normalise`, for showing inputs: float32 [N, C, H, W] to RGB uint8 [N, H, W, 3].

    Inputs that leave [0, 1] by more than rounding when undone (noise, or saved arrays of unknown normalisation) are
    stretched to that range instead, each by its own extremes. One channel is shown in grey, and so is the mean of any
    other number than three.
    """
    channels = x.shape[1]
    rgb = x.transpose(0, 2, 3, 1).astype(np.float32)
    if channels in (1, 3):
        centre, scale = _statistics(mean, std, channels)
        rgb = rgb * scale + centre
    if channels != 3:
        rgb = np.repeat(rgb.mean(axis=3, keepdims=True), 3, axis=3)
    if rgb.min() < -1e-3 or rgb.max() > 1 + 1e-3:
        low, high = rgb.min((1, 2, 3), keepdims=True), rgb.max((1, 2, 3), keepdims=True)
        rgb = (rgb - low) / np.maximum(high - low, np.finfo(np.float32).tiny)
    return np.round(np.clip(rgb, 0, 1) * 255).astype(np.uint8)


def free_memory() -> int | None:
    """Bytes that a process can take without swapping; None where the system does not say (it is Linux that does)."""
    try:
        stated = Path("/proc/meminfo").read_text(encoding="ascii")
        return int(stated.partition("MemAvailable:")[2].split()[0]) * 1024
    except (OSError, IndexError):
        return None


def _noise(spec: str | Path) -> int | None:
    """Return how many noise images the spec asks for, or None when it names a file."""
    name, _, number = str(spec).partition(":")
    if name != "noise":
        return None
    if not number:
        return 1
    if not number.isdecimal() or int(number) < 1:
        raise Dyn2trtError(f"expected noise or noise:N with N ≥ 1, not {spec}")
    return int(number)


def _existing(spec: str | Path) -> Path:
    path, expected = Path(spec), "expected an image, a folder of images, a .npy, a .npz holding x, or noise"
    if not str(spec).strip():
        raise Dyn2trtError(f"the name of the images is empty; {expected}")
    if not path.exists():
        raise Dyn2trtError(f"no such file or folder: {spec}; {expected}")
    return path


def _from_arrays(path: Path, channels: int, height: int, width: int) -> NDArray[np.float32]:
    wanted = f"float32 x [N, {channels}, {height}, {width}]"
    try:
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            x = content
        else:
            with content as arrays:
                if "x" not in arrays.files:
                    raise Dyn2trtError(f"{path} holds {', '.join(arrays.files) or 'nothing'}, expected {wanted}")
                x = arrays["x"]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise Dyn2trtError(f"cannot read {path} as {path.suffix}: {error}; expected {wanted}") from error
    if x.dtype.kind != "f" or x.ndim != 4 or x.shape[1:] != (channels, height, width) or not len(x):
        raise Dyn2trtError(f"x in {path} is {x.dtype} {list(x.shape)}, expected {wanted}")
    if not np.isfinite(x).all():
        raise Dyn2trtError(f"x in {path} has {np.count_nonzero(~np.isfinite(x))} values that are NaN or infinite")
    return x.astype(np.float32)


def _picture(path: Path, height: int, width: int, *, grey: bool) -> NDArray[np.uint8]:
    """Read one image upright, as uint8 [height, width, 3], or [height, width, 1] in grey."""
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(_eight_bits(image))
            colours = _rgb(upright).convert("L") if grey else _rgb(upright)
            fitted = ImageOps.fit(colours, (width, height), Image.Resampling.BILINEAR)
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise Dyn2trtError(f"cannot read {path} as an image: {error}") from error
    return np.asarray(fitted, dtype=np.uint8).reshape(height, width, -1)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale 16-bit greyscale down (Pillow's own conversion clips it at 255); refuse pixels without a fixed range."""
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers of unknown range; save it with 8 or 16 bits")
    if image.mode != "I" and not image.mode.startswith("I;16"):
        return image
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 0xFFFF:
        raise ValueError("its pixels exceed 16 bits; save it with 8 or 16 bits")
    scaled = Image.fromarray(np.round(values / 257).astype(np.uint8), "L")
    scaled.getexif().update(image.getexif())
    return scaled


def _rgb(image: Image.Image) -> Image.Image:
    """Convert to RGB; what is transparent becomes white, as a viewer shows it."""
    if image.has_transparency_data:
        layered = image.convert("RGBA")
        white = Image.new("RGBA", layered.size, "white")
        return Image.alpha_composite(white, layered).convert("RGB")
    return image.convert("RGB")


def _statistics(
    mean: Sequence[float], std: Sequence[float], channels: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    check_normalisation(mean, std)
    centre, scale = (of_channels(name, values, channels) for name, values in (("mean", mean), ("std", std)))
    return np.asarray(centre, np.float32), np.asarray(scale, np.float32)


def _shown(shape: Shape) -> str:
    return "x".join("N" if size is None else str(size) for size in shape)
