"""Runs for the reports to show, made through the ledger's and the search's own interfaces, without any training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lossmith.config import RunConfig, load_preset
from lossmith.ledger import EvaluationKey, Ledger
from lossmith.search.evaluation import expression_row, zoo_row
from lossmith.search.evolution import Candidate, Evolution, Outcome, Stage
from lossmith.search.run import candidate_row
from lossmith.search.seeds import training_seed
from lossmith.verdict import Reason

VERSIONS = {"lossmith": "0.1.0", "torch": "2.13.0+cpu"}
Script = Callable[[Candidate], Outcome]


def scripted(candidate: Candidate) -> Outcome:
    """Most losses train, and the later the better; every seventh fails."""
    if candidate.number % 7 == 6:
        return Outcome(Reason.BELOW_THRESHOLD)
    return Outcome(Reason.OK, 0.5 + candidate.number / 250)


def config(**changes: Any) -> RunConfig:
    return load_preset("smoke").model_copy(update=changes)


def play(ledger: Ledger, run: RunConfig, script: Script, tells: int | None = None) -> None:
    """Go through a search whose outcomes are scripted, up to `tells` outcomes."""
    evolution = Evolution(run.search, run.space, run.seed)
    for task in (run.screening, run.task):
        ledger.add_task(task.task_id, task.name, task.model_dump(mode="json"), "checksum")
    seed, told = training_seed(run.seed), 0
    while not evolution.done and told != tells:
        candidate = evolution.ask()
        assert candidate is not None
        loss = expression_row(candidate.individual.expression, candidate.individual.flip)
        ledger.add_candidate(loss, candidate_row(candidate))
        task = run.screening if candidate.stage is Stage.SCREENING else run.task
        key = EvaluationKey(loss.key, task.task_id, seed, "validation")
        row = ledger.find(key)
        if row is None:
            outcome = script(candidate)
            ok = outcome.reason.ok
            row = ledger.add_evaluation(
                loss,
                key,
                reason=outcome.reason,
                score=outcome.fitness,
                nll=1.25 if ok else None,
                ece=0.125 if ok else None,
                steps=task.steps if ok else 5,
                seconds=0.5,
            )
        ledger.tell(candidate.number, row.id)
        evolution.tell(candidate.number, Outcome(row.reason, row.score))
        told += 1


def make_run(directory: Path, run: RunConfig, script: Script = scripted, tells: int | None = None) -> Path:
    with Ledger.create(directory, run.model_dump(mode="json")) as ledger:
        ledger.begin_session("lossmith search", 2, VERSIONS, 0.0)
        play(ledger, run, script, tells)
        if tells is None:
            baseline = zoo_row("cross_entropy")
            key = EvaluationKey(baseline.key, run.task.task_id, 99, "validation")
            ledger.add_evaluation(baseline, key, reason=Reason.OK, score=0.625, seconds=0.5, steps=40)
    return directory


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished search; do not write into it."""
    return make_run(tmp_path_factory.mktemp("runs") / "finished", config())


def comparison() -> dict[str, Any]:
    """A comparison as `lossmith.study.comparison` records it; the second loss failed once, the third always."""

    def loss(key: str, scores: list[float | None], verdict: str, difference: dict[str, Any] | None) -> dict[str, Any]:
        present = [score for score in scores if score is not None]
        return {
            "key": key,
            "label": f"label of {key}",
            "formula": "-y * log(yhat)",
            "scores": scores,
            "mean": sum(present) / len(present) if present else None,
            "sd": 0.01 if present else None,
            "failed": scores.count(None),
            "difference": difference,
            "verdict": verdict,
        }

    difference = {
        "n": 2,
        "mean": 0.0151,
        "sd": 0.002,
        "low": 0.0011,
        "high": 0.0291,
        "p": 0.5,
        "confidence": 0.95,
        "p_adjusted": 0.75,
    }
    return {
        "task": "digits-full",
        "task_id": "0" * 16,
        "split": "test",
        "seeds": [11, 12, 13],
        "baseline": "zoo:cross_entropy",
        "losses": [
            loss("zoo:cross_entropy", [0.95, 0.96, 0.97], "baseline", None),
            loss("abc", [0.9651, 0.9751, None], "no evidence of a difference", difference),
            loss("def", [None, None, None], "not comparable", None),
        ],
        "sentence": "With 3 paired seeds, there is no evidence.",
    }
