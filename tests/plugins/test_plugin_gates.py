"""The plugins of gated blocks that own their gate, run on CPU memory over the CPU emulator, against the torch ops."""

from __future__ import annotations

import emulated_plugins
import pytest
import torch
from ops_cases import Case, composite, gate_logits, run_torch
from plugin_driver import Driver
from test_plugin_run import CANARY, DTYPES, assert_close, poisoned, run

from dyn2trt.contract import COMPOSITES, OpSchema

OWN = [schema for schema in COMPOSITES if schema.owns_gate]


@pytest.fixture(scope="module")
def driver(plugins_path):
    return Driver(emulated_plugins.build_driver(), plugins_path)


def make(schema: OpSchema, dtype: torch.dtype, batch: int = 2) -> tuple[Case, dict, list, list]:
    """A case, its attributes as the parser passes them, its inputs and its outputs to be written."""
    given = {"strides": (2, 2)} if schema.block.is_strided else {}
    case = composite(schema.name, batch, 16, 7, 6, "some", 3, activation="relu", **given).cast(dtype)
    inputs = list(case.tensors.values())
    y, logits = run_torch(case.op, case.tensors, case.attributes)
    outputs = [poisoned(*y.shape, dtype=dtype), poisoned(*logits.shape)]
    attributes = {name: list(v) if isinstance(v, tuple) else v for name, v in case.attributes.items()}
    return case, attributes, inputs, outputs


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("schema", OWN, ids=lambda schema: schema.name)
def test_block_with_its_gate_is_the_torch_op(driver, schema, dtype):
    case, attributes, inputs, outputs = make(schema, dtype)
    y, logits = run(driver.plugin(schema.name, **attributes).deserialized(), inputs, outputs)
    expected, exact = run_torch(case.op, case.tensors, case.attributes), gate_logits(case)
    assert torch.allclose(logits.double(), exact, atol=1e-5)
    assert torch.equal(logits >= 0, expected[1] >= 0)
    assert_close(y, expected[0], dtype)


@pytest.mark.parametrize("schema", [s for s in OWN if s.block.identity_is_x], ids=lambda schema: schema.name)
def test_channels_last_gives_the_same(driver, schema):
    case, attributes, inputs, outputs = make(schema, torch.float16)
    last = torch.channels_last
    inputs[0], outputs[0] = inputs[0].contiguous(memory_format=last), outputs[0].contiguous(memory_format=last)
    y, logits = run(driver.plugin(schema.name, **attributes), inputs, outputs)
    assert torch.allclose(logits.double(), gate_logits(case), atol=1e-5)
    assert_close(y, run_torch(case.op, case.tensors, case.attributes)[0], torch.float16)


@pytest.mark.parametrize("schema", OWN, ids=lambda schema: schema.name)
def test_one_context_through_several_batches(driver, schema):
    _, attributes, largest, outputs = make(schema, torch.float32, batch=4)
    plugin = driver.plugin(schema.name, **attributes)
    size = plugin.configure(largest, outputs)
    workspace = torch.full((size + CANARY,), 0xAB, dtype=torch.uint8)
    context = plugin.attached()
    for n in (1, 4, 3):
        case, _, inputs, outputs = make(schema, torch.float32, batch=n)
        assert context.run(inputs, outputs, workspace) == 0
        assert_close(outputs[0], run_torch(case.op, case.tensors, case.attributes)[0], torch.float32)
    assert (workspace[size:] == 0xAB).all()


def test_gate_weights_are_float32_and_of_their_shape(driver, capfd):
    schema = next(s for s in OWN if s.name == "LayerGatedBottleneck")
    _, attributes, inputs, outputs = make(schema, torch.float16)
    plugin = driver.plugin(schema.name, **attributes)
    position = schema.input_index("gate_weight")
    halved = [t.half() if i == position else t for i, t in enumerate(inputs)]
    assert plugin.unsupported(halved, outputs) == position
    cut = [t[:, :-1].contiguous() if i == position else t for i, t in enumerate(inputs)]
    assert plugin.configure(cut, outputs) is None
    assert "gate_weight is [G=5, C=16], not 5x15" in capfd.readouterr().err
