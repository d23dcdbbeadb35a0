"""docs/ops.md is what the schemas say."""

from pathlib import Path

from dyn2trt.contract import SCHEMAS
from dyn2trt.ops.document import ops_page


def test_page_is_current():
    page = Path(__file__).parents[2] / "docs/ops.md"
    assert page.read_text(encoding="utf-8") == ops_page(), "run: python -m dyn2trt.ops.document docs/ops.md"


def test_page_names_everything():
    page = ops_page()
    for schema in SCHEMAS.values():
        for part in (*schema.inputs, *schema.outputs, *schema.attributes):
            assert f"`{part.name}`" in page
            assert part.doc in page
