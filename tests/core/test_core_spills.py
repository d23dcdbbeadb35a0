"""Reading registers and spills out of a build log."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "plugins" / "check_spills.py"
LOG = """[1/2] Building CUDA object compact.cu.o
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'first' for 'sm_90'
ptxas info    : Function properties for first
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 52 registers, used 1 barriers
ptxas info    : Compiling entry function 'second' for 'sm_90'
ptxas info    : Function properties for second
    {stack} bytes stack frame, {spill} bytes spill stores, 0 bytes spill loads
ptxas info    : Used 128 registers, used 1 barriers
"""


@pytest.mark.parametrize(
    ("log", "code", "said"),
    [
        (LOG.format(stack=0, spill=0), 0, "2 kernels, 0 with spills or local memory"),
        (LOG.format(stack=16, spill=12), 1, "second  SPILLS: stack 16, spill bytes 12"),
        (LOG.format(stack=40, spill=0), 1, "2 kernels, 1 with spills or local memory"),
        ("ninja: no work to do.", 2, "no kernel in this log"),
    ],
    ids=["clean", "spills", "local array", "nothing compiled"],
)
def test_log(tmp_path, log, code, said):
    (tmp_path / "log").write_text(log)
    done = subprocess.run([sys.executable, SCRIPT, tmp_path / "log"], capture_output=True, text=True)
    assert done.returncode == code
    assert said in done.stdout + done.stderr
