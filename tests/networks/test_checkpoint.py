import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from dyn2trt.checkpoint import load_checkpoint
from dyn2trt.errors import Dyn2trtError
from dyn2trt.networks.zoo import build_network


@pytest.fixture
def network() -> nn.Module:
    return build_network("cifar_resnet", {"depth": 8})


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("inside", [True, False], ids=["state_dict", "bare"])
def test_both_prefixes_and_both_places_load(network: nn.Module, tmp_path: Path, prefix: str, inside: bool) -> None:
    source = build_network("cifar_resnet", {"depth": 8})
    state = {prefix + key: value for key, value in source.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3} if inside else state, tmp_path / "c.pth")
    load_checkpoint(network, tmp_path / "c.pth")
    assert all(torch.equal(v, network.state_dict()[k]) for k, v in source.state_dict().items())


def test_batch_counts_may_be_absent(network: nn.Module, tmp_path: Path) -> None:
    state = {k: v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "c.pth")
    load_checkpoint(network, tmp_path / "c.pth")


def test_a_wrong_architecture_is_described_and_nothing_is_loaded(network: nn.Module, tmp_path: Path) -> None:
    other = build_network("cifar_resnet", {"depth": 14, "classes": 7}).state_dict()
    other["fc.skala"] = other.pop("fc.bias")
    torch.save(other, tmp_path / "c.pth")
    before = {k: v.clone() for k, v in network.state_dict().items()}
    with pytest.raises(Dyn2trtError) as error:
        load_checkpoint(network, tmp_path / "c.pth")
    message = str(error.value)
    assert "missing fc.bias" in message
    assert "unexpected layer1.1.conv1.weight" in message
    assert "more" in message
    assert "misshapen fc.weight [7, 64] instead of [10, 64]" in message
    assert "\n" not in message
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_named(network: nn.Module, tmp_path: Path, value: float) -> None:
    state = network.state_dict()
    state["layer2.0.conv1.weight"][3, 0, 0, 0] = value
    torch.save(state, tmp_path / "c.pth")
    with pytest.raises(Dyn2trtError, match=r"NaN or infinite, in layer2\.0\.conv1\.weight"):
        load_checkpoint(build_network("cifar_resnet", {"depth": 8}), tmp_path / "c.pth")


class Payload:
    """Runs code when unpickled: the marker file shows whether it did."""

    def __init__(self, marker: str) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return Path.touch, (Path(self.marker),)


@pytest.mark.parametrize("save", [torch.save, lambda o, p: p.write_bytes(pickle.dumps(o))], ids=["torch", "pickle"])
def test_code_in_a_checkpoint_is_not_run(network: nn.Module, tmp_path: Path, save: object) -> None:
    marker = tmp_path / "ran"
    save({"state_dict": Payload(str(marker))}, tmp_path / "c.pth")  # type: ignore[operator]
    with pytest.raises(Dyn2trtError, match="not run"):
        load_checkpoint(network, tmp_path / "c.pth")
    assert not marker.exists()


@pytest.mark.parametrize("kept", [0, 10, 0.5, 0.99])
def test_a_truncated_checkpoint_is_refused(network: nn.Module, tmp_path: Path, kept: float) -> None:
    path = tmp_path / "c.pth"
    torch.save(network.state_dict(), path)
    data = path.read_bytes()
    path.write_bytes(data[: kept if isinstance(kept, int) else int(len(data) * kept)])
    with pytest.raises(Dyn2trtError, match=r"c\.pth is (truncated|no checkpoint)"):
        load_checkpoint(network, path)


def test_no_advice_to_run_code_is_passed_on(network: nn.Module, tmp_path: Path) -> None:
    (tmp_path / "c.pth").write_text("# a text file")
    with pytest.raises(Dyn2trtError, match=r"c\.pth is no checkpoint .* \(Unsupported operand 35\)$"):
        load_checkpoint(network, tmp_path / "c.pth")


@pytest.mark.parametrize(
    ("content", "found"),
    [([1, 2], "no dict"), ({"epoch": 3, "weights": {}}, "epoch, weights"), ({}, "the keys")],
)
def test_a_file_without_a_state_dict_says_what_it_holds(
    network: nn.Module, tmp_path: Path, content: object, found: str
) -> None:
    torch.save(content, tmp_path / "c.pth")
    with pytest.raises(Dyn2trtError, match=f"no state dict.*{found}"):
        load_checkpoint(network, tmp_path / "c.pth")


def test_a_missing_file_or_a_folder_is_named(network: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(Dyn2trtError, match="no checkpoint at"):
        load_checkpoint(network, tmp_path / "absent.pth")
    with pytest.raises(Dyn2trtError, match=tmp_path.name):
        load_checkpoint(network, tmp_path)
