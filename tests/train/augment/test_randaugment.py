"""RandAugment: the 16 operations against Pillow, one by one, and what is drawn."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageEnhance, ImageOps
from scipy.stats import chisquare
from torch import Tensor

from lossmith.train.augment.levels import Operation
from lossmith.train.augment.randaugment import Draws, applied, drawn, randaugment
from lossmith.train.task import RandAugmentConfig
from pil_images import fill_of, from_pil, photographs, random_images, to_pil

OfPillow = Callable[[Image.Image], Image.Image]
SIGNED = (
    Operation.ROTATE,
    Operation.SHEAR_X,
    Operation.SHEAR_Y,
    Operation.TRANSLATE_X,
    Operation.TRANSLATE_Y,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draws_of(operations: list[int], *, negated: bool = False, row: int = 0, column: int = 0) -> Draws:
    shape = (1, len(operations))
    return Draws(
        operations=torch.tensor([operations]),
        negated=torch.full(shape, negated),
        rows=torch.full(shape, row),
        columns=torch.full(shape, column),
    )


def of_pillow(operation: Operation, magnitude: float, *, negated: bool, row: int, column: int) -> OfPillow:
    """The operation by Pillow, its argument written out from the published scale."""
    m, sign = magnitude, -1.0 if negated else 1.0
    factor = m / 10 * 1.8 + 0.1

    def affine(image: Image.Image, *numbers: float) -> Image.Image:
        fill = fill_of(image, 128)
        return image.transform(image.size, Image.Transform.AFFINE, numbers, Image.Resampling.NEAREST, fillcolor=fill)

    def solarize_add(level: int) -> int:
        return min(level + int(m / 10 * 110), 255) if level < 128 else level

    def cut(image: Image.Image) -> Image.Image:
        half = int(m / 10 * 40)
        result = image.copy()
        corners = (column - half, row - half, column + half - 1, row + half - 1)  # Pillow's include the last pixel
        ImageDraw.Draw(result).rectangle(corners, fill=fill_of(image, 128))
        return result

    operations: dict[Operation, OfPillow] = {
        Operation.AUTO_CONTRAST: ImageOps.autocontrast,
        Operation.EQUALIZE: ImageOps.equalize,
        Operation.INVERT: ImageOps.invert,
        Operation.ROTATE: lambda i: i.rotate(sign * m / 10 * 30, fillcolor=fill_of(i, 128)),
        Operation.POSTERIZE: lambda i: ImageOps.posterize(i, int(m / 10 * 4)),
        Operation.SOLARIZE: lambda i: ImageOps.solarize(i, int(m / 10 * 256)),
        Operation.SOLARIZE_ADD: lambda i: i.point([solarize_add(n) for n in range(256)] * len(i.getbands())),
        Operation.COLOR: lambda i: ImageEnhance.Color(i).enhance(factor),
        Operation.CONTRAST: lambda i: ImageEnhance.Contrast(i).enhance(factor),
        Operation.BRIGHTNESS: lambda i: ImageEnhance.Brightness(i).enhance(factor),
        Operation.SHARPNESS: lambda i: ImageEnhance.Sharpness(i).enhance(factor),
        Operation.SHEAR_X: lambda i: affine(i, 1, sign * m / 10 * 0.3, 0, 0, 1, 0),
        Operation.SHEAR_Y: lambda i: affine(i, 1, 0, 0, sign * m / 10 * 0.3, 1, 0),
        Operation.TRANSLATE_X: lambda i: affine(i, 1, 0, sign * m / 10 * 100, 0, 1, 0),
        Operation.TRANSLATE_Y: lambda i: affine(i, 1, 0, 0, 0, 1, sign * m / 10 * 100),
        Operation.CUTOUT: cut,
        Operation.NOTHING: lambda i: i,
    }
    return operations[operation]


@pytest.mark.parametrize("operation", Operation)
@pytest.mark.parametrize("channels", [1, 3])
def test_each_operation_is_pillows(operation: Operation, channels: int) -> None:
    for size, magnitude in ((80, 5), (80, 3), (96, 8.5), (32, 12), (32, 15)):
        images = photographs(size, channels)
        for negated in (False, True) if operation in SIGNED else (False,):
            row, column = (size // 3, size - 2) if negated else (1, size // 2)
            draws = draws_of([operation] * len(images), negated=negated, row=row, column=column)
            found = applied(images, draws, RandAugmentConfig(magnitude=magnitude))
            by_pillow = of_pillow(operation, magnitude, negated=negated, row=row, column=column)
            expected = torch.stack([from_pil(by_pillow(to_pil(image))) for image in images])
            assert torch.equal(found, expected), (size, magnitude, negated)


def test_operations_change_real_images() -> None:
    """At magnitude 7 none of the 16 is idle, and the signed ones have two outcomes."""
    images = photographs(80, 3)[:10]
    config = RandAugmentConfig(magnitude=7)
    for operation in Operation:
        results = [applied(images, draws_of([operation] * 10, negated=negated), config) for negated in (False, True)]
        idle = (results[0] == images).flatten(1).all(dim=1)
        assert bool(idle.all()) == (operation is Operation.NOTHING), operation
        assert torch.equal(*results) == (operation not in SIGNED), operation


@settings(max_examples=60, deadline=None)
@given(random_images(), st.integers(0, 2**32), st.floats(0.0, 30.0), st.integers(1, 4))
def test_both_ways_give_the_same(images: Tensor, seed: int, magnitude: float, layers: int) -> None:
    images = images.repeat(6, 1, 1, 1)
    config = RandAugmentConfig(magnitude=magnitude, layers=layers, fill=seed % 256)
    height, width = images.shape[2:]
    draws = drawn(len(images), height, width, layers, generator(seed))
    before = images.clone()
    selected = applied(images, draws, config, select=True)
    assert torch.equal(selected, applied(images, draws, config, select=False))
    assert torch.equal(images, before)
    assert (selected.shape, selected.dtype) == (images.shape, torch.uint8)


def test_translations_of_an_image_out_of_itself() -> None:
    """The translation is in pixels, whatever the size: at 32 x 32, magnitude 5 moves all of an image out."""
    images = photographs(32, 3)
    for operation in (Operation.TRANSLATE_X, Operation.TRANSLATE_Y):
        moved = applied(images, draws_of([operation] * len(images)), RandAugmentConfig(magnitude=5))
        assert moved.unique().tolist() == [128]


def test_layers_follow_one_another_and_images_are_apart() -> None:
    images, config = photographs(32, 3), RandAugmentConfig(magnitude=7, layers=3)
    draws = drawn(len(images), 32, 32, 3, generator(3))
    together = applied(images, draws, config)
    for number in range(len(images)):
        single = images[number : number + 1]
        for layer in range(3):
            at = slice(layer, layer + 1), slice(number, number + 1)
            own = Draws(draws.operations[at], draws.negated[at], draws.rows[at], draws.columns[at])
            single = applied(single, own, config)
        assert torch.equal(together[number], single[0])


def test_operations_and_signs_are_uniform_and_independent() -> None:
    draws = drawn(34_000, 5, 7, 2, generator())
    for layer in draws.operations:
        assert chisquare(layer.bincount(minlength=17).numpy()).pvalue > 1e-4
    pairs = (draws.operations[0] * 17 + draws.operations[1]).bincount(minlength=289)
    assert chisquare(pairs.numpy()).pvalue > 1e-4
    assert abs(float(draws.negated.float().mean()) - 0.5) < 0.01  # 5 standard deviations are 0.0096
    for operation in SIGNED:
        assert abs(float(draws.negated[draws.operations == operation].float().mean()) - 0.5) < 0.04
    assert chisquare(draws.rows.flatten().bincount(minlength=5).numpy()).pvalue > 1e-4
    assert chisquare(draws.columns.flatten().bincount(minlength=7).numpy()).pvalue > 1e-4


def test_draws_come_from_the_generator_alone() -> None:
    images, config = photographs(32, 3).repeat(4, 1, 1, 1), RandAugmentConfig(magnitude=9)
    before = torch.random.get_rng_state()
    first, again, other = (randaugment(images, config, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_magnitude_changes_no_draw() -> None:
    images, states = photographs(32, 3), []
    for magnitude in (0, 5, 15):
        own = generator(4)
        randaugment(images, RandAugmentConfig(magnitude=magnitude), own)
        states.append(own.get_state())
    assert torch.equal(states[0], states[1])
    assert torch.equal(states[0], states[2])


@pytest.mark.parametrize(
    "images",
    [torch.zeros(2, 3, 8, 8), torch.zeros(2, 2, 8, 8, dtype=torch.uint8)],
    ids=["float", "two channels"],
)
def test_other_images_are_refused(images: Tensor) -> None:
    with pytest.raises(ValueError, match=r"expected uint8 \[B, 1 or 3, H, W\], got"):
        randaugment(images, RandAugmentConfig(magnitude=5), generator())


def test_channels_last_images() -> None:
    images, config = photographs(32, 3), RandAugmentConfig(magnitude=9, layers=4)
    other_layout = images.contiguous(memory_format=torch.channels_last)
    assert torch.equal(randaugment(images, config, generator()), randaugment(other_layout, config, generator()))


@pytest.mark.gpu
def test_on_a_gpu_the_same_draws_give_the_same_images() -> None:
    images, config = photographs(80, 3).repeat(8, 1, 1, 1), RandAugmentConfig(magnitude=8)
    draws = drawn(len(images), 80, 80, 2, generator())
    moved = Draws(draws.operations.cuda(), draws.negated.cuda(), draws.rows.cuda(), draws.columns.cuda())
    on_device = images.cuda()
    applied(on_device, moved, config)  # makes the constants
    torch.cuda.set_sync_debug_mode("error")  # the host never waits
    try:
        found = applied(on_device, moved, config)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(found.cpu(), applied(images, draws, config))
