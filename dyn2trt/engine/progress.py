"""Progress of a build, told by TensorRT's IProgressMonitor, and its cancellation by Ctrl-C."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from types import ModuleType, TracebackType
from typing import Any, Protocol, TypeVar

Result = TypeVar("Result")


class ProgressView(Protocol):
    """Shows the phases of a build, which nest. Calls come from TensorRT's threads, one at a time."""

    def phase_start(self, phase: str, parent: str | None, steps: int) -> None: ...

    def step_complete(self, phase: str, step: int) -> None: ...

    def phase_finish(self, phase: str) -> None: ...


class RichProgress:
    """A bar for each running phase on stderr, indented by nesting; nothing where stderr is no terminal."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._tasks: dict[str, tuple[Any, int]] = {}

    def __enter__(self) -> RichProgress:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._progress.stop()

    def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
        depth = self._tasks[parent][1] + 1 if parent in self._tasks else 0
        self._tasks[phase] = (self._progress.add_task("  " * depth + phase, total=steps), depth)

    def step_complete(self, phase: str, step: int) -> None:
        if phase in self._tasks:
            self._progress.update(self._tasks[phase][0], completed=step + 1)

    def phase_finish(self, phase: str) -> None:
        if phase in self._tasks:
            self._progress.remove_task(self._tasks.pop(phase)[0])


def progress_monitor(trt: ModuleType, view: ProgressView | None, cancelled: Event) -> Any:
    """Return an IProgressMonitor that tells ``view``, and stops the build at the step after ``cancelled`` is set."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[name-defined]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if view is not None:
                view.phase_start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            if view is not None:
                view.step_complete(phase_name, step)
            return not cancelled.is_set()

        def phase_finish(self, phase_name: str) -> None:
            if view is not None:
                view.phase_finish(phase_name)

    return Monitor()


def run_cancellable(work: Callable[[], Result], cancelled: Event) -> Result:
    """Run ``work`` in a thread and wait; on Ctrl-C set ``cancelled``, wait until it has stopped, and interrupt.

    Python handles Ctrl-C in the main thread only, which must therefore not sit inside TensorRT: raised in one of its
    callbacks, the interruption would have to pass through C++.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="tensorrt-build") as pool:
        future = pool.submit(work)
        try:
            return future.result()
        except KeyboardInterrupt:
            cancelled.set()
            raise
