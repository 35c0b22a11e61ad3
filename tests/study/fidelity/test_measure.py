"""Planted surrogates: perfect, noise, reversed; the ceiling; intervals that hold."""

from __future__ import annotations

import numpy as np
import pytest

from fidelities import scipy_tau
from lossmith.study.fidelity.measure import Judge

N = 60


def _judge(expensive: list[np.ndarray], seed: int = 0, resamples: int = 400) -> Judge:
    return Judge(expensive, top=(1, 5, 10), confidence=0.95, resamples=resamples, seed=seed)


def _noisy(truth: np.ndarray, sd: float, seeds: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [truth + sd * rng.standard_normal(len(truth)) for _ in range(seeds)]


TRUTH = np.random.default_rng(7).random(N)


def test_a_perfect_a_reversed_and_a_random_surrogate() -> None:
    judge = _judge([TRUTH, TRUTH, TRUTH])
    perfect = judge.measures([2 * TRUTH + 1])
    for name in ("tau", "tau_better_half", "spearman", "ordered_rightly"):
        assert perfect[name] == pytest.approx({"value": 1, "low": 1, "high": 1}), name
    assert perfect["recall"] == {k: pytest.approx({"value": 1, "low": 1, "high": 1}) for k in ("1", "5", "10")}
    turned = judge.measures([-TRUTH])
    assert turned["tau"] == pytest.approx({"value": -1, "low": -1, "high": -1})
    assert turned["ordered_rightly"]["high"] == 0
    assert turned["recall"]["10"]["high"] == 0
    noise = judge.measures([np.random.default_rng(1).random(N)])
    assert noise["tau"]["low"] < 0 < noise["tau"]["high"]
    assert abs(noise["tau"]["value"]) < 0.2


def test_what_two_surrogates_differ_by_is_known_better_than_each() -> None:
    judge = _judge(_noisy(TRUTH, 0.02, 4, 0))
    good, bad = judge.tau([_noisy(TRUTH, 0.1, 1, 1)[0]]), judge.tau([_noisy(TRUTH, 0.25, 1, 2)[0]])
    behind = bad.less(good).estimate(0.95)
    assert behind["value"] == pytest.approx(bad.value - good.value)
    assert behind["low"] < behind["value"] < behind["high"] < 0
    assert good.less(good).estimate(0.95) == {"value": 0, "low": 0, "high": 0}


def test_a_training_is_not_compared_with_itself() -> None:
    """Seeds that agree in nothing: read early, a training foretells itself perfectly, and the others not at all."""
    expensive = [np.random.default_rng(seed).random(N) for seed in range(4)]
    judge = _judge(expensive)
    assert abs(judge.tau(expensive).value) < 0.15
    _, single = judge.single()
    assert single["tau"]["low"] < 0 < single["tau"]["high"]
    reliability = judge.reliability()
    assert reliability["tau"]["low"] < 0 < reliability["tau"]["high"]


def test_reliability_is_the_mean_over_all_halvings() -> None:
    expensive = _noisy(TRUTH, 0.1, 4, 5)
    found = _judge(expensive).reliability()
    assert found["splits"] == 3

    pairs = [((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2))]
    taus = [scipy_tau(expensive[a] + expensive[b], expensive[c] + expensive[d]) for (a, b), (c, d) in pairs]
    assert found["tau"]["value"] == pytest.approx(float(np.mean(taus)))
    assert _judge(expensive[:3]).reliability()["splits"] == 3
    assert _judge(expensive[:2]).reliability()["splits"] == 1


@pytest.mark.parametrize(("seeds", "sd"), [(2, 0.7), (3, 1.0), (4, 2.0)])
def test_what_a_surrogate_without_noise_reaches_is_foretold(seeds: int, sd: float) -> None:
    truth = np.random.default_rng(3).standard_normal(600)
    judge = _judge(_noisy(truth, sd, seeds, 4), resamples=100)
    reliability = judge.reliability()
    assert judge.tau([truth] * seeds).value == pytest.approx(reliability["noiseless"]["value"], abs=0.04)
    assert reliability["noiseless"]["value"] > reliability["tau"]["value"] + 0.05
    alike = _judge([truth, truth], resamples=100).reliability()["noiseless"]
    assert alike == pytest.approx({"value": 1, "low": 1, "high": 1})


def test_more_noise_less_agreement() -> None:
    judge = _judge(_noisy(TRUTH, 0.02, 3, 0))
    found = [judge.tau(_noisy(TRUTH, sd, 3, 1)).value for sd in (0.0, 0.05, 0.2, 1.0)]
    assert found == sorted(found, reverse=True)
    assert found[0] > 0.9
    assert found[-1] < 0.3


def test_the_better_half_are_those_that_the_expensive_task_ranks_higher() -> None:
    """A surrogate that tells bad from good and nothing more."""
    judge = _judge([TRUTH, TRUTH])
    coarse = (np.median(TRUTH) < TRUTH).astype(float)
    found = judge.measures([coarse])
    assert found["tau"]["value"] > 0.6
    assert found["tau_better_half"] == {"value": 0, "low": 0, "high": 0}
    failing = np.where(TRUTH < 0.7, -np.inf, TRUTH)  # fewer than half train at all: those are the better ones
    assert _judge([failing, failing]).measures([TRUTH])["tau_better_half"]["value"] == 1


def test_the_interval_holds_the_true_tau() -> None:
    """200 sets of losses: the 95% interval covers the tau of the population in about 95%."""
    rng = np.random.default_rng(11)
    true = 2 / np.pi * np.arcsin(np.sqrt(0.5))  # of two normal variables with a correlation of sqrt(1/2)
    held = 0
    for trial in range(200):
        truth = rng.standard_normal(N)
        seen = truth + rng.standard_normal(N)
        estimate = _judge([truth, truth], seed=trial, resamples=200).tau([seen]).estimate(0.95)
        held += estimate["low"] <= true <= estimate["high"]
    assert 180 <= held <= 199
