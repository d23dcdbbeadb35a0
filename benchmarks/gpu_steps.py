"""The steps of `make gpu`: what is right first, then what is fast, then why; the first part takes about 8 minutes."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

from dyn2trt.engine.plugin_library import find_plugin_library

ROOT = Path(__file__).resolve().parent.parent
# With names, so that the log of a step that runs out of time says which tests passed.
PYTEST = (sys.executable, "-m", "pytest", "-v", "-rs", "-p", "no:cacheprovider")
# torch's allocator puts small tensors next to each other into one allocation, where no sanitizer sees a step from one
# into the next. Without it there is no capture, which allocates; and races do not depend on who allocates.
UNCACHED = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
# Our kernels alone: under the sanitizer others only cost time. initcheck has to see who else writes.
OURS = ("--kernel-name", "kernel_substring=dyn2trt")
# The kernels' symbol is the launcher's, kernel_entry<...>: it has to be demangled to be told by its name.
HOTTEST = (
    ("inverted_residual", "gated_inverted_residual", 96, 64, 32),
    ("basic_block", "gated_basic_block", 128, 32, 32),
    ("bottleneck", "gated_bottleneck", 512, 32, 32),
)


@dataclass(frozen=True)
class Step:
    """One command, stopped after ``seconds``. It is skipped where one of the programs in ``needs`` is not installed.

    Attributes:
        question: what it answers, for the table at the end.
        later: it runs only when everything is asked for.
    """

    name: str
    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    seconds: float = 60
    question: str = ""
    later: bool = False


def steps_for(folder: Path) -> list[Step]:
    """Every step, in order; its records and logs go into ``folder``."""
    return [*_right(folder), *_fast(folder), *_why(folder), *_later(folder)]


def pytest_step(folder: Path, name: str, question: str, *files: str, workers: int = 5, seconds: float = 60) -> Step:
    """Files by name: what tests of other parts import may be missing here, and would stop all of them."""
    command = (*PYTEST, "-m", "gpu", *files, "-n", str(workers), f"--junitxml={folder / f'{name}.xml'}")
    return Step(name, command, seconds=seconds, question=question)


def sanitizer(tool: str, *options: str, seconds: float = 60, later: bool = False) -> Step:
    """The small cases that are marked for it, under one of compute-sanitizer's tools."""
    command = ("compute-sanitizer", "--tool", tool, "--error-exitcode", "9", "--target-processes", "all", *options)
    cases = ("tests/core/test_core_gpu.py", "-m", "gpu and sanitized")
    question = {
        "memcheck": "Does a kernel leave its memory?",
        "racecheck": "Do threads race in shared memory?",
        "synccheck": "Does every barrier have its threads?",
        "initcheck": "Is anything read that nobody wrote?",
    }[tool]
    return Step(tool, (*command, *PYTEST, *cases), UNCACHED, ("compute-sanitizer",), seconds, question, later)


def script(folder: Path, name: str, question: str, file: str, *arguments: str, seconds: float = 60) -> Step:
    command = (sys.executable, str(ROOT / "benchmarks" / file), *arguments, "-o", str(folder / f"{name}.json"))
    return Step(name, command, seconds=seconds, question=question)


def _right(folder: Path) -> list[Step]:
    steps = [pytest_step(folder, "tests", "Are the kernels right?", "tests/core/test_core_gpu.py")]
    if find_plugin_library() is not None:
        # An executor's test spends its time on exports and on ONNX Runtime, on the CPU.
        files = "tests/plugins/test_plugin_gpu.py", "tests/plugins/test_executor.py"
        steps += [
            pytest_step(folder, "plugins", "Are the plugins right, driven as by TensorRT?", files[0]),
            pytest_step(folder, "executor", "Is every recipe's file right?", files[1], workers=12, seconds=70),
        ]
    return [*steps, *(sanitizer(tool, *OURS) for tool in ("memcheck", "racecheck", "synccheck"))]


NETWORKS = {
    "pose": ("hourglass", "--set", "stacks=4", "--set", "features=96", "--batches", "1,32"),
    "resnet50": ("resnet", "--set", "depth=50", "--batches", "32"),
    "mobilenet_v2": ("mobilenet_v2", "--batches", "32"),
}


def _fast(folder: Path) -> list[Step]:
    short = ("--patterns", "blobs", "--ratios", "0.125,0.25,0.5,1")
    return [
        script(
            folder, "blocks", "How fast is a block?", "gpu_blocks.py", *short, "--compile-mode", "none", "--seconds=0.1"
        ),
        *(
            script(
                folder,
                name,
                f"How fast is {name}?",
                "gpu_networks.py",
                *given,
                *("--patterns", "own", "--ratios", "0.125,0.25,0.5,1"),
                "--no-compiled",
                "--seconds=0.2",
            )
            for name, given in NETWORKS.items()
        ),
    ]


def _why(folder: Path) -> list[Step]:
    """Nsight Compute of the three kernels that matter most, with stall samples of each instruction."""
    steps = []
    for name, op, channels, size, batch in HOTTEST:
        given = (sys.executable, str(ROOT / "benchmarks" / "gpu_one_block.py"), op, *map(str, (channels, size, batch)))
        command = (
            *("ncu", "--clock-control", "none", "--kernel-name-base", "demangled", "-k", "regex:dyn2trt"),
            *("--set", "full", "--section", "SourceCounters", "--launch-skip", "8", "--launch-count", "4"),
            *("--force-overwrite", "-o", str(folder / f"ncu_{name}"), *given),
        )
        question = f"What holds the {name.replace('_', ' ')} up?"
        steps.append(Step(f"ncu_{name}", command, needs=("ncu",), seconds=30, question=question))
    return steps


def _later(folder: Path) -> list[Step]:
    """What takes minutes to prepare, or TensorRT."""
    steps = [
        sanitizer("initcheck", seconds=300, later=True),
        script(folder, "tiles", "Which tile of the gathered GEMM is fastest?", "gpu_tiles.py", seconds=600),
        script(folder, "blocks_compiled", "And against torch.compile?", "gpu_blocks.py", seconds=1800),
        *(
            script(folder, f"{name}_compiled", f"And {name}?", "gpu_networks.py", *given, seconds=1800)
            for name, given in NETWORKS.items()
        ),
    ]
    if find_plugin_library() is not None:
        dyn2trt, model = (sys.executable, "-m", "dyn2trt"), str(folder / "pose.onnx")
        network = ("--network", "hourglass", "--set", "stacks=4", "--set", "features=96", "--precision", "fp16")
        bench = ("bench", model, "--backend", "tensorrt", "--images", "noise", "-o", str(folder / "pose_tensorrt.json"))
        files = ("tests/engine/test_engine_gpu.py", "tests/bench/test_bench_tensorrt.py")
        steps += [
            pytest_step(folder, "engine_tests", "Do engines run?", *files, workers=1, seconds=600),
            Step("pose_export", (*dyn2trt, "export", *network, "-o", model), question="Does the pose network export?"),
            Step("pose_tensorrt", (*dyn2trt, *bench), seconds=600, question="How fast is the pose network's engine?"),
        ]
    return [Step(**{**vars(step), "later": True}) for step in steps]
