"""Which losses are ranked: without any search, of a search, each function once."""

from __future__ import annotations

from pathlib import Path

import pytest

from eliminations import loss_rows, row_of, write_search
from fidelities import settings
from lossmith.config import RungsConfig, load_preset
from lossmith.errors import ConfigError
from lossmith.ledger import Ledger
from lossmith.losses.zoo import ZOO
from lossmith.search.evolution import Evolution
from lossmith.search.rungs.rungs import Rungs
from lossmith.study.fidelity.config import LossesConfig
from lossmith.study.fidelity.losses import (
    RankedLoss,
    each_once,
    random_losses,
    require_enough,
    stratified,
    zoo_losses,
)


def test_random_losses_are_those_that_a_search_with_the_seed_would_screen() -> None:
    plain = LossesConfig(random=5, rungs=RungsConfig(classes=False, microtask=None))
    found = random_losses(plain, 3, 10)
    assert [each.loss for each in random_losses(plain.model_copy(update={"random": 8}), 3, 10)][:5] == [
        each.loss for each in found
    ]
    assert [each.loss for each in random_losses(plain, 4, 10)] != [each.loss for each in found]
    evolution = Evolution(load_preset("smoke").search, plain.space, 3, Rungs(plain.rungs, 10))
    asked = [evolution.ask() for _ in range(5)]
    assert [candidate.individual.expression.key for candidate in asked if candidate] == [
        each.loss.key for each in found
    ]
    assert {each.source for each in found} == {"random"}
    assert random_losses(LossesConfig(random=0), 3, 10) == []


def test_random_losses_have_passed_the_rungs() -> None:
    found = random_losses(LossesConfig(random=4), 0, 10)
    loose = random_losses(LossesConfig(random=4, rungs=RungsConfig(classes=False, microtask=None)), 0, 10)
    assert [each.loss for each in found] != [each.loss for each in loose]
    assert len({each.loss.key for each in found}) == 4


def test_losses_of_a_search_are_spread_over_its_ranks(tmp_path: Path) -> None:
    rows = loss_rows(21)
    scores = [0.5 + 0.02 * place for place in range(20)]
    config = write_search(tmp_path, [*zip(rows, scores, strict=False), (rows[20], None)])
    with Ledger.read(tmp_path) as ledger:
        found = stratified(ledger, config, 5)
        assert [rows.index(each.loss) for each in found] == [19, 14, 9, 5, 0]
        assert len(stratified(ledger, config, 100)) == 20  # all that trained; the failed one is not among them
        assert {each.source for each in found} == {str(tmp_path)}


def test_a_search_without_a_trained_loss_is_refused(tmp_path: Path) -> None:
    config = write_search(tmp_path, [(loss_rows(1)[0], None)])
    with Ledger.read(tmp_path) as ledger, pytest.raises(ConfigError, match="no loss was trained there yet"):
        stratified(ledger, config, 5)


def test_each_function_once() -> None:
    def named(label: str, formula: str) -> RankedLoss:
        return RankedLoss(label, row_of(formula), "named")

    zoo = zoo_losses()
    assert len(zoo) == len(ZOO)
    found = each_once(
        [
            *zoo,
            named("again", "-(y*log(yhat))"),  # cross-entropy
            named("twice", "square(y - yhat)*2 + 1"),  # Brier's
            named("baikal", "y*inv_one_plus_abs(yhat)"),
            named("new", "y*inv_one_plus_abs(yhat)"),
        ],
        10,
    )
    labels = [each.label for each in found]
    assert "again" not in labels
    assert "twice" not in labels
    assert "new" not in labels
    assert labels[-1] == "baikal (2)"
    assert len(set(labels)) == len(labels)
    assert [RankedLoss.of(each.stored()) for each in found] == found


def test_too_few_losses_are_refused() -> None:
    config = settings("a", top=[1, 5])
    few = zoo_losses()[:4]
    with pytest.raises(ConfigError, match="4 losses cannot be ranked"):
        require_enough(few, config)
    with pytest.raises(ConfigError, match="k = 5 of 5 losses is no choice"):
        require_enough(zoo_losses()[:5], config)
    require_enough(zoo_losses()[:6], config)
