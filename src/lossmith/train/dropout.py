"""Dropout that draws from its own generator, so that training neither reads nor moves torch's global one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lossmith.errors import ConfigError


class Dropout(nn.Module):
    """In training, sets each value to 0 with a probability, and scales the others up to keep the mean.

    Args:
        probability: in [0, 1).
        generator: where the masks come from; on the device of the inputs.

    Raises:
        ValueError: the probability is not in [0, 1).
    """

    def __init__(self, probability: float, generator: torch.Generator) -> None:
        super().__init__()
        self.probability = _checked(probability)
        self.generator = generator

    def forward(self, inputs: Tensor) -> Tensor:
        if not self.training or self.probability == 0.0:
            return inputs
        keep = 1.0 - self.probability
        mask = torch.empty_like(inputs, requires_grad=False).bernoulli_(keep, generator=self.generator)
        return inputs * mask.mul_(1.0 / keep)

    def extra_repr(self) -> str:
        return f"{self.probability:g}"


class ChannelDropout(nn.Module):
    """As `Dropout`, but a whole channel of an image at once (arXiv 1411.4280): one draw for each of [B, C].

    Args:
        probability: in [0, 1).
        generator: where the masks come from; on the device of the inputs.

    Raises:
        ValueError: the probability is not in [0, 1); in `forward`, the inputs are not [B, C, ...].
    """

    def __init__(self, probability: float, generator: torch.Generator) -> None:
        super().__init__()
        self.probability = _checked(probability)
        self.generator = generator

    def forward(self, inputs: Tensor) -> Tensor:
        if inputs.ndim < 3:
            raise ValueError(f"dropout of channels needs inputs [B, C, ...], found {list(inputs.shape)}")
        if not self.training or self.probability == 0.0:
            return inputs
        keep = 1.0 - self.probability
        mask = inputs.new_empty((*inputs.shape[:2], *(1 for _ in inputs.shape[2:])))
        return inputs * mask.bernoulli_(keep, generator=self.generator).mul_(1.0 / keep)

    def extra_repr(self) -> str:
        return f"{self.probability:g}"


_KINDS: dict[type[nn.Module], type[Dropout] | type[ChannelDropout]] = {
    nn.Dropout: Dropout,
    nn.Dropout1d: ChannelDropout,
    nn.Dropout2d: ChannelDropout,
    nn.Dropout3d: ChannelDropout,
}


def own_dropout(model: nn.Module, generator: torch.Generator) -> nn.Module:
    """`model` with every nn.Dropout, Dropout1d, 2d and 3d replaced by a layer here that draws from `generator`.

    A layer that stands in several places stays one layer. Names of parameters do not change.

    Raises:
        ValueError: a probability is not in [0, 1); the message names the layer.
    """
    replaced: dict[nn.Module, nn.Module] = {}
    for name, module in model.named_modules():
        if type(module) in _KINDS:
            probability: float = module.p  # pyright: ignore[reportAssignmentType] - of all four kinds
            try:
                replaced[module] = _KINDS[type(module)](probability, generator)
            except ValueError as error:
                raise ValueError(f"layer '{name}': {error}") from error
            replaced[module].train(module.training)
    for parent in list(model.modules()):
        for name, child in parent._modules.items():  # named_children() names a layer in two places once
            if child in replaced:
                parent._modules[name] = replaced[child]
    return replaced.get(model, model)


def set_dropout(model: nn.Module, probability: float) -> None:
    """Sets the probability of every dropout layer of `model`, for a stage of progressive training.

    Raises:
        ConfigError: the model has none.
        ValueError: the probability is not in [0, 1).
    """
    layers = [module for module in model.modules() if isinstance(module, Dropout | ChannelDropout)]
    if not layers:
        raise ConfigError(f"a dropout of {probability:g} is asked for, but the model has no dropout layer: add one")
    for layer in layers:
        layer.probability = _checked(probability)


def _checked(probability: float) -> float:
    if not 0.0 <= probability < 1.0:
        raise ValueError(f"dropout probability {probability} is not in [0, 1)")
    return probability
