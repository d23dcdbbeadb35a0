"""A model without the function bodies of dyn2trt's nodes, for TensorRT with the plugin library.

TensorRT's parser before 10.7 looks local functions up before plugins, so there the bodies would win over the plugins
that the nodes ask for; from 10.7 on plugins come first (NVIDIA's release notes: "now prioritizes using plugins over
local functions"). Without bodies the version does not matter. ONNX Runtime cannot run such a model.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import onnx

from dyn2trt.contract import DOMAIN
from dyn2trt.export.metadata import load_model
from dyn2trt.files import replacing


def without_bodies(
    model: onnx.ModelProto, is_plugin: Callable[[onnx.NodeProto], bool] = lambda _: True
) -> onnx.ModelProto:
    """Return the model without the bodies that no node needs; ``model`` itself where there are none.

    Args:
        is_plugin: whether a node of domain ``dyn2trt`` will run as a plugin; an op that it denies for any node keeps
            its body, and so do the ops in that.
    """
    bodies = {function.name: function for function in model.functions if function.domain == DOMAIN}
    wanted = [node.op_type for node in model.graph.node if node.domain == DOMAIN and not is_plugin(node)]
    kept: set[str] = set()
    while wanted:
        name = wanted.pop()
        if name in bodies and name not in kept:
            kept.add(name)
            wanted += [node.op_type for node in bodies[name].node if node.domain == DOMAIN]
    if kept == bodies.keys():
        return model
    stripped = onnx.ModelProto()
    stripped.CopyFrom(model)
    del stripped.functions[:]
    stripped.functions.extend(f for f in model.functions if f.domain != DOMAIN or f.name in kept)
    return stripped


def without_body(model: onnx.ModelProto) -> str | None:
    """Why ONNX Runtime cannot run the model: an op of domain ``dyn2trt`` in its graph has no body; None where it can.

    The text says what there is and how to mend it.
    """
    bodies = {function.name for function in model.functions if function.domain == DOMAIN}
    bare = [node.op_type for node in model.graph.node if node.domain == DOMAIN and node.op_type not in bodies]
    if not bare:
        return None
    return (
        f"the file has no body for {bare[0]}, so it is for TensorRT with the plugin library alone; ONNX Runtime runs "
        "what dyn2trt export writes without --for trtexec"
    )


def strip_bodies(path: str | os.PathLike[str]) -> None:
    """Rewrite an exported file without the bodies of dyn2trt's ops; weights in files beside it stay there.

    Raises:
        Dyn2trtError: the file cannot be read or written.
    """
    model = without_bodies(load_model(path, weights=False))
    with replacing(path) as temporary:
        temporary.write_bytes(model.SerializeToString(deterministic=True))
