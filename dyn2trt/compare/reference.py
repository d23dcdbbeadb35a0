"""The torch network that an ONNX file was exported from, built again from the file's metadata."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from dyn2trt.blocks.evaluation import evaluation_copy
from dyn2trt.errors import Dyn2trtError
from dyn2trt.export.metadata import Checkpoint, ExportMetadata
from dyn2trt.export.recipe_export import make_network
from dyn2trt.files import sha256
from dyn2trt.recipe import NetworkSection


def reference_network(metadata: ExportMetadata, checkpoint: Path | None) -> nn.Module:
    """Build the network in float32, in evaluation mode, with the weights that the model holds.

    Args:
        checkpoint: the file that the metadata names by its SHA-256; None for seeded random weights.

    Raises:
        Dyn2trtError: the checkpoint is missing or another one, or the model does not say what its weights were.
    """
    wanted = metadata.checkpoint
    if wanted is None and metadata.seed is None:
        raise Dyn2trtError(
            "the model's metadata names neither a checkpoint nor a seed, so torch cannot build its network; compare "
            "the other backends with each other: --backends onnxruntime,tensorrt"
        )
    if wanted is None and checkpoint is not None:
        raise Dyn2trtError(f"the model was exported with random weights, not from {checkpoint}; leave --checkpoint out")
    if wanted is not None and checkpoint is None:
        raise Dyn2trtError(
            f"the model's weights came from {wanted.name} (sha256 {wanted.sha256[:12]}); give it with --checkpoint, or "
            "the recipe with --recipe"
        )
    if wanted is not None and checkpoint is not None:
        _check_sha256(checkpoint, wanted)
    section = NetworkSection(
        name=metadata.network, options=metadata.options, checkpoint=checkpoint, seed=metadata.seed or 0
    )
    return evaluation_copy(make_network(section))


def _check_sha256(checkpoint: Path, wanted: Checkpoint) -> None:
    try:
        came = sha256(checkpoint)
    except OSError as error:
        raise Dyn2trtError(f"cannot read the checkpoint {checkpoint}: {error.strerror}") from error
    if came != wanted.sha256:
        raise Dyn2trtError(
            f"{checkpoint} is not what the model was exported from: expected {wanted.name} with sha256 "
            f"{wanted.sha256[:12]}, came {came[:12]}; export the model again or give the right checkpoint"
        )
