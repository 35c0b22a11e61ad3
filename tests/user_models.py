"""Networks as a user writes them, for `model: user_models:<function>`: some can be fused, some only seem so."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Pool(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3))


class Residual(nn.Module):
    """Depthwise and 1x1 convolutions around which the input goes."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.norm = nn.GroupNorm(2, channels)
        self.pointwise = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.pointwise(functional.relu(self.norm(self.depthwise(x))))


class Around(nn.Module):
    """A layer, and a function of its output."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer


class Concatenated(Around):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.layer(x)], 1)


class Shuffled(Around):
    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        shuffled = x.view(batch, 2, channels // 2, height, width).transpose(1, 2).reshape(x.shape)
        return self.layer(shuffled)


class SoftmaxOfChannels(Around):
    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x).softmax(1)


class FixedView(Around):
    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x).view(len(x), 4, -1)[..., None]


class DroppedOut(Around):
    def forward(self, x: Tensor) -> Tensor:
        return functional.dropout(self.layer(x), 0.5, self.training)


class SqueezeExcite(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, 2)
        self.excite = nn.Linear(2, channels)
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, _, _ = x.shape
        scale = self.gate(self.excite(functional.relu(self.squeeze(x.mean((2, 3))))))
        return x * scale.view(batch, channels, 1, 1)


class FixedSqueezeExcite(SqueezeExcite):
    def forward(self, x: Tensor) -> Tensor:
        scale = self.gate(self.excite(functional.relu(self.squeeze(x.mean((2, 3)).view(-1, 4)))))
        return x * scale.view(-1, 4, 1, 1)


class SharedScale(nn.Module):
    """Divides by the largest number of the image: of all slots, where there are several."""

    def forward(self, x: Tensor) -> Tensor:
        return x / x.abs().amax((1, 2, 3), keepdim=True)


class ChannelsLast(nn.Module):
    """An activation of images with their channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.activation = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Scaled(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class InPlace(nn.Module):
    """What comes in is changed, and read again."""

    def __init__(self) -> None:
        super().__init__()
        self.activation = nn.SiLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = x * 1.5
        return self.activation(y) + y


class CastToSingle(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.float()


def _net(in_channels: int, num_classes: int, *middle: nn.Module, channels: int = 4) -> nn.Module:
    first = nn.Conv2d(in_channels, 4, 3, padding=1)
    return nn.Sequential(first, nn.BatchNorm2d(4), nn.ReLU(), *middle, Pool(), nn.Linear(channels, num_classes))


def plain(in_channels: int, num_classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(in_channels, 6, 3, padding=1, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout2d(0.2),
        nn.Conv2d(6, 5, (3, 1), stride=(1, 2), padding=(1, 0)),
        nn.Tanh(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(20, 7),
        nn.SiLU(),
        nn.Linear(7, num_classes),
    )


def residual(in_channels: int, num_classes: int) -> nn.Module:
    return _net(in_channels, num_classes, Residual(4), nn.Conv2d(4, 4, 3, padding=2, dilation=2), Residual(4))


def excited(in_channels: int, num_classes: int) -> nn.Module:
    return _net(in_channels, num_classes, SqueezeExcite(4))


def channels_last(in_channels: int, num_classes: int) -> nn.Module:
    return _net(in_channels, num_classes, ChannelsLast())


def in_place(in_channels: int, num_classes: int) -> nn.Module:
    return _net(in_channels, num_classes, InPlace(), nn.ELU(inplace=True))


def frozen(in_channels: int, num_classes: int) -> nn.Module:
    model = _net(in_channels, num_classes, nn.Conv2d(4, 4, 1))
    next(model.parameters()).requires_grad_(False)  # the first layer's weight
    return model


def one_layer_twice(in_channels: int, num_classes: int) -> nn.Module:
    layer = nn.Conv2d(4, 4, 3, padding=1)
    return _net(in_channels, num_classes, layer, nn.BatchNorm2d(4), nn.ReLU(), layer)


def zero_at_first(in_channels: int, num_classes: int) -> nn.Module:
    """The mixing of the slots is hidden until the last layer has left 0."""
    model = _net(in_channels, num_classes, SharedScale())
    nn.init.zeros_(model.get_submodule(str(len(list(model.children())) - 1)).get_parameter("weight"))
    return model


# --- not to be fused ------------------------------------------------------------------------------------------------


def concatenated(in_channels: int, num_classes: int) -> nn.Module:
    block = nn.Sequential(Concatenated(nn.Conv2d(4, 4, 1)))
    return _net(in_channels, num_classes, block, channels=8)


def shuffled(in_channels: int, num_classes: int) -> nn.Module:
    return _net(in_channels, num_classes, Shuffled(nn.Conv2d(4, 4, 1)))


def softmax_of_channels(in_channels: int, num_classes: int) -> nn.Module:
    return _net(in_channels, num_classes, SoftmaxOfChannels(nn.Conv2d(4, 4, 1)))


def softmax_layer(in_channels: int, num_classes: int) -> nn.Module:
    return _net(in_channels, num_classes, nn.Softmax2d())


def fixed_view(in_channels: int, num_classes: int) -> nn.Module:
    return _net(in_channels, num_classes, FixedView(nn.Conv2d(4, 4, 1)))


def dropped_out(in_channels: int, num_classes: int) -> nn.Module:
    return _net(in_channels, num_classes, DroppedOut(nn.Conv2d(4, 4, 1)))


def fixed_squeeze_excite(in_channels: int, num_classes: int) -> nn.Module:
    return _net(in_channels, num_classes, FixedSqueezeExcite(4))


def own_parameter(in_channels: int, num_classes: int) -> nn.Module:
    return _net(in_channels, num_classes, nn.Sequential(Scaled(4)))


def layer_norm(in_channels: int, num_classes: int) -> nn.Module:
    return _net(in_channels, num_classes, nn.Sequential(nn.ReLU(), nn.LayerNorm(8)))


def embedding(in_channels: int, num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(in_channels * 64, num_classes), nn.Embedding(4, 4))


def same_padding(in_channels: int, num_classes: int) -> nn.Module:
    return _net(in_channels, num_classes, nn.Conv2d(4, 4, 3, padding="same"))


def reflected(in_channels: int, num_classes: int) -> nn.Module:
    return _net(in_channels, num_classes, nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"))


def cumulative(in_channels: int, num_classes: int) -> nn.Module:
    return _net(in_channels, num_classes, nn.BatchNorm2d(4, momentum=None))


def tied(in_channels: int, num_classes: int) -> nn.Module:
    one, other = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
    other.weight = one.weight
    return _net(in_channels, num_classes, one, other)


def hooked(in_channels: int, num_classes: int) -> nn.Module:
    layer = nn.Conv2d(4, 4, 1)
    layer.register_forward_hook(lambda *given: torch.mul(given[2], 2))
    return _net(in_channels, num_classes, layer)


def linear_of_three(in_channels: int, num_classes: int) -> nn.Module:
    return _net(in_channels, num_classes, nn.Linear(8, 8))


def cast_to_single(in_channels: int, num_classes: int) -> nn.Module:
    return _net(in_channels, num_classes, CastToSingle())


def detached(in_channels: int, num_classes: int) -> nn.Module:
    """Joins the slots where only the gradient tells."""

    class Mean(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + (zero := x.mean((1, 2, 3), keepdim=True)) - zero.detach()

    return _net(in_channels, num_classes, Mean())
