"""Affine maps equal Pillow's, exactly: nearest neighbour, the same matrix, the same fill."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from lossmith.train.augment import geometry
from lossmith.train.augment.geometry import Affine
from pil_images import fill_of, from_pil, photographs, random_images, to_pil


def warped(images: Tensor, affine: Affine, fill: int = 128) -> Tensor:
    numbers = torch.tensor([geometry.fixed_point(affine)] * len(images), dtype=torch.int32)
    return geometry.warped(images, numbers, fill)


def pillow_warped(images: Tensor, affine: Affine, fill: int = 128) -> Tensor:
    def warp(image: Image.Image) -> Image.Image:
        return image.transform(
            image.size, Image.Transform.AFFINE, affine, Image.Resampling.NEAREST, fillcolor=fill_of(image, fill)
        )

    return torch.stack([from_pil(warp(to_pil(image))) for image in images])


def pillow_rotated(images: Tensor, degrees: float) -> Tensor:
    pictures = [to_pil(image) for image in images]
    turned = [p.rotate(degrees, Image.Resampling.NEAREST, fillcolor=fill_of(p, 128)) for p in pictures]
    return torch.stack([from_pil(picture) for picture in turned])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("degrees", [15.0, -15.0, 30.0, 45.0, -90.0, 0.0])
def test_photographs_rotated(degrees: float, channels: int) -> None:
    images = photographs(80, channels)
    affine = geometry.rotation(degrees, 80, 80)
    assert torch.equal(warped(images, affine), pillow_rotated(images, degrees))
    assert torch.equal(warped(images, affine), pillow_warped(images, affine))


@settings(max_examples=80, deadline=None)
@given(random_images(), st.floats(-90.0, 90.0))
def test_rotation(images: Tensor, degrees: float) -> None:
    height, width = images.shape[2:]
    assert torch.equal(warped(images, geometry.rotation(degrees, height, width)), pillow_rotated(images, degrees))


@settings(max_examples=80, deadline=None)
@given(random_images(), st.floats(-1.0, 1.0), st.integers(0, 255))
def test_shear(images: Tensor, slope: float, fill: int) -> None:
    for affine in (geometry.shear_x(slope), geometry.shear_y(slope)):
        assert torch.equal(warped(images, affine, fill), pillow_warped(images, affine, fill))


@settings(max_examples=80, deadline=None)
@given(random_images(), st.one_of(st.integers(-60, 60).map(float), st.decimals(-60, 60, places=3).map(float)))
def test_translation(images: Tensor, pixels: float) -> None:
    height, width = images.shape[2:]
    along_x, along_y = (1.0, 0.0, pixels, 0.0, 1.0, 0.0), (1.0, 0.0, 0.0, 0.0, 1.0, pixels)
    assert torch.equal(warped(images, geometry.translation_x(pixels, width)), pillow_warped(images, along_x))
    assert torch.equal(warped(images, geometry.translation_y(pixels, height)), pillow_warped(images, along_y))


@pytest.mark.parametrize("pixels", [81.0, -81.0, 1e9, -1e9])
def test_far_translations_leave_nothing(pixels: float) -> None:
    images = photographs(80, 3)
    for affine in (geometry.translation_x(pixels, 80), geometry.translation_y(pixels, 80)):
        assert warped(images, affine, 7).unique().tolist() == [7]


def test_each_image_has_its_own_map() -> None:
    images = photographs(28, 3)
    affines = [geometry.rotation(7.0 * number, 28, 28) for number in range(len(images))]
    numbers = torch.tensor([geometry.fixed_point(affine) for affine in affines], dtype=torch.int32)
    together = geometry.warped(images, numbers, 128)
    for number, affine in enumerate(affines):
        assert torch.equal(together[number : number + 1], warped(images[number : number + 1], affine))
