"""From a model's name to a network with its initial weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from lossmith.errors import ConfigError, nearest
from lossmith.train.dropout import Dropout, set_dropout
from lossmith.train.models.convnet import convnet
from lossmith.train.models.custom import custom_model
from lossmith.train.models.effnetv2s import effnetv2s
from lossmith.train.models.resnet9v2 import resnet9v2
from lossmith.train.models.weights import load_weights
from lossmith.train.models.wideresnet import wideresnet

# The method's; the wide network's paper trains without, or with 0.3.
DEFAULT_DROPOUT = {"convnet": 0.1, "resnet9v2": 0.5, "wideresnet28-10": 0.0, "effnetv2s": 0.1}

IMAGENET = "imagenet"


def build_model(
    name: str,
    *,
    in_channels: int,
    num_classes: int,
    generator: torch.Generator,
    dropout_generator: torch.Generator,
    dropout: float | None = None,
    weights: str | None = None,
) -> nn.Module:
    """A new network from images, float [B, in_channels, H, W] as the task scales them, to logits [B, num_classes].

    Args:
        name: a built-in one, or 'package.module:function' for one of the user's own (`custom.py`).
        in_channels: 1 for grey images, 3 for colour.
        num_classes: how many logits, from the data set.
        generator: the weights' only source of randomness; a CPU generator.
        dropout_generator: the source of the dropout masks; on the device where the network will run.
        dropout: the probability of every dropout layer, in [0, 1); None for the network's own.
        weights: 'imagenet' (of effnetv2s only), or a file (`weights.py`); None: drawn from `generator`. A last layer
            for another number of classes is drawn all the same.

    Returns:
        The network on the CPU, in training mode. Torch's global generator is neither read nor moved.

    Raises:
        ConfigError: one line: no such model, one that cannot be made, a package that is missing, or wrong weights.
    """
    if weights == IMAGENET and name != "effnetv2s":
        raise ConfigError(f"model '{name}' has no weights 'imagenet', only effnetv2s has: give a file, or leave it out")
    if ":" in name:
        model = custom_model(
            name,
            in_channels=in_channels,
            num_classes=num_classes,
            generator=generator,
            dropout_generator=dropout_generator,
        )
        if dropout is not None:
            set_dropout(model, dropout)
    elif name in DEFAULT_DROPOUT:
        probability = DEFAULT_DROPOUT[name] if dropout is None else dropout
        layer = partial(Dropout, probability, dropout_generator)
        model = _built_in(name, in_channels, num_classes, layer, generator, pretrained=weights == IMAGENET)
    else:
        known = ", ".join(DEFAULT_DROPOUT)
        hint = nearest(name, DEFAULT_DROPOUT)
        raise ConfigError(f"no model '{name}'{hint}: use one of {known}, or your own as 'package.module:function'")
    if weights is not None and weights != IMAGENET:
        load_weights(model, weights)
    return model


def _built_in(
    name: str,
    in_channels: int,
    num_classes: int,
    dropout: Callable[[], nn.Module],
    generator: torch.Generator,
    *,
    pretrained: bool,
) -> nn.Module:
    if name == "convnet":
        return convnet(in_channels, num_classes, dropout(), generator)
    if name == "resnet9v2":
        return resnet9v2(in_channels, num_classes, dropout(), generator)
    if name == "wideresnet28-10":
        return wideresnet(in_channels, num_classes, dropout, generator)
    return effnetv2s(in_channels, num_classes, dropout(), generator, pretrained=pretrained)
