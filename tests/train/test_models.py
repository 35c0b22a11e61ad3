"""The two networks: sizes, initial weights, dropout, and no global randomness."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from lossmith.train.dropout import Dropout
from lossmith.train.models import DEFAULT_DROPOUT, build_model
from lossmith.train.task import ModelName

MODELS: tuple[ModelName, ...] = ("convnet", "resnet9v2")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(
    name: ModelName, *, seed: int = 0, in_channels: int = 3, num_classes: int = 10, dropout: float | None = None
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


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("height", "width"), [(8, 8), (28, 28), (5, 7), (4, 4)])
def test_logits_have_one_column_per_class(name: ModelName, height: int, width: int) -> None:
    logits = build(name, num_classes=7)(torch.rand(3, 3, height, width, generator=generator()))
    assert logits.shape == (3, 7)
    assert logits.dtype == torch.float32
    assert not torch.allclose(logits.exp().sum(1), torch.ones(3))  # logits, not probabilities


@pytest.mark.parametrize("name", MODELS)
def test_weights_come_from_the_generator_alone(name: ModelName) -> None:
    before = torch.random.get_rng_state()
    first, again, other = build(name, seed=1), build(name, seed=1), build(name, seed=2)
    assert torch.equal(torch.random.get_rng_state(), before)
    for key, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[key])
    assert not torch.equal(first.get_parameter("0.weight"), other.get_parameter("0.weight"))


@pytest.mark.parametrize("name", MODELS)
def test_initial_weights_are_those_of_keras(name: ModelName) -> None:
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
def test_dropout_is_the_models_own_unless_given(name: ModelName) -> None:
    def probability(model: nn.Module) -> float:
        (found,) = (module.probability for module in model.modules() if isinstance(module, Dropout))
        return found

    assert DEFAULT_DROPOUT == {"convnet": 0.1, "resnet9v2": 0.5}
    assert probability(build(name)) == DEFAULT_DROPOUT[name]
    assert probability(build(name, dropout=0.25)) == 0.25
    assert probability(build(name, dropout=0.0)) == 0.0


def test_dropout_drops_and_rescales() -> None:
    dropout = Dropout(0.3, generator())
    outputs = dropout(torch.ones(1000, 100))
    assert outputs.unique().tolist() == [0.0, pytest.approx(1 / 0.7)]
    assert float(outputs.mean()) == pytest.approx(1.0, abs=0.01)
    assert float((outputs == 0).float().mean()) == pytest.approx(0.3, abs=0.01)


def test_dropout_draws_from_its_generator_alone_and_only_in_training() -> None:
    inputs = torch.ones(64, 64)
    before = torch.random.get_rng_state()
    assert torch.equal(Dropout(0.5, generator(3))(inputs), Dropout(0.5, generator(3))(inputs))
    assert not torch.equal(Dropout(0.5, generator(3))(inputs), Dropout(0.5, generator(4))(inputs))
    assert torch.equal(torch.random.get_rng_state(), before)

    own = generator(5)
    state = own.get_state()
    assert Dropout(0.5, own).eval()(inputs) is inputs
    assert Dropout(0.0, own)(inputs) is inputs
    assert torch.equal(own.get_state(), state)


def test_dropout_passes_gradients_where_it_kept_values() -> None:
    inputs = torch.ones(32, 32, requires_grad=True)
    outputs = Dropout(0.5, generator())(inputs)
    outputs.sum().backward()
    assert inputs.grad is not None
    assert torch.equal(inputs.grad, outputs.detach())


@pytest.mark.parametrize("probability", [-0.1, 1.0, float("nan")])
def test_dropout_refuses_what_is_no_probability(probability: float) -> None:
    with pytest.raises(ValueError, match="not in"):
        Dropout(probability, generator())
