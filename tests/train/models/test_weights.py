"""Weights from files: what is loaded, what is left, and what is refused. The files are made here."""

from __future__ import annotations

import importlib
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lossmith.errors import ConfigError
from lossmith.train.dropout import Dropout
from lossmith.train.models import build_model
from lossmith.train.models.weights import load_weights, unused_weights
from lossmith.train.models.wideresnet import wideresnet


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def resnet(seed: int, classes: int = 10) -> nn.Module:
    return build_model(
        "resnet9v2", in_channels=3, num_classes=classes, generator=generator(seed), dropout_generator=generator()
    )


def wide(seed: int, classes: int = 10) -> nn.Module:
    return wideresnet(3, classes, partial(Dropout, 0.0, generator()), generator(seed), depth=10, widening=1)


def trained(model: nn.Module) -> dict[str, Tensor]:
    """A state with running statistics that are not those of the start."""
    model(torch.rand(4, 3, 8, 8, generator=generator(5)))
    return {name: value.clone() for name, value in model.state_dict().items()}


def save(tensors: Any, path: Path) -> str:
    if path.suffix == ".safetensors":
        safetensors = pytest.importorskip("safetensors.torch", reason="safetensors comes with the extra 'timm'")
        safetensors.save_file(tensors, path)
    else:
        torch.save(tensors, path)
    return str(path)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth"])
@pytest.mark.parametrize("make", [resnet, wide])
def test_every_tensor_is_loaded_bit_for_bit(make: Any, suffix: str, tmp_path: Path) -> None:
    expected = trained(make(1))
    path = save(expected, tmp_path / f"weights{suffix}")
    model = make(2)
    load_weights(model, path)
    assert unused_weights(model, path) is None
    for name, value in model.state_dict().items():
        assert torch.equal(value, expected[name]), name


@pytest.mark.parametrize("wrapper", ["state_dict", "model"])
def test_a_state_beside_other_things_is_found(wrapper: str, tmp_path: Path) -> None:
    expected = trained(resnet(1))
    model = resnet(2)
    load_weights(model, save({"epoch": 3, wrapper: expected}, tmp_path / "checkpoint.pt"))
    assert torch.equal(model.state_dict()["0.weight"], expected["0.weight"])


def test_half_precision_is_widened(tmp_path: Path) -> None:
    state = trained(resnet(1))
    halves = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    model = resnet(2)
    load_weights(model, save(halves, tmp_path / "half.pt"))
    assert model.state_dict()["0.weight"].dtype == torch.float32
    assert torch.equal(model.state_dict()["0.weight"], halves["0.weight"].float())


@pytest.mark.parametrize("make", [resnet, wide])
def test_the_head_of_other_classes_stays_as_drawn_and_is_said(make: Any, tmp_path: Path) -> None:
    state = trained(make(1, classes=1000))
    path = save(state, tmp_path / "thousand.pt")
    model, drawn = make(2, classes=7), make(2, classes=7).state_dict()
    load_weights(model, path)
    *_, weight, bias = model.state_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(value, drawn[name] if name in {weight, bias} else state[name]), name
    head = weight.removesuffix(".weight")
    note = unused_weights(model, path)
    assert note == f"weights '{path}': its last layer '{head}' is for 1000 classes; one for 7 is drawn anew"


def test_build_model_loads_a_file(tmp_path: Path) -> None:
    expected = trained(resnet(1))
    path = save(expected, tmp_path / "weights.pt")
    model = build_model(
        "resnet9v2",
        in_channels=3,
        num_classes=10,
        generator=generator(2),
        dropout_generator=generator(),
        weights=path,
    )
    assert torch.equal(model.state_dict()["0.weight"], expected["0.weight"])


def _without(name: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if key != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (partial(_without, "0.bias"), r"the file has no tensor '0.bias': another model's file\?"),
        (lambda state: {"0.bias": state["0.bias"]}, r"the file has no tensor '0.weight' \(and \d\d more\)"),
        (lambda state: {**state, "9.x": torch.zeros(1)}, r"the model has no tensor '9.x': another"),
        (
            lambda state: {**state, "0.weight": torch.zeros(8, 1, 3, 3)},
            r"tensor '0.weight' is \[8, 1, 3, 3\], the model's is \[8, 3, 3, 3\]: another",
        ),
        (
            lambda state: {**state, "5.weight": torch.zeros(10, 64)},
            r"tensor '5.weight' is \[10, 64\], the model's is \[10, 32\]",
        ),
        (lambda state: {**state, "5.weight": torch.zeros(3)}, r"tensor '5.weight' is \[3\]"),
        (lambda state: {**state, "0.bias": torch.zeros(8, dtype=torch.int64)}, "tensor '0.bias' holds torch.int64"),
        (lambda state: {**state, "0.bias": 3}, "expected tensors by name, found int under '0.bias'"),
        (lambda _: [torch.zeros(2)], "expected tensors by name, found list"),
        (lambda _: {}, "expected tensors by name, found dict"),
    ],
)
def test_what_does_not_fit_is_one_line_and_changes_nothing(change: Any, message: str, tmp_path: Path) -> None:
    path = save(change(trained(resnet(1))), tmp_path / "other.pt")
    model, before = resnet(2), resnet(2).state_dict()
    with pytest.raises(ConfigError, match=message) as caught:
        load_weights(model, path)
    assert str(caught.value).startswith(f"weights '{path}': ")
    assert "\n" not in str(caught.value)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("damage", ["cut", "empty", "noise"])
def test_a_damaged_file_is_one_line(suffix: str, damage: str, tmp_path: Path) -> None:
    path = tmp_path / f"weights{suffix}"
    save(trained(resnet(1)), path)
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "noise": bytes(range(256)) * 40}[damage])
    with pytest.raises(ConfigError, match=r"not a whole .safetensors file|damaged, or it holds more") as caught:
        load_weights(resnet(2), str(path))
    assert "\n" not in str(caught.value)


class Trap:
    """What a hostile file would run while it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("sprung"),))


def test_code_in_a_file_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"0.weight": Trap()}, tmp_path / "trap.pt")
    with pytest.raises(ConfigError, match="damaged, or it holds more than tensors, which are all that is read"):
        load_weights(resnet(2), "trap.pt")
    assert not Path("sprung").exists()


def test_a_file_that_is_not_there_or_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"weights '.*none.pt': cannot read it: No such file"):
        load_weights(resnet(1), str(tmp_path / "none.pt"))
    (tmp_path / "folder.pth").mkdir()
    with pytest.raises(ConfigError, match="cannot read it: Is a directory"):
        load_weights(resnet(1), str(tmp_path / "folder.pth"))
    with pytest.raises(ConfigError, match=r"give 'imagenet' or a file whose name ends in .safetensors, .pt or .pth"):
        load_weights(resnet(1), "imagnet")


def test_without_safetensors_the_message_names_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("safetensors.torch")
    with pytest.raises(ConfigError, match=r"needs the package safetensors: pip install 'lossmith\[timm\]'"):
        load_weights(resnet(1), str(tmp_path / "w.safetensors"))


def test_a_model_without_a_linear_layer(tmp_path: Path) -> None:
    model = nn.Conv2d(3, 4, 1)
    path = save(model.state_dict(), tmp_path / "conv.pt")
    other = nn.Conv2d(3, 4, 1)
    load_weights(other, path)
    assert torch.equal(other.weight, model.weight)
    assert unused_weights(other, path) is None


def test_a_model_that_is_its_own_head(tmp_path: Path) -> None:
    path = save(nn.Linear(4, 9).state_dict(), tmp_path / "head.pt")
    model = nn.Linear(4, 3)
    before = model.weight.clone()
    load_weights(model, path)
    assert torch.equal(model.weight, before)
    assert "is for 9 classes" in (unused_weights(model, path) or "")
