"""Writes what is made of the contract into a checkout: ``python -m dyn2trt.ops.document``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from dyn2trt import contract
from dyn2trt.contract import COMPOSITES, DOMAIN, PRIMITIVES, VERSION, Attribute, OpSchema, Tensor
from dyn2trt.files import write_text
from dyn2trt.ops.cpp_tables import cpp_tables

_INTRODUCTION = f"""# Ops of domain `{DOMAIN}`, version {VERSION}

This page is generated from `dyn2trt/contract/`; change that, then run `python -m dyn2trt.ops.document`.

{{terms}}

`T` is one of {", ".join(f"`{name}`" for name in contract.FLOATS)}, the same throughout a node. Torch ops
(`torch.ops.{DOMAIN}.*`) take tensors by position and attributes by keyword. An ONNX node has every input and output of
its op, optional ones included: a 1×1 `SparseConv` is given its set, and a `MaskGather` that gathers nothing takes the
mask as `x`. It carries `plugin_namespace="{DOMAIN}"` and `plugin_version="{VERSION}"`, by which TensorRT's parser finds
the plugin; a node whose body is adaptive also carries `schedule` and, for an inverted residual, `expanded_channels`,
which only the body reads. A composite that owns its gate computes it in float32, whatever `T` is, and gives the logits
as its second output, which a node names even where nothing reads it; its body is the gate in standard ops and one node
of the composite that is given logits. A position outside the image, or absent from a set, reads as zero: after bias and
activation of the layer before, as in a padded dense convolution.
"""


def ops_page() -> str:
    """The page as Markdown."""
    terms = (contract.__doc__ or "").partition("Terms. ")[2].replace("``", "`")
    parts = [_INTRODUCTION.format(terms=" ".join(terms.split()))]
    for title, schemas in (("Primitives", PRIMITIVES), ("Composites", COMPOSITES)):
        parts += [f"\n## {title}\n", *map(_section, schemas)]
    return "".join(parts)


def _section(schema: OpSchema) -> str:
    return "\n".join(
        [
            f"\n### {schema.name}\n",
            f"{schema.doc}\n",
            f"```\n{DOMAIN}::{schema.torch_schema}\n```\n",
            _table(("input", "type", "shape", ""), map(_tensor, schema.inputs)),
            _table(("output", "type", "shape", ""), map(_tensor, schema.outputs)),
            _table(("attribute", "kind", "default", ""), map(_attribute, schema.attributes)),
        ]
    )


def _tensor(tensor: Tensor) -> tuple[str, ...]:
    doc = f"Optional. {tensor.doc}" if tensor.optional else tensor.doc
    return f"`{tensor.name}`", tensor.type, f"[{', '.join(map(str, tensor.shape))}]", doc


def _attribute(attribute: Attribute) -> tuple[str, ...]:
    default = list(attribute.default) if attribute.kind == "ints" else attribute.default
    doc = attribute.doc + (f" One of {', '.join(attribute.choices)}." if attribute.choices else "")
    return f"`{attribute.name}`", attribute.kind, f"{default}", doc


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def generated() -> dict[Path, str]:
    """The text of every generated file, by its path in a checkout."""
    header = Path("plugins/core/include/dyn2trt/contract.h")
    return {Path("docs/ops.md"): ops_page(), header: cpp_tables()}


if __name__ == "__main__":
    for path, text in generated().items():
        write_text(Path(__file__).parents[2] / path, text)
