"""Resizing: Pillow's bilinear filter."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from lossmith.train.augment import resized
from pil_images import from_pil, photographs, random_images, to_pil


def pillow_resized(images: Tensor, size: int) -> Tensor:
    pictures = [to_pil(image).resize((size, size), Image.Resampling.BILINEAR) for image in images]
    return torch.stack([from_pil(picture) for picture in pictures])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("before", "after"), [(32, 80), (32, 96), (32, 160), (28, 80), (96, 32), (80, 33)])
def test_photographs(before: int, after: int, channels: int) -> None:
    images = photographs(before, channels)
    result = resized(images, after)
    assert result.dtype == torch.uint8
    difference = (result.int() - pillow_resized(images, after).int()).abs()
    assert int(difference.max()) <= 1  # each rounds its weights to integers
    assert float((difference > 0).float().mean()) < 0.005


@settings(max_examples=60, deadline=None)
@given(random_images(), st.integers(4, 60))
def test_any_image_to_any_size(images: Tensor, size: int) -> None:
    result = resized(images, size)
    assert result.shape == (*images.shape[:2], size, size)
    assert int((result.int() - pillow_resized(images, size).int()).abs().max()) <= 1


def test_the_same_size_is_the_same_tensor() -> None:
    images = photographs(32, 3)
    assert resized(images, 32) is images


def test_a_checkerboard_shrinks_to_grey() -> None:
    board = (torch.arange(64)[:, None] + torch.arange(64)).remainder(2).mul(255).to(torch.uint8)
    small = resized(board.expand(1, 1, 64, 64).contiguous(), 16)
    assert 125 <= int(small.min()) <= int(small.max()) <= 130  # without antialiasing each pixel would see four of them
