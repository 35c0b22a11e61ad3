"""EfficientNetV2-S (Tan and Le, arXiv 2104.00298), the method's large network, as timm has it.

timm's `tf_efficientnetv2_s` is the one with TensorFlow's padding and batch-norm constants: what the published program
trains, and what the ImageNet weights of the paper's authors belong to (timm has no weights for its plain
`efficientnetv2_s`). Those weights expect the scaling "centred".
"""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import nn

from lossmith.errors import ConfigError
from lossmith.train.models.seeding import seeded

_NAME = "tf_efficientnetv2_s"
_WEIGHTS = "in1k"  # trained on ImageNet-1k alone, as the published program's are


def effnetv2s(
    in_channels: int, num_classes: int, dropout: nn.Module, generator: torch.Generator, *, pretrained: bool = False
) -> nn.Module:
    """EfficientNetV2-S without stochastic depth; dropout before the last layer. Images of 32 pixels square and up.

    20,190,298 parameters for 3 channels and 10 classes. Initial weights are timm's, drawn from `generator`.

    Args:
        in_channels: of the images; with `pretrained`, timm fits the first layer to any number.
        num_classes: how many logits; with `pretrained`, the last layer is drawn anew.
        dropout: the layer to put before the last one.
        generator: a CPU generator.
        pretrained: start from ImageNet weights, which timm downloads once and keeps.

    Raises:
        ConfigError: timm is not installed or cannot be imported, or the weights cannot be had.
    """
    timm = _timm()
    # timm's own dropout is a function that draws from the global generator: 0 switches it off.
    settings = {"in_chans": in_channels, "num_classes": num_classes, "drop_rate": 0.0}
    with seeded(generator):
        model: Any = _pretrained(timm, settings) if pretrained else timm.create_model(_NAME, **settings)
    model.global_pool = nn.Sequential(model.global_pool, dropout)  # what leaves the pool is [B, C]
    return model


def _pretrained(timm: Any, settings: dict[str, Any]) -> nn.Module:
    name = f"{_NAME}.{_WEIGHTS}"
    try:
        return timm.create_model(name, pretrained=True, **settings)
    except Exception as error:  # the hub's client raises its own kinds, its HTTP library's, and the system's
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        problem = f"weights 'imagenet': cannot get timm/{name} from the Hugging Face hub: {reason}"
        remedy = "download its model.safetensors where there is a network, and give that file as weights"
        raise ConfigError(f"{problem}; {remedy}") from error


def _timm() -> Any:
    try:
        return importlib.import_module("timm")
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"model 'effnetv2s' needs the package timm ({error}): pip install 'lossmith[timm]', with the torchvision "
            "that fits your torch"
        ) from error
    except Exception as error:  # a torchvision built for another torch fails with RuntimeError, OSError or ImportError
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(
            f"model 'effnetv2s': importing timm failed: {reason}; torchvision has to be the build that fits torch "
            f"{torch.__version__}: install it from where that torch came from, for a CPU build with "
            "'pip install --force-reinstall --no-deps torchvision --index-url https://download.pytorch.org/whl/cpu'"
        ) from error
