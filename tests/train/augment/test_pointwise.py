"""Each table equals Pillow's operation, exactly."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from lossmith.train.augment import pointwise
from pil_images import from_pil, photographs, random_images, to_pil

FACTORS = st.floats(0.1, 5.5)  # magnitudes 0 to 30
OperationOfPillow = Callable[[Image.Image], Image.Image]


def same_as_pillow(images: Tensor, tables: Tensor, operation: OperationOfPillow) -> None:
    found = pointwise.looked_up(images, tables.expand(*images.shape[:2], 256))
    expected = torch.stack([from_pil(operation(to_pil(image))) for image in images])
    assert torch.equal(found, expected)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [28, 80])
def test_photographs(size: int, channels: int) -> None:
    images = photographs(size, channels)
    same_as_pillow(images, pointwise.auto_contrast_tables(images), ImageOps.autocontrast)
    same_as_pillow(images, pointwise.equalize_tables(images), ImageOps.equalize)


@settings(max_examples=60, deadline=None)
@given(random_images())
def test_autocontrast(images: Tensor) -> None:
    same_as_pillow(images, pointwise.auto_contrast_tables(images), ImageOps.autocontrast)


@settings(max_examples=60, deadline=None)
@given(random_images())
def test_equalize(images: Tensor) -> None:
    same_as_pillow(images, pointwise.equalize_tables(images), ImageOps.equalize)


@settings(max_examples=20, deadline=None)
@given(random_images())
def test_invert(images: Tensor) -> None:
    same_as_pillow(images, pointwise.invert_table(), ImageOps.invert)


@settings(max_examples=30, deadline=None)
@given(random_images(), st.integers(1, 8))
def test_posterize(images: Tensor, bits: int) -> None:
    same_as_pillow(images, pointwise.posterize_table(bits), lambda image: ImageOps.posterize(image, bits))


def test_posterize_to_no_bits_is_black() -> None:  # Pillow refuses
    assert pointwise.posterize_table(0).tolist() == [0] * 256


@settings(max_examples=30, deadline=None)
@given(random_images(), st.integers(0, 800))
def test_solarize(images: Tensor, threshold: int) -> None:
    same_as_pillow(images, pointwise.solarize_table(threshold), lambda image: ImageOps.solarize(image, threshold))


@settings(max_examples=30, deadline=None)
@given(random_images(), st.integers(0, 330))
def test_solarize_add(images: Tensor, addition: int) -> None:
    def add(level: int) -> int:  # Pillow has no such operation, but applies any table
        return min(level + addition, 255) if level < 128 else level

    table = [add(level) for level in range(256)]
    same_as_pillow(
        images,
        pointwise.solarize_add_table(addition),
        lambda image: image.point(table * len(image.getbands())),
    )


@settings(max_examples=60, deadline=None)
@given(random_images(), FACTORS)
def test_brightness(images: Tensor, factor: float) -> None:
    same_as_pillow(
        images,
        pointwise.brightness_table(factor),
        lambda image: ImageEnhance.Brightness(image).enhance(factor),
    )


@settings(max_examples=60, deadline=None)
@given(random_images(), FACTORS)
def test_contrast(images: Tensor, factor: float) -> None:
    same_as_pillow(
        images,
        pointwise.contrast_tables(images, factor),
        lambda image: ImageEnhance.Contrast(image).enhance(factor),
    )


@settings(max_examples=30, deadline=None)
@given(random_images())
def test_grey(images: Tensor) -> None:
    expected = torch.stack([from_pil(to_pil(image).convert("L")) for image in images])
    assert torch.equal(pointwise.grey(images).to(torch.uint8), expected)
