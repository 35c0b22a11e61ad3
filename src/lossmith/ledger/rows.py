"""The rows of a ledger, as records."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from lossmith.errors import RunError
from lossmith.verdict import Reason


@dataclass(frozen=True, slots=True)
class EvaluationKey:
    """What identifies an evaluation: it is never run twice in one ledger."""

    loss: str
    task: str
    seed: int
    split: str


@dataclass(frozen=True, slots=True)
class EvaluationRow:
    id: int
    key: EvaluationKey
    reason: Reason
    detail: str
    score: float | None
    nll: float | None
    ece: float | None
    steps: int
    seconds: float
    curve: list[dict[str, Any]]
    worker: int
    session: int
    finished: float


@dataclass(frozen=True, slots=True)
class CandidateRow:
    number: int
    stage: str
    iteration: int
    attempt: int
    loss: str
    genome: dict[str, list[str]]
    parent: int | None
    mutation: dict[str, Any] | None
    refused: dict[str, int]
    asked: int
    told: int | None
    evaluation: int | None
    rung_seconds: dict[str, float]


@dataclass(frozen=True, slots=True)
class LossRow:
    key: str
    formula: str
    flip: bool | None

    @property
    def minimised(self) -> str:
        """The formula of what is minimised."""
        return f"-({self.formula})" if self.flip else self.formula


@dataclass(frozen=True, slots=True)
class TaskRow:
    task_id: str
    name: str
    configuration: dict[str, Any]
    data_checksum: str
    plan: dict[str, Any] | None = None  # of `lossmith.train.plan.Plan`; None: one loss at a time, in float32


@dataclass(frozen=True, slots=True)
class SessionRow:
    id: int
    command: str
    started: float
    seconds: float
    workers: int
    versions: dict[str, str]


def read_task(row: tuple[Any, ...]) -> TaskRow:
    """The record of a row of `tasks`, in the order of its columns."""
    task_id, name, configuration, checksum, *later = row
    plan = later[0] if later else None  # schemas 1 and 2, opened to read
    return TaskRow(task_id, name, json.loads(configuration), checksum, json.loads(plan) if plan else None)


def read_evaluation(row: tuple[Any, ...]) -> EvaluationRow:
    """The record of a row of `evaluations`, in the order of its columns."""
    number, loss, task, seed, split, reason, detail, score, nll, ece, steps, seconds, curve, worker, session, end = row
    key = EvaluationKey(loss, task, seed, split)
    try:
        verdict = Reason(reason)
    except ValueError as error:
        raise RunError(
            f"evaluation {number} of the ledger has the unknown verdict {reason!r}; update Lossmith"
        ) from error
    return EvaluationRow(
        number, key, verdict, detail, score, nll, ece, steps, seconds, json.loads(curve), worker, session, end
    )


def read_candidate(row: tuple[Any, ...]) -> CandidateRow:
    """The record of a row of `candidates`, in the order of its columns."""
    number, stage, iteration, attempt, loss, genome, parent, mutation, refused, asked, told, evaluation, *later = row
    return CandidateRow(
        number,
        stage,
        iteration,
        attempt,
        loss,
        json.loads(genome),
        parent,
        json.loads(mutation) if mutation else None,
        json.loads(refused),
        asked,
        told,
        evaluation,
        json.loads(later[0]) if later else {},  # schema 1, opened to read
    )
