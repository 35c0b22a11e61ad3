"""Color and Sharpness equal Pillow's, exactly."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ImageEnhance
from torch import Tensor

from lossmith.train.augment.filters import color, sharpness
from pil_images import from_pil, photographs, random_images, to_pil

FACTORS = st.floats(0.1, 5.5)  # magnitudes 0 to 30


def pillow_color(images: Tensor, factor: float) -> Tensor:
    return torch.stack([from_pil(ImageEnhance.Color(to_pil(image)).enhance(factor)) for image in images])


def pillow_sharpness(images: Tensor, factor: float) -> Tensor:
    return torch.stack([from_pil(ImageEnhance.Sharpness(to_pil(image)).enhance(factor)) for image in images])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("factor", [0.1, 0.64, 1.9, 2.8])
def test_photographs(factor: float, channels: int) -> None:
    images = photographs(80, channels)
    assert torch.equal(color(images, factor), pillow_color(images, factor))
    assert torch.equal(sharpness(images, factor), pillow_sharpness(images, factor))


@settings(max_examples=60, deadline=None)
@given(random_images(), FACTORS)
def test_color(images: Tensor, factor: float) -> None:
    assert torch.equal(color(images, factor), pillow_color(images, factor))


@settings(max_examples=60, deadline=None)
@given(random_images(), FACTORS)
def test_sharpness(images: Tensor, factor: float) -> None:
    assert torch.equal(sharpness(images, factor), pillow_sharpness(images, factor))


def test_a_grey_image_has_no_colour_to_change() -> None:
    images = photographs(28, 1)
    assert torch.equal(color(images, 2.5), images)
