"""Tuning: which setting is chosen, and that the budget is the same for all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from confirmations import config
from lossmith.commands.naming import named_loss
from lossmith.errors import RunError
from lossmith.ledger import EvaluationKey, EvaluationRow
from lossmith.study.confirmation.cells import settings
from lossmith.study.confirmation.register import register
from lossmith.study.confirmation.tuning import Tried, Tuned, require_equal
from lossmith.verdict import Reason

REGISTRATION, _ = register(config(tuning={"learning_rates": [0.1, 1, 3], "weight_decays": [0, 0.1]}), named_loss)
GRID = settings(REGISTRATION.cells[0], REGISTRATION.tuning)


def rows(*values: float | None) -> list[EvaluationRow]:
    found = []
    for seed, value in zip(REGISTRATION.tuning.seeds, values, strict=True):
        reason = Reason.OK if value is not None else Reason.BELOW_THRESHOLD
        key = EvaluationKey("a", "b", seed, "validation")
        found.append(EvaluationRow(1, key, reason, "", value, None, None, 1, 0.1, [], 0, 1, 0.0))
    return found


def chosen(*values: tuple[float | None, ...]) -> Tuned:
    tried = [Tried(setting, rows(*each)) for setting, each in zip(GRID, values, strict=True)]
    return Tuned(tried, min(range(len(tried)), key=lambda place: tried[place].rank))


ALIKE = (0.5, 0.5, 0.5)


def test_the_highest_mean_is_chosen() -> None:
    assert chosen(ALIKE, ALIKE, ALIKE, ALIKE, (0.9, 0.1, 0.6), ALIKE).chosen == 4
    # not the highest value
    assert chosen(ALIKE, (0.51, 0.5, 0.5), ALIKE, ALIKE, (0.9, 0.1, 0.1), ALIKE).chosen == 1


def test_a_setting_that_fails_with_a_seed_loses_to_one_that_never_does() -> None:
    assert chosen((0.9, 0.9, None), ALIKE, *[(None, None, None)] * 4).chosen == 1
    assert chosen(*[(None, None, None)] * 5, (0.2, None, None)).chosen == 5


def test_of_equal_ones_the_tasks_own_rate_and_the_least_weight_decay_is_chosen() -> None:
    assert chosen(*[ALIKE] * 6).chosen == 2
    assert chosen(*[(None, None, None)] * 6).chosen == 2


def test_a_choice_at_the_edge_is_known() -> None:
    low = chosen((0.9, 0.9, 0.9), *[ALIKE] * 5)
    assert low.edges == ["lowest learning rate"]
    assert chosen(*[ALIKE] * 5, (0.9, 0.9, 0.9)).edges == ["highest learning rate"]
    assert chosen(*[ALIKE] * 6).edges == []
    content = low.content()
    assert content["chosen"] == 0
    assert content["grid"][0]["mean"] == pytest.approx(0.9)
    assert [each["learning_rate"] for each in content["grid"]] == [0.0003, 0.0003, 0.003, 0.003, 0.009, 0.009]
    assert len({each["task_id"] for each in content["grid"]}) == 6


def test_unequal_tuning_is_refused_in_one_line() -> None:
    whole = {loss.key: chosen(*[ALIKE] * 6) for loss in REGISTRATION.losses}
    require_equal({"tiny": whole}, REGISTRATION)
    focal = whole["zoo:focal"]
    fewer = Tuned(focal.tried[:5], 0)
    less = Tuned([*focal.tried[:5], replace(focal.tried[5], rows=focal.tried[5].rows[:2])], 0)
    for unequal in (fewer, less):
        with pytest.raises(RunError) as caught:
            require_equal({"tiny": {**whole, "zoo:focal": unequal}}, REGISTRATION)
        assert "unequal tuning: in cell 'tiny', 'focal' was tuned with" in str(caught.value)
        assert "but 6 settings of 3 seeds are registered for every loss" in str(caught.value)
    with pytest.raises(RunError, match="'focal' was tuned with 0 settings and 0 trainings"):
        require_equal({"tiny": {key: one for key, one in whole.items() if key != "zoo:focal"}}, REGISTRATION)
