"""From a recipe's sections to a file: build the network, load or draw its weights, export it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from dyn2trt.checkpoint import load_checkpoint
from dyn2trt.errors import Dyn2trtError
from dyn2trt.export.exporter import export_network
from dyn2trt.export.metadata import ExportMetadata
from dyn2trt.networks.options import parse_options
from dyn2trt.networks.zoo import NETWORKS, build_network
from dyn2trt.recipe import ExportSection, NetworkSection


def make_network(section: NetworkSection) -> nn.Module:
    """Build the network of a recipe, in evaluation mode, with its checkpoint's weights or seeded random ones.

    The caller's random state is left as it is.

    Raises:
        Dyn2trtError: see `build_network` and `load_checkpoint`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(section.seed)
        network = build_network(section.name, section.options)
    if section.checkpoint is not None:
        load_checkpoint(network, section.checkpoint)
    return network.eval()


def export_recipe(
    network: NetworkSection,
    export: ExportSection,
    path: str | os.PathLike[str],
    warn: Callable[[str], None] = lambda _: None,
    check_file: Callable[[Path, nn.Module], None] | None = None,
) -> ExportMetadata:
    """Write the ONNX file that the two sections ask for; see `export_network`.

    Args:
        warn: is told what the user should know, in one line: that weights are random.
        check_file: is given the file, before it takes its place, and the network, and raises where it must not.
    """
    if network.checkpoint is None:
        warn(f"no checkpoint was given: the weights of {network.name} are random (seed {network.seed})")
    entry = NETWORKS.get(network.name)
    options = network.options if entry is None else parse_options(entry.name, entry.options, network.options)
    module = make_network(network)
    if export.input_shape[1] != 3 and entry is not None:
        raise Dyn2trtError(
            f"{network.name} takes images of 3 channels, but the input shape has {export.input_shape[1]}"
        )
    return export_network(
        module,
        path=path,
        **{name: getattr(export, name) for name in ExportSection.model_fields},
        name=network.name,
        options=options,
        checkpoint=network.checkpoint,
        seed=network.seed,
        task=entry.task if entry is not None else "other",
        check_file=None if check_file is None else lambda file: check_file(file, module),
    )
