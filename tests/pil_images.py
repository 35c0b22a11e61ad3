"""Images for the tests of augmentation, and what Pillow makes of them."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import Tensor


def to_pil(image_CHW: Tensor) -> Image.Image:
    """Of a uint8 image [1 or 3, H, W]."""
    pixels = image_CHW[0] if image_CHW.shape[0] == 1 else image_CHW.permute(1, 2, 0)
    return Image.fromarray(pixels.contiguous().numpy())


def from_pil(image: Image.Image) -> Tensor:
    """uint8 [1 or 3, H, W]."""
    pixels = torch.from_numpy(np.array(image))
    return pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1).contiguous()


def fill_of(image: Image.Image, level: int) -> int | tuple[int, int, int]:
    return level if image.mode == "L" else (level, level, level)


@cache
def photographs(size: int, channels: int) -> Tensor:
    """Crops of scikit-learn's two photographs and structured images, uint8 [16, channels, size, size]."""
    crops = [
        torch.from_numpy(photograph[top : top + size, left : left + size].copy()).permute(2, 0, 1)
        for photograph in load_sample_images().images
        for top, left in ((0, 0), (100, 300), (180, 120), (260, 500), (40, 200))
    ]
    ramp = torch.linspace(0, 255, size).to(torch.uint8).expand(size, size)
    position = torch.arange(size)
    checks = (((position[:, None] // 3 + position // 3) % 2) * 200 + 20).to(torch.uint8)
    two_levels = torch.where(position < 3, 90, 91).to(torch.uint8).expand(size, size)
    crops += [ramp.expand(3, -1, -1), torch.stack([ramp, ramp.T, checks]), checks.expand(3, -1, -1)]
    crops += [torch.full((3, size, size), level, dtype=torch.uint8) for level in (0, 131)]
    crops += [torch.stack([two_levels, checks, torch.full((size, size), 255, dtype=torch.uint8)])]
    images = torch.stack([crop.contiguous() for crop in crops])
    return images if channels == 3 else images[:, 1:2].contiguous()


def random_images(channels: int | None = None) -> st.SearchStrategy[Tensor]:
    """uint8 [1 to 3, channels, H, W] of random levels, from few different ones to all; None: of 1 or 3 channels."""

    def build(seed: int, batch: int, count: int, height: int, width: int, low: int, span: int) -> Tensor:
        levels = np.random.default_rng(seed).integers(low, min(low + span, 255) + 1, (batch, count, height, width))
        return torch.from_numpy(levels.astype(np.uint8))

    return st.builds(
        build,
        st.integers(0, 2**32 - 1),
        st.integers(1, 3),
        st.sampled_from([1, 3]) if channels is None else st.just(channels),
        st.integers(1, 40),
        st.integers(1, 40),
        st.integers(0, 255),
        st.sampled_from([0, 1, 5, 60, 255]),
    )
