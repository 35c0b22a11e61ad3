"""What a run cost: evaluations, training steps, time, and the share of it that went into anything but training."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from lossmith.ledger import EvaluationRow, Ledger, SessionRow
from lossmith.report.record import SearchRecord
from lossmith.report.snapshot import Snapshot
from lossmith.search.rungs.rungs import RUNGS
from lossmith.train.task import TaskConfig
from lossmith.verdict import Reason


@dataclass(frozen=True, slots=True)
class SessionCost:
    """The cost of one process that wrote the ledger."""

    session: SessionRow
    evaluations: int
    steps: int
    training_seconds: float  # summed over the evaluations
    worker_seconds: float  # workers x wall seconds

    @property
    def overhead(self) -> float | None:
        return _overhead(self.training_seconds, self.worker_seconds)


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of a run: of its search, and of every study in the same ledger."""

    sessions: tuple[SessionCost, ...]
    reused: int  # outcomes that the search took from the ledger instead of training again

    @property
    def evaluations(self) -> int:
        return sum(session.evaluations for session in self.sessions)

    @property
    def steps(self) -> int:
        return sum(session.steps for session in self.sessions)

    @property
    def training_seconds(self) -> float:
        return sum(session.training_seconds for session in self.sessions)

    @property
    def wall_seconds(self) -> float:
        return sum(session.session.seconds for session in self.sessions)

    @property
    def worker_seconds(self) -> float:
        return sum(session.worker_seconds for session in self.sessions)

    @property
    def overhead(self) -> float | None:
        """The share of worker time outside training, in [0, 1]; None where no worker time was spent.

        Start-up, waiting at the end of a stage, and work lost with a process that was killed all count.
        """
        return _overhead(self.training_seconds, self.worker_seconds)


@dataclass(frozen=True, slots=True)
class RungCost:
    """What one rung of a search refused, took, and kept from being trained."""

    reason: Reason  # that it refuses with
    refused: int  # drafts
    seconds: float  # that it took, of the process that runs the search
    training_seconds: float  # that training what it refused would have taken, about


def rung_costs(record: SearchRecord) -> list[RungCost]:
    """The rungs that a search asked, in order; a rung that refused nothing and took no time is left out.

    What training would have taken is estimated from the mean time of a step on the task that a draft was meant for: all
    steps for a duplicate, and for what does not train those up to the task's first stopping rule.
    """
    tasks = {task.task_id: task for task in (record.config.screening, record.config.task)}
    rates = {key: _step_seconds(record, key) for key in tasks}
    refused: dict[str, Counter[str]] = {key: Counter() for key in tasks}
    seconds: Counter[str] = Counter()
    for candidate in record.snapshot.candidates:
        refused[record.task_of(candidate.stage)].update(candidate.refused)
        seconds.update(candidate.rung_seconds)
    found = [
        RungCost(
            reason,
            refused=sum(counts[reason.value] for counts in refused.values()),
            seconds=seconds[reason.value],
            training_seconds=sum(
                refused[key][reason.value] * rates[key] * _steps(task, reason) for key, task in tasks.items()
            ),
        )
        for reason in RUNGS
    ]
    return [rung for rung in found if rung.refused or rung.seconds]


def _step_seconds(record: SearchRecord, task: str) -> float:
    rows = [row for row in record.evaluations if row.key.task == task]
    steps = sum(row.steps for row in rows)
    return sum(row.seconds for row in rows) / steps if steps else 0.0


def _steps(task: TaskConfig, reason: Reason) -> int:
    stops = (
        [] if reason is Reason.DUPLICATE_FUNCTION else [rule.from_epoch * task.epoch_steps for rule in task.stopping]
    )
    return min([task.steps, *stops])


def cost(ledger: Ledger) -> Cost:
    """The cost of the run in `ledger`; errors as `Snapshot.of`."""
    return cost_of(Snapshot.of(ledger))


def cost_of(snapshot: Snapshot) -> Cost:
    by_session = snapshot.evaluations_by_session
    sessions = (_session_cost(session, by_session.get(session.id, [])) for session in snapshot.sessions)
    return Cost(tuple(sessions), snapshot.reused)


def _session_cost(session: SessionRow, evaluations: list[EvaluationRow]) -> SessionCost:
    return SessionCost(
        session,
        evaluations=len(evaluations),
        steps=sum(row.steps for row in evaluations),
        training_seconds=sum(row.seconds for row in evaluations),
        worker_seconds=session.workers * session.seconds,
    )


def _overhead(training_seconds: float, worker_seconds: float) -> float | None:
    return 1 - training_seconds / worker_seconds if worker_seconds > 0 else None
