from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lossmith.errors import LossmithError
from lossmith.execution.base import Completed, Setup
from lossmith.ledger import Ledger, LossRow
from lossmith.search.evaluation import Evaluations
from lossmith.train.result import TrainingResult
from lossmith.verdict import Reason

TASK = "task"


class Scripted:
    """An executor whose jobs end in the order of submission, for the reasons given, one at each `wait`."""

    workers = 1

    def __init__(self, *reasons: Reason) -> None:
        self._reasons = deque(reasons)
        self.submitted: deque[int] = deque()
        self.runs = 0

    def begin(self, setup: Setup, time_limit: float | None = None) -> None: ...

    def close(self) -> None: ...

    def submit(self, job: int, payload: Any) -> None:
        self.submitted.append(job)
        self.runs += 1

    def wait(self, timeout: float | None = None) -> list[Completed]:
        if not self.submitted:
            return []
        reason = self._reasons.popleft()
        result = TrainingResult(Reason.OK, 0.5, 1.0, 0.1, (), 3, 0.1) if reason.ok else None
        detail = "Traceback ...\nOSError: no space" if reason is Reason.ERROR else ""
        return [Completed(self.submitted.popleft(), result, reason, detail, 0, 0.1)]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.create(tmp_path / "run", {}) as ledger:
        ledger.begin_session("test", 1, {}, time.monotonic())
        ledger.add_task(TASK, "t", {}, "c")
        yield ledger


def request(evaluations: Evaluations, *tickets: int) -> None:
    for ticket in tickets:
        evaluations.request(ticket, LossRow(f"k{ticket}", "y*yhat", True), TASK, 0)


def recorded(ledger: Ledger) -> list[tuple[str, Reason]]:
    return [(row.key.loss, row.reason) for row in ledger.evaluations()]


def test_an_evaluation_in_the_ledger_or_under_way_is_not_run_again(ledger: Ledger) -> None:
    executor = Scripted(Reason.OK)
    evaluations = Evaluations(ledger, executor)
    request(evaluations, 1)
    evaluations.request(2, LossRow("k1", "y*yhat", True), TASK, 0)
    assert [(a.ticket, a.reused) for a in evaluations.wait()] == [(1, False), (2, True)]
    request(evaluations, 1)
    assert [(a.ticket, a.reused, a.row.score) for a in evaluations.wait()] == [(1, True, 0.5)]
    assert executor.runs == 1


def test_errors_in_a_row_stop_the_work_and_are_not_recorded(ledger: Ledger) -> None:
    evaluations = Evaluations(ledger, Scripted(*[Reason.ERROR] * 3))
    request(evaluations, *range(5))
    assert evaluations.wait() == []
    assert evaluations.wait() == []
    with pytest.raises(LossmithError, match=r"3 evaluations in a row failed .*: OSError: no space"):
        evaluations.wait()
    assert recorded(ledger) == []


def test_errors_one_at_a_time_stop_the_work_too(ledger: Ledger) -> None:
    evaluations = Evaluations(ledger, Scripted(*[Reason.ERROR] * 3))
    for ticket in range(2):  # nothing else runs that could tell, so these are recorded
        request(evaluations, ticket)
        assert [answer.row.reason for answer in evaluations.wait()] == [Reason.ERROR]
    request(evaluations, 2)
    with pytest.raises(LossmithError, match="3 evaluations in a row"):
        evaluations.wait()
    assert recorded(ledger) == [("k0", Reason.ERROR), ("k1", Reason.ERROR)]


def test_a_single_error_is_the_loss_s_own(ledger: Ledger) -> None:
    evaluations = Evaluations(ledger, Scripted(Reason.ERROR, Reason.ERROR, Reason.OK, Reason.ERROR, Reason.OK))
    request(evaluations, *range(5))
    answers = [answer for _ in range(5) for answer in evaluations.wait()]
    assert [(a.ticket, a.row.reason.ok) for a in answers] == [(0, False), (1, False), (2, True), (3, False), (4, True)]
    assert "OSError: no space" in answers[0].row.detail


def test_a_lost_worker_s_evaluation_is_tried_three_times(ledger: Ledger) -> None:
    executor = Scripted(*[Reason.WORKER_LOST] * 5, Reason.OK)
    evaluations = Evaluations(ledger, executor)
    request(evaluations, 0)
    answers = [answer for _ in range(3) for answer in evaluations.wait()]
    assert [answer.row.reason for answer in answers] == [Reason.WORKER_LOST]
    assert executor.runs == 3
    request(evaluations, 1)
    assert [a.row.reason for _ in range(3) for a in evaluations.wait()] == [Reason.OK]  # the third run succeeds
