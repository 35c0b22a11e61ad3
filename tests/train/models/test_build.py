"""The built-in networks: sizes, initial weights pinned, dropout, and no global randomness."""

from __future__ import annotations

import hashlib
import math

import pytest
import torch
from torch import nn

from lossmith.errors import ConfigError
from lossmith.train.dropout import Dropout
from lossmith.train.models import DEFAULT_DROPOUT, build_model
from lossmith.train.task import BUILT_IN_MODELS

MODELS = ("convnet", "resnet9v2")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(
    name: str, *, seed: int = 0, in_channels: int = 3, num_classes: int = 10, dropout: float | None = None
) -> nn.Module:
    return build_model(
        name,
        in_channels=in_channels,
        num_classes=num_classes,
        generator=generator(seed),
        dropout_generator=generator(99),
        dropout=dropout,
    )


def convolution(inputs: int, outputs: int, size: int = 3) -> int:
    return inputs * outputs * size * size + outputs


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("classes", [2, 10, 100])
def test_parameter_counts(channels: int, classes: int) -> None:
    convnet = (
        *(convolution(channels, 12), 2 * 12),
        *(convolution(12, 24), 2 * 24),
        convolution(24, 48),
        48 * classes + classes,
    )
    resnet = (
        convolution(channels, 8),
        *(2 * 8, convolution(8, 16), 2 * 16, convolution(16, 16), 2 * 16, convolution(16, 16), convolution(8, 16, 1)),
        *(2 * 16, convolution(16, 32), 2 * 32, convolution(32, 32), 2 * 32, convolution(32, 32)),
        convolution(16, 32, 1),
        32 * classes + classes,
    )
    expected = {"convnet": sum(convnet), "resnet9v2": sum(resnet)}
    for name in MODELS:
        model = build(name, in_channels=channels, num_classes=classes)
        assert sum(parameter.numel() for parameter in model.parameters()) == expected[name]


def test_parameter_counts_of_the_method() -> None:
    counts = {name: sum(parameter.numel() for parameter in build(name).parameters()) for name in MODELS}
    assert counts == {"convnet": 13_930, "resnet9v2": 30_426}


@pytest.mark.parametrize(
    ("name", "channels", "classes", "seed", "expected"),
    [
        ("convnet", 3, 10, 0, "396cea19706b7260"),
        ("convnet", 1, 7, 5, "9d82d2beb09e5a3b"),
        ("resnet9v2", 3, 10, 0, "d6ec9307c088fd9f"),
        ("resnet9v2", 1, 7, 5, "1c966dbb24debddf"),
    ],
)
def test_a_seed_gives_the_weights_that_it_has_always_given(
    name: str, channels: int, classes: int, seed: int, expected: str
) -> None:
    digest = hashlib.sha256()
    for key, value in build(name, seed=seed, in_channels=channels, num_classes=classes).state_dict().items():
        digest.update(key.encode())
        digest.update(value.numpy().tobytes())
    assert digest.hexdigest()[:16] == expected


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("height", "width"), [(8, 8), (28, 28), (5, 7), (4, 4)])
def test_logits_have_one_column_per_class(name: str, height: int, width: int) -> None:
    logits = build(name, num_classes=7)(torch.rand(3, 3, height, width, generator=generator()))
    assert logits.shape == (3, 7)
    assert logits.dtype == torch.float32
    assert not torch.allclose(logits.exp().sum(1), torch.ones(3))  # logits, not probabilities


@pytest.mark.parametrize("name", MODELS)
def test_weights_come_from_the_generator_alone(name: str) -> None:
    before = torch.random.get_rng_state()
    first, again, other = build(name, seed=1), build(name, seed=1), build(name, seed=2)
    assert torch.equal(torch.random.get_rng_state(), before)
    for key, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[key])
    assert not torch.equal(first.get_parameter("0.weight"), other.get_parameter("0.weight"))


@pytest.mark.parametrize("name", MODELS)
def test_initial_weights_are_those_of_keras(name: str) -> None:
    for module in build(name).modules():
        if isinstance(module, nn.Conv2d):
            area = module.kernel_size[0] * module.kernel_size[1]
            limit = math.sqrt(6 / (area * (module.in_channels + module.out_channels)))
        elif isinstance(module, nn.Linear):
            limit = math.sqrt(6 / (module.in_features + module.out_features))
        elif isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            assert torch.equal(module.weight, torch.ones_like(module.weight))
            assert torch.equal(module.running_var, torch.ones_like(module.weight))
            assert not module.bias.any()
            assert not module.running_mean.any()
            continue
        else:
            continue
        assert module.bias is not None
        assert not module.bias.any()
        assert module.weight.abs().max() <= limit
        assert module.weight.abs().max() > 0.8 * limit
        assert float(module.weight.detach().std()) == pytest.approx(limit / math.sqrt(3), rel=0.15)


@pytest.mark.parametrize("name", MODELS)
def test_dropout_is_the_models_own_unless_given(name: str) -> None:
    def probability(model: nn.Module) -> float:
        (found,) = (module.probability for module in model.modules() if isinstance(module, Dropout))
        return found

    assert probability(build(name)) == DEFAULT_DROPOUT[name] == {"convnet": 0.1, "resnet9v2": 0.5}[name]
    assert probability(build(name, dropout=0.25)) == 0.25
    assert probability(build(name, dropout=0.0)) == 0.0


def test_every_built_in_model_has_a_dropout_of_its_own() -> None:
    assert tuple(DEFAULT_DROPOUT) == BUILT_IN_MODELS


def test_an_unknown_model_is_one_line_with_the_nearest_name() -> None:
    message = r"no model 'resnet9' \(did you mean 'resnet9v2'\?\): use one of convnet, .*'package.module:function'"
    with pytest.raises(ConfigError, match=message):
        build("resnet9")


def test_imagenet_weights_are_of_effnetv2s_only() -> None:
    with pytest.raises(ConfigError, match="model 'convnet' has no weights 'imagenet', only effnetv2s has"):
        build_model(
            "convnet",
            in_channels=3,
            num_classes=10,
            generator=generator(),
            dropout_generator=generator(),
            weights="imagenet",
        )
