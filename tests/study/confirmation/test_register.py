"""From settings to a registration: which losses, which sources, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from confirmations import CANDIDATE, config, make_elimination, make_null, make_source, row, tiny
from lossmith.commands.naming import named_loss
from lossmith.errors import ConfigError, LossmithError, RunError
from lossmith.search.seeds import Purpose, stage_seeds
from lossmith.study.confirmation.register import register
from lossmith.study.confirmation.registration import Registration

FORMULAS = [f"-y*log(yhat) + {number}*square(y - yhat)" for number in (1, 2, 3, 4, 5, 6)]


def registration(**changes: Any) -> Registration:
    return register(config(**changes), named_loss)[0]


def test_a_registration_says_everything() -> None:
    found = registration(seed=3, cells=[tiny(), tiny("other", model="resnet9v2")])
    assert [(loss.label, loss.role) for loss in found.losses] == [
        (CANDIDATE, "candidate"),
        ("cross_entropy", "baseline"),
        ("focal", "baseline"),
    ]
    assert found.losses[0].row == row(CANDIDATE)
    assert found.baseline == "zoo:cross_entropy"
    assert found.seeds == tuple(stage_seeds(3, Purpose.CONFIRMATION, 8))
    assert found.tuning.seeds == tuple(stage_seeds(3, Purpose.TUNING, 2))
    assert not set(found.seeds) & set(found.tuning.seeds)
    assert {cell.task.data.validation_fold for cell in found.cells} == {2}
    assert found.comparisons == 4
    assert (found.trainings.tuning, found.trainings.testing) == (2 * 3 * 3 * 2, 2 * 3 * 8)
    assert found.primary.loss == found.losses[0].key
    assert found.primary.cell == "tiny"
    assert Registration.model_validate(found.model_dump(mode="json")).text() == found.text()


def test_the_usual_baselines_are_different_losses_that_a_candidate_may_not_be() -> None:
    usual = ["cross_entropy", "label_smoothing", "poly1", "focal"]
    found = registration(baselines=usual)
    assert [loss.label for loss in found.losses] == [CANDIDATE, *usual]
    for same in ("-3*log(yhat)*(0.91*y + 0.01*(1 - y))", "-2*y*log(yhat) - 4*y*(yhat - 1)"):  # of 10 classes
        with pytest.raises(ConfigError, match=r"is the baseline '(label_smoothing|poly1)': leave it out"):
            registration(baselines=usual, losses=[same])


def test_the_finalists_of_an_elimination_and_its_sources(tmp_path: Path) -> None:
    search = make_source(tmp_path / "search", kind="search", seeds=(5,))
    elimination = make_elimination(tmp_path / "elimination", FORMULAS[:3], search)
    other = make_elimination(tmp_path / "elimination-random", [CANDIDATE, FORMULAS[5]], search)
    null = make_null(tmp_path / "null", [0.9, 0.91], 0.95)
    found = registration(
        losses=[str(elimination)], controls=[str(other)], null_search=str(null), primary={"loss": "found 1"}, seeds=9
    )
    labels = [(loss.label, loss.role) for loss in found.losses]
    assert labels[:4] == [
        ("found 0", "candidate"),
        ("found 1", "candidate"),
        ("found 2", "candidate"),
        ("found 0 (2)", "control"),  # the winner of the random search alone, by a label of its own
    ]
    assert found.primary.loss == found.losses[1].key
    assert {source.directory: source.kind for source in found.sources} == {
        str(elimination): "elimination",
        str(search): "search",
        str(other): "elimination",
        str(null): "null",
    }


def test_a_source_that_was_moved_with_the_run_is_found_beside_it(tmp_path: Path) -> None:
    make_source(tmp_path / "search", kind="search", seeds=(5,))
    elimination = make_elimination(tmp_path / "elimination", FORMULAS[:1], Path("elsewhere", "search"))
    assert str(tmp_path / "search") in [each.directory for each in registration(losses=[str(elimination)]).sources]
    other = make_elimination(tmp_path / "other", FORMULAS[:1], Path("elsewhere", "gone"))
    with pytest.raises(RunError, match=r"other: its losses come from elsewhere/gone, which is not there"):
        registration(losses=[str(other)])


def test_a_finalist_that_is_a_baseline_is_left_out_and_said(tmp_path: Path) -> None:
    search = make_source(tmp_path / "search", kind="search", seeds=(5,))
    elimination = make_elimination(tmp_path / "elimination", ["-2*y*log(yhat)", FORMULAS[0]], search)
    found = registration(losses=[str(elimination)])
    assert [loss.label for loss in found.losses if loss.role == "candidate"] == ["found 1"]
    (left,) = found.left_out
    assert (left.label, left.why) == ("found 0", "it is the baseline 'cross_entropy', up to a factor")
    only = make_elimination(tmp_path / "only", ["-2*y*log(yhat)"], search)
    with pytest.raises(ConfigError, match="every one of them is a baseline, so there is nothing to confirm"):
        registration(losses=[str(only)])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"losses": FORMULAS, "seeds": 20}, "losses: 6 candidates, but at most 5 can be confirmed"),
        ({"losses": ["focal"]}, "the candidate 'focal' is the baseline 'focal': leave it out"),
        ({"losses": ["-3*y*log(yhat)"]}, "the candidate '-3*y*log(yhat)' is the baseline 'cross_entropy'"),
        ({"controls": ["-y*log(yhat)"]}, "the control '-y*log(yhat)' is the baseline 'cross_entropy'"),
        ({"losses": [CANDIDATE, f"2*({CANDIDATE})"]}, "they are the same function; leave one out"),
        ({"losses": ["baikal", "baikal"]}, "the same loss is given twice; leave one out"),
        # 2 / 2^6 * 2 comparisons = 0.0625; with 7 pairs 0.03125
        ({"seeds": 6}, "seeds: 6 pairs can show nothing among 2 comparisons"),
        ({"seeds": 6}, "take at least 7,"),
        ({"primary": {"loss": "baikal"}}, "primary.loss: 'baikal' is none of the candidates"),
        ({"primary": {"cell": "big"}}, "primary.cell: no cell has the name 'big'; use tiny"),
        (
            {"tuning": {"learning_rates": [900]}, "cells": [tiny(optimizer={"learning_rate": 1.0})]},
            "less than or equal",
        ),
        ({"sources": ["nowhere"]}, "nowhere: no such directory"),
    ],
)
def test_what_would_prove_nothing_is_refused_in_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(LossmithError) as caught:
        registration(**changes)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_where_images_are_mixed_only_the_same_expression_is_the_same_loss() -> None:
    mixed = [tiny(augment={"mixup": 0.2})]
    found = registration(losses=["-3*y*log(yhat)", CANDIDATE, f"2*({CANDIDATE})"], cells=mixed)
    assert [loss.role for loss in found.losses].count("candidate") == 3
    with pytest.raises(ConfigError, match="is the baseline 'cross_entropy'"):
        registration(losses=["-y*log(yhat)"], cells=mixed)


def test_as_many_seeds_as_it_says_are_enough() -> None:
    assert len(registration(seeds=7).seeds) == 7


def test_a_seed_that_a_source_used_is_refused(tmp_path: Path) -> None:
    used = stage_seeds(0, Purpose.CONFIRMATION, 5)[4]
    source = make_source(tmp_path / "before", seeds=(1, used))
    with pytest.raises(ConfigError, match=rf"before trained with seed {used}, .* not fresh; take another --seed"):
        registration(sources=[str(source)])
    assert registration(sources=[str(source)], seed=1).seed == 1


def test_a_seed_is_looked_for_in_the_sources_of_sources(tmp_path: Path) -> None:
    search = make_source(tmp_path / "search", kind="search", seeds=(stage_seeds(0, Purpose.CONFIRMATION, 1)[0],))
    elimination = make_elimination(tmp_path / "elimination", FORMULAS[:1], search)
    with pytest.raises(ConfigError, match=r"search trained with seed .* not fresh"):
        registration(losses=[str(elimination)])


def test_unfinished_runs_are_refused(tmp_path: Path) -> None:
    elimination = make_source(tmp_path / "elimination", kind="elimination")
    with pytest.raises(RunError, match="elimination: the elimination has no finalists yet"):
        registration(losses=[str(elimination)])
    null = make_source(tmp_path / "null", kind="null", seeds=(9,))
    with pytest.raises(RunError, match="null: holds no finished null search"):
        registration(null_search=str(null))
