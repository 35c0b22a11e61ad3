from __future__ import annotations

import json

import numpy as np
import pytest

from lossmith.ledger import EvaluationKey, EvaluationRow, LossRow
from lossmith.study.statistics import minimum_detectable_effect
from lossmith.study.summary import summarise
from lossmith.train.task import load_task
from lossmith.verdict import Reason

TASK = load_task("digits-full", "test")
BASE, OTHER, THIRD = (
    LossRow("zoo:cross_entropy", "cross_entropy", None),
    LossRow("k", "y*yhat", True),
    LossRow("z", "z", False),
)
SEEDS = list(range(8))


def rows(scores: dict[str, list[float | None]]) -> dict[tuple[str, int], EvaluationRow]:
    found = {}
    for key, values in scores.items():
        for seed, score in zip(SEEDS, values, strict=True):
            reason = Reason.LOSS_NOT_FINITE if score is None else Reason.OK
            place = EvaluationKey(key, TASK.task_id, seed, "test")
            found[key, seed] = EvaluationRow(1, place, reason, "", score, None, None, 1, 1.0, [], 0, 1, 0.0)
    return found


def test_a_loss_that_is_better_in_every_seed_is_called_better() -> None:
    base = [0.90, 0.91, 0.89, 0.92, 0.90, 0.88, 0.93, 0.90]
    better = [score + 0.02 + 0.001 * i for i, score in enumerate(base)]
    noise = [score + (-1) ** i * 0.01 for i, score in enumerate(base)]
    scores = rows({BASE.key: list(base), OTHER.key: list(better), THIRD.key: list(noise)})
    content = summarise(TASK, [("cross_entropy", BASE), ("mine", OTHER), ("third", THIRD)], SEEDS, scores, "test")
    first, second, third = content["losses"]
    assert (first["verdict"], first["difference"]) == ("baseline", None)
    assert second["verdict"] == "better than cross_entropy"
    assert second["difference"]["p"] == 2 / 2**8
    assert second["difference"]["p_adjusted"] == 4 / 2**8  # Holm over two losses
    assert second["formula"] == "-(y*yhat)"
    assert third["verdict"] == "no evidence of a difference from cross_entropy"
    assert "there is evidence that mine is better than cross_entropy" in content["sentence"]
    assert "there is no evidence that third differs from cross_entropy" in content["sentence"]


def test_failed_trainings_are_counted_and_never_dropped_in_silence() -> None:
    base = [0.90, 0.91, 0.89, 0.92, 0.90, 0.88, 0.93, 0.90]
    scores = rows({BASE.key: list(base), OTHER.key: [None, *(score + 0.05 for score in base[1:])]})
    content = summarise(TASK, [("cross_entropy", BASE), ("mine", OTHER)], SEEDS, scores, "test")
    mine = content["losses"][1]
    assert mine["failed"] == 1
    assert mine["verdict"].startswith("not comparable: 1 of 8 seeds failed")
    assert "evidence that" not in content["sentence"]


def test_failures_of_the_baseline_count_as_well() -> None:
    mine = [0.90, 0.91, 0.89, 0.92, 0.90, 0.88, 0.93, 0.90]
    scores = rows({BASE.key: [None, *(score + 0.05 for score in mine[1:])], OTHER.key: list(mine)})
    content = summarise(TASK, [("cross_entropy", BASE), ("mine", OTHER)], SEEDS, scores, "test")
    assert content["losses"][1]["failed"] == 0
    assert content["losses"][1]["verdict"].startswith("not comparable: 1 of 8 seeds failed")


def test_too_few_seeds_are_said_to_be_too_few() -> None:
    scores = rows({BASE.key: [0.90 + i / 1000 for i in range(8)], OTHER.key: [0.95 + i / 900 for i in range(8)]})
    few = {place: row for place, row in scores.items() if place[1] < 5}
    content = summarise(TASK, [("cross_entropy", BASE), ("mine", OTHER)], SEEDS[:5], few, "test")
    assert content["losses"][1]["verdict"] == "too few seeds to tell it from cross_entropy: at least 6 are needed"
    assert "there are too few seeds to tell mine from cross_entropy" in content["sentence"]
    six = {place: row for place, row in scores.items() if place[1] < 6}
    content = summarise(TASK, [("cross_entropy", BASE), ("mine", OTHER)], SEEDS[:6], six, "test")
    assert content["losses"][1]["verdict"] == "better than cross_entropy"


def test_losses_with_one_label_are_told_apart_by_key() -> None:
    base = [0.90, 0.91, 0.89, 0.92, 0.90, 0.88, 0.93, 0.90]
    scores = rows({BASE.key: list(base), OTHER.key: [None] * 8})
    content = summarise(TASK, [("same", BASE), ("same", OTHER)], SEEDS, scores, "test")
    assert content["losses"][1]["verdict"].startswith("not comparable")


def test_equal_scores_are_said_to_be_equal() -> None:
    base = [0.90, 0.91, 0.89, 0.92, 0.90, 0.88, 0.93, 0.90]
    scores = rows({BASE.key: list(base), OTHER.key: list(base)})
    content = summarise(TASK, [("cross_entropy", BASE), ("mine", OTHER)], SEEDS, scores, "test")
    assert "(+0.00 points, the same for every seed, p = 1)" in content["sentence"]
    assert content["losses"][1]["verdict"] == "equivalent to cross_entropy within 0.1 points"


def test_a_comparison_says_what_it_could_have_found() -> None:
    base = [0.90, 0.91, 0.89, 0.92, 0.90, 0.88, 0.93, 0.90]
    mine = [score + change for score, change in zip(base, [0.01, 0, -0.01, 0.02, 0, 0.01, -0.02, 0.01], strict=True)]
    scores = rows({BASE.key: list(base), OTHER.key: list(mine)})
    content = summarise(TASK, [("cross_entropy", BASE), ("mine", OTHER)], SEEDS, scores, "test")
    assert json.loads(json.dumps(content)) == content
    found = content["losses"][1]["difference"]
    assert found["correlation"] == pytest.approx(np.corrcoef(mine, base)[0, 1])
    assert found["improvement"]["value"] == 5 / 8  # 4 wins, 2 ties, 2 losses
    assert found["detectable"] == pytest.approx(found["sd"] * minimum_detectable_effect(8, significance=6 / 2**7))
    assert (found["margin"], found["equivalent"]) == (0.001, False)


def test_a_failed_loss_stays_in_the_family() -> None:
    base = [0.90, 0.91, 0.89, 0.92, 0.90, 0.88, 0.93, 0.90]
    better = [score + 0.02 for score in base]
    scores = rows({BASE.key: list(base), OTHER.key: list(better), THIRD.key: [None, *better[1:]]})
    content = summarise(TASK, [("cross_entropy", BASE), ("mine", OTHER), ("third", THIRD)], SEEDS, scores, "test")
    assert [loss["difference"]["p_adjusted"] for loss in content["losses"][1:]] == [4 / 2**8, 1]


def test_one_loss_alone_is_described() -> None:
    content = summarise(TASK, [("cross_entropy", BASE)], [0], rows_of_one(), "validation")
    assert content["losses"][0]["mean"] == 0.5
    assert content["losses"][0]["sd"] is None
    assert content["sentence"] == "There is nothing to compare."


def rows_of_one() -> dict[tuple[str, int], EvaluationRow]:
    place = EvaluationKey(BASE.key, TASK.task_id, 0, "validation")
    return {(BASE.key, 0): EvaluationRow(1, place, Reason.OK, "", 0.5, None, None, 1, 1.0, [], 0, 1, 0.0)}
