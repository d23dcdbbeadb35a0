"""What a comparison found: ``compare.json``."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import Literal

from pydantic import TypeAdapter

from dyn2trt.documents import Number, finite, read_document

FORMAT = 1
"""Raised when a reader of an older version would misread the document."""


@dataclass(frozen=True)
class GateStatistics:
    """One gated block over all images."""

    block: str
    sites: int
    """Decisions: N·Ho·Wo positions, or N images where the gate decides on a whole layer."""
    active_reference: int
    active: int
    flipped: int
    """Decisions that are not the reference's."""
    smallest_margin: Number
    """Smallest |logit| of the reference."""
    largest_flipped_margin: float | None
    """Largest |logit| of the reference where the decision flipped; None without a flip."""
    logit_error: float | None
    """‖l−r‖/‖r‖ of the logits; None where only the masks of the candidate are known."""
    logit_scale: Number
    """Root mean square of the reference's logits."""
    agreement: float
    """Share of decisions that are the reference's, 0 to 1."""


@dataclass(frozen=True)
class CoefficientResult:
    """One predictor over all images."""

    predictor: str
    size: int
    """Coefficients per image."""
    max_abs: Number
    """Largest difference over all images; NaN where either run gave one."""
    tolerance: Number
    worst_image: int
    passed: bool


@dataclass(frozen=True)
class OutputResult:
    """One output of one backend against the reference's."""

    name: str
    error: Number
    """‖y−r‖/‖r‖ of the worst image."""
    tolerance: Number
    max_abs: Number
    """Largest |y−r| over all images."""
    worst_image: int
    passed: bool
    elementwise: bool | None = None
    """Whether every element satisfies |y−r| ≤ atol + rtol·|r|; None unless asked for."""
    judged: bool = True
    """False where flipped decisions make the outputs differ by right: the error is then only reported."""


@dataclass(frozen=True)
class GateResult:
    """One gate of one backend: its statistics and whether they are explained by rounding."""

    statistics: GateStatistics
    tolerance: float | None
    """Allowed relative error of the logits; None where the candidate's logits are not known."""
    passed: bool


@dataclass(frozen=True)
class Divergence:
    """Where a backend leaves the reference, with the reference's masks forced.

    Its blocks are the gated ones or, in a network that has none, the dynamic convolutions. Where blocks cannot be made
    visible, nothing is forced and a plan's own decisions say up to where it is right.
    """

    where: Literal["block", "before", "decision", "nowhere"]
    """In ``block``; in the layers ``before`` it; in or before what the gate of ``block``, or the predictor of that
    name, makes its ``decision`` from; or ``nowhere`` up to the end of the last block."""
    block: str | None
    error: Number
    """Relative error of the block's output (of its input, where it lies before it). Of a decision: the largest
    difference of a coefficient, or the share of flipped sites."""
    input_error: Number
    """Relative error of what went in: of the block's input, or of the output of the block before. Of a decision: the
    error of the predictor before."""
    tolerance: Number


@dataclass(frozen=True)
class Cause:
    """One reason for which a comparison failed."""

    kind: Literal["decisions", "kernels", "numbers", "run"]
    """Gates decide otherwise than rounding explains; coefficients of dynamic kernels differ; outputs differ with the
    same decisions; or it did not run."""
    message: str


@dataclass(frozen=True)
class BackendResult:
    """One backend, compared with the reference."""

    name: str
    detail: str
    """Version and provider or device."""
    not_run: str | None = None
    """Why it was not run; the fields below are then empty."""
    gates: tuple[GateResult, ...] = ()
    """Decisions as they are, in execution order. A flip makes later blocks see other data."""
    forced_gates: tuple[GateResult, ...] = ()
    """What each gate decides when every block is given the reference's mask: flips here are the gate's own."""
    outputs: tuple[OutputResult, ...] = ()
    """Outputs as they are."""
    forced_outputs: tuple[OutputResult, ...] = ()
    """Outputs with the reference's masks forced."""
    coefficients: tuple[CoefficientResult, ...] = ()
    """Of dynamic kernels, in execution order; with the reference's masks forced where there are any."""
    divergence: Divergence | None = None
    """None unless asked for."""
    notes: tuple[str, ...] = ()
    """What limits this comparison."""
    causes: tuple[Cause, ...] = ()

    @property
    def passed(self) -> bool:
        """Ran, and nothing failed."""
        return self.not_run is None and not self.causes


@dataclass(frozen=True)
class Comparison:
    """A model on all backends."""

    model: str
    model_sha256: str
    network: str
    precision: str
    reference: str
    reference_detail: str
    images: int
    inputs: str
    """The spec that the inputs came from."""
    batch_size: int
    yardstick: str
    """Where the tolerances come from, in words."""
    backends: tuple[BackendResult, ...]
    causes: tuple[Cause, ...] = ()
    """Failures of the comparison as a whole, such as that nothing ran."""
    format: int = FORMAT

    @property
    def all_causes(self) -> tuple[Cause, ...]:
        """Its own and every backend's."""
        return (*self.causes, *(cause for backend in self.backends for cause in backend.causes))

    @property
    def passed(self) -> bool:
        """Something ran next to the reference, and no backend failed."""
        return not self.all_causes

    def to_json(self) -> str:
        """Serialise; numbers that are not finite become null, which JSON has no word for."""
        document = asdict(self) | {"passed": self.passed}
        for written, backend in zip(document["backends"], self.backends, strict=True):
            written["passed"] = backend.passed
        return json.dumps(finite(document), indent=1, ensure_ascii=False)


_ADAPTER = TypeAdapter(Comparison)


def read_comparison(path: str | os.PathLike[str]) -> Comparison:
    """Read a ``compare.json``; a number that was not finite is NaN.

    Raises:
        Dyn2trtError: see `dyn2trt.documents.read_document`.
    """
    return read_document(path, _ADAPTER, form=FORMAT, verb="compare")
