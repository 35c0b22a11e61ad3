"""Cutout: one square of each image, anywhere."""

from __future__ import annotations

import pytest
import torch

from lossmith.train.augment.boxes import filled, inside
from lossmith.train.augment.cutout import cutout


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def white(batch: int, channels: int, height: int, width: int) -> torch.Tensor:
    return torch.full((batch, channels, height, width), 255, dtype=torch.uint8)


@pytest.mark.parametrize("side", [1, 4, 5, 16, 100])
def test_one_square_cut_off_at_the_border(side: int) -> None:
    images = white(200, 3, 20, 26)
    blanked = cutout(images, side, generator()) == 0
    assert bool((images == 255).all())
    assert torch.equal(blanked, blanked[:, :1].expand_as(blanked))  # the same in every channel
    rows, columns = blanked[:, 0].any(dim=2), blanked[:, 0].any(dim=1)
    assert torch.equal(blanked[:, 0], rows[:, :, None] & columns[:, None, :])  # a rectangle
    half, rest = side // 2, side - side // 2  # pixels before the centre, and from the centre on
    for marked, size in ((rows, 20), (columns, 26)):
        possible = {min(centre + rest, size) - max(centre - half, 0) for centre in range(size)}
        assert {int(count) for count in marked.sum(dim=1)} <= possible


def test_every_centre_is_as_likely() -> None:
    blanked = cutout(white(9000, 1, 3, 3), 1, generator()) == 0
    assert blanked.flatten(1).sum(dim=1).unique().tolist() == [1]
    assert all(850 < int(count) < 1150 for count in blanked.flatten(1).sum(dim=0))  # 5 standard deviations around 1,000


def test_rectangles_and_their_fill() -> None:
    first, end = torch.tensor([1, -3, 2]), torch.tensor([3, 2, 2])
    mask = inside((first, end), (torch.tensor([0, 0, 0]), torch.tensor([1, 9, 4])), 4, 5)
    assert mask.dtype == torch.uint8
    assert mask[0, 0].tolist() == [[0] * 5, [1, 0, 0, 0, 0], [1, 0, 0, 0, 0], [0] * 5]
    assert mask[1, 0].tolist() == [[1] * 5, [1] * 5, [0] * 5, [0] * 5]
    assert not mask[2].any()
    images = torch.arange(60, dtype=torch.uint8).view(3, 1, 4, 5)
    for level in (0, 128, 255):
        assert torch.equal(filled(images, mask, level), images.masked_fill(mask.bool(), level))
