"""What this machine can run: each finding with its mend."""

from __future__ import annotations

import importlib
import importlib.metadata
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import Literal

from dyn2trt.errors import Dyn2trtError


@dataclass(frozen=True)
class Finding:
    """State of one thing: ``ok``, ``missing`` (not installed), or ``broken`` (installed, does not work)."""

    what: str
    state: Literal["ok", "missing", "broken"]
    detail: str
    mend: str = ""
    required: bool = False


def examine() -> list[Finding]:
    """Look at every part that the pipeline can use on this machine. Never raises, changes nothing."""
    return [
        Finding("python", "ok", f"{platform.python_version()} at {sys.executable}", required=True),
        _module("torch", "pip install torch", required=True),
        _module("onnx", "pip install onnx", required=True),
        _module("onnxscript", "pip install onnxscript", required=True),
        _module("polygraphy", "pip install polygraphy", required=True),
        _onnxruntime(),
        _tensorrt(),
        _module("pycuda", "pip install 'dyn2trt[gpu]' (needs the CUDA toolkit's headers)"),
        _gpu(),
        _plugin_library(),
        _program("nvcc", "install the CUDA toolkit (only needed to build the plugin library)"),
        _program("cmake", "pip install cmake ninja (only needed to build the plugin library)"),
    ]


def _version(*distributions: str) -> str:
    for name in distributions:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "unknown version"


def _module(name: str, mend: str, *, required: bool = False) -> Finding:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name == name:
            return Finding(name, "missing", "not installed", mend, required)
        return Finding(name, "broken", f"needs the module {error.name}", f"pip install {error.name}", required)
    except Exception as error:  # a broken native library can raise anything
        return Finding(name, "broken", _one_line(error), f"reinstall it: {mend}", required)
    return Finding(name, "ok", _version(name), required=required)


def _onnxruntime() -> Finding:
    """ONNX Runtime comes as two distributions that overwrite each other's files in one package folder."""
    installed = [name for name in ("onnxruntime", "onnxruntime-gpu") if _is_installed(name)]
    if len(installed) == 2:
        return Finding(
            "onnxruntime",
            "broken",
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other's files",
            "pip uninstall -y onnxruntime onnxruntime-gpu, then pip install 'dyn2trt[gpu]' (NVIDIA GPU) or "
            "'dyn2trt[cpu]'",
            required=True,
        )
    finding = _module("onnxruntime", "pip install 'dyn2trt[cpu]' or, with an NVIDIA GPU, 'dyn2trt[gpu]'", required=True)
    if finding.state != "ok":
        return finding
    import onnxruntime

    providers = ", ".join(name.removesuffix("ExecutionProvider") for name in onnxruntime.get_available_providers())
    detail = f"{onnxruntime.__version__} ({installed[0] if installed else 'unknown distribution'}); {providers}"
    return Finding("onnxruntime", "ok", detail, required=True)


def _is_installed(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _tensorrt() -> Finding:
    from dyn2trt.engine.trt import import_tensorrt

    try:
        trt = import_tensorrt()
    except Dyn2trtError as error:
        return Finding("tensorrt", "missing", _one_line(error), "pip install 'dyn2trt[gpu]'")
    except Exception as error:
        return Finding("tensorrt", "broken", _one_line(error), "reinstall it: pip install 'dyn2trt[gpu]'")
    return Finding("tensorrt", "ok", f"{trt.__version__} (module {trt.__name__})")


def _gpu() -> Finding:
    mend = "run the build, compare and bench steps of TensorRT on a machine with an NVIDIA GPU"
    program = shutil.which("nvidia-smi")
    if program is None:
        return Finding("gpu", "missing", "no NVIDIA driver (nvidia-smi not found)", mend)
    command = [program, "--query-gpu=name,compute_cap,driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding("gpu", "broken", _one_line(error), "check the NVIDIA driver")
    if answer.returncode or not answer.stdout.strip():
        return Finding("gpu", "broken", (answer.stdout + answer.stderr).strip(), "check the NVIDIA driver")
    return Finding("gpu", "ok", "; ".join(answer.stdout.strip().splitlines()))


def _plugin_library() -> Finding:
    from dyn2trt.engine.plugin_library import BUILD_COMMAND, describe_library, find_plugin_library

    mend = f"{BUILD_COMMAND} (needs nvcc and TensorRT's headers)"
    try:
        path = find_plugin_library()
        if path is None:
            return Finding("plugin library", "missing", "gated blocks cannot run as TensorRT plugins", mend)
        return Finding("plugin library", "ok", f"{describe_library(path)} at {path}")
    except Dyn2trtError as error:
        return Finding("plugin library", "broken", _one_line(error), mend)


def _program(name: str, mend: str) -> Finding:
    path = shutil.which(name)
    return Finding(name, "ok", path) if path else Finding(name, "missing", "not on PATH", mend)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
