"""Single layers for K slots: their bits, their masks, and what they do in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lossmith.train.dropout import ChannelDropout, Dropout
from lossmith.train.fused.layers import BY_SLOT, FusedActivation, FusedDropout, FusedSubsample
from lossmith.train.models.layers import Subsample

ACTIVATIONS = [kind for kind, fused in BY_SLOT.items() if fused is FusedActivation]


def side_by_side(pieces: list[Tensor]) -> Tensor:
    return torch.cat([piece.movedim(0, -1) for piece in pieces]).contiguous().movedim(-1, 0)


def activated(layer: nn.Module, pieces: list[Tensor]) -> tuple[Tensor, Tensor]:
    """The layer's output for all pieces side by side, and the gradient of its input."""
    fused: Any = BY_SLOT[type(layer)](layer)
    fused.slots = len(pieces)
    x = side_by_side(pieces).requires_grad_()
    out = fused(x * 1.0)
    (gradient,) = torch.autograd.grad(out, x, side_by_side([piece.cos() for piece in pieces]))
    return out.detach(), gradient


@pytest.mark.parametrize("kind", ACTIVATIONS)
@pytest.mark.parametrize("shape", [(5, 3, 7, 7), (3, 5), (16, 4, 2, 2)])
def test_an_activation_is_torchs_and_its_bits_are_a_slots_own(kind: type[nn.Module], shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    pieces = [torch.randn(shape, generator=generator) * 3 for _ in range(3)]
    whole, gradient = activated(kind(), pieces)
    for slot, piece in enumerate(pieces):
        alone, own_gradient = activated(kind(), [piece])
        assert torch.equal(whole.chunk(3, 1)[slot], alone)
        assert torch.equal(gradient.chunk(3, 1)[slot], own_gradient)
        torch.testing.assert_close(alone, kind()(piece))


@pytest.mark.parametrize("make", [lambda: nn.SiLU(inplace=True), lambda: nn.ELU(inplace=True)])
@pytest.mark.parametrize("shape", [(5, 3, 7, 7), (64, 2)])
def test_in_place_stays_in_place(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    x = side_by_side([torch.randn(shape, generator=torch.Generator().manual_seed(1))] * 2)
    expected = make()(x.clone())
    layer: Any = make()
    fused: Any = BY_SLOT[type(layer)](layer)
    fused.slots = 2
    out = fused(x)
    assert out is x
    torch.testing.assert_close(x, expected)


@pytest.mark.parametrize("kind", [Dropout, ChannelDropout])
@pytest.mark.parametrize("shape", [(4, 3, 5, 5), (4, 6, 3)])
def test_each_slot_drops_what_it_drops_alone(
    kind: type[Dropout] | type[ChannelDropout], shape: tuple[int, ...]
) -> None:
    pieces = [torch.rand(shape, generator=torch.Generator().manual_seed(slot)) + 1 for slot in range(3)]
    fused = FusedDropout(kind(0.4, torch.Generator()))
    fused.generators = [torch.Generator().manual_seed(slot + 10) for slot in range(3)]
    singles = [kind(0.4, torch.Generator().manual_seed(slot + 10)) for slot in range(3)]
    for _ in range(2):  # the second draw follows the first
        found = fused(side_by_side(pieces))
        for own, single, piece in zip(found.chunk(3, 1), singles, pieces, strict=True):
            last = piece.contiguous(memory_format=torch.channels_last) if len(shape) == 4 else piece
            assert torch.equal(own, single(last))
    fused.eval()
    assert torch.equal(fused(pieces[0]), pieces[0])


def test_every_second_row_and_column() -> None:
    pieces = [torch.rand((2, 3, 5, 4), generator=torch.Generator().manual_seed(slot)) for slot in range(2)]
    found = FusedSubsample()(side_by_side(pieces))
    assert torch.equal(found, torch.cat([Subsample()(piece) for piece in pieces], 1))
