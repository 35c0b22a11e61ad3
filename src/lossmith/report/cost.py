"""What a run cost: evaluations, training steps, time, and the share of it that went into anything but training."""

from __future__ import annotations

from dataclasses import dataclass

from lossmith.ledger import EvaluationRow, Ledger, SessionRow
from lossmith.report.snapshot import Snapshot


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
