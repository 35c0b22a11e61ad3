"""Dropout: its masks, where they come from, and how it takes the place of torch's."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lossmith.errors import ConfigError
from lossmith.train.dropout import ChannelDropout, Dropout, own_dropout, set_dropout

KINDS = (Dropout, ChannelDropout)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_dropout_drops_and_rescales() -> None:
    dropout = Dropout(0.3, generator())
    outputs = dropout(torch.ones(1000, 100))
    assert outputs.unique().tolist() == [0.0, pytest.approx(1 / 0.7)]
    assert float(outputs.mean()) == pytest.approx(1.0, abs=0.01)
    assert float((outputs == 0).float().mean()) == pytest.approx(0.3, abs=0.01)


def test_channel_dropout_drops_whole_channels_of_single_images() -> None:
    outputs = ChannelDropout(0.3, generator())(torch.ones(200, 100, 3, 4))
    assert outputs.unique().tolist() == [0.0, pytest.approx(1 / 0.7)]
    assert torch.equal(outputs, outputs[:, :, :1, :1].expand_as(outputs))
    kept = (outputs[:, :, 0, 0] != 0).float()
    assert float(kept.mean()) == pytest.approx(0.7, abs=0.02)
    assert len(kept.unique(dim=0)) == 200  # each image has its own draw


def test_channel_dropout_refuses_inputs_without_positions() -> None:
    with pytest.raises(ValueError, match=r"needs inputs \[B, C, ...\], found \[4, 5\]"):
        ChannelDropout(0.5, generator())(torch.ones(4, 5))


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_draws_from_its_generator_alone_and_only_in_training(kind: type[Dropout | ChannelDropout]) -> None:
    inputs = torch.ones(64, 64, 2)
    before = torch.random.get_rng_state()
    assert torch.equal(kind(0.5, generator(3))(inputs), kind(0.5, generator(3))(inputs))
    assert not torch.equal(kind(0.5, generator(3))(inputs), kind(0.5, generator(4))(inputs))
    assert torch.equal(torch.random.get_rng_state(), before)

    own = generator(5)
    state = own.get_state()
    assert kind(0.5, own).eval()(inputs) is inputs
    assert kind(0.0, own)(inputs) is inputs
    assert torch.equal(own.get_state(), state)


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_passes_gradients_where_it_kept_values(kind: type[Dropout | ChannelDropout]) -> None:
    inputs = torch.ones(32, 32, 2, requires_grad=True)
    outputs = kind(0.5, generator())(inputs)
    outputs.sum().backward()
    assert inputs.grad is not None
    assert torch.equal(inputs.grad, outputs.detach())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("probability", [-0.1, 1.0, float("nan")])
def test_dropout_refuses_what_is_no_probability(probability: float, kind: type[Dropout | ChannelDropout]) -> None:
    with pytest.raises(ValueError, match="not in"):
        kind(probability, generator())


class Twice(nn.Module):
    """One dropout layer in two places, another inside a container."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Dropout(0.25)
        self.again = self.first
        self.body = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Dropout2d(0.5), nn.ModuleList([nn.Dropout1d(0.125)]))
        self.register_module("absent", None)


def test_own_dropout_replaces_every_layer_of_torchs_and_keeps_what_is_shared() -> None:
    model = Twice()
    names = list(model.state_dict())
    own = generator()
    assert own_dropout(model, own) is model
    assert isinstance(model.first, Dropout)
    assert model.again is model.first
    found = [module for module in model.modules() if isinstance(module, Dropout | ChannelDropout)]
    assert [(type(module), module.probability) for module in found] == [
        (Dropout, 0.25),
        (ChannelDropout, 0.5),
        (ChannelDropout, 0.125),
    ]
    assert all(module.generator is own for module in found)
    assert list(model.state_dict()) == names
    assert not any(type(module).__module__ == "torch.nn.modules.dropout" for module in model.modules())


def test_own_dropout_replaces_a_model_that_is_a_dropout_and_keeps_its_mode() -> None:
    replaced = own_dropout(nn.Dropout(0.5).eval(), generator())
    assert isinstance(replaced, Dropout)
    assert not replaced.training


def test_own_dropout_names_the_layer_that_it_cannot_replace() -> None:
    with pytest.raises(ValueError, match=r"layer '1': dropout probability 1.0 is not in \[0, 1\)"):
        own_dropout(nn.Sequential(nn.ReLU(), nn.Dropout(1.0)), generator())


def test_set_dropout_sets_all_and_refuses_a_model_without() -> None:
    model = own_dropout(Twice(), generator())
    set_dropout(model, 0.75)
    assert [m.probability for m in model.modules() if isinstance(m, Dropout | ChannelDropout)] == [0.75] * 3
    with pytest.raises(ValueError, match="not in"):
        set_dropout(model, 1.5)
    with pytest.raises(ConfigError, match=r"a dropout of 0.2 is asked for, but the model has no dropout layer"):
        set_dropout(nn.Linear(2, 2), 0.2)
