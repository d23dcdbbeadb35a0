"""The machine and the software that a measurement ran on."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

from dyn2trt.bench.record import Environment
from dyn2trt.engine.device import this_machine
from dyn2trt.runtimes.onnxruntime_session import usable_cores

PACKAGES = {
    "numpy": ("numpy",),
    "onnx": ("onnx",),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "torch": ("torch",),
    "tensorrt": ("tensorrt", "tensorrt-cu13", "tensorrt-cu12", "tensorrt-cu13-bindings", "tensorrt-rtx"),
    "pycuda": ("pycuda",),
}
"""Module → distributions that provide it."""


def examine_environment() -> Environment:
    """Record the machine; nothing is imported for it, and what cannot be found out is None."""
    machine = this_machine()
    return Environment(
        cpu=_cpu(),
        cores=usable_cores(),
        load_average=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        platform=platform.platform(),
        python=platform.python_version(),
        versions={name: version for name, options in PACKAGES.items() if (version := _version(options))},
        gpu=None if machine.gpu is None else str(machine.gpu),
        driver=machine.driver,
        cuda=machine.cuda,
        commit=_commit(Path(__file__).parent),
    )


def _version(distributions: tuple[str, ...]) -> str | None:
    for name in distributions:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def _cpu() -> str:
    """The processor's marketing name, or its architecture."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _commit(folder: Path) -> str | None:
    """Commit of the checkout that tracks this package, not of one that merely surrounds an installed copy."""
    if shutil.which("git") is None or not _output("git", "-C", str(folder), "ls-files", "environment.py"):
        return None
    commit = _output("git", "-C", str(folder), "rev-parse", "HEAD")
    changed = _output("git", "-C", str(folder), "status", "--porcelain", "--untracked-files=no")
    return f"{commit}+changes" if commit and changed else commit


def _output(*command: str) -> str | None:
    """Standard output of a command without surrounding blanks, None when it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
