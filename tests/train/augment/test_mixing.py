"""Mixup and CutMix: shares, pixels and targets that belong together."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, chisquare, kstest
from torch import Tensor

from lossmith.train.augment.mixing import mixed, symmetric_beta
from lossmith.train.task import AugmentConfig


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def own_classes(batch: int, size: int = 8) -> tuple[Tensor, Tensor]:
    """Images of one level each, under 256 of them, and a class for each: who was mixed shows in pixels and targets."""
    labels = torch.arange(batch)
    return labels.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, size, size).contiguous(), labels


def partner_and_share(targets_BB: Tensor) -> tuple[Tensor, Tensor]:
    """Of each image its partner (itself, where it met itself) and its own share, from targets of own classes."""
    share = targets_BB.diagonal()
    others = targets_BB - torch.diag(share)
    partner = torch.where(others.amax(dim=1) > 0, others.argmax(dim=1), torch.arange(len(targets_BB)))
    return partner, share


@pytest.mark.parametrize("alpha", [0.001, 0.1, 0.2, 0.5, 1.0, 3.0, 100.0])
def test_shares_are_betas(alpha: float) -> None:
    shares = symmetric_beta(alpha, 20_000, generator())
    assert shares.dtype == torch.float32
    assert 0.0 <= float(shares.min()) <= float(shares.max()) <= 1.0
    expected = beta(alpha, alpha)
    if alpha >= 0.5:
        assert kstest(shares.double().numpy(), expected.cdf).pvalue > 1e-4
    edges = [0.0, 0.001, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.999, 1.0]  # nearer to 0 and 1 float32 tells less apart
    counts, _ = np.histogram(shares.numpy(), edges)
    probabilities = np.diff(expected.cdf(edges))
    common = probabilities * len(shares) > 5  # the others together
    observed = [*counts[common], counts[~common].sum() + 1e-9]
    wanted = [*probabilities[common] * len(shares), probabilities[~common].sum() * len(shares) + 1e-9]
    assert chisquare(observed, wanted).pvalue > 1e-4


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(2, 40),
    st.integers(1, 12),
    st.integers(2, 9),
    st.sampled_from([(0.2, 0.0), (0.0, 1.0), (1.0, 1.0), (0.01, 0.01)]),
)
def test_targets_are_probabilities(seed: int, batch: int, size: int, classes: int, alphas: tuple[float, float]) -> None:
    own = generator(seed)
    images = torch.randint(256, (batch, 1, size, size + 1), generator=own, dtype=torch.uint8)
    labels = torch.randint(classes, (batch,), generator=own)
    before = images.clone()
    config = AugmentConfig(mixup=alphas[0], cutmix=alphas[1])
    result, targets = mixed(images, labels, config, own, num_classes=classes)
    assert torch.equal(images, before)
    assert (result.dtype, result.shape) == (torch.float32, images.shape)
    assert (targets.dtype, targets.shape) == (torch.float32, (batch, classes))
    assert bool((targets >= 0).all())
    assert float((targets.sum(dim=1) - 1.0).abs().max()) <= 2e-7
    assert 0.0 <= float(result.min()) <= float(result.max()) <= 255.0


def test_mixup_mixes_pixels_as_targets() -> None:
    images, labels = own_classes(200)
    result, targets = mixed(images, labels, AugmentConfig(mixup=1.0), generator(), num_classes=200)
    expected = targets @ labels.float()
    assert torch.allclose(result, expected.view(-1, 1, 1, 1).expand_as(result), atol=1e-3)
    partner, share = partner_and_share(targets)
    assert sorted(partner.tolist()) == labels.tolist()  # a permutation
    assert share.unique().numel() > 190  # each its own draw


def test_cutmix_counts_the_pixels_it_pastes() -> None:
    images, labels = own_classes(200, size=16)
    result, targets = mixed(images, labels, AugmentConfig(cutmix=1.0), generator(), num_classes=200)
    partner, share = partner_and_share(targets)
    met = partner[share < 1]  # without a pasted pixel the targets don't tell whom
    assert len(met) > 150
    assert met.unique().numel() == len(met)
    for number in range(200):
        kept = result[number] == number
        assert torch.equal(result[number][~kept], torch.full_like(result[number][~kept], float(partner[number])))
        if int(partner[number]) != number:
            assert float(kept.float().mean()) == pytest.approx(float(share[number]), abs=1e-6)
            pasted = ~kept[0]
            assert torch.equal(pasted, pasted.any(dim=1)[:, None] & pasted.any(dim=0))  # a rectangle
    assert share.unique().numel() > 50


def test_cutmix_boxes_have_the_area_of_their_draw() -> None:
    """With alpha 1 a box's share is uniform; at 64 x 64 pixels, where none is cut off, it follows within two pixels."""
    images, labels = own_classes(250, size=64)
    areas = []
    for seed in range(8):
        result, targets = mixed(images, labels, AugmentConfig(cutmix=1.0), generator(seed), num_classes=250)
        partner, _ = partner_and_share(targets)
        pasted = result[:, 0] != labels.view(-1, 1, 1)
        rows, columns = pasted.any(dim=2), pasted.any(dim=1)
        border = rows[:, 0] | rows[:, -1] | columns[:, 0] | columns[:, -1]
        height, width = rows.sum(dim=1), columns.sum(dim=1)
        inner = ~border & (partner != labels)
        assert torch.equal(height[inner], width[inner])  # a square image has square boxes
        assert bool((height[inner] % 2 == 0).all())
        areas += (height * width)[partner != labels].tolist()
    mean = sum(areas) / len(areas) / 64**2
    # By integration over the place: E[area] = E[r^2 (1 - r/4)^2] with r = sqrt(uniform), 1/2 - 1/5 + 1/48 = 0.3208;
    # rounding sides down takes about E[2 r / 64] = 0.02 of it.
    assert 0.27 < mean < 0.34


def test_with_both_each_image_draws_one() -> None:
    images, labels = own_classes(250)
    one_or_the_other = []
    for seed in range(8):
        both = AugmentConfig(mixup=1.0, cutmix=1.0)
        result, targets = mixed(images, labels, both, generator(seed), num_classes=250)
        partner, share = partner_and_share(targets)
        constant = (result == result[:, :, :1, :1]).flatten(1).all(dim=1)
        averaged = constant & (share > 0) & (share < 1) & (partner != labels)
        pure = (result == labels.view(-1, 1, 1, 1)) | (result == partner.view(-1, 1, 1, 1))
        pasted = pure.flatten(1).all(dim=1) & (partner != labels)
        assert bool((averaged | pasted | (partner == labels)).all())
        level = targets @ labels.float()
        assert torch.allclose(result[averaged].mean(dim=(1, 2, 3)), level[averaged], atol=1e-3)
        assert torch.allclose(result.mean(dim=(1, 2, 3)), level, atol=1e-3)  # of pasted ones, too
        one_or_the_other += (averaged & ~pasted)[partner != labels].tolist()
    assert 0.44 < sum(one_or_the_other) / len(one_or_the_other) < 0.56  # 5 standard deviations


@pytest.mark.parametrize(
    "config", [AugmentConfig(mixup=0.2), AugmentConfig(cutmix=1.0), AugmentConfig(mixup=1, cutmix=1)]
)
def test_draws_come_from_the_generator_alone(config: AugmentConfig) -> None:
    images, labels = own_classes(64)
    before = torch.random.get_rng_state()
    first, again, other = (mixed(images, labels, config, generator(seed), num_classes=64) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[1], other[1])


@pytest.mark.gpu
def test_on_a_gpu() -> None:
    images, labels = (tensor.cuda() for tensor in own_classes(200))
    own = torch.Generator("cuda").manual_seed(0)
    result, targets = mixed(images, labels, AugmentConfig(mixup=1.0, cutmix=1.0), own, num_classes=200)
    assert result.is_cuda
    level = (targets @ labels.float()).view(-1, 1)
    assert torch.allclose(result.mean(dim=(2, 3)), level.expand(-1, 3), atol=1e-3)
    shares = symmetric_beta(0.3, 20_000, own).cpu().double().numpy()
    assert kstest(shares, beta(0.3, 0.3).cdf).pvalue > 1e-4
