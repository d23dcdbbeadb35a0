#!/usr/bin/env python3
"""Check a build log for register spills: every kernel's registers and stack as ``ptxas -v`` prints them.

    cmake --preset quick && cmake --build --preset quick --clean-first 2>&1 | tee build/quick/log
    python plugins/check_spills.py build/quick/log

Exit code 1 when a kernel spills or keeps arrays in local memory, 2 when the log names no kernel.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass

ENTRY = re.compile(r"Compiling entry function '(\w+)' for '(\w+)'")
STACK = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
REGISTERS = re.compile(r"Used (\d+) registers")


@dataclass
class Kernel:
    name: str
    architecture: str
    stack: int = 0
    spilled: int = 0
    registers: int = 0


def kernels_of(log: str) -> list[Kernel]:
    """The kernels of a log, in its order; a device function's own lines are not counted."""
    kernels: list[Kernel] = []
    fresh = False
    for line in log.splitlines():
        if match := ENTRY.search(line):
            kernels.append(Kernel(match[1], match[2]))
            fresh = True
        elif fresh and (match := STACK.search(line)):
            kernels[-1].stack, kernels[-1].spilled = int(match[1]), int(match[2]) + int(match[3])
        elif fresh and (match := REGISTERS.search(line)):
            kernels[-1].registers = int(match[1])
            fresh = False
    return kernels


def readable(names: list[str]) -> list[str]:
    """Demangled, where c++filt is there."""
    if not shutil.which("c++filt"):
        return names
    done = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True)
    return [re.sub(r"void dyn2trt::kernel_entry<(.*)>\(.*", r"\1", name) for name in done.stdout.splitlines()]


def main() -> int:
    with open(sys.argv[1], encoding="utf-8", errors="replace") if len(sys.argv) > 1 else sys.stdin as file:
        kernels = kernels_of(file.read())
    if not kernels:
        print("no kernel in this log: build with DYN2TRT_PTXAS_VERBOSE=ON, and --clean-first", file=sys.stderr)
        return 2
    bad = 0
    for kernel, name in zip(kernels, readable([k.name for k in kernels]), strict=True):
        wrong = kernel.stack > 0 or kernel.spilled > 0
        bad += wrong
        note = f"  SPILLS: stack {kernel.stack}, spill bytes {kernel.spilled}" if wrong else ""
        print(f"{kernel.architecture} {kernel.registers:4d} registers  {name}{note}")
    print(f"{len(kernels)} kernels, {bad} with spills or local memory")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
