import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import typer
from official import NETWORKS as OFFICIAL
from official import as_tuple, load_official, relative_error
from torch import nn
from typer.testing import CliRunner

from dyn2trt.blocks import dynamic_blocks, gated_blocks, set_execution
from dyn2trt.blocks.fold import fold_batchnorm
from dyn2trt.cli.networks import networks
from dyn2trt.errors import Dyn2trtError
from dyn2trt.gates import forced_masks, record_decisions
from dyn2trt.gates.layer import LayerMaskUnit
from dyn2trt.networks import registry
from dyn2trt.networks.options import Width
from dyn2trt.networks.table import PATH, table
from dyn2trt.networks.zoo import NETWORKS, build_network


@pytest.mark.parametrize("name", OFFICIAL)
@torch.no_grad()
def test_outputs_and_masks_are_those_of_the_authors_code(name: str) -> None:
    case = load_official(name)
    with record_decisions(case.network) as decisions:
        outputs = as_tuple(case.network(case.x))
    assert len(outputs) == len(case.outputs)
    for i, (y, reference) in enumerate(zip(outputs, case.outputs, strict=True)):
        assert relative_error(y, reference) <= 1e-5, f"out{i}"
    flipped = {
        d.block: f"{int(wrong.sum())} sites, |logit| ≤ {float(d.logits[wrong].abs().max())}"
        for d, mask in zip(decisions, case.masks, strict=True)
        if (wrong := (d.mask != 0) != mask).any()
    }
    assert flipped == {}


@pytest.mark.parametrize("name", OFFICIAL)
@torch.no_grad()
def test_folded_and_sparse_networks_agree_on_the_authors_masks(name: str) -> None:
    case = load_official(name)
    folded = fold_batchnorm(case.network, case.x.shape)
    for network, execution in ((case.network, "sparse"), (folded, "masked"), (folded, "sparse")):
        set_execution(network, execution)
        with forced_masks(network, case.masks):
            for y, reference in zip(as_tuple(network(case.x)), case.outputs, strict=True):
                assert relative_error(y, reference) <= 1e-5, execution


@pytest.mark.parametrize("name", OFFICIAL)
@torch.no_grad()
def test_dense_execution_is_every_position_active(name: str) -> None:
    case = load_official(name)
    with forced_masks(case.network, [torch.ones_like(mask) for mask in case.masks]):
        active = as_tuple(case.network(case.x))
    set_execution(case.network, "dense")
    for y, reference in zip(as_tuple(case.network(case.x)), active, strict=True):
        assert relative_error(y, reference) <= 1e-6
        assert relative_error(y, case.outputs[0]) > 1e-3, "the masks of this case change nothing"


@pytest.mark.parametrize(
    ("name", "options", "gated", "parameters"),
    [
        ("cifar_resnet", {"depth": 14}, 6, None),
        ("cifar_resnet", {"depth": 32}, 15, 466_906),
        ("cifar_resnet", {"depth": 110}, 54, None),
        ("resnet", {"depth": 18}, 8, 11_689_512),
        ("resnet", {"depth": 34}, 16, 21_797_672),
        ("resnet", {"depth": 50}, 16, 25_557_032),
        ("resnet", {"depth": 101}, 33, 44_549_160),
        ("resnet", {"depth": 50, "mask_unit": "none"}, 0, 25_557_032),
        ("resnet", {"depth": 50, "mask_unit": "layer"}, 16, 25_557_032),
        ("convnet_aig", {"depth": 101}, 33, 44_549_160),
        ("convnet_aig", {"depth": 50, "ungated": "layer2.0 layer4.2"}, 14, 25_557_032),
        ("resnet", {"depth": 18, "mask_unit": "none", "ungated": "layer1.0"}, 0, 11_689_512),
        ("cifar_convnet_aig", {"depth": 110}, 54, None),
        ("sact", {"depth": 50}, 12, 25_557_032),
        ("sact", {"depth": 101}, 29, 44_549_160),
        ("cifar_sact", {"depth": 32}, 12, 466_906),
        ("mobilenet_v2", {}, 10, 3_504_872),
        ("mobilenet_v2", {"width": 0.25}, 10, None),
        ("hourglass", {"stacks": 1, "features": 48}, 15, None),
    ],
)
def test_networks_have_the_blocks_and_parameters_of_their_papers(
    name: str, options: dict, gated: int, parameters: int | None
) -> None:
    with torch.device("meta"):
        network = build_network(name, options)
    assert len(list(gated_blocks(network))) == gated
    if parameters:
        without_gates = [p.numel() for key, p in network.named_parameters() if ".masker." not in key]
        assert sum(without_gates) == parameters


def test_mobilenet_names_are_torchvisions() -> None:
    with torch.device("meta"):
        keys = build_network("mobilenet_v2", {}).state_dict()
    ungated = {k: tuple(v.shape) for k, v in keys.items() if ".masker." not in k}
    assert len(ungated) == 314
    expected = {
        "features.0.0.weight": (32, 3, 3, 3),
        "features.0.1.running_var": (32,),
        "features.1.conv.0.0.weight": (32, 1, 3, 3),
        "features.1.conv.0.1.bias": (32,),
        "features.1.conv.1.weight": (16, 32, 1, 1),
        "features.1.conv.2.running_mean": (16,),
        "features.2.conv.0.0.weight": (96, 16, 1, 1),
        "features.2.conv.1.0.weight": (96, 1, 3, 3),
        "features.2.conv.1.1.weight": (96,),
        "features.2.conv.2.weight": (24, 96, 1, 1),
        "features.2.conv.3.num_batches_tracked": (),
        "features.17.conv.3.bias": (320,),
        "features.18.0.weight": (1280, 320, 1, 1),
        "features.18.1.bias": (1280,),
        "classifier.1.weight": (1000, 1280),
    }
    assert {k: ungated.get(k) for k in expected} == expected
    assert "features.3.masker.maskconv.conv.weight" in keys


@torch.no_grad()
def test_classification_networks_take_odd_sizes() -> None:
    torch.manual_seed(0)
    for name, options, size in [
        ("cifar_resnet", {"depth": 8}, (31, 27)),
        ("resnet", {"depth": 50, "width": 0.125, "classes": 5}, (67, 101)),
        ("mobilenet_v2", {"width": 0.25, "classes": 5}, (65, 33)),
    ]:
        network = build_network(name, options).eval()
        x = torch.randn(2, 3, *size)
        with record_decisions(network) as decisions:
            masked = network(x)
        masks = [decision.mask != 0 for decision in decisions]
        set_execution(network, "sparse")
        with forced_masks(network, masks):
            assert relative_error(network(x), masked) <= 1e-5, name


def test_hourglass_names_the_sizes_that_it_takes() -> None:
    network = build_network("hourglass", {"stacks": 1, "features": 8})
    with pytest.raises(Dyn2trtError, match="multiples of 64, not 128x100"):
        network(torch.zeros(1, 3, 128, 100))


def test_options_come_as_typed_values_or_as_strings() -> None:
    with torch.device("meta"):
        network = build_network("resnet", {"depth": "18", "width": "0.5", "classes": 7})
    assert network.fc.weight.shape == (7, 256)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("hourglas", {}, "did you mean 'hourglass'"),
        ("hourglass", {"stack": 1}, "no option 'stack', did you mean 'stacks'"),
        ("resnet", {"depth": 33}, "depth is one of 18, 34, 50, 101, 152, not 33"),
        ("resnet", {"depth": "deep"}, "depth is a whole number like 50, not 'deep'"),
        ("resnet", {"depth": 18.5}, "depth is a whole number"),
        ("resnet", {"width": 0}, "width is more than 0"),
        ("resnet", {"width": "nan"}, "width is more than 0"),
        ("resnet", {"width": 0.001}, "leaves the stem no channels"),
        ("resnet", {"classes": True}, "classes is a whole number"),
        ("resnet", {"mask_unit": "conv"}, "pointwise, squeeze, layer, none, not conv"),
        ("resnet", {"ungated": "layer2.0 layer3.6"}, "'layer3.6', which is no block, did you mean 'layer3.5'"),
        ("cifar_convnet_aig", {"depth": 8, "ungated": "conv1"}, "the blocks are layer1.0, layer2.0, layer3.0$"),
        ("cifar_sact", {"ungated": "layer1.0"}, "cifar_sact has no option 'ungated'"),
        ("no_such_package:build", {}, "no module is named 'no_such_package'"),
        ("os:no_such_thing", {}, "os has no callable 'no_such_thing'"),
        ("os.path:joi", {}, "did you mean 'join'"),
        (":build", {}, "package.module:callable"),
    ],
)
def test_mistakes_name_what_would_be_right(name: str, options: dict, message: str) -> None:
    with pytest.raises(Dyn2trtError, match=message):
        build_network(name, options)


USER_MODULE = """
from torch import nn
from dyn2trt.blocks import Bottleneck, InvertedResidual

def build(channels, gate="pointwise", bias=True):
    return nn.Sequential(
        nn.Conv2d(3, channels, 3, bias=bias),
        InvertedResidual(channels, channels, expand_ratio=2, mask_unit=gate),
        Bottleneck(channels, 2, stride=2),
    )

def number():
    return 3
"""


@pytest.fixture
def user_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "my_networks_of_the_test.py").write_text(USER_MODULE)
    monkeypatch.chdir(tmp_path)
    return "my_networks_of_the_test"


@torch.no_grad()
def test_a_users_own_network_is_imported_from_the_working_directory(user_module: str) -> None:
    torch.manual_seed(0)
    network = build_network(f"{user_module}:build", {"channels": "6", "gate": "squeeze", "bias": "false"}).eval()
    assert network[0].bias is None
    assert [name for name, _ in gated_blocks(network)] == ["1", "2"]
    x = torch.randn(1, 3, 11, 11)
    masked = network(x)
    set_execution(network, "sparse")
    assert relative_error(network(x), masked) <= 1e-5
    assert str(Path.cwd()) not in sys.path


def test_mistakes_in_a_users_own_network(user_module: str) -> None:
    for function, options, message in [
        ("build", {"chanels": 3}, "no option 'chanels', did you mean 'channels'"),
        ("build", {}, "wants channels; give --set channels=VALUE"),
        ("number", {}, "returned int; a network is a torch.nn.Module"),
        ("biuld", {}, "did you mean 'build'"),
    ]:
        with pytest.raises(Dyn2trtError, match=message):
            build_network(f"{user_module}:{function}", options)


def test_the_table_of_networks_is_current() -> None:
    assert PATH.read_text(encoding="utf-8") == table(), "run: python -m dyn2trt.networks.table"


def test_a_builder_says_what_its_options_mean() -> None:
    register = registry.network("a trial", dynamic="layers", input_shape=(1, 3, 8, 8))

    def unexplained(depth: int = 3) -> None: ...

    def required(width: Width) -> None: ...

    def resnet(width: Width = 1.0) -> None: ...

    for builder, message in (
        (unexplained, r"unexplained: expected depth: Annotated\[TYPE, Meaning\(\.\.\.\)\] = DEFAULT, got depth"),
        (required, "required: expected width: Annotated"),
        (resnet, "both register a network named resnet; rename one"),
    ):
        with pytest.raises(ValueError, match=message):
            register(builder)


def test_defaults_of_the_builders_are_those_listed() -> None:
    """`build_network` always passes the listed ones; whoever calls a builder must get the same network."""
    for entry in NETWORKS.values():
        module, _, function = entry.builder.partition(":")
        parameters = inspect.signature(getattr(importlib.import_module(module), function)).parameters
        listed = {option.name: option.default for option in entry.options}
        assert {name: parameter.default for name, parameter in parameters.items()} == listed, entry.name


def test_every_default_input_runs() -> None:
    with torch.device("meta"):
        for entry in NETWORKS.values():
            network: nn.Module = entry.build({}).eval()
            outputs = as_tuple(network(torch.empty(entry.input_shape)))
            expected = 2 if entry.task == "classification" else 4
            assert {y.dim() for y in outputs} == {expected}


app = typer.Typer()
app.command()(networks)


def test_the_listing_says_what_is_dynamic() -> None:
    result = CliRunner().invoke(app, [], env={"COLUMNS": "160"})
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    for entry in NETWORKS.values():
        line = next(line for line in lines if line.split()[:1] == [entry.name])
        assert entry.dynamic in line
        assert entry.doc in line


@pytest.mark.parametrize("name", list(NETWORKS))
def test_the_listing_of_one_network_shows_its_options(name: str) -> None:
    result = CliRunner().invoke(app, [name], env={"COLUMNS": "120"})
    assert result.exit_code == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    for option in NETWORKS[name].options:
        assert [option.name, str(option.default)] in [words[:2] for words in lines]


@pytest.mark.parametrize("name", list(NETWORKS))
def test_a_network_is_as_dynamic_as_the_listing_says(name: str) -> None:
    entry = NETWORKS[name]
    with torch.device("meta"):
        network = entry.build({})
    found = {"layers" if isinstance(b.masker, LayerMaskUnit) else "positions" for _, b in gated_blocks(network)}
    found |= {"kernels" for _ in dynamic_blocks(network)}
    assert found == {entry.dynamic}


def test_the_listing_as_json() -> None:
    result = CliRunner().invoke(app, ["--json"])
    listed = {entry["name"]: entry for entry in json.loads(result.stdout)}
    assert list(listed) == list(NETWORKS)
    assert listed["hourglass"]["options"][0]["default"] == 4
    assert listed["resnet"]["input_shape"] == [1, 3, 224, 224]


def test_listing_imports_no_torch() -> None:
    code = "import sys; from dyn2trt.cli.networks import networks; networks(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
