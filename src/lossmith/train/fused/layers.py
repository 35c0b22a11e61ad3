"""The layers that K candidates can share, and those that they cannot.

A layer with weights is replaced by one that holds K times as many, seen as [K, ...]; a layer without works as it is,
since slots are channels to it (`fused/layout.py`), or, where its rounding would depend on the place in memory, is
replaced as well.

Legend: K slots, B batch, C channels, I inputs, O outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lossmith.train.dropout import ChannelDropout, Dropout
from lossmith.train.fused import layout
from lossmith.train.fused.convolution import fused_conv2d
from lossmith.train.fused.layout import images_of, rows_of
from lossmith.train.models.layers import Subsample


class Fused(nn.Module):
    """A layer of K slots. `values` are its weights and statistics, [K, ...] each, by the names that one slot's have."""

    def __init__(self) -> None:
        super().__init__()
        self.slots = 0
        self.values: dict[str, Tensor] = {}

    def value(self, name: str) -> Tensor | None:
        return self.values.get(name)


class FusedConv2d(Fused):
    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__()
        padding: Any = layer.padding
        if layer.padding_mode != "zeros" or isinstance(padding, str):
            raise ValueError(f"padding {layer.padding!r}, mode {layer.padding_mode!r}")
        sizes: Any = (layer.stride, padding, layer.dilation)
        self._stride, self._padding, self._dilation = sizes
        self._groups = layer.groups

    def forward(self, x: Tensor) -> Tensor:
        return fused_conv2d(
            x,
            self.values["weight"],
            self.value("bias"),
            stride=self._stride,
            padding=self._padding,
            dilation=self._dilation,
            groups=self._groups,
        )


class FusedBatchNorm2d(Fused):
    """Over K * C channels batch normalisation is exactly that of each slot."""

    def __init__(self, layer: nn.BatchNorm2d) -> None:
        super().__init__()
        if layer.momentum is None or not layer.track_running_stats:
            raise ValueError("a cumulative average, or no running statistics")
        self._eps, self._momentum = layer.eps, layer.momentum

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.value("weight"), self.value("bias")
        # copies, since torch changes them in place, and its backward pass keeps them
        mean, variance = (self.values[name].flatten().clone() for name in ("running_mean", "running_var"))
        innermost = layout.batch_innermost(x.device)
        rows = rows_of(x) if innermost else x
        inputs = rows.view(1, rows.shape[0], -1) if innermost else rows
        normal = functional.batch_norm(
            inputs,
            mean,
            variance,
            None if weight is None else weight.flatten(),
            None if bias is None else bias.flatten(),
            self.training,
            self._momentum,
            self._eps,
        )
        if self.training:
            self.values["running_mean"].copy_(mean.view(self.slots, -1))
            self.values["running_var"].copy_(variance.view(self.slots, -1))
        return images_of(normal.view(rows.shape)) if innermost else normal


class FusedGroupNorm(Fused):
    def __init__(self, layer: nn.GroupNorm) -> None:
        super().__init__()
        self._groups, self._eps = layer.num_groups, layer.eps

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.value("weight"), self.value("bias")
        return functional.group_norm(
            x,
            self._groups * self.slots,
            None if weight is None else weight.flatten(),
            None if bias is None else bias.flatten(),
            self._eps,
        )


class FusedLinear(Fused):
    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() != 2:
            raise ValueError(f"inputs of {x.dim()} dimensions, only [B, I] can be fused")
        weight = self.values["weight"][..., None, None]
        whole = fused_conv2d(  # a 1x1 convolution of images of one pixel
            x[..., None, None], weight, self.value("bias"), stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1
        )
        return whole.flatten(1)


class FusedDropout(nn.Module):
    """Each slot's masks come from its own generator, drawn as the slot alone would draw them."""

    def __init__(self, layer: Dropout | ChannelDropout) -> None:
        super().__init__()
        self.probability = layer.probability
        self._channels = isinstance(layer, ChannelDropout)
        self.generators: Sequence[torch.Generator] = ()

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.probability == 0.0:
            return x
        keep = 1.0 - self.probability
        masks = [self._mask(piece, keep, own) for piece, own in zip(self._pieces(x), self.generators, strict=True)]
        return x * torch.cat(masks, 1).mul_(1.0 / keep)

    def _pieces(self, x: Tensor) -> tuple[Tensor, ...]:
        return x.detach().chunk(len(self.generators), 1)

    def _mask(self, piece: Tensor, keep: float, generator: torch.Generator) -> Tensor:
        shape = (*piece.shape[:2], *(1 for _ in piece.shape[2:])) if self._channels else tuple(piece.shape)
        layout = torch.channels_last if len(shape) == 4 else torch.contiguous_format
        mask = torch.empty(shape, dtype=piece.dtype, device=piece.device, memory_format=layout)
        return mask.bernoulli_(keep, generator=generator)


class FusedSubsample(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return images_of(rows_of(x)[:, ::2, ::2]) if layout.batch_innermost(x.device) else x[:, :, ::2, ::2]


class FusedActivation(Fused):
    """A function of each number by itself.

    Torch takes the numbers in memory by vectors, and the last ones, that do not fill one, by other instructions, whose
    rounding can differ. Where a slot's numbers do not fill vectors, the last one of all is therefore filled up. (On one
    thread: with several, each one's share has an end.)
    """

    _VECTOR = 64  # a multiple of what torch takes at once, on any CPU

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self._function: Callable[[Tensor], Tensor] = layer.forward
        self._in_place = getattr(layer, "inplace", False)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.movedim(0, -1)
        if not layout.batch_innermost(x.device):
            return self._function(x)
        if x.numel() // self.slots % self._VECTOR == 0 and rows.is_contiguous():
            return self._function(x)
        missing = -x.numel() % self._VECTOR
        whole = self._function(functional.pad(rows.reshape(-1), (0, missing)).clone())[: x.numel()]
        found = whole.view(rows.shape).movedim(-1, 0)
        return x.copy_(found) if self._in_place else found


BY_SLOT: dict[type[nn.Module], Callable[[Any], Fused]] = {
    nn.Conv2d: FusedConv2d,
    nn.BatchNorm2d: FusedBatchNorm2d,
    nn.GroupNorm: FusedGroupNorm,
    nn.Linear: FusedLinear,
    **dict.fromkeys(
        (
            *(nn.CELU, nn.ELU, nn.GELU, nn.Hardsigmoid, nn.Hardswish, nn.LeakyReLU, nn.LogSigmoid, nn.Mish, nn.SELU),
            *(nn.SiLU, nn.Sigmoid, nn.Softplus, nn.Softsign, nn.Tanh, nn.Tanhshrink),
        ),
        FusedActivation,
    ),
}
WITHOUT: dict[type[nn.Module], Callable[[Any], nn.Module]] = {
    Dropout: FusedDropout,
    ChannelDropout: FusedDropout,
    Subsample: lambda layer: FusedSubsample(),
}
