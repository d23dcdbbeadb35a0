"""What is made of the contract is what the contract says."""

from pathlib import Path

import pytest

from dyn2trt.contract import SCHEMAS
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
