"""What is asked of a model before a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lossmith.errors import ConfigError
from lossmith.train.dropout import Dropout
from lossmith.train.models import build_model, check_model, try_model

SHAPE = (3, 8, 8)


class Net(nn.Module):
    """A linear model with a function of the user's after it."""

    def __init__(self, after: Callable[[nn.Module, Tensor], object]) -> None:
        super().__init__()
        self.linear = nn.Linear(3 * 64, 5)
        self.after = after

    def forward(self, images: Tensor) -> object:
        return self.after(self, self.linear(images.flatten(1)))


@pytest.mark.parametrize("name", ["convnet", "resnet9v2"])
def test_built_in_models_pass_without_a_word(name: str) -> None:
    assert try_model(name, image_shape=SHAPE, num_classes=5) == ()
    assert try_model(name, image_shape=(1, 5, 7), num_classes=2, dropout=0.0) == ()


@pytest.mark.parametrize(
    ("after", "message"),
    [
        (lambda _, x: x[:, :4], r"in evaluation it gave float32 \[2, 4\], not logits, float32 \[2, 5\]"),
        (lambda _, x: x[None], r"in evaluation it gave float32 \[1, 2, 5\]"),
        (lambda _, x: x.double(), r"it gave float64 \[2, 5\]"),
        (lambda m, x: (x, x) if m.training else x, "in training it gave tuple, not logits"),
        (lambda _, x: x.detach(), "no gradient reaches its weights"),
        (lambda _, x: x * 0 @ x, r"on images \[2, 3, 8, 8\] in evaluation it raised RuntimeError: "),
    ],
)
def test_what_cannot_be_trained_is_one_line(after: Callable[[nn.Module, Tensor], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        check_model(Net(after), SHAPE, 5, name="mine:net")
    assert str(caught.value).startswith("model 'mine:net': ")
    assert "\n" not in str(caught.value)


def test_draws_from_the_global_generator_are_said_and_undone() -> None:
    net = Net(lambda m, x: nn.functional.dropout(x, 0.5, m.training))
    before = torch.random.get_rng_state()
    (note,) = check_model(net, SHAPE, 5, name="mine:net")
    assert note.startswith("model 'mine:net' draws from torch's global generator in training")
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_model_is_left_as_it_was() -> None:
    own = torch.Generator().manual_seed(3)
    model = build_model(
        "resnet9v2", in_channels=3, num_classes=5, generator=torch.Generator().manual_seed(0), dropout_generator=own
    )
    model.get_submodule("1").eval()
    state, drawn = {name: value.clone() for name, value in model.state_dict().items()}, own.get_state()
    modes = [module.training for module in model.modules()]
    assert check_model(model, SHAPE, 5, name="resnet9v2") == ()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert torch.equal(own.get_state(), drawn)
    assert [module.training for module in model.modules()] == modes
    assert all(parameter.grad is None for parameter in model.parameters())
    assert any(isinstance(module, Dropout) for module in model.modules())


def test_the_image_size_is_part_of_the_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lossmith_check_size.py").write_text(
        "from torch import nn\ndef net(in_channels, num_classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(in_channels * 64, num_classes))\n"
    )
    assert try_model("lossmith_check_size:net", image_shape=SHAPE, num_classes=5) == ()
    with pytest.raises(ConfigError, match=r"on images \[2, 3, 16, 16\] in evaluation it raised RuntimeError: mat1"):
        try_model("lossmith_check_size:net", image_shape=(3, 16, 16), num_classes=5)


def test_weights_that_no_seed_reaches_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lossmith_check_seed.py").write_text(
        "import numpy, torch\nfrom torch import nn\ndef net(in_channels, num_classes):\n"
        "    linear = nn.Linear(in_channels * 64, num_classes)\n"
        "    linear.weight.data.copy_(torch.from_numpy(numpy.random.default_rng().normal(size=linear.weight.shape)))\n"
        "    return nn.Sequential(nn.Flatten(), linear)\n"
    )
    with pytest.raises(ConfigError, match=r"'1.weight' differs between two networks made with one seed"):
        try_model("lossmith_check_seed:net", image_shape=SHAPE, num_classes=5)


def test_a_head_that_is_not_used_is_said(tmp_path: Path) -> None:
    model = build_model(
        "convnet", in_channels=3, num_classes=1000, generator=torch.Generator(), dropout_generator=torch.Generator()
    )
    path = tmp_path / "thousand.pt"
    torch.save(model.state_dict(), path)
    (note,) = try_model("convnet", image_shape=SHAPE, num_classes=5, weights=str(path))
    assert "is for 1000 classes; one for 5 is drawn anew" in note
    assert try_model("convnet", image_shape=SHAPE, num_classes=1000, weights=str(path)) == ()
