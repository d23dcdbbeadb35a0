"""Everything that wants an NVIDIA GPU, in one go: tests, compute-sanitizer, timings; `make gpu` builds and runs it.

    python benchmarks/gpu_all.py -o build/gpu            # about an hour
    python benchmarks/gpu_all.py --only tests,memcheck   # some steps
    python benchmarks/gpu_all.py --dry-run               # the commands alone

The folder gets a log a step, the benchmarks' own records, and summary.json: the machine, and of every step its
command, exit code, seconds and counts of tests. A step that fails does not keep the others from running; the exit code
is 1 then.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated
from xml.etree import ElementTree

import typer

from dyn2trt.bench.environment import examine_environment
from dyn2trt.build.device import this_machine
from dyn2trt.errors import Dyn2trtError
from dyn2trt.files import write_text
from dyn2trt.ops.core_library import find_core_library
from dyn2trt.plugin_library import find_plugin_library

ROOT = Path(__file__).resolve().parent.parent
PYTEST = (sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider")
# torch's allocator puts small tensors side by side into one allocation, where no sanitizer sees a step from one into
# the next. Without it there is no capture, which allocates; and races do not depend on who allocates.
UNCACHED = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
SMALL = ("tests/test_core_gpu.py", "-m", "gpu", "-k", "small and not cuda_graph")


@dataclass(frozen=True)
class Step:
    """One command. It is skipped, and the summary says so, where one of the programs in ``needs`` is not installed."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    minutes: int = 30


# Our kernels alone. initcheck has to see who else writes.
OURS = ("--kernel-regex", "kns=dyn2trt")


def sanitizer(tool: str, *options: str) -> Step:
    command = ("compute-sanitizer", "--tool", tool, "--error-exitcode", "9", "--target-processes", "all", *options)
    return Step(tool, (*command, *PYTEST, *SMALL), UNCACHED, ("compute-sanitizer",), 60)


def steps_for(folder: Path) -> list[Step]:
    python, benchmarks = sys.executable, ROOT / "benchmarks"
    network = (python, str(benchmarks / "gpu_networks.py"))
    return [
        Step("tests", (*PYTEST, "-m", "gpu", "tests", f"--junitxml={folder / 'tests.xml'}")),
        *(sanitizer(tool, *OURS) for tool in ("memcheck", "racecheck", "synccheck")),
        sanitizer("initcheck"),
        Step("blocks", (python, str(benchmarks / "gpu_blocks.py"), "-o", str(folder / "blocks.json"))),
        *(
            Step(name, (*network, zoo, *settings, "--batches", batches, "-o", str(folder / f"{name}.json")))
            for name, zoo, settings, batches in (
                ("pose", "hourglass", ("--set", "stacks=4", "--set", "features=96"), "1,32"),
                ("resnet50", "resnet", ("--set", "depth=50"), "1,32"),
                ("mobilenet_v2", "mobilenet_v2", (), "1,32"),
                ("resnet32", "cifar_resnet", ("--set", "depth=32"), "1,128"),
            )
        ),
        *engine_steps(folder),
    ]


def engine_steps(folder: Path) -> list[Step]:
    """The pose network as TensorRT engines, which need TensorRT and the plugin library."""
    if find_plugin_library() is None:
        return []
    dyn2trt, model = (sys.executable, "-m", "dyn2trt"), str(folder / "pose.onnx")
    network = ("--network", "hourglass", "--set", "stacks=4", "--set", "features=96", "--precision", "fp16")
    bench = ("bench", model, "--backend", "tensorrt", "--images", "noise", "-o", str(folder / "pose_tensorrt.json"))
    return [
        Step("pose_export", (*dyn2trt, "export", *network, "-o", model)),
        Step("pose_tensorrt", (*dyn2trt, *bench)),
    ]


def run(step: Step, folder: Path) -> dict[str, object]:
    """Run a step with its output in ``<folder>/<name>.log``; what the summary says of it."""
    missing = [program for program in step.needs if shutil.which(program) is None]
    record: dict[str, object] = {
        "name": step.name,
        "command": shlex.join(step.command),
        "environment": step.environment,
    }
    if missing:
        return record | {"skipped": f"{', '.join(missing)} is not installed"}
    start = time.perf_counter()
    with open(folder / f"{step.name}.log", "w") as log:
        try:
            done = subprocess.run(
                step.command,
                cwd=ROOT,
                env=os.environ | step.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=60 * step.minutes,
            )
            code: int | None = done.returncode
        except subprocess.TimeoutExpired:
            code = None
    record |= {"exit_code": code, "seconds": round(time.perf_counter() - start, 1)}
    report = folder / f"{step.name}.xml"
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


def main(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for logs and records.")] = Path("build/gpu"),
    only: Annotated[str, typer.Option(help="Names of steps, separated by commas; all when empty.")] = "",
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
    records: list[dict[str, object]] = []
    for step in steps:
        print(f"{step.name}: {shlex.join(step.command)}", flush=True)
        records.append(run(step, folder))
        verdict = records[-1].get("skipped") or ("passed" if passed(records[-1]) else "FAILED")
        print(f"{step.name}: {verdict}", flush=True)
        summary = {"environment": asdict(examine_environment()), "steps": records}
        write_text(folder / "summary.json", json.dumps(summary, indent=1) + "\n")
    raise typer.Exit(int(not all("skipped" in record or passed(record) for record in records)))


if __name__ == "__main__":
    try:
        typer.run(main)
    except Dyn2trtError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
