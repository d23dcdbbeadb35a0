"""Everything that wants an NVIDIA GPU, in one go: tests, compute-sanitizer, timings; `make gpu` builds and runs it.

    python benchmarks/gpu_all.py -o build/gpu            # 8 minutes: what is right, how fast, and why
    python benchmarks/gpu_all.py --everything            # torch.compile, every tile and engines too; hours
    python benchmarks/gpu_all.py --minutes 4 --resume    # as much as fits; again, for what is left or did not pass
    python benchmarks/gpu_all.py --only tests,memcheck   # some steps
    python benchmarks/gpu_all.py --dry-run               # the commands alone

The folder gets a log a step, a JSON file a question, and summary.json: the machine, the libraries' checksums, and of
every step its command, exit code, seconds and counts of tests; it is written after every step. A step that fails does
not keep the others from running; the exit code is 1 then, as when a step is left for want of time. --resume believes a
step that passed only if it passed with the same libraries. PYTHONPATH=. makes it run where dyn2trt is not installed.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated
from xml.etree import ElementTree

import typer
from gpu_steps import ROOT, Step, steps_for
from rich.console import Console
from rich.table import Table
from script import run_script

from dyn2trt.bench.environment import examine_environment
from dyn2trt.engine.device import this_machine
from dyn2trt.engine.plugin_library import find_plugin_library
from dyn2trt.errors import Dyn2trtError
from dyn2trt.files import sha256, write_text
from dyn2trt.ops.core_library import find_core_library

TAIL = 30
"""Lines of its log that are printed of a step that did not pass."""

Record = dict[str, object]


def run(step: Step, folder: Path, seconds: float) -> Record:
    """Run a step, for no longer than that, with its output in ``<folder>/<name>.log``; what the summary says of it."""
    missing = [program for program in step.needs if shutil.which(program) is None]
    record: Record = {
        "name": step.name,
        "question": step.question,
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


def passed(record: Record) -> bool:
    """Whether a step did what it was for: tests that were all skipped did not."""
    tests = record.get("tests")
    ran = not isinstance(tests, dict) or tests["tests"] > tests["skipped"]
    return record.get("exit_code") == 0 and ran


def ended(record: Record) -> str:
    """How a step ended, in words."""
    if "skipped" in record:
        return f"skipped, {record['skipped']}"
    if passed(record):
        return "passed"
    return "OUT OF TIME" if record.get("exit_code", 0) is None else "FAILED"


def libraries() -> dict[str, str]:
    """Checksums of the libraries that the steps run, by file name."""
    found = [path for path in (find_core_library(), find_plugin_library()) if path is not None]
    return {path.name: sha256(path) for path in found}


def passed_before(summary: Path, built: dict[str, str]) -> list[Record]:
    """The records of an earlier run's steps that passed, with these libraries."""
    before = json.loads(summary.read_text()) if summary.is_file() else {}
    return [record for record in before.get("steps", []) if passed(record)] if before.get("libraries") == built else []


def table(records: list[Record], left: list[Step]) -> Table:
    """Every question, how it ended, and where its figures are."""
    result = Table(title="GPU")
    for column in ("question", "step", "ended", "seconds", "tests"):
        result.add_column(column, justify="right" if column in ("seconds", "tests") else "left")
    for record in records:
        tests = record.get("tests")
        count = f"{tests['tests'] - tests['skipped']} of {tests['tests']}" if isinstance(tests, dict) else ""
        row = (record.get("question", ""), record["name"], ended(record), record.get("seconds", ""), count)
        result.add_row(*map(str, row))
    for step in left:
        result.add_row(step.question, step.name, "no time left", "", "")
    return result


def main(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for logs and records.")] = Path("build/gpu"),
    only: Annotated[str, typer.Option(help="Names of steps, separated by commas.")] = "",
    everything: Annotated[bool, typer.Option("--everything", help="What takes longer, too.")] = False,
    minutes: Annotated[float, typer.Option(help="For all of it; steps that find none left are not started.")] = 600,
    resume: Annotated[bool, typer.Option("--resume", help="Leave out what has passed in this folder before.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the commands.")] = False,
) -> None:
    folder = output.resolve()
    steps = steps_for(folder)
    wanted = [name for name in only.split(",") if name]
    if unknown := set(wanted) - {step.name for step in steps}:
        raise Dyn2trtError(f"steps are {', '.join(s.name for s in steps)}, not {', '.join(sorted(unknown))}")
    steps = [s for s in steps if (s.name in wanted if wanted else everything or not s.later)]
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
    head = {"environment": asdict(examine_environment()), "libraries": libraries()}
    records = passed_before(folder / "summary.json", head["libraries"]) if resume else []
    before = {record["name"] for record in records}
    left: list[Step] = []
    for step in steps:
        remaining = end - time.perf_counter()
        if step.name in before or remaining <= 0:
            left += [] if step.name in before else [step]
            continue
        print(f"{step.name}: {shlex.join(step.command)}", flush=True)
        record = run(step, folder, min(step.seconds, remaining))
        records.append(record)
        print(f"{step.name}: {ended(record)}", flush=True)
        if "exit_code" in record and not passed(record):
            print("\n".join((folder / f"{step.name}.log").read_text(errors="replace").splitlines()[-TAIL:]), flush=True)
        write_text(folder / "summary.json", json.dumps(head | {"steps": records}, indent=1) + "\n")
    Console(width=110).print(table(records, left))
    if left:
        print(f"no time left for {', '.join(step.name for step in left)}; --resume goes on")
    raise typer.Exit(int(bool(left) or not all("skipped" in record or passed(record) for record in records)))


if __name__ == "__main__":
    run_script(main)
