"""A comparison as tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from dyn2trt.compare.result import BackendResult, CoefficientResult, Comparison, Divergence, GateResult, OutputResult

T = TypeVar("T")

ROWS = 8
"""Gates shown; the worst come first."""


def render(comparison: Comparison, rows: int | None = ROWS) -> RenderableType:
    """Lay out a comparison: gates, outputs and verdict of each backend.

    Args:
        rows: how many gates to show of each backend, worst first; None shows all, in execution order.
    """
    parts: list[RenderableType] = [
        Text.from_markup(
            f"[bold]{escape(comparison.model)}[/] ({escape(comparison.network)}, {comparison.precision}), "
            f"{comparison.images} image{'s' * (comparison.images != 1)} from {escape(comparison.inputs)}"
        ),
        Text(f"reference: {comparison.reference_detail}"),
        Text(f"allowed: {comparison.yardstick}"),
    ]
    for backend in comparison.backends:
        parts += ["", *_backend(backend, rows)]
    parts.append("")
    parts += [_failure(cause.kind, cause.message) for cause in comparison.causes]
    parts.append(Text("PASSED", "bold green") if comparison.passed else Text("FAILED", "bold red"))
    return Group(*parts)


def _backend(backend: BackendResult, rows: int | None) -> Iterator[RenderableType]:
    heading = backend.detail or backend.name
    if backend.not_run is not None:
        yield Text.assemble((heading, "bold"), ": ", ("not run", "yellow"), f"; {backend.not_run}")
    else:
        yield Text(heading, "bold")
    if backend.gates:
        yield from _gates(backend.gates, backend.forced_gates, rows)
    if backend.outputs:
        yield _outputs(backend.outputs, backend.forced_outputs)
    if backend.coefficients:
        yield _coefficients(backend.coefficients, rows)
    yield from (Text(note, "yellow") for note in backend.notes)
    if backend.divergence is not None:
        yield Text(describe(backend.divergence))
    yield from (_failure(cause.kind, cause.message) for cause in backend.causes)


def _gates(free: Sequence[GateResult], forced: Sequence[GateResult], rows: int | None) -> Iterator[RenderableType]:
    sites = sum(gate.statistics.sites for gate in free)
    flipped = sum(gate.statistics.flipped for gate in free)
    own = sum(gate.statistics.flipped for gate in forced)
    line = f"{len(free)} gates, {sites} decisions: {flipped} differ from the reference"
    yield Text(f"{line}, {own} still do with its masks forced before them" if forced else line)
    pairs = list(zip(free, _or_none(forced, len(free)), strict=True))
    shown = pairs if rows is None else sorted(pairs, key=_badness, reverse=True)[:rows]
    title = "gates" if len(shown) == len(pairs) else f"the worst {len(shown)} of {len(pairs)} gates"
    table = _table(title, "block", "active", "flips", "own", "agreement", "margin", "logit error", "allowed")
    for gate, apart in shown:
        statistics, measured = gate.statistics, (apart or gate)
        error = measured.statistics.logit_error
        table.add_row(
            escape(statistics.block),
            f"{statistics.active_reference / statistics.sites:.1%}",
            str(statistics.flipped),
            "" if apart is None else str(apart.statistics.flipped),
            f"{statistics.agreement:.3%}",
            f"{statistics.smallest_margin:.2g}",
            "" if error is None else f"{error:.2g}",
            "" if measured.tolerance is None else f"{measured.tolerance:.2g}",
            style="red" if not (gate.passed and measured.passed) else None,
        )
    yield table


def _badness(pair: tuple[GateResult, GateResult | None]) -> tuple[bool, int, int, float]:
    free, apart = pair
    measured = apart or free
    error = measured.statistics.logit_error or 0.0
    own = 0 if apart is None else apart.statistics.flipped
    return (not (free.passed and measured.passed), own, free.statistics.flipped, error)


def _outputs(free: Sequence[OutputResult], forced: Sequence[OutputResult]) -> Table:
    apart = ["masks forced"] if forced else []
    table = _table("outputs", "output", "as it is", *apart, "allowed", "max |y−r|", "")
    for output, alone in zip(free, _or_none(forced, len(free)), strict=True):
        results = [output] if alone is None else [output, alone]
        passed = all(result.passed for result in results if result.judged)
        table.add_row(
            output.name,
            *(f"{result.error:.2g}" if result.judged else f"({result.error:.2g})" for result in results),
            f"{output.tolerance:.2g}",
            f"{results[-1].max_abs:.2g}",
            Text("ok", "green") if passed else Text("differs", "red"),
        )
    return table


def _coefficients(compared: Sequence[CoefficientResult], rows: int | None) -> Table:
    shown = compared if rows is None else sorted(compared, key=_excess, reverse=True)[:rows]
    title = "coefficients of dynamic kernels"
    if len(shown) < len(compared):
        title += f": the worst {len(shown)} of {len(compared)} predictors"
    table = _table(title, "predictor", "coefficients", "max |y−r|", "allowed")
    for one in shown:
        cells = (f"{one.size}", f"{one.max_abs:.2g}", f"{one.tolerance:.2g}")
        table.add_row(escape(one.predictor), *cells, style=None if one.passed else "red")
    return table


def _excess(one: CoefficientResult) -> tuple[bool, float]:
    return not one.passed, one.max_abs / one.tolerance


def _table(title: str, first: str, *others: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="", box=box.SIMPLE_HEAD, padding=0)
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _or_none(items: Sequence[T], count: int) -> Sequence[T | None]:
    return items if items else [None] * count


def describe(divergence: Divergence) -> str:
    """Say where a backend diverges, in one line."""
    if divergence.where == "nowhere":
        return f"no block diverges; what leaves the last one is off by {divergence.error:.2g}"
    if divergence.where == "decision":
        return (
            f"what it decides by itself is right up to {divergence.block}, which is off by {divergence.error:.2g} "
            f"({divergence.tolerance:.2g} allowed)"
        )
    place = "in the layers before" if divergence.where == "before" else "in"
    return (
        f"diverges first {place} block {divergence.block}: off by {divergence.error:.2g} ({divergence.tolerance:.2g} "
        f"allowed), what went in by {divergence.input_error:.2g}"
    )


def _failure(kind: str, message: str) -> Text:
    return Text.assemble((f"{kind}: ", "bold red"), message)
