"""What a checkpoint file holds, read without running code from it, and what a file is that is no checkpoint."""

from __future__ import annotations

import argparse
import os
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path, PosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dyn2trt.errors import Dyn2trtError, MissingDependency

WRAPPERS = (
    *("state_dict", "model_state_dict", "model_state", "model", "network", "net", "module", "weights", "params"),
    *("generator", "student", "backbone", "state_dict_ema", "ema_state_dict", "model_ema", "params_ema", "ema"),
)
"""Keys under which a file holds its state dict, the first that does; weights come before their running average."""

_KINDS: dict[str, tuple[bytes, ...]] = {
    "an HTML page, as a download that asks for a login leaves": (b"<!doctype html", b"<html", b"<?xml"),
    "a Git LFS pointer, not the file that it points to; run git lfs pull": (b"version https://git-lfs",),
    "gzip data; unpack it": (b"\x1f\x8b",),
    "bzip2 data; unpack it": (b"BZh",),
    "xz data; unpack it": (b"\xfd7zXZ\x00",),
    "zstd data; unpack it": (b"\x28\xb5\x2f\xfd",),
    "a 7z archive; unpack it": (b"7z\xbc\xaf\x27\x1c",),
    "HDF5, as Keras writes; export it from there as a state dict of torch": (b"\x89HDF\r\n\x1a\n",),
    "a NumPy array": (b"\x93NUMPY",),
    "a picture": (b"\x89PNG", b"\xff\xd8\xff", b"GIF8"),
    "a PDF": (b"%PDF",),
    "a GGUF file": (b"GGUF",),
    "a program or library": (b"\x7fELF",),
}
"""What foreign files begin with, in lower case where they are text."""

_SHOWN = 6
_HEAD = 512


def read_checkpoint_file(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Return the state dict in a checkpoint, bare or under one of `WRAPPERS`, on the CPU, its keys as they are.

    Beside it there may be what trainings leave: numbers, texts, lists, NumPy scalars and arrays, argparse's options.
    Arrays in the state dict become tensors.

    Raises:
        Dyn2trtError: the file is missing, truncated, needs code to load, is something else or holds no state dict;
            MissingDependency where it takes safetensors to read it.
    """
    content = _load(path)
    found = _state_dict_in(content)
    if found is None:
        held = f"the keys {', '.join(map(str, list(content)[:_SHOWN]))}" if isinstance(content, Mapping) else "no dict"
        raise Dyn2trtError(f"{path} holds no state dict: expected parameter names with tensors, found {held}")
    return {key: torch.from_numpy(np.asarray(v)) if not isinstance(v, Tensor) else v for key, v in found.items()}


def _load(path: str | os.PathLike[str]) -> Any:
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD)
        if kind := foreign_kind(head, os.path.getsize(path)):
            raise Dyn2trtError(f"{path} is no checkpoint: it is {kind}")
        if kind := _foreign_archive(path):
            raise Dyn2trtError(f"{path} is no checkpoint: it is {kind}")
        if _is_safetensors(head):
            return _load_safetensors(path)
        with torch.serialization.safe_globals(_DATA), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # Of other protocols and archives, told below in our words.
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise Dyn2trtError(f"no checkpoint at {path}") from None
    except pickle.UnpicklingError as error:
        raise Dyn2trtError(
            f"{path} is no checkpoint of plain tensors, and code in a checkpoint is not run; save the state_dict "
            f"alone ({_cause(error)})"
        ) from None
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        if "TorchScript" in str(error):
            raise Dyn2trtError(
                f"{path} is a TorchScript archive, which holds code; save the state_dict alone: "
                "torch.save(torch.jit.load(path).state_dict(), ...)"
            ) from None
        raise Dyn2trtError(f"{path} is truncated or no checkpoint ({_first_line(error)})") from None


def foreign_kind(head: bytes, size: int) -> str | None:
    """What a file that is no checkpoint is, by its first bytes; None where it may be one."""
    if size == 0:
        return "an empty file"
    if not head.strip(b"\0"):
        return "nothing but zeros, as a broken download leaves"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for kind, beginnings in _KINDS.items():
        if head.startswith(beginnings) or text.startswith(beginnings):
            return kind
    if head[257:262] == b"ustar":
        return "a tar archive; unpack it"
    if text.startswith((b"{", b"[")) and _is_text(head):
        return "JSON"
    return "a text file" if len(head) > 1 and _is_text(head) else None


def _foreign_archive(path: str | os.PathLike[str]) -> str | None:
    """What a whole ZIP archive is that torch.save did not write; None for anything else."""
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any(name.endswith("data.pkl") for name in names):
        return None
    return "NumPy arrays" if names and all(n.endswith(".npy") for n in names) else "a ZIP archive; unpack it"


def _is_text(head: bytes) -> bool:
    """Printable to the end: pickles begin with control characters or hold some soon."""
    return not any(byte < 0x20 and byte not in b"\t\r\n\f" for byte in head) and b"\x80" not in head[:1]


def _is_safetensors(head: bytes) -> bool:
    """Eight bytes of length, then a JSON header."""
    return head[8:10] in (b'{"', b"{}") and int.from_bytes(head[:8], "little") < 2**32


def _load_safetensors(path: str | os.PathLike[str]) -> Any:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise MissingDependency(f"{path} is a safetensors file; to read it: pip install safetensors") from error
    try:
        return load_file(path)
    except SafetensorError as error:
        raise Dyn2trtError(f"{path} is truncated or no checkpoint ({_first_line(error)})") from None


def _numpy_data() -> list[Any]:
    """NumPy's scalars, arrays and dtypes by the names that they have in files of NumPy 1 and 2."""
    from numpy._core import multiarray

    functions = {"scalar": multiarray.scalar, "_reconstruct": multiarray._reconstruct}
    named = [
        (function, f"{module}.{name}")
        for name, function in functions.items()
        for module in ("numpy._core.multiarray", "numpy.core.multiarray")
    ]
    return [*named, np.ndarray, np.dtype, *(getattr(np.dtypes, name) for name in np.dtypes.__all__)]


_DATA = [*_numpy_data(), argparse.Namespace, (PosixPath, "pathlib.PosixPath"), (Path, "pathlib.Path")]
"""Beyond what torch allows by itself: types that hold data; to make one runs nothing of the file's choice."""


def _state_dict_in(content: Any) -> Mapping[str, Any] | None:
    if _is_state_dict(content):
        return content
    if not isinstance(content, Mapping):
        return None
    for key in WRAPPERS:
        if isinstance(inner := content.get(key), Mapping) and (found := _state_dict_in(inner)) is not None:
            return found
    others = [value for value in content.values() if _is_state_dict(value)]
    return others[0] if len(others) == 1 else None


def _is_state_dict(content: Any) -> bool:
    return (
        isinstance(content, Mapping)
        and len(content) > 0
        and all(isinstance(k, str) and _is_tensor(v) for k, v in content.items())
    )


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor) or (isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "fiub")


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _cause(error: pickle.UnpicklingError) -> str:
    """What the unpickler met, without torch's advice around it, which is to run the code after all."""
    _, _, after = str(error).partition("WeightsUnpickler error:")
    return (after.strip() or _first_line(error)).splitlines()[0].strip()
