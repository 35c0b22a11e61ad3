"""How far a search is, from its rows alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from lossmith.ledger import EvaluationKey, Ledger
from lossmith.report.record import SearchRecord
from lossmith.report.snapshot import Snapshot
from lossmith.search.evaluation import expression_row
from lossmith.search.evolution import Candidate, Evolution, Outcome, Stage
from lossmith.space.expression import Expression
from lossmith.verdict import Reason

from .conftest import Script, config, make_run, scripted


def record_of(directory: Path) -> SearchRecord:
    with Ledger.read(directory) as ledger:
        record = SearchRecord.of(Snapshot.of(ledger))
    assert record is not None
    return record


def always_failing_children(candidate: Candidate) -> Outcome:
    return scripted(candidate) if candidate.stage is not Stage.EVOLUTION else Outcome(Reason.BELOW_THRESHOLD)


def few_survivors(candidate: Candidate) -> Outcome:
    """Fewer losses pass screening than the population holds."""
    failed = candidate.stage is Stage.SCREENING and candidate.number > 2
    return Outcome(Reason.BELOW_THRESHOLD) if failed else Outcome(Reason.OK, 0.5 + candidate.number / 1000)


@pytest.mark.parametrize("tells", [0, 5, 12, 15, 18, 21, 27])
@pytest.mark.parametrize("script", [scripted, always_failing_children, few_survivors])
def test_the_state_is_counted_as_the_search_counts_it(tmp_path: Path, script: Script, tells: int) -> None:
    run = config()
    record = record_of(make_run(tmp_path / "run", run, script, tells))
    evolution = Evolution(run.search, run.space, run.seed)
    total = sum(evolution.remaining().values())
    for _ in range(tells):
        candidate = evolution.ask()
        assert candidate is not None
        evolution.tell(candidate.number, script(candidate))
    assert record.state.total == total
    assert record.state.told == total - sum(evolution.remaining().values())
    assert record.state.finished == evolution.done


@pytest.mark.parametrize("script", [scripted, always_failing_children, few_survivors])
def test_a_finished_search_is_finished(tmp_path: Path, script: Script) -> None:
    assert record_of(make_run(tmp_path / "run", config(), script)).state.finished


def test_cross_entropy_counts_by_either_name_and_studies_are_no_part_of_the_search(tmp_path: Path) -> None:
    run = config()
    make_run(tmp_path / "run", run)
    before = record_of(tmp_path / "run")
    with Ledger.open(tmp_path / "run") as ledger:
        ledger.begin_session("lossmith train", 1, {}, 0.0)
        loss = expression_row(Expression.from_text("-y*log(yhat)"), False)
        key = EvaluationKey(loss.key, run.task.task_id, 5, "validation")
        ledger.add_evaluation(loss, key, reason=Reason.OK, score=0.875)
    record = record_of(tmp_path / "run")
    assert record.baseline is not None
    assert (record.baseline.score, record.baseline.trainings) == (0.75, 2)
    assert record.evaluations == before.evaluations
    assert record.ranking == before.ranking
