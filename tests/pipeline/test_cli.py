"""The command line as a whole: quick help, nothing heavy imported, exit codes."""

import subprocess
import sys
import time

import pytest

from dyn2trt import __version__
from dyn2trt.cli.main import VERBS

HEAVY = ("torch", "onnx", "onnxruntime", "tensorrt", "matplotlib", "polygraphy", "numpy")


def run(*arguments: str, code: str = "from dyn2trt.cli.main import main; main()") -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("verb", [(), *[(verb,) for verb in VERBS]], ids=lambda verb: "".join(verb) or "dyn2trt")
def test_help_answers_without_heavy_imports(verb: tuple[str, ...]) -> None:
    code = (
        "import atexit, sys\n"
        f"atexit.register(lambda: print('heavy:', [m for m in {HEAVY} if m in sys.modules], file=sys.stderr))\n"
        "from dyn2trt.cli.main import main; main()"
    )
    answer = run(*verb, "--help", code=code)
    assert answer.returncode == 0
    assert "Usage: " in answer.stdout
    assert answer.stderr.strip() == "heavy: []"


def test_help_answers_in_under_a_second() -> None:
    best = float("inf")
    for _ in range(3):  # the best of three: other tests may be running beside
        started = time.perf_counter()
        run("--help")
        best = min(best, time.perf_counter() - started)
    assert best < 1


def test_the_version_is_the_package_s() -> None:
    assert run("--version").stdout.strip() == f"dyn2trt {__version__}"


def test_a_user_s_mistake_is_one_line_and_exit_code_1() -> None:
    answer = run("inspect", "no-such-file.onnx")
    assert answer.returncode == 1
    assert answer.stderr.startswith("dyn2trt: ")
    assert "no-such-file.onnx" in answer.stderr
    assert len(answer.stderr.strip().splitlines()) == 1


def test_wrong_usage_is_exit_code_2() -> None:
    assert run("export", "--no-such-option").returncode == 2


def test_a_bug_shows_its_traceback() -> None:
    code = "from dyn2trt.cli import main\n@main.app.command('crash')\ndef crash() -> None: 1 / 0\nmain.main()"
    answer = run("crash", code=code)
    assert answer.returncode == 1
    assert "ZeroDivisionError" in answer.stderr
