"""Loads TensorRT's Python bindings over the TensorRT-RTX core. See README.md beside this file."""

from __future__ import annotations

import ctypes
import hashlib
import importlib
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).parent
"""Put on PYTHONPATH, it makes ``import tensorrt`` work."""

WHEELS = dict(line.split("==") for line in (FOLDER / "requirements.txt").read_text().split())
MAJOR = WHEELS["tensorrt-cu13-bindings"].partition(".")[0]


def why_not() -> str | None:
    """What keeps the harness from working here, or None."""
    for wheel, version in WHEELS.items():
        try:
            installed = importlib.metadata.version(wheel)
        except importlib.metadata.PackageNotFoundError:
            return f"{wheel} is not installed: pip install {wheel}=={version}"
        if installed != version:
            return f"{wheel} is {installed}, the harness works with {version}"
    return None if shutil.which("g++") else "g++ is not installed"


def load() -> ModuleType:
    """Import and return the bindings. Loads the same libraries only once in a process."""
    if reason := why_not():
        raise ImportError(f"TensorRT on the CPU: {reason}")
    spec = importlib.util.find_spec("onnxruntime_ep_nv_tensorrt_rtx")
    assert spec is not None
    wheel = Path(spec.origin or "").parent
    core = next(wheel.glob("libtensorrt_rtx.so.*"))
    parser = next(wheel.glob("libtensorrt_onnxparser_rtx.so.*"))
    ctypes.CDLL(str(core), ctypes.RTLD_GLOBAL)
    nvinfer = _forwarding(f"libnvinfer.so.{MAJOR}", (FOLDER / "shim.cpp").read_text(), needs=core)
    _forwarding("libtensorrt_rtx.so", "", needs=core)  # the parser opens this unversioned name
    _forwarding(f"libnvinfer_plugin.so.{MAJOR}", "", needs=nvinfer)
    ctypes.CDLL(str(parser), ctypes.RTLD_GLOBAL)
    _forwarding(f"libnvonnxparser.so.{MAJOR}", "", needs=parser)
    return importlib.import_module("tensorrt_bindings")


def _forwarding(soname: str, source: str, needs: Path) -> Path:
    """Load a library called ``soname`` that forwards whatever ``source`` does not define to ``needs``."""
    key = hashlib.sha256(f"{source}{needs}{needs.stat().st_mtime_ns}".encode()).hexdigest()[:16]
    library = FOLDER.parents[1] / "build" / "tensorrt_on_cpu" / key / soname
    if not library.exists():
        library.parent.mkdir(parents=True, exist_ok=True)
        # Several test processes may get here at once: each compiles for itself, the last one's stays.
        with tempfile.TemporaryDirectory(dir=library.parent) as folder:
            made = Path(folder) / soname
            command = ["g++", "-shared", "-fPIC", "-x", "c++", "-", "-x", "none", "-o", str(made)]
            command += [f"-Wl,-soname,{soname}", "-Wl,--no-as-needed", str(needs), "-ldl"]
            subprocess.run(command, input=source, text=True, check=True)
            os.replace(made, library)
    ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)
    return library
