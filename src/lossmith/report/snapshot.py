"""A ledger as it stands at one moment, in memory."""

from __future__ import annotations

import functools
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from lossmith.ledger import CandidateRow, EvaluationRow, Ledger, LossRow, SessionRow, TaskRow


@dataclass(frozen=True)
class Snapshot:
    """All rows of a ledger."""

    directory: Path
    created: float
    configuration: dict[str, Any]
    sessions: list[SessionRow]
    tasks: dict[str, TaskRow]  # by task_id
    candidates: list[CandidateRow]
    evaluations: list[EvaluationRow]
    losses: dict[str, LossRow]  # by key
    comparisons: list[dict[str, Any]]
    abandoned: frozenset[int]  # iterations whose failed child had no valid new replacement

    @classmethod
    def of(cls, ledger: Ledger) -> Self:
        """The snapshot of a ledger, which another process may be writing.

        Raises:
            RunError: the ledger cannot be read.
        """
        # a row is read before the rows that it refers to, so that every reference can be followed
        comparisons = ledger.comparisons()
        candidates = list(ledger.candidates())
        evaluations = list(ledger.evaluations())
        return cls(
            directory=ledger.directory,
            created=ledger.created(),
            configuration=ledger.configuration(),
            sessions=ledger.sessions(),
            tasks={task.task_id: task for task in ledger.tasks()},
            candidates=candidates,
            evaluations=evaluations,
            losses=ledger.losses(),
            comparisons=comparisons,
            abandoned=frozenset(ledger.abandoned().values()),
        )

    @property
    def name(self) -> str:
        return str(self.configuration.get("name", self.directory.name))

    @functools.cached_property
    def evaluations_by_session(self) -> dict[int, list[EvaluationRow]]:
        rows: dict[int, list[EvaluationRow]] = defaultdict(list)
        for row in self.evaluations:
            rows[row.session].append(row)
        return dict(rows)

    @functools.cached_property
    def reused(self) -> int:
        """Candidates whose outcome was in the ledger already, or on its way, when the search asked for it."""
        told = [candidate.evaluation for candidate in self.candidates if candidate.evaluation is not None]
        return len(told) - len(set(told))
