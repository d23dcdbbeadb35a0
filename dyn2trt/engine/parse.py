"""ONNX file → TensorRT network, with every gated block a plugin or an explanation."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from dyn2trt.engine.creators import registered_creators, wanted_creator
from dyn2trt.engine.dense_check import (
    GatedBlocks,
    LayerCounts,
    check_gated_blocks,
    explain_dense,
    gated_nodes,
    plugin_layers,
)
from dyn2trt.engine.options import BuildOptions
from dyn2trt.engine.plugin_library import PluginLibrary, load_plugin_library
from dyn2trt.engine.refusal import explain_refusals, read_refusals
from dyn2trt.engine.trt import captured, create_network, logger
from dyn2trt.errors import Dyn2trtError

if TYPE_CHECKING:
    import onnx

    from dyn2trt.export.metadata import ExportMetadata

log = logging.getLogger("dyn2trt.engine")


@dataclass(frozen=True)
class ParsedModel:
    """A network in TensorRT's hands, and what is known about it."""

    network: Any
    parser: Any
    """Owns memory that the network refers to."""
    metadata: ExportMetadata | None
    """None for a model that dyn2trt did not export."""
    library: PluginLibrary | None
    """The plugin library, where the model's gated blocks needed one or the caller named one."""
    layers: LayerCounts
    gated_blocks: GatedBlocks


def parse_model(trt: ModuleType, builder: Any, path: Path, options: BuildOptions) -> ParsedModel:
    """Parse ``path`` into a new network of ``builder``, the plugin library loaded where gated blocks need it.

    What becomes plugins is parsed without its bodies: before 10.7 the parser would take them (`without_bodies`).

    Raises:
        Dyn2trtError: the file is no ONNX, the parser refuses it, or gated blocks are no plugins and
            ``options.allow_dense_fallback`` is off.
    """
    from dyn2trt.export.surgery.bodiless import without_bodies

    model, metadata = _read_model(path)
    nodes = gated_nodes(model, metadata)
    registry = trt.get_plugin_registry()
    library = None
    if nodes or options.plugin_library is not None:
        library = load_plugin_library(registry, options.plugin_library)
    library_name = None if library is None else str(library)

    creators = registered_creators(registry)
    parsed = without_bodies(model, lambda node: wanted_creator(node) in creators)
    network = create_network(trt, builder)
    parser = trt.OnnxParser(network, logger(trt))
    with captured() as lines:
        # The path says where weights lie that are in files beside the model.
        if not parser.parse(parsed.SerializeToString(), str(path)):
            raise Dyn2trtError(explain_refusals(trt, read_refusals(parser), model, path, library_name, lines))

    layers, plugins = plugin_layers(network)
    blocks = check_gated_blocks(nodes, plugins)
    if blocks.dense and not options.allow_dense_fallback:
        raise Dyn2trtError(explain_dense(blocks, nodes, creators, library_name))
    if blocks.dense:
        log.warning("%d of %d gated blocks run as plugins", len(blocks.as_plugins), len(blocks.expected))
    return ParsedModel(network, parser, metadata, library, layers, blocks)


def _read_model(path: Path) -> tuple[onnx.ModelProto, ExportMetadata | None]:
    from dyn2trt.export.metadata import KEY, load_model, read_metadata

    model = load_model(path, weights=False)
    ours = any(entry.key == KEY for entry in model.metadata_props)
    return model, read_metadata(model) if ours else None
