"""Builds the CUDA core library for the CPU emulator: the kernels' own sources, by g++.

Objects are kept under build/ by a hash of everything that they are made of, so that a second run compiles nothing.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
CACHE = PLUGINS.parent / "build" / "emulated_core"
FLAGS = (
    *("-std=c++17", "-O2", "-march=native", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-Wno-unknown-pragmas"),
    # Misaligned vector loads, indices outside arrays and bad shifts trap; the emulator turns the trap into an error.
    *("-fsanitize=alignment,bounds-strict,shift,integer-divide-by-zero", "-fsanitize-undefined-trap-on-error"),
    *("-U_FORTIFY_SOURCE", f"-I{PLUGINS}", f"-I{PLUGINS / 'core'}", f"-I{PLUGINS / 'core' / 'include'}"),
)


def compiler() -> str | None:
    """The C++ compiler, None without one."""
    return shutil.which(os.environ.get("CXX", "g++"))


def build_library(name: str = "libdyn2trt_core_emulated.so", sources: tuple[Path, ...] | None = None) -> Path:
    """Compile ``sources`` (the whole core library when None) with the emulator, and return the shared library."""
    emulator = sorted((PLUGINS / "emulator").glob("*.cpp"))
    if sources is None:
        sources = tuple(p for p in sorted((PLUGINS / "core").rglob("*.c[up]*")) if p.suffix in (".cu", ".cpp"))
    else:
        emulator = [p for p in emulator if not p.name.endswith("_entry.cpp")]
        sources = (*sources, PLUGINS / "core" / "api" / "status.cpp")
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # workers of one test run share the cache
        with ThreadPoolExecutor(2) as pool:
            # The longest compilations first.
            jobs = sorted((*sources, *emulator), key=lambda p: ("gemm_" not in p.name and "mma_" not in p.name, p.name))
            objects = sorted(pool.map(_compile, jobs))
        key = hashlib.sha256(" ".join(p.name for p in objects).encode()).hexdigest()[:16]
        library = CACHE / f"{Path(name).stem}-{key}.so"
        if not library.exists():
            partial = library.with_suffix(".partial")
            _run("-shared", "-o", str(partial), *map(str, objects), "-Wl,--no-undefined")
            partial.rename(library)
    return library


def _compile(source: Path) -> Path:
    digest = hashlib.sha256(" ".join((str(compiler()), *FLAGS)).encode())
    listed = _run(*FLAGS, "-MM", "-x", "c++", str(source)).replace("\\\n", " ").split(":", 1)[1]
    for dependency in sorted(listed.split()):
        digest.update(Path(dependency).read_bytes())
    target = CACHE / f"{source.name}-{digest.hexdigest()[:16]}.o"
    if not target.exists():
        partial = target.with_suffix(".partial")
        _run(*FLAGS, "-x", "c++", "-c", str(source), "-o", str(partial))
        partial.rename(target)
    return target


def _run(*arguments: str) -> str:
    done = subprocess.run([str(compiler()), *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(arguments)}\n{done.stderr}")
    return done.stdout
