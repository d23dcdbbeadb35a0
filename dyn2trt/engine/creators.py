"""Plugin creators: what a model wants, what is registered, and why the two do not meet."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dyn2trt.contract import DOMAIN, SCHEMAS
from dyn2trt.engine.plugin_library import BUILD_COMMAND, ENVIRONMENT

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, order=True)
class Creator:
    """What TensorRT looks a plugin up by."""

    namespace: str
    name: str
    version: str

    def __str__(self) -> str:
        scope = f"{self.namespace}::" if self.namespace else ""
        return f"{scope}{self.name} version {self.version}"


def registered_creators(registry: Any) -> list[Creator]:
    """Return every creator in a TensorRT plugin registry."""
    return sorted(
        Creator(creator.plugin_namespace, creator.name, creator.plugin_version)
        for creator in registry.all_creators
        # Interfaces that this version of the bindings does not know come without fields.
        if hasattr(creator, "plugin_namespace")
    )


def wanted_creator(node: onnx.NodeProto) -> Creator:
    """Return the plugin that the parser looks for on meeting a node that it cannot import itself."""
    strings = {a.name: a.s.decode(errors="replace") for a in node.attribute if a.name.startswith("plugin_")}
    return Creator(strings.get("plugin_namespace", ""), node.op_type, strings.get("plugin_version", "1"))


def why_unmet(wanted: Creator, registered: Iterable[Creator], library: str | None) -> str:
    """Say in lines what is registered where ``wanted`` is not, and the mend.

    Args:
        library: the plugin library that was loaded, None if none was.
    """
    registered = list(registered)
    ours = wanted.namespace == DOMAIN or wanted.name in SCHEMAS
    lines = [f"wanted: plugin {wanted}"]
    kin = [c for c in registered if c.namespace == wanted.namespace] or registered
    lines.append(f"registered: {', '.join(map(str, kin)) or 'no plugin creators'}")
    same_name = [c for c in registered if c.name == wanted.name]
    near = difflib.get_close_matches(wanted.name, [c.name for c in registered], n=1)
    if wanted in registered:
        lines.append("the plugin is there, so it is the node that does not fit: see the other lines")
    elif same_name:
        have = ", ".join(f"version {c.version} in namespace '{c.namespace}'" for c in same_name)
        source = f" ({library})" if library else ""
        lines.append(f"the plugin is there as {have}{source}")
        if ours:
            lines.append(
                f"build the plugin library of this dyn2trt ({BUILD_COMMAND}), or export the model again with it"
            )
        else:
            lines.append("correct plugin_version or plugin_namespace in the model")
    elif ours and wanted.name in SCHEMAS and library is None:
        lines.append(
            f"no plugin library is loaded: build it with {BUILD_COMMAND}, or name one with --plugins LIBRARY or "
            f"{ENVIRONMENT}"
        )
    elif near:
        lines.append(f"did you mean {near[0]}?")
    else:
        lines.append("neither TensorRT nor dyn2trt knows this op: write it in standard ops")
    return "".join(f"\n  {line}" for line in lines)
