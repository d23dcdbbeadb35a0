"""The silent-dense check: every gated block of the model must have become a plugin.

Where a plugin is missing the parser imports the node through its function body, and says nothing: the engine then
computes the right values by generic layers, and none of the work is saved.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dyn2trt.contract import DOMAIN
from dyn2trt.engine.creators import Creator, wanted_creator, why_unmet

if TYPE_CHECKING:
    import onnx

    from dyn2trt.export.metadata import ExportMetadata


@dataclass(frozen=True)
class LayerCounts:
    """Layers of a parsed network."""

    total: int
    plugin: int


@dataclass(frozen=True)
class GatedBlocks:
    """Gated blocks of a model and the ones whose every dyn2trt node is a plugin layer."""

    expected: tuple[str, ...]
    as_plugins: tuple[str, ...]

    @property
    def dense(self) -> tuple[str, ...]:
        """The blocks that would run through their function bodies."""
        return tuple(name for name in self.expected if name not in self.as_plugins)


def plugin_layers(network: Any) -> tuple[LayerCounts, frozenset[str]]:
    """Count the layers of a parsed TensorRT network, and name the plugins among them."""
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    plugins = [layer for layer in layers if layer.type.name.startswith("PLUGIN")]
    return LayerCounts(len(layers), len(plugins)), frozenset(layer.name for layer in plugins)


def gated_nodes(model: onnx.ModelProto, metadata: ExportMetadata | None) -> dict[str, list[onnx.NodeProto]]:
    """Group the dyn2trt nodes of a graph by gated block, in execution order.

    Blocks are those that the export metadata announces, each with the node of its name or, with ``ops="primitive"``,
    the nodes under it; a block without nodes is in the result with none. Without metadata, or for nodes that it does
    not know, the block is the node's name up to the first ``/``.
    """
    announced = metadata.blocks if metadata is not None and metadata.ops != "dense" else ()
    blocks: dict[str, list[onnx.NodeProto]] = {block.name: [] for block in announced}
    for node in model.graph.node:
        if node.domain == DOMAIN:
            blocks.setdefault(layer_name(node).partition("/")[0], []).append(node)
    return blocks


def layer_name(node: onnx.NodeProto) -> str:
    """Return what the parser calls a node's layer."""
    return node.name or f"node_of_{node.output[0]}"


def check_gated_blocks(nodes: Mapping[str, list[onnx.NodeProto]], plugins: Iterable[str]) -> GatedBlocks:
    """Compare the gated blocks of a model with the names of the network's plugin layers."""
    names = set(plugins)
    as_plugins = [block for block, own in nodes.items() if own and all(layer_name(node) in names for node in own)]
    return GatedBlocks(expected=tuple(nodes), as_plugins=tuple(as_plugins))


def explain_dense(
    blocks: GatedBlocks, nodes: Mapping[str, list[onnx.NodeProto]], creators: list[Creator], library: str | None
) -> str:
    """Write the message for a network in which gated blocks are no plugins."""
    shown = ", ".join(blocks.dense[:3]) + (", ..." if len(blocks.dense) > 3 else "")
    text = (
        f"{len(blocks.as_plugins)} of {len(blocks.expected)} gated blocks run as plugins: {shown} would run dense, "
        "through generic layers, and save nothing"
    )
    wanted = dict.fromkeys(wanted_creator(node) for block in blocks.dense for node in nodes[block])
    unmet = next((creator for creator in wanted if creator not in creators), None)
    if unmet is not None:
        text += why_unmet(unmet, creators, library)
    elif not wanted:
        text += "\n  the graph has no nodes for them; export the model again"
    else:
        text += "\n  every plugin they want is registered; the nodes may lack plugin_namespace and plugin_version"
    return text + "\n  or pass --allow-dense-fallback to build the slow engine all the same"


def describe_blocks(blocks: GatedBlocks, export: Mapping[str, Any] | None) -> str:
    """Say in a few words what of an engine's dynamic parts are plugins and what are native layers.

    Args:
        export: the export metadata as JSON, None for a model that dyn2trt did not export.
    """
    told = export or {}
    convolutions = sum(len(predictor["convolutions"]) for predictor in told.get("kernels", ()))
    convolutions += len(told.get("image_kernels", ()))
    native = f"{convolutions} dynamic convolution{'s' * (convolutions != 1)} as native layers"
    if blocks.expected:
        gated = f"{len(blocks.as_plugins)} of {len(blocks.expected)} gated blocks as plugins"
        return f"{gated}, {native}" if convolutions else gated
    return f"no gated blocks, {native}" if convolutions else "dense"
