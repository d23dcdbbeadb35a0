"""Network inputs from photographs, saved arrays or seeded noise.

A *spec* names where inputs come from: an image, a folder of images, a ``.npz`` that holds ``x``, or ``noise``
(``noise:8`` for eight). Photographs are turned upright (EXIF), resized so that they cover the wanted size, cropped
at the centre and normalised as ``(rgb / 255 - mean) / std``, the preprocessing of ImageNet and MPII evaluation
without its margin.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from dyn2trt.errors import Dyn2trtError

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""What counts as an image in a folder; a file given by name may have any."""

Shape = tuple[int | None, int, int, int]

_BYTES_A_PIXEL = 3 * (4 + 2)
"""While images are loaded: float32, and 8 bits twice, for one moment."""


def load_inputs(
    spec: str | Path,
    shape: Shape,
    *,
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
    seed: int = 0,
) -> NDArray[np.float32]:
    """Load inputs as float32 [N, 3, H, W], contiguous, finite.

    Args:
        spec: an image, a folder of images (taken in the order of their names), a .npz holding ``x`` (float, already
            normalised, used as it is), ``noise`` or ``noise:N`` (standard normal, from ``seed``).
        shape: (N, 3, H, W). N images are returned, the source's being repeated in turn or left out as needed;
            with N None, as many as there are (1 for ``noise``).
        mean, std: per channel, in units of rgb / 255. Not applied to a .npz or to noise.

    Raises:
        Dyn2trtError: the spec names nothing that can be read, or arrays of another size.
    """
    count, channels, height, width = shape
    if channels != 3:
        raise Dyn2trtError(f"inputs have 3 channels (RGB), but the model's input shape is {_shown(shape)}")
    if count is not None and count < 1:
        raise Dyn2trtError(f"expected at least one image, but the input shape is {_shown(shape)}")
    if noise_count := _noise(spec):
        size = (count or noise_count, 3, height, width)
        return np.random.default_rng(seed).standard_normal(size, dtype=np.float32)
    path = _existing(spec)
    if path.suffix == ".npz":
        x = _from_npz(path, height, width)
        return np.ascontiguousarray(x[np.arange(count or len(x)) % len(x)])
    return normalise(load_pictures(path, shape), mean=mean, std=std)


def load_pictures(spec: str | Path, shape: Shape) -> NDArray[np.uint8]:
    """Load an image, or a folder of them, as RGB uint8 [N, H, W, 3]; ``shape`` is (N, 3, H, W) as in `load_inputs`.

    Raises:
        Dyn2trtError: no image there, one that cannot be read (named), or more than there is memory for.
    """
    count, _, height, width = shape
    files = image_files(spec)
    if count is not None:
        files = files[:count]
    free, needed = free_memory(), (count or len(files)) * height * width * _BYTES_A_PIXEL
    if free is not None and needed > free:
        raise Dyn2trtError(
            f"{count or len(files)} images from {spec} at {height}x{width} take {needed / 2**30:.1f} GiB at least, but "
            f"{free / 2**30:.1f} GiB of memory are free; name a folder of fewer images"
        )
    pictures = np.stack([_picture(file, height, width) for file in files])
    return pictures[np.arange(count or len(files)) % len(files)]


def image_files(spec: str | Path) -> list[Path]:
    """Return the image, or the images of the folder in the order of their names.

    Raises:
        Dyn2trtError: nothing there.
    """
    path = _existing(spec)
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())
    if not files:
        folders = sum(file.is_dir() for file in path.iterdir())
        hint = f"; it has {folders} subfolders, name one of them" if folders else ""
        raise Dyn2trtError(f"no image in {path}: looked for {', '.join(SUFFIXES)}{hint}")
    return files


def normalise(pictures: NDArray[np.uint8], *, mean: Sequence[float], std: Sequence[float]) -> NDArray[np.float32]:
    """Turn RGB uint8 [N, H, W, 3] into float32 [N, 3, H, W]: ``(rgb / 255 - mean) / std``."""
    centre, scale = _statistics(mean, std)
    x = pictures.transpose(0, 3, 1, 2).astype(np.float32, order="C")
    x /= np.float32(255)  # In place: a whole folder may be in here.
    x -= centre[:, None, None]
    x /= scale[:, None, None]
    return x


def to_pictures(
    x: NDArray[np.float32], *, mean: Sequence[float] = (0.0, 0.0, 0.0), std: Sequence[float] = (1.0, 1.0, 1.0)
) -> NDArray[np.uint8]:
    """Undo `normalise`, for showing inputs: float32 [N, 3, H, W] to RGB uint8 [N, H, W, 3].

    Inputs that leave [0, 1] by more than rounding when undone (noise, or saved arrays of unknown normalisation) are
    stretched to that range instead, each by its own extremes.
    """
    centre, scale = _statistics(mean, std)
    rgb = x.transpose(0, 2, 3, 1).astype(np.float32) * scale + centre
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
    path = Path(spec)
    if not path.exists():
        raise Dyn2trtError(
            f"no such file or folder: {spec}; expected an image, a folder of images, a .npz holding x, or noise"
        )
    return path


def _from_npz(path: Path, height: int, width: int) -> NDArray[np.float32]:
    wanted = f"float32 x [N, 3, {height}, {width}]"
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if "x" not in arrays.files:
                raise Dyn2trtError(f"{path} holds {', '.join(arrays.files) or 'nothing'}, expected {wanted}")
            x = arrays["x"]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise Dyn2trtError(f"cannot read {path} as .npz: {error}; expected {wanted}") from error
    if x.dtype.kind != "f" or x.ndim != 4 or x.shape[1:] != (3, height, width) or not len(x):
        raise Dyn2trtError(f"x in {path} is {x.dtype} {list(x.shape)}, expected {wanted}")
    if not np.isfinite(x).all():
        raise Dyn2trtError(f"x in {path} has {np.count_nonzero(~np.isfinite(x))} values that are NaN or infinite")
    return x.astype(np.float32)


def _picture(path: Path, height: int, width: int) -> NDArray[np.uint8]:
    """Read one image upright, as RGB uint8 [height, width, 3]."""
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(_eight_bits(image))
            fitted = ImageOps.fit(_rgb(upright), (width, height), Image.Resampling.BILINEAR)
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise Dyn2trtError(f"cannot read {path} as an image: {error}") from error
    return np.asarray(fitted, dtype=np.uint8)


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


def _statistics(mean: Sequence[float], std: Sequence[float]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    for name, values in (("mean", mean), ("std", std)):
        if len(values) != 3 or not np.isfinite(values).all():
            raise Dyn2trtError(f"{name} has one finite number a channel (3), not {list(values)}")
    if min(std) <= 0:
        raise Dyn2trtError(f"std is above zero, not {list(std)}")
    return np.asarray(mean, np.float32), np.asarray(std, np.float32)


def _shown(shape: Shape) -> str:
    return "x".join("N" if size is None else str(size) for size in shape)
