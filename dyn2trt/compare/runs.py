"""Running and comparing through Polygraphy's Comparator, quietly and with its mistakes as ours."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from polygraphy.backend.base import BaseRunner
from polygraphy.common import TensorMetadata
from polygraphy.comparator import AccuracyResult, Comparator, CompareFunc, IterationResult, RunResults
from polygraphy.exception import PolygraphyException
from polygraphy.logger import G_LOGGER

from dyn2trt.compare.backends import Backend
from dyn2trt.errors import Dyn2trtError
from dyn2trt.recipe.tolerances import Tolerances
from dyn2trt.runtimes.session import Feed, Session

Iterations = list[IterationResult]
"""One result per batch: names of outputs to arrays."""

_ELEMENTWISE_DEFAULT = 1e-5
"""Polygraphy's own default for whichever of atol and rtol is not given."""


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Polygraphy's log, most of which goes to stdout, off the screen."""
    with G_LOGGER.verbosity(G_LOGGER.CRITICAL + 1):
        yield


class _Runner(BaseRunner):
    """A session as Polygraphy's Comparator runs it."""

    def __init__(self, name: str, session: Session, feed: Feed) -> None:
        super().__init__(name=name)
        self._session, self._feed = session, feed

    def get_input_metadata_impl(self) -> TensorMetadata:
        metadata = TensorMetadata()
        for name, array in self._feed.items():
            metadata.add(name, array.dtype, (-1, *array.shape[1:]))
        return metadata

    def infer_impl(self, feed_dict: Feed) -> OrderedDict[str, NDArray[Any]]:
        start = time.perf_counter()
        outputs = self._session.run(feed_dict)
        self.inference_time = time.perf_counter() - start
        return OrderedDict(outputs)

    def deactivate_impl(self) -> None:
        self._session.close()


def run(backend: Backend, feeds: Sequence[Feed], *, forced: bool = False, taps: Sequence[str] = ()) -> Iterations:
    """Run every feed; see `Backend.session`.

    Raises:
        MissingDependency: the backend cannot make this run.
        Dyn2trtError: it fails.
    """
    runner = _Runner(backend.name, backend.session(feeds[0], forced=forced, taps=taps), feeds[0])
    try:
        with quiet():
            results = Comparator.run([runner], data_loader=[OrderedDict(feed) for feed in feeds])
    except PolygraphyException as error:
        raise Dyn2trtError(f"{backend.name} does not run the model: {error}") from error
    return list(results[backend.name])


def compare(
    candidate: Iterations, reference: Iterations, outputs: Sequence[str], function: Callable[..., Mapping[str, Any]]
) -> dict[str, list[Any]]:
    """Apply a Polygraphy comparison function to the named outputs; returns one result per batch for each.

    Raises:
        Dyn2trtError: Polygraphy cannot compare them, because an output is missing or for another reason.
    """
    runs = RunResults(
        [(name, _only(run, outputs)) for name, run in (("candidate", candidate), ("reference", reference))]
    )
    try:
        with quiet():
            accuracy = Comparator.compare_accuracy(runs, compare_func=function)
    except PolygraphyException as error:
        raise Dyn2trtError(f"Polygraphy cannot compare the outputs: {error}") from error
    # Older versions give the one result, newer ones a list with one for each comparison function.
    single = accuracy if isinstance(accuracy, AccuracyResult) else accuracy[0]
    collected: dict[str, list[Any]] = {name: [] for name in outputs}
    for batch in single["candidate", "reference"]:
        for name in outputs:
            collected[name].append(batch.get(name, False))
    return collected


def joined(iterations: Iterations, name: str, images: int | None = None) -> NDArray[Any] | None:
    """One output over all batches, or of the first ``images`` alone; None where a batch lacks it."""
    if any(name not in batch for batch in iterations):
        return None
    return np.concatenate([batch[name] for batch in iterations])[:images]


def _only(iterations: Iterations, outputs: Sequence[str]) -> Iterations:
    return [
        IterationResult({name: batch[name] for name in outputs if name in batch}, batch.runtime, batch.runner_name)
        for batch in iterations
    ]


def elementwise(atol: Tolerances | None, rtol: Tolerances | None) -> Callable[..., Mapping[str, Any]] | None:
    """Polygraphy's elementwise check |y−r| ≤ atol + rtol·|r|, or None when neither is asked for."""
    if atol is None and rtol is None:
        return None
    return CompareFunc.simple(check_error_stat="elemwise", atol=_by_output(atol), rtol=_by_output(rtol))


def _by_output(tolerances: Tolerances | None) -> dict[str, float]:
    given = tolerances or Tolerances()
    default = _ELEMENTWISE_DEFAULT if given.default is None else given.default
    return {"": default, **given.by_output}
