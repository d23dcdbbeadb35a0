"""What is made of the contract is what the contract says."""

import re
from pathlib import Path

import pytest

from dyn2trt.contract import ACTIVATIONS, BLOCKS, FLOATS, GATES, REDUCTIONS, SCHEMAS, VERSION
from dyn2trt.ops.document import generated, ops_page


@pytest.mark.parametrize(("path", "text"), generated().items(), ids=lambda value: str(value)[-20:])
def test_generated_files_are_current(path, text):
    committed = (Path(__file__).parents[2] / path).read_text(encoding="utf-8")
    assert committed == text, "run: python -m dyn2trt.ops.document"


def test_page_names_everything():
    page = ops_page()
    for schema in SCHEMAS.values():
        for part in (*schema.inputs, *schema.outputs, *schema.attributes):
            assert f"`{part.name}`" in page
            assert part.doc in page


def test_the_c_headers_enums_are_the_contracts():
    """Their values are positions in the contract's tuples."""
    header = (Path(__file__).parents[2] / "plugins/core/include/dyn2trt/core.h").read_text(encoding="utf-8")

    def values(enum: str) -> list[str]:
        (body,) = re.findall(rf"typedef enum {enum} {{(.*?)}}", header, re.DOTALL)
        found = re.findall(r"DYN2TRT_(\w+) = (\d+)", body)
        assert [int(number) for _, number in found] == list(range(len(found)))
        return [name for name, _ in found]

    words = lambda name: re.sub(r"(?<!^)(?=[A-Z])", "_", name).upper()  # noqa: E731
    assert values("Dyn2trtBlockKind") == [words(block.name) for block in BLOCKS]
    assert values("Dyn2trtGateKind") == [f"GATE_{gate.name.upper()}" for gate in GATES]
    assert values("Dyn2trtActivation") == [name.upper() for name in ACTIVATIONS]
    assert values("Dyn2trtReduction") == [f"REDUCE_{name.upper()}" for name in REDUCTIONS]
    assert values("Dyn2trtDtype") == [name.upper() for name in FLOATS]
    assert f"#define DYN2TRT_ABI_VERSION {VERSION}\n" in header
