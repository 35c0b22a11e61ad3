"""The random crop and the flip: each image its own draw, from the generator alone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from lossmith.train.augment.crop import flip, pad_and_crop


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def distinct_images(batch: int, channels: int, height: int, width: int) -> Tensor:
    """uint8 images in which no two pixels of one image are alike, and none is 0."""
    assert channels * height * width < 256
    image = torch.arange(1, channels * height * width + 1, dtype=torch.uint8).view(channels, height, width)
    return image.repeat(batch, 1, 1, 1)


def crops(image_CHW: Tensor, pad: int) -> list[Tensor]:
    _, height, width = image_CHW.shape
    padded = functional.pad(image_CHW, (pad, pad, pad, pad))
    offsets = range(2 * pad + 1)
    return [padded[:, row : row + height, column : column + width] for row in offsets for column in offsets]


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 6), st.sampled_from([1, 3]), st.integers(2, 7), st.integers(2, 7), st.integers(0, 3), st.booleans()
)
def test_every_image_is_one_of_its_own_crops(
    batch: int, channels: int, height: int, width: int, pad: int, mirror: bool
) -> None:
    images = distinct_images(batch, channels, height, width)
    before = images.clone()
    own = generator(height * 10 + width)
    changed = pad_and_crop(images, pad, own)
    if mirror:
        changed = flip(changed, own)
    assert torch.equal(images, before)
    assert changed.shape == images.shape
    assert changed.dtype == images.dtype
    for image, result in zip(images, changed, strict=True):
        allowed = crops(image, pad)
        allowed += [crop.flip(2) for crop in allowed] if mirror else []
        assert any(torch.equal(result, candidate) for candidate in allowed)


def test_every_crop_is_as_likely() -> None:
    images = distinct_images(9000, 1, 4, 4)
    changed = pad_and_crop(images, 1, generator())
    counts = [int((changed == crop).all(dim=3).all(dim=2).all(dim=1).sum()) for crop in crops(images[0], 1)]
    assert sum(counts) == 9000
    assert all(850 < count < 1150 for count in counts)  # 5 standard deviations around 1,000


def test_half_of_the_images_are_mirrored() -> None:
    images = distinct_images(4000, 3, 3, 3)
    changed = flip(images, generator())
    mirrored = (changed == images.flip(3)).flatten(1).all(dim=1)
    assert torch.equal(changed[~mirrored], images[~mirrored])
    assert 1840 < int(mirrored.sum()) < 2160


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_draws_come_from_the_generator_alone(dtype: torch.dtype) -> None:
    images = distinct_images(50, 1, 5, 5).to(dtype)
    before = torch.random.get_rng_state()
    generators = (generator(seed) for seed in (1, 1, 2))
    first, again, other = (flip(pad_and_crop(images, 2, own), own) for own in generators)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.dtype == dtype
