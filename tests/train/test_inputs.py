"""What a network is given."""

from __future__ import annotations

import pytest
import torch

from bars import make_task
from lossmith.train.inputs import at_size, largest_size, scaled, smallest_size

VALUES = torch.tensor([0, 1, 127, 128, 255], dtype=torch.uint8).view(1, 1, 1, 5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scalings(dtype: torch.dtype) -> None:
    unit = scaled(VALUES, "unit", dtype=dtype, memory_format=torch.contiguous_format)
    assert unit.dtype == dtype
    assert unit.flatten().tolist() == (torch.tensor([0, 1, 127, 128, 255], dtype=dtype) / 255).tolist()
    centred = scaled(VALUES, "centred", dtype=dtype, memory_format=torch.contiguous_format)
    assert centred.flatten().tolist() == [-127.5 / 128, -126.5 / 128, -0.5 / 128, 0.5 / 128, 127.5 / 128]


def test_what_is_given_is_left_as_it_was_and_the_layout_is_as_asked() -> None:
    images = torch.full((2, 3, 4, 4), 255.0)
    for scaling in ("unit", "centred"):
        found = scaled(images, scaling, memory_format=torch.channels_last)
        assert found.is_contiguous(memory_format=torch.channels_last)
    assert bool((images == 255.0).all())


def test_a_size_that_is_there_already_costs_nothing() -> None:
    images = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    assert at_size(images, None) is images
    assert at_size(images, 8) is images
    assert at_size(images, 5).shape == (2, 1, 5, 5)
    assert at_size(images[..., :6], 6).shape == (2, 1, 6, 6)


def test_largest_and_smallest_size() -> None:
    stages = [{"steps": 5, "resize": 6}, {"steps": 4, "resize": 12}, {"steps": 3}]
    for task, smallest, largest in (
        (make_task(), (9, 8), (9, 8)),
        (make_task(resize=10), (10, 10), (10, 10)),
        (make_task(stages=stages), (6, 6), (12, 12)),
        (make_task(stages=stages[1:], steps=7, resize=4), (4, 4), (12, 12)),
        (make_task(stages=stages[1:], steps=7), (9, 8), (12, 12)),
    ):
        assert smallest_size(task, (1, 9, 8)) == smallest
        assert largest_size(task, (1, 9, 8)) == largest
