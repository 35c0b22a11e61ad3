"""Levels, and the probability of being among the best."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import generators
from lossmith.study.elimination.posterior import levels, probability_among_best

DRAWS = 2_000


@given(generators(), st.integers(2, 8), st.integers(1, 6))
def test_levels_of_a_whole_table_are_its_means(rng: np.random.Generator, losses: int, seeds: int) -> None:
    scores = rng.standard_normal((losses, seeds))
    assert levels(scores) == pytest.approx(scores.mean(axis=1))


@given(generators(), st.integers(2, 8), st.integers(2, 6))
def test_levels_do_not_depend_on_which_seeds_a_loss_has(rng: np.random.Generator, losses: int, seeds: int) -> None:
    truth = rng.standard_normal(losses)
    scores = truth[:, None] + 5 * rng.standard_normal(seeds)
    given_seeds = rng.integers(1, seeds + 1, losses)
    scores[np.arange(seeds) >= given_seeds[:, None]] = np.nan
    found = levels(scores)
    assert found - found[0] == pytest.approx(truth - truth[0])


def test_levels_are_least_squares() -> None:
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((5, 4))
    scores[3, 2:] = scores[4, 3:] = np.nan
    rows, columns = np.nonzero(np.isfinite(scores))
    design = np.zeros((len(rows), 9))
    design[np.arange(len(rows)), rows] = design[np.arange(len(rows)), 5 + columns] = 1
    solution = np.linalg.lstsq(design, scores[rows, columns], rcond=None)[0][:5]
    assert np.diff(levels(scores)) == pytest.approx(np.diff(solution))


def test_a_loss_without_scores_is_below_all() -> None:
    assert levels(np.array([[0.5, 0.6], [np.nan, np.nan]]))[1] == -np.inf


@settings(max_examples=30)
@given(generators(), st.integers(2, 9), st.integers(2, 5), st.data())
def test_the_chances_are_probabilities_of_so_many_places(
    rng: np.random.Generator, losses: int, seeds: int, data: st.DataObject
) -> None:
    keep = data.draw(st.integers(1, losses - 1))
    scores = rng.standard_normal((losses, 1)) + rng.standard_normal((losses, seeds))
    chance = probability_among_best(scores, keep, draws=DRAWS)
    assert ((chance > 0) & (chance < 1)).all()
    assert chance.sum() == pytest.approx(keep, abs=losses / DRAWS)
    assert probability_among_best(scores, keep, draws=DRAWS) == pytest.approx(chance, abs=0)


def test_a_loss_that_is_better_for_every_seed_has_the_higher_chance() -> None:
    rng = np.random.default_rng(0)
    scores = np.cumsum(np.full((6, 4), 0.6), axis=0) + rng.standard_normal(4) + 0.1 * rng.standard_normal((6, 4))
    chance = probability_among_best(scores, 3, draws=DRAWS)
    assert (np.diff(chance) >= 0).all()
    assert chance[0] < 0.01
    assert chance[5] > 0.99


def test_scores_without_any_noise() -> None:
    chance = probability_among_best(np.repeat([[0.1], [0.2], [0.3]], 3, axis=1), 1, draws=DRAWS)
    assert chance == pytest.approx([0, 0, 1], abs=0.001)


def test_losses_that_do_not_differ_have_equal_chances() -> None:
    chance = probability_among_best(np.tile([[0.5, 0.6, 0.7]], (8, 1)), 2, draws=20_000)
    assert chance == pytest.approx(0.25, abs=0.02)


def test_the_chances_are_calibrated() -> None:
    """Of losses that have the chance p, a share of p are among the best: over 200 tables of normal levels."""
    chances, hits = [], []
    for trial in range(200):
        rng = np.random.default_rng(trial)
        truth = rng.standard_normal(12)
        scores = truth[:, None] + rng.standard_normal(3) + rng.standard_normal((12, 3))
        chances.append(probability_among_best(scores, 4, draws=1_000))
        hits.append(np.isin(np.arange(12), np.argsort(-truth)[:4]))
    chance, hit = np.concatenate(chances), np.concatenate(hits)
    for low, high, within in ((0, 0.05, 0.02), (0.05, 0.3, 0.1), (0.3, 0.7, 0.1), (0.7, 0.95, 0.1), (0.95, 1, 0.05)):
        some = (chance >= low) & (chance < high)
        assert some.sum() > 50
        assert hit[some].mean() == pytest.approx(chance[some].mean(), abs=within)
