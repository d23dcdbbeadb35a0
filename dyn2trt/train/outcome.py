"""What a finished training left: ``result.json``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dyn2trt import __version__
from dyn2trt.macs import MacReport
from dyn2trt.train.evaluate import Evaluation


@dataclass(frozen=True)
class Outcome:
    """What a finished training left.

    Attributes:
        weights: checkpoint of the best epoch, by the validation score, among those after ``noise_until``.
        epochs: number of epochs.
        seconds: time spent in them.
        validation, test: of those weights; test is None where the task has none.
    """

    weights: Path
    epochs: int
    seconds: float
    validation: Evaluation
    test: Evaluation | None


def result_of(outcome: Outcome, settings: dict[str, Any], network: nn.Module, report: MacReport) -> dict[str, Any]:
    """The document of ``result.json``; ``settings`` are those that the weights depend on."""
    return {
        "dyn2trt": __version__,
        "torch": torch.__version__,
        "settings": settings,
        "epochs": outcome.epochs,
        "seconds": round(outcome.seconds, 1),
        "parameters": sum(p.numel() for p in network.parameters() if p.requires_grad),
        "macs_dense": report.macs_dense,
        "macs_gated": report.macs_gated,
        "macs_gates": report.macs_gates,
        "validation": outcome.validation.as_dict(),
        "test": outcome.test.as_dict() if outcome.test else None,
    }
