"""EfficientNetV2-S: what is said without timm, and what is built with it."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lossmith.errors import ConfigError
from lossmith.train.dropout import Dropout, set_dropout
from lossmith.train.models import build_model, try_model
from lossmith.train.models.weights import load_weights

with_timm = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("timm", "torchvision")),
    reason="the extra 'timm' (timm and torchvision, several GB with torch for CUDA) is not installed",
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(*, seed: int = 0, in_channels: int = 3, classes: int = 10, weights: str | None = None) -> Any:
    return build_model(
        "effnetv2s",
        in_channels=in_channels,
        num_classes=classes,
        generator=generator(seed),
        dropout_generator=generator(9),
        weights=weights,
    )


@pytest.fixture
def forget(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A timm that was imported is put away, and the test's own is taken out again."""
    for name in _timms():
        monkeypatch.delitem(sys.modules, name)
    yield
    for name in _timms():
        del sys.modules[name]


def _timms() -> list[str]:
    return [name for name in sys.modules if name.partition(".")[0] == "timm"]


def test_without_timm_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(
        ConfigError, match=r"'effnetv2s' needs the package timm .*: pip install 'lossmith\[timm\]'"
    ) as caught:
        build()
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("forget")
@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            "RuntimeError('operator torchvision::nms does not exist')",
            "importing timm failed: operator torchvision::nms",
        ),
        ("OSError('libcudart.so.13: cannot open')", "importing timm failed: libcudart.so.13: cannot open"),
        ("RuntimeError", "importing timm failed: RuntimeError"),
    ],
)
def test_a_torchvision_of_another_torch_is_one_line_with_the_remedy(
    error: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "timm").mkdir()
    (tmp_path / "timm" / "__init__.py").write_text(f"raise {error}\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=message) as caught:
        build()
    assert f"torchvision has to be the build that fits torch {torch.__version__}: install it" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("forget")
def test_imagenet_weights_without_a_network_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "timm.py").write_text(
        "def create_model(name, pretrained=False, **settings):\n"
        "    assert pretrained and name == 'tf_efficientnetv2_s.in1k' and settings['num_classes'] == 10\n"
        "    raise OSError('cannot find the requested files.\\nmore')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError) as caught:
        build(weights="imagenet")
    assert str(caught.value) == (
        "weights 'imagenet': cannot get timm/tf_efficientnetv2_s.in1k from the Hugging Face hub: cannot find the "
        "requested files; download its model.safetensors where there is a network, and give that file as weights"
    )


@with_timm
def test_it_is_the_network_of_the_paper_with_our_dropout_alone() -> None:
    before = torch.random.get_rng_state()
    model, again, other = build(seed=1), build(seed=1), build(seed=2)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert sum(parameter.numel() for parameter in model.parameters()) == 20_190_298
    assert sum(parameter.numel() for parameter in build(classes=1000).parameters()) == 21_458_488  # 21.5 M in the paper
    state = model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in again.state_dict().items())
    assert not torch.equal(state["conv_stem.weight"], other.state_dict()["conv_stem.weight"])

    (dropout,) = (module for module in model.modules() if isinstance(module, Dropout | nn.Dropout))
    assert isinstance(dropout, Dropout)
    assert dropout.probability == 0.1
    set_dropout(model, 0.4)
    assert dropout.probability == 0.4
    assert not any(type(module).__name__ == "DropPath" for module in model.modules())
    timm: Any = importlib.import_module("timm")
    assert list(state) == list(timm.create_model("tf_efficientnetv2_s", num_classes=10).state_dict())


@with_timm
def test_it_passes_the_check_of_a_run_for_grey_images_and_100_classes() -> None:
    assert try_model("effnetv2s", image_shape=(1, 32, 32), num_classes=100) == ()


@with_timm
def test_dropout_acts_before_the_last_layer() -> None:
    model = build().train()
    seen: list[torch.Tensor] = []
    model.classifier.register_forward_hook(lambda _module, inputs, _outputs: seen.append(inputs[0]))
    set_dropout(model, 0.9)
    model(torch.rand(2, 3, 32, 32, generator=generator()))
    assert seen[0].shape == (2, 1280)
    assert float((seen[0] == 0).float().mean()) == pytest.approx(0.9, abs=0.05)


@with_timm
def test_weights_of_a_file_with_another_head(tmp_path: Path) -> None:
    safetensors: Any = importlib.import_module("safetensors.torch")
    state = {name: value + 0.25 if value.is_floating_point() else value for name, value in build().state_dict().items()}
    path = tmp_path / "model.safetensors"
    safetensors.save_file(state, path)
    model, drawn = build(seed=3, classes=7), build(seed=3, classes=7).state_dict()
    load_weights(model, str(path))
    for name, value in model.state_dict().items():
        assert torch.equal(value, drawn[name] if name.startswith("classifier.") else state[name]), name


@with_timm
@pytest.mark.slow
def test_a_few_steps_lower_the_loss_at_96_pixels() -> None:
    model = build()
    images, labels = torch.rand(8, 3, 96, 96, generator=generator()) * 2 - 1, torch.arange(8)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses: list[float] = []
    for _ in range(6):
        loss = nn.functional.cross_entropy(model(images), labels)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]
