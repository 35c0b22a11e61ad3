"""K networks of one shape as one network.

Legend: K slots, B batch, C channels, P parameters and Q statistics of one slot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from lossmith.errors import ConfigError
from lossmith.train.fused.layers import BY_SLOT, WITHOUT, Fused, FusedDropout

# these have no weights, but draw from torch's global generator, or mix what are slots here
_NOT_ALIKE = (nn.RReLU, nn.FractionalMaxPool2d, nn.AlphaDropout, nn.FeatureAlphaDropout, nn.Softmax, nn.LogSoftmax)
_UNUSED = "num_batches_tracked"  # read by batch norm only where it has no momentum
_ALIGNED = 64  # a slot's numbers begin at multiples of this, so that vector instructions take them alike in every slot
REMEDY = "set execution.way to processes"


class FusionError(ConfigError):
    """A network has a layer that cannot be fused; the message names it."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a tensor of a layer stands in the rows of `parameters` or `statistics`."""

    layer: Fused
    name: str  # within the layer
    path: str  # in the state of a single network
    first: int
    shape: torch.Size

    def of(self, rows: Tensor) -> Tensor:
        """[K, P] or [K, Q] as this tensor, [K, ...]: a view."""
        return rows[:, self.first : self.first + self.shape.numel()].view(rows.shape[0], *self.shape)


class FusedNetwork:
    """K networks with the layers of `template`, which is used up.

    The first `active` slots take part; what a slot computes does not depend on the others.

    Raises:
        FusionError: a layer of the template cannot be fused.
    """

    def __init__(
        self,
        template: nn.Module,
        slots: int,
        *,
        num_classes: int,
        device: torch.device,
        dtype: torch.dtype,
        compiled: bool = False,
    ) -> None:
        self._num_classes = num_classes
        layers = _replace(template)
        self._network = template.train()
        self._run: Callable[[Tensor], Tensor] = torch.compile(template, dynamic=False) if compiled else template
        self._fixed = slots if compiled else None  # slots that are computed, whether they are active or not
        self._dropouts = [module for module in template.modules() if isinstance(module, FusedDropout)]
        self._parameter_places = list(_places(layers, "trained"))
        self._statistic_places = list(_places(layers, "statistics"))
        self._frozen_places = list(_places(layers, "frozen"))
        self._layers = [layer for _, _, layer in layers]
        self.parameters = _rows(slots, self._parameter_places, device, dtype)  # [K, P]
        self.statistics = _rows(slots, self._statistic_places, device, dtype)  # [K, Q]
        # weights without a gradient stand apart: the backward pass reads them after the statistics have changed
        self._frozen = _rows(slots, self._frozen_places, device, dtype)
        self._generators = [torch.Generator(device) for _ in range(slots)]
        self._leaves: list[Tensor] = []
        self.active = 0

    @property
    def width(self) -> int:
        """The slots that are computed: the active ones, or all where the network is compiled."""
        return self._fixed or self.active

    @property
    def module(self) -> nn.Module:
        """The template, with its layers replaced."""
        return self._network

    def load(self, slot: int, state: dict[str, Tensor], generator: torch.Generator) -> None:
        """Put a single network's state in `slot`, and the generator of its dropout masks."""
        for places, rows in self._all():
            for place in places:
                place.of(rows)[slot].copy_(state[place.path])
        self._generators[slot] = generator

    def state(self, slot: int) -> dict[str, Tensor]:
        """The state of `slot` as that of a single network: views."""
        return {place.path: place.of(rows)[slot] for places, rows in self._all() for place in places}

    def move(self, source: int, target: int) -> None:
        """Put the network of slot `source` in the place of `target`."""
        for _, rows in self._all():
            rows[target].copy_(rows[source])
        self._generators[target] = self._generators[source]

    def activate(self, count: int) -> None:
        """Let the first `count` slots take part from now on."""
        self.active = count
        width = self.width
        self._leaves = [place.of(self.parameters[:width]).detach().requires_grad_() for place in self._parameter_places]
        for layer in self._layers:
            layer.slots = width
        for place, leaf in zip(self._parameter_places, self._leaves, strict=True):
            place.layer.values[place.name] = leaf
        for places, rows in self._all()[1:]:
            for place in places:
                place.layer.values[place.name] = place.of(rows[:width])
        for dropout in self._dropouts:
            dropout.generators = self._generators[:width]

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits [K, B, classes] of inputs [B, W * C, H, W], K the active slots and W the `width`.

        Raises:
            FusionError: the network's output is not [B, K * classes].
        """
        outputs = self._run(inputs)
        if outputs.shape != (inputs.shape[0], self.width * self._num_classes):
            raise FusionError(
                f"the model gives {list(outputs.shape)} for {self.width} losses, expected"
                f" {[inputs.shape[0], self.width * self._num_classes]}: {REMEDY}"
            )
        return outputs.t().view(self.width, self._num_classes, -1).transpose(1, 2)[: self.active]

    def gradient(self, logits: Tensor, on_logits: Tensor) -> Tensor:
        """The gradient of every active slot's parameters, [K, P], from that of its logits."""
        found = torch.autograd.grad(logits, self._leaves, on_logits, allow_unused=True)
        flat = [
            (torch.zeros_like(leaf) if part is None else part).reshape(self.width, -1)[: self.active]
            for leaf, part in zip(self._leaves, found, strict=True)
        ]
        rest = self.parameters.shape[1] - sum(part.shape[1] for part in flat)
        return torch.cat([*flat, self.parameters.new_zeros(self.active, rest)], 1)

    def gradients(self, gradient: Tensor) -> dict[str, Tensor]:
        """What `gradient` gave, [K, ...] for each parameter of a single network: views."""
        return {place.path: place.of(gradient) for place in self._parameter_places}

    def finite(self) -> list[bool]:
        """For each active slot, whether every weight and statistic is finite."""
        both = torch.cat([self.parameters[: self.active], self.statistics[: self.active]], 1)
        return both.isfinite().all(1).tolist()

    def _all(self) -> tuple[tuple[list[_Place], Tensor], ...]:
        return (
            (self._parameter_places, self.parameters),
            (self._statistic_places, self.statistics),
            (self._frozen_places, self._frozen),
        )


def _replace(model: nn.Module) -> list[tuple[str, nn.Module, Fused]]:
    """Replace the layers of `model` by fused ones; gives (path, the layer that was there, its replacement)."""
    found: list[tuple[str, nn.Module, Fused]] = []
    replaced: dict[nn.Module, nn.Module] = {}
    owners: dict[int, str] = {}  # of parameters
    for path, layer in model.named_modules():
        kind = type(layer)
        name = described(path, layer)
        for parameter in layer._parameters.values():
            other = owners.setdefault(id(parameter), name) if parameter is not None else name
            if other != name:
                raise FusionError(f"{name} cannot be fused, it shares weights with {other}: {REMEDY}")
        if (kind in BY_SLOT or kind in WITHOUT) and (layer._forward_hooks or layer._forward_pre_hooks):
            raise FusionError(f"{name} cannot be fused, it has hooks: {REMEDY}")
        if kind in BY_SLOT:
            try:
                fused = BY_SLOT[kind](layer)
            except ValueError as error:
                raise FusionError(f"{name} cannot be fused with {error}: {REMEDY}") from error
            found.append((path, layer, fused))
            replaced[layer] = fused
        elif kind in WITHOUT:
            replaced[layer] = WITHOUT[kind](layer)
        elif isinstance(layer, _NOT_ALIKE) or layer._parameters or layer._buffers:
            raise FusionError(f"{name} cannot be fused: {REMEDY}, or use another layer")
    for parent in list(model.modules()):
        for name, child in parent._modules.items():
            if child in replaced:
                parent._modules[name] = replaced[child]
    return found


def described(path: str, layer: nn.Module) -> str:
    """A layer in an error's text."""
    kind = type(layer).__name__
    return f"layer '{path}' ({kind})" if path else f"the model ({kind})"


def _places(
    layers: list[tuple[str, nn.Module, Fused]], kind: Literal["trained", "frozen", "statistics"]
) -> Iterator[_Place]:
    first = 0
    for path, layer, fused in layers:
        for name, tensor in (layer._buffers if kind == "statistics" else layer._parameters).items():
            if tensor is not None and name != _UNUSED and tensor.requires_grad == (kind == "trained"):
                yield _Place(fused, name, f"{path}.{name}" if path else name, first, tensor.shape)
                first += tensor.numel()


def _rows(slots: int, places: list[_Place], device: torch.device, dtype: torch.dtype) -> Tensor:
    width = places[-1].first + places[-1].shape.numel() if places else 0
    return torch.zeros(slots, -(-width // _ALIGNED) * _ALIGNED, device=device, dtype=dtype)
