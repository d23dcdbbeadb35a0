"""The fused kernels' common path compiles for every architecture from sm_80 on; sm_90a is compiled by the build."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
ARCHITECTURES = (80, 86, 87, 89, 100, 120)
"""Those that `make kernels` does not compile for: without a GPU it takes sm_90."""
SOURCES = sorted(p for p in (PLUGINS / "core" / "fused").glob("*/*_fp16.cu") if "sm90a" not in p.name)


def test_there_are_sources():
    assert {path.parent.name for path in SOURCES} == {"inverted_residual", "tiles"}


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="needs nvcc")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.parent.name)
def test_common_path_compiles(tmp_path, source, architecture):
    """fp16 stands for bf16, whose kernels differ in one type. Unoptimised: spills are checked for sm_90."""
    folders = (PLUGINS, PLUGINS / "core", PLUGINS / "core" / "include")
    command = [
        *("nvcc", "-std=c++17", "-c", "-o", str(tmp_path / "kernels.o"), "-Xptxas", "-O0"),
        *("-gencode", f"arch=compute_{architecture},code=sm_{architecture}"),
        *(f"-I{folder}" for folder in folders),
    ]
    done = subprocess.run([*command, str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
