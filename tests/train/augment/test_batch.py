"""`augment`: the order of the changes, the draws of each, images and targets as the config asks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from lossmith.train.augment import augment
from lossmith.train.augment.cutout import cutout
from lossmith.train.augment.mixing import mixed
from lossmith.train.augment.randaugment import randaugment
from lossmith.train.task import AugmentConfig, RandAugmentConfig
from pil_images import photographs

LABELS = torch.arange(16) % 10


def generator(seed: int = 0, device: str = "cpu") -> torch.Generator:
    return torch.Generator(device).manual_seed(seed)


def changed(images: Tensor, config: AugmentConfig, own: torch.Generator) -> tuple[Tensor, Tensor]:
    return augment(images, LABELS.to(images.device), config, own, num_classes=10)


def test_nothing_asked_for_is_the_same_tensors_and_no_draw() -> None:
    images, own = photographs(28, 3), generator()
    state = own.get_state()
    result, targets = augment(images, LABELS, AugmentConfig(), own, num_classes=10)
    assert result is images
    assert targets is LABELS
    assert torch.equal(own.get_state(), state)


def test_pad_and_flip_draw_what_they_always_drew() -> None:
    """Results in old ledgers are reproduced only if these two draw as they did: the crops first, then the flips."""
    images = photographs(28, 3)
    result, _ = changed(images, AugmentConfig(pad=3, flip=True), generator(5))
    own = generator(5)
    offsets = torch.randint(7, (2, 16), generator=own)
    mirrored = torch.rand(16, generator=own) < 0.5
    padded = functional.pad(images, (3, 3, 3, 3))
    for number in range(16):
        row, column = (int(offset) for offset in offsets[:, number])
        crop = padded[number, :, row : row + 28, column : column + 28]
        assert torch.equal(result[number], crop.flip(2) if mirrored[number] else crop)


def test_the_order_is_that_of_the_settings() -> None:
    images = photographs(28, 3)
    rand = RandAugmentConfig(magnitude=9)
    config = AugmentConfig(pad=2, flip=True, randaugment=rand, cutout=8, mixup=0.4, cutmix=1.0)
    own = generator(9)
    step, _ = changed(images, AugmentConfig(pad=2, flip=True), own)
    step = cutout(randaugment(step, rand, own), 8, own)
    expected, expected_targets = mixed(step, LABELS, config, own, num_classes=10)
    result, targets = changed(images, config, generator(9))
    assert torch.equal(result, expected)
    assert torch.equal(targets, expected_targets)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "config",
    [
        AugmentConfig(randaugment=RandAugmentConfig(magnitude=5)),
        AugmentConfig(cutout=12),
        AugmentConfig(mixup=0.3),
        AugmentConfig(cutmix=1.0),
        AugmentConfig(pad=2, flip=True, randaugment=RandAugmentConfig(magnitude=15), cutout=3, mixup=1.0, cutmix=1.0),
    ],
)
def test_what_comes_back(config: AugmentConfig, channels: int) -> None:
    images = photographs(32, channels)
    before, state = images.clone(), torch.random.get_rng_state()
    result, targets = changed(images, config, generator())
    assert torch.equal(images, before)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert result.shape == images.shape
    assert not torch.equal(result, images)
    if config.mixes:
        assert (result.dtype, targets.dtype, targets.shape) == (torch.float32, torch.float32, (16, 10))
    else:
        assert result.dtype == torch.uint8
        assert targets is LABELS


@pytest.mark.gpu
def test_on_a_gpu_no_change_waits_for_the_device() -> None:
    rand = RandAugmentConfig(magnitude=8)
    config = AugmentConfig(pad=2, flip=True, randaugment=rand, cutout=8, mixup=0.4, cutmix=1.0)
    images, own = photographs(32, 3).cuda(), generator(0, "cuda")
    labels = LABELS.cuda()
    augment(images, labels, config, own, num_classes=10)
    torch.cuda.set_sync_debug_mode("error")
    try:
        result, targets = augment(images, labels, config, own, num_classes=10)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert result.is_cuda
    assert targets.is_cuda
