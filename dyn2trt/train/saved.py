"""The checkpoint of an unfinished training: everything that the next epoch depends on.

Order, augmentation and noise of an epoch follow from the seed and the epoch's number, so no state of a random number
generator is kept. The file also loads wherever a checkpoint does (`dyn2trt.checkpoint`), which reads ``state_dict``.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dyn2trt.checkpoint import load_checkpoint
from dyn2trt.errors import Dyn2trtError
from dyn2trt.files import replacing

LAST = "last.pth"
BEST = "best.pth"


@dataclass(frozen=True)
class Progress:
    """How far a training is.

    Attributes:
        epochs: number of epochs done.
        best: the main score of the best epoch so far, None before the first that counts.
        reference_loss: what the divergence guard compares with, None while training is too short for it.
        seconds: time spent in epochs, all processes' interruptions left out.
    """

    epochs: int = 0
    best: float | None = None
    reference_loss: float | None = None
    seconds: float = 0.0


def save(
    path: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    progress: Progress,
    settings: dict[str, Any],
) -> None:
    """Write the checkpoint, whole or not at all."""
    content = {
        "state_dict": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scaler": scaler.state_dict(),
        "progress": asdict(progress),
        "settings": json.dumps(settings, sort_keys=True),
    }
    with replacing(path) as temporary:
        torch.save(content, temporary)


def save_weights(path: Path, network: nn.Module) -> None:
    """Write the weights alone, whole or not at all."""
    with replacing(path) as temporary:
        torch.save({"state_dict": network.state_dict()}, temporary)


def resume(
    path: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    settings: dict[str, Any],
    defaults: dict[str, Any],
) -> Progress:
    """Load what `save` wrote.

    Args:
        settings: all that `save` was given, as they are now.
        defaults: values of settings that a file from before their time lacks.

    Raises:
        Dyn2trtError: the file is damaged, or of a training with other settings; they are named.
    """
    load_checkpoint(network, path)
    content = torch.load(path, map_location="cpu", weights_only=True)
    if "settings" not in content:
        raise Dyn2trtError(f"{path} holds weights alone, so training cannot go on from it; give it as train.start")
    begun, now = json.loads(content["settings"]), json.loads(json.dumps(settings))
    begun = {**defaults, **begun}
    if changed := [f"{k} was {begun.get(k)!r} and is {now[k]!r}" for k in now if begun.get(k) != now[k]]:
        raise Dyn2trtError(
            f"{path} was begun with other settings: {'; '.join(changed)}; train to another --output, or begin again "
            "with --restart"
        )
    optimizer.load_state_dict(content["optimizer"])
    scaler.load_state_dict(content["scaler"])
    return Progress(**content["progress"])
