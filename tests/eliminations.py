"""Searches that were never run, and eliminations that train nothing, for tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from helpers import accepted_expressions
from lossmith.config import RunConfig, load_preset
from lossmith.ledger import EvaluationKey, Ledger, LossRow
from lossmith.search.evaluation import expression_row, prepare
from lossmith.search.seeds import training_seed
from lossmith.search.serving import EvaluationJob
from lossmith.space.expression import Expression
from lossmith.space.integrity import check
from lossmith.study.elimination.candidates import Candidate, Entry, Source
from lossmith.study.elimination.config import EliminationConfig
from lossmith.study.elimination.config import load_preset as load_protocol
from lossmith.study.elimination.protocol import eliminate
from lossmith.study.trainings import Trainings
from lossmith.train.plan import Plan
from lossmith.train.result import TrainingResult
from lossmith.train.task import TaskConfig
from lossmith.verdict import Reason
from scripted import Scripted

Score = Callable[[str, str, int], float | None]  # of a loss's key, a task's name, a seed; None: the training fails


def loss_rows(count: int, seed: int = 0) -> list[LossRow]:
    return [expression_row(found, bool(check(found).flip)) for found in accepted_expressions(count, seed)]


def row_of(formula: str) -> LossRow:
    expression = Expression.from_text(formula)
    return expression_row(expression, bool(check(expression).flip))


def write_search(directory: Path, scores: Sequence[tuple[LossRow, float | None]], *settings: str) -> RunConfig:
    """The ledger of a search that found these losses with these scores; None: it failed."""
    config = load_preset("smoke", settings)
    with Ledger.create(directory, config.model_dump(mode="json")) as ledger:
        ledger.begin_session("test", 1, {}, time.monotonic())
        ledger.add_task(config.task.task_id, config.task.name, config.task.model_dump(mode="json"), "checksum")
        for loss, score in scores:
            key = EvaluationKey(loss.key, config.task.task_id, training_seed(config.seed), "validation")
            reason = Reason.BELOW_THRESHOLD if score is None else Reason.OK
            ledger.add_evaluation(loss, key, reason=reason, score=score)
    return config


def entry_of(losses: Sequence[LossRow], fitness: Sequence[float] | None = None) -> Entry:
    fitness = fitness or [0.9 - place / 1000 for place in range(len(losses))]
    candidates = [
        Candidate(loss, 0, value, place)
        for place, (loss, value) in enumerate(zip(losses, fitness, strict=True), start=1)
    ]
    return Entry((Source("/runs/search", "search", 0, "digest", len(losses)),), tuple(candidates))


def protocol(*settings: str) -> EliminationConfig:
    return load_protocol("smoke", settings)


class Imagined(Scripted):
    """Each evaluation has the score that a function says."""

    def __init__(self, score: Score) -> None:
        super().__init__(lambda job, task: score(job.loss.key, task.name, job.seed))
        self.trained: list[tuple[str, str, int]] = []

    def result(self, job: EvaluationJob, task: TaskConfig) -> TrainingResult:
        assert job.split == "validation"
        self.trained.append((job.loss.key, task.name, job.seed))
        return super().result(job, task)


def run(
    directory: Path, config: EliminationConfig, entry: Entry, score: Score, *, stop_after: int | None = None
) -> tuple[dict[str, Any], Imagined]:
    """An elimination in `directory`, from the start or from where it was; `stop_after` so many trainings it stops.

    Raises:
        StoppedError: it was stopped.
    """
    executor = Imagined(score)
    setup = prepare(phase.task for phase in config.phases)
    setup = replace(setup, plans=dict.fromkeys(setup.tasks, Plan("processes")))
    exists = (directory / "ledger.sqlite").exists()
    with Ledger.open(directory) if exists else Ledger.create(directory, {"name": "test"}) as ledger:
        ledger.begin_session("test", 1, {}, time.monotonic())
        trainings = Trainings(
            ledger,
            setup,
            executor,
            should_stop=lambda: stop_after is not None and len(executor.trained) >= stop_after,
        )
        return eliminate(ledger, config, entry, trainings), executor
