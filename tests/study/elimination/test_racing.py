"""What a race promises: by property, and its error by simulation."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossmith.study.elimination.racing import Race

Array = npt.NDArray[np.float64]
DRAWS = 1_000


def finish(race: Race, scores: Array) -> int:
    """Tell a race what it asks, NaN as a failure; gives the number of trainings."""
    used = 0
    while wanted := race.ask():
        used += len(wanted)
        told = {(name, seed): float(scores[int(name), seed]) for name, seed in wanted}
        race.tell({each: None if math.isnan(score) else score for each, score in told.items()})
    return used


def race_of(scores: Array, keep: int, error: float = 0.05) -> Race:
    names = [str(place) for place in range(len(scores))]
    return Race(names, keep, seeds=scores.shape[1], error=error, draws=DRAWS)


def kept(race: Race) -> set[int]:
    return {int(name) for name, decision in race.decisions.items() if decision.kept}


@st.composite
def tables(draw: st.DrawFn) -> tuple[Array, int]:
    """Scores with noise, some of them failures, and how many to keep."""
    losses, seeds = draw(st.integers(1, 12)), draw(st.integers(1, 7))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    spread, grain = draw(st.sampled_from([0.0, 0.5, 3.0])), draw(st.sampled_from([0.0, 0.7]))
    scores = spread * rng.standard_normal((losses, 1)) + rng.standard_normal((losses, seeds))
    if grain:
        scores = np.round(scores / grain) * grain
    scores[rng.random((losses, seeds)) < draw(st.sampled_from([0.0, 0.1]))] = np.nan
    return scores, draw(st.integers(1, losses + 1))


@settings(max_examples=60)
@given(tables(), st.sampled_from([0.01, 0.05, 0.5]))
def test_a_race_ends_with_the_right_number_and_within_its_budget(table: tuple[Array, int], error: float) -> None:
    scores, keep = table
    race = race_of(scores, keep, error)
    used = finish(race, scores)
    decisions = race.decisions
    assert len(decisions) == len(scores)
    assert used == sum(decision.seeds for decision in decisions.values()) <= scores.size
    assert race.spent <= error
    failed = {place for place in range(len(scores)) if np.isnan(scores[place, : decisions[str(place)].seeds]).any()}
    assert not kept(race) & failed
    assert len(kept(race)) == min(keep, len(scores) - len(failed))


@settings(max_examples=30)
@given(tables())
def test_a_race_without_early_decisions_keeps_the_highest_means(table: tuple[Array, int]) -> None:
    scores, keep = table
    race = race_of(scores, keep, error=1e-9)
    finish(race, scores)
    if np.isnan(scores).any() or any(decision.early for decision in race.decisions.values()):
        return
    order = sorted(range(len(scores)), key=lambda place: (-round(float(scores[place].mean()), 9), place))
    assert kept(race) == set(order[:keep])


@settings(max_examples=30)
@given(tables(), st.floats(0.1, 10), st.floats(-5, 5))
def test_the_unit_and_the_seeds_effects_change_nothing(table: tuple[Array, int], unit: float, shift: float) -> None:
    scores, keep = table
    race, other = race_of(scores, keep), race_of(scores, keep)
    finish(race, scores)
    finish(other, unit * scores + shift * np.arange(scores.shape[1]))
    ours, theirs = race.decisions.values(), other.decisions.values()
    assert [(each.kept, each.seeds) for each in ours] == [(each.kept, each.seeds) for each in theirs]


def test_what_is_clear_is_decided_at_the_first_look() -> None:
    rng = np.random.default_rng(1)
    scores = np.repeat([[10.0], [10.0], [0.0], [0.0], [0.0], [0.0]], 9, axis=1) + rng.standard_normal((6, 9)) / 10
    race = race_of(scores, 2)
    assert finish(race, scores) == 12
    assert kept(race) == {0, 1}
    assert all(decision.early and decision.seeds == 2 for decision in race.decisions.values())


def test_seeds_are_added_where_they_decide() -> None:
    rng = np.random.default_rng(2)
    level = np.array([8.0, 8.0, 4.1, 4.0, 0.0, 0.0])
    scores = level[:, None] + 0.3 * rng.standard_normal((6, 9))
    race = race_of(scores, 3)
    finish(race, scores)
    seeds = [decision.seeds for decision in race.decisions.values()]
    assert seeds[:2] == seeds[4:] == [2, 2]
    assert min(seeds[2:4]) > 2


def test_equal_losses_are_not_told_apart() -> None:
    scores = np.tile(np.linspace(0.5, 0.9, 5), (6, 1))
    race = race_of(scores, 2)
    assert finish(race, scores) == scores.size
    assert kept(race) == {0, 1}  # of equals, the first


def test_the_chance_of_each_decision_is_told() -> None:
    rng = np.random.default_rng(3)
    scores = 2 * rng.standard_normal((10, 1)) + rng.standard_normal((10, 6))
    race = race_of(scores, 3)
    finish(race, scores)
    for decision in race.decisions.values():
        assert decision.probability is not None
        if decision.early:
            assert (decision.probability > 0.5) == decision.kept


@pytest.mark.parametrize(
    "change", [{"keep": 0}, {"seeds": 0}, {"least": 1}, {"error": 0.0}, {"error": 1.0}, {"candidates": ["a", "a"]}]
)
def test_impossible_arguments(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"out of range|twice"):
        Race(**{"candidates": ["a", "b"], "keep": 1, "seeds": 3, **change})  # type: ignore[arg-type] - one is wrong


def test_it_is_told_what_it_asked_and_nothing_else() -> None:
    race = Race(["a", "b"], 1, seeds=3)
    assert race.ask() == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]
    with pytest.raises(ValueError, match="exactly"):
        race.tell({("a", 0): 0.5})
    with pytest.raises(ValueError, match="nan"):
        race.tell(dict.fromkeys(race.ask(), math.nan))


def _errors(spread: float, trials: int) -> tuple[float, float]:
    """The share of races that dropped one of the truly best early, and the share of the trainings that they used."""
    wrong, used = 0, 0
    for trial in range(trials):
        rng = np.random.default_rng([trial, int(10 * spread)])
        level = spread * rng.standard_normal(16)
        scores = level[:, None] + 3 * rng.standard_normal(6) + rng.standard_normal((16, 6))
        race = race_of(scores, 4)
        used += finish(race, scores)
        best = np.argsort(-level)[:4]
        decisions = race.decisions
        wrong += any(decisions[str(place)].early and not decisions[str(place)].kept for place in best)
    return wrong / trials, used / (trials * 16 * 6)


def test_the_error_rate_is_what_was_stated() -> None:
    """80 races: were the rate 5%, more than 9 wrong ones would come once in 100 times."""
    error, used = _errors(2.0, 80)
    assert error <= 9 / 80
    assert used <= 0.75
