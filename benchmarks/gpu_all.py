"""Everything that wants an NVIDIA GPU, in one go: tests, compute-sanitizer, timings; `make gpu` builds and runs it.

    python benchmarks/gpu_all.py -o build/gpu            # about an hour
    python benchmarks/gpu_all.py --minutes 9 --resume    # as much as fits; again, for what is left or did not pass
    python benchmarks/gpu_all.py --only tests,memcheck   # some steps
    python benchmarks/gpu_all.py --dry-run               # the commands alone

What is right comes first, then what is quick, and what torch.compile takes minutes to prepare last. The folder gets a
log a step, the benchmarks' own records, and summary.json: the machine, and of every step its command, exit code,
seconds and counts of tests; it is written after every step. A step that fails does not keep the others from running;
the exit code is 1 then, as when a step is left for want of time. PYTHONPATH=. makes it run where dyn2trt is not
installed.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated
from xml.etree import ElementTree

import typer
from script import run_script

from dyn2trt.bench.environment import examine_environment
from dyn2trt.engine.device import this_machine
from dyn2trt.engine.plugin_library import find_plugin_library
from dyn2trt.errors import Dyn2trtError
from dyn2trt.files import write_text
from dyn2trt.ops.core_library import find_core_library

ROOT = Path(__file__).resolve().parent.parent
# With names, so that the log of a step that runs out of time says which tests passed.
PYTEST = (sys.executable, "-m", "pytest", "-v", "-rs", "-p", "no:cacheprovider")
# torch's allocator puts small tensors side by side into one allocation, where no sanitizer sees a step from one into
# the next. Without it there is no capture, which allocates; and races do not depend on who allocates.
UNCACHED = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
SMALL = ("tests/core/test_core_gpu.py", "-m", "gpu", "-k", "small and not cuda_graph")


TAIL = 30
"""Lines of its log that are printed of a step that did not pass."""


@dataclass(frozen=True)
class Step:
    """One command, stopped after ``minutes``. It is skipped where one of the programs in ``needs`` is not installed."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    minutes: float = 10


# Our kernels alone. initcheck has to see who else writes.
OURS = ("--kernel-regex", "kns=dyn2trt")


def sanitizer(tool: str, *options: str) -> Step:
    command = ("compute-sanitizer", "--tool", tool, "--error-exitcode", "9", "--target-processes", "all", *options)
    return Step(tool, (*command, *PYTEST, *SMALL), UNCACHED, ("compute-sanitizer",), 20)


def tests(folder: Path, name: str, *files: str) -> Step:
    """Files by name: what tests of other parts import may be missing here, and would stop all of them."""
    return Step(name, (*PYTEST, "-m", "gpu", *files, f"--junitxml={folder / f'{name}.xml'}"))


def steps_for(folder: Path) -> list[Step]:
    def script(name: str, file: str, *arguments: str, minutes: float = 10) -> Step:
        command = (sys.executable, str(ROOT / "benchmarks" / file), *arguments, "-o", str(folder / f"{name}.json"))
        return Step(name, command, minutes=minutes)

    networks = {
        "pose": ("hourglass", "--set", "stacks=4", "--set", "features=96", "--batches", "1,32"),
        "resnet50": ("resnet", "--set", "depth=50", "--batches", "1,32"),
        "mobilenet_v2": ("mobilenet_v2", "--batches", "1,32"),
        "resnet32": ("cifar_resnet", "--set", "depth=32", "--batches", "1,128"),
    }
    return [
        tests(folder, "tests", "tests/core/test_core_gpu.py"),
        *(sanitizer(tool, *OURS) for tool in ("memcheck", "racecheck", "synccheck")),
        script("blocks", "gpu_blocks.py", "--compile-mode", "none"),
        script("tiles", "gpu_tiles.py"),
        *(script(name, "gpu_networks.py", *given, "--no-compiled") for name, given in networks.items()),
        *engine_steps(folder),
        sanitizer("initcheck"),
        script("blocks_compiled", "gpu_blocks.py", minutes=30),
        *(script(f"{name}_compiled", "gpu_networks.py", *given, minutes=30) for name, given in networks.items()),
    ]


def engine_steps(folder: Path) -> list[Step]:
    """The tests of engines, and the pose network as engines, which need TensorRT and the plugin library."""
    if find_plugin_library() is None:
        return []
    dyn2trt, model = (sys.executable, "-m", "dyn2trt"), str(folder / "pose.onnx")
    network = ("--network", "hourglass", "--set", "stacks=4", "--set", "features=96", "--precision", "fp16")
    bench = ("bench", model, "--backend", "tensorrt", "--images", "noise", "-o", str(folder / "pose_tensorrt.json"))
    return [
        tests(folder, "engine_tests", "tests/engine/test_engine_gpu.py", "tests/bench/test_bench_tensorrt.py"),
        Step("pose_export", (*dyn2trt, "export", *network, "-o", model)),
        Step("pose_tensorrt", (*dyn2trt, *bench)),
    ]


def run(step: Step, folder: Path, seconds: float) -> dict[str, object]:
    """Run a step, for no longer than that, with its output in ``<folder>/<name>.log``; what the summary says of it."""
    missing = [program for program in step.needs if shutil.which(program) is None]
    record: dict[str, object] = {
        "name": step.name,
        "command": shlex.join(step.command),
        "environment": step.environment,
    }
    if missing:
        return record | {"skipped": f"{', '.join(missing)} is not installed"}
    report = folder / f"{step.name}.xml"
    report.unlink(missing_ok=True)  # an earlier run's
    start = time.perf_counter()
    with open(folder / f"{step.name}.log", "w") as log:
        process = subprocess.Popen(
            step.command,
            cwd=ROOT,
            env=os.environ | {"PYTHONUNBUFFERED": "1"} | step.environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code: int | None = process.wait(seconds)
        except BaseException as error:  # also when somebody interrupts us
            os.killpg(process.pid, signal.SIGKILL)  # what runs under a sanitizer, too
            process.wait()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            code = None
    record |= {"exit_code": code, "seconds": round(time.perf_counter() - start, 1)}
    return record | ({"tests": counts(report)} if report.is_file() else {})


def counts(report: Path) -> dict[str, int]:
    """Tests, failures, errors and skipped of a JUnit file."""
    suites = list(ElementTree.parse(report).getroot().iter("testsuite"))
    return {name: sum(int(s.get(name, 0)) for s in suites) for name in ("tests", "failures", "errors", "skipped")}


def passed(record: dict[str, object]) -> bool:
    """Whether a step did what it was for: tests that were all skipped did not."""
    tests = record.get("tests")
    ran = not isinstance(tests, dict) or tests["tests"] > tests["skipped"]
    return record.get("exit_code") == 0 and ran


def ended(record: dict[str, object]) -> str:
    """How a step ended, in words."""
    if "skipped" in record:
        return f"skipped, {record['skipped']}"
    if passed(record):
        return "passed"
    return "OUT OF TIME" if record.get("exit_code", 0) is None else "FAILED"


def passed_before(summary: Path) -> list[dict[str, object]]:
    """The records of the steps that passed, of an earlier run's summary."""
    steps = json.loads(summary.read_text())["steps"] if summary.is_file() else []
    return [record for record in steps if passed(record)]


def main(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for logs and records.")] = Path("build/gpu"),
    only: Annotated[str, typer.Option(help="Names of steps, separated by commas; all when empty.")] = "",
    minutes: Annotated[float, typer.Option(help="For all of it; steps that find none left are not started.")] = 600,
    resume: Annotated[bool, typer.Option("--resume", help="Leave out what has passed in this folder before.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the commands.")] = False,
) -> None:
    folder = output.resolve()
    steps = steps_for(folder)
    wanted = [name for name in only.split(",") if name]
    if unknown := set(wanted) - {step.name for step in steps}:
        raise Dyn2trtError(f"steps are {', '.join(s.name for s in steps)}, not {', '.join(sorted(unknown))}")
    steps = [step for step in steps if not wanted or step.name in wanted]
    if dry_run:
        for step in steps:
            print(shlex.join([*(f"{k}={v}" for k, v in step.environment.items()), *step.command]))
        return
    if this_machine().gpu is None:
        raise Dyn2trtError("no NVIDIA GPU here; --dry-run prints what would run")
    if find_core_library() is None:
        raise Dyn2trtError("the core library is not built: make kernels")
    folder.mkdir(parents=True, exist_ok=True)
    end = time.perf_counter() + 60 * minutes
    environment = asdict(examine_environment())
    records = passed_before(folder / "summary.json") if resume else []
    before = {record["name"] for record in records}
    left: list[str] = []
    for step in steps:
        remaining = end - time.perf_counter()
        if step.name in before or remaining <= 0:
            left += [] if step.name in before else [step.name]
            continue
        print(f"{step.name}: {shlex.join(step.command)}", flush=True)
        record = run(step, folder, min(60 * step.minutes, remaining))
        records.append(record)
        print(f"{step.name}: {ended(record)}", flush=True)
        if "exit_code" in record and not passed(record):
            print("\n".join((folder / f"{step.name}.log").read_text(errors="replace").splitlines()[-TAIL:]), flush=True)
        summary = {"environment": environment, "steps": records}
        write_text(folder / "summary.json", json.dumps(summary, indent=1) + "\n")
    if left:
        print(f"no time left for {', '.join(left)}; --resume goes on")
    raise typer.Exit(int(bool(left) or not all("skipped" in record or passed(record) for record in records)))


if __name__ == "__main__":
    run_script(main)
