"""Builds the TensorRT plugin library over the CPU emulator: plugins/tensorrt by g++, no CUDA in it.

TensorRT's builder takes it for the real one, and `plugin_driver` can run its plugins on CPU memory.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SUPPORT = Path(__file__).resolve().parent
ROOT = SUPPORT.parents[1]
PLUGINS = ROOT / "plugins"
CACHE = ROOT / "build" / "emulated_plugins"
FLAGS = ("-std=c++17", "-O1", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-Wshadow", "-Werror")


def tensorrt_headers() -> Path | None:
    """Folder of NvInfer.h, looked for as cmake/tensorrt.cmake does; None without it."""
    root = os.environ.get("TENSORRT_ROOT")
    folders = [Path(root, "include")] if root else []
    folders += [Path(f) for f in ("/usr/include/x86_64-linux-gnu", "/usr/include", "/opt/TensorRT/include")]
    return next((folder for folder in folders if (folder / "NvInfer.h").exists()), None)


def cuda_headers() -> Path | None:
    """Folder of cuda_runtime_api.h, which TensorRT's headers include; None without it."""
    roots = [os.environ.get("CUDA_HOME", ""), "/usr/local/cuda", "/usr"]
    if nvcc := shutil.which("nvcc"):
        roots.append(str(Path(nvcc).resolve().parents[1]))
    return next((Path(r, "include") for r in roots if r and Path(r, "include", "cuda_runtime_api.h").exists()), None)


def why_not() -> str | None:
    """What keeps the library from being built here, or None."""
    if shutil.which(os.environ.get("CXX", "g++")) is None:
        return "no C++ compiler: set CXX or install g++"
    if tensorrt_headers() is None:
        return "no TensorRT headers: set TENSORRT_ROOT to the folder that holds include/NvInfer.h"
    return None if cuda_headers() else "no CUDA headers: set CUDA_HOME"


def compile_plugins(headers: Path, *, defines: Sequence[str] = ()) -> list[Path]:
    """Compile every source of plugins/tensorrt against ``headers``, warnings being errors; return the objects."""
    sources = sorted(PLUGINS.glob("tensorrt/*.cpp"))
    include = [f"-I{PLUGINS / 'tensorrt'}", f"-I{PLUGINS / 'core' / 'include'}"]
    flags = [*FLAGS, *include, *_system(headers), '-DDYN2TRT_VERSION="0.0.0"', '-DDYN2TRT_CUDA_VERSION="0"', *defines]
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda source: _compile(source, flags), sources))


def build_library(core: Path) -> Path:
    """Link the plugins to the core library at ``core``, which runs on the CPU."""
    headers = tensorrt_headers()
    assert headers is not None
    objects = compile_plugins(headers)
    script = PLUGINS / "tensorrt" / "exports.map"
    needs = [str(core), f"-Wl,-rpath,{core.parent}"]
    link = [f"-Wl,--version-script={script}", "-Wl,-z,nodelete", "-Wl,--no-undefined", *needs, "-ldl"]
    return _link("libdyn2trt_emulated_plugins.so", objects, link)


def build_driver() -> Path:
    """Compile ``plugin_driver.cpp``, through which ctypes calls plugins as TensorRT does."""
    headers = tensorrt_headers()
    assert headers is not None
    driver = _compile(SUPPORT / "plugin_driver.cpp", [*FLAGS, *_system(headers)])
    return _link("libplugin_driver.so", [driver], ["-ldl"])


def _system(headers: Path) -> list[str]:
    return ["-isystem", str(headers), "-isystem", str(cuda_headers())]


def _compile(source: Path, flags: Sequence[str]) -> Path:
    digest = hashlib.sha256(" ".join(flags).encode())
    listed = _run(*flags, "-MM", str(source)).replace("\\\n", " ").split(":", 1)[1]
    for dependency in sorted(listed.split()):
        digest.update(Path(dependency).read_bytes())
    name = "-".join(source.relative_to(ROOT).parts[-2:])
    return _made(CACHE / f"{name}-{digest.hexdigest()[:16]}.o", [*flags, "-c", str(source)])


def _link(name: str, objects: Sequence[Path], flags: Sequence[str]) -> Path:
    key = hashlib.sha256(" ".join([*(o.name for o in objects), *flags]).encode()).hexdigest()[:16]
    return _made(CACHE / key / name, ["-shared", *map(str, objects), *flags])


def _made(target: Path, arguments: Sequence[str]) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(target.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # workers of one test run share the cache
        if not target.exists():
            partial = target.with_suffix(".partial")
            _run(*arguments, "-o", str(partial))
            partial.rename(target)
    return target


def _run(*arguments: str) -> str:
    done = subprocess.run([os.environ.get("CXX", "g++"), *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(arguments)}\n{done.stderr}")
    return done.stdout
