"""Searches that were never run, and eliminations that train nothing, for tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from helpers import accepted_expressions
from lossmith.config import RunConfig, load_preset
from lossmith.execution.base import Completed, Setup
from lossmith.ledger import EvaluationKey, Ledger, LossRow
from lossmith.search.evaluation import expression_row, prepare
from lossmith.search.seeds import training_seed
from lossmith.search.serving import EvaluationJob, EvaluationSetup
from lossmith.space.expression import Expression
from lossmith.space.integrity import check
from lossmith.study.elimination.candidates import Candidate, Entry, Source
from lossmith.study.elimination.config import EliminationConfig
from lossmith.study.elimination.config import load_preset as load_protocol
from lossmith.study.elimination.protocol import eliminate
from lossmith.study.trainings import Trainings
from lossmith.train.plan import Plan
from lossmith.train.result import TrainingResult
from lossmith.verdict import Reason

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


class Imagined:
    """An executor that trains nothing: each evaluation has the score that a function says, one after the other."""

    workers, capacity = 1, 4

    def __init__(self, score: Score) -> None:
        self._score = score
        self._names: dict[str, str] = {}
        self._jobs: list[tuple[int, EvaluationJob]] = []
        self.trained: list[tuple[str, str, int]] = []

    def begin(self, setup: Setup, time_limit: float | None = None, slots: int = 1) -> None:
        assert isinstance(setup, EvaluationSetup)
        self._names = {key: task.name for key, task in setup.tasks.items()}

    def submit(self, job: int, payload: EvaluationJob, group: Hashable = None, together: int | None = None) -> None:
        assert payload.split == "validation"
        self._jobs.append((job, payload))

    def recall(self) -> list[int]:
        raise AssertionError("nothing is lost")

    def wait(self, timeout: float | None = None) -> list[Completed]:
        if not self._jobs:
            return []
        number, job = self._jobs.pop(0)
        what = job.loss.key, self._names[job.task], job.seed
        self.trained.append(what)
        score = self._score(*what)
        reason = Reason.BELOW_THRESHOLD if score is None else Reason.OK
        return [Completed(number, TrainingResult(reason, score, None, None, (), 1, 0.5), Reason.OK, "", 0, 0.5)]

    def close(self) -> None: ...


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
