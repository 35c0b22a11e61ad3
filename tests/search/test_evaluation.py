from __future__ import annotations

import time
from collections import deque
from collections.abc import Hashable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

import engines
from lossmith.errors import LossmithError
from lossmith.execution.base import Completed, Setup
from lossmith.execution.local import LocalExecutor
from lossmith.ledger import EvaluationRow, Ledger, LossRow
from lossmith.search.evaluation import Evaluations, zoo_row
from lossmith.search.serving import EvaluationJob, EvaluationSetup, FailedTogether
from lossmith.train.data import load_dataset
from lossmith.train.plan import Plan
from lossmith.train.result import TrainingResult
from lossmith.train.task import load_task
from lossmith.verdict import Reason

TASK = "task"


class Scripted:
    """An executor whose jobs end in the order of submission, for the reasons given, one at each `wait`."""

    workers = capacity = 1

    def __init__(self, *reasons: Reason) -> None:
        self._reasons = deque(reasons)
        self.submitted: deque[int] = deque()
        self.runs = 0

    def begin(self, setup: Setup, time_limit: float | None = None, slots: int = 1) -> None: ...

    def close(self) -> None: ...

    def submit(self, job: int, payload: Any, group: Hashable = None, together: int | None = None) -> None:
        self.submitted.append(job)
        self.runs += 1

    def recall(self) -> list[int]:
        waiting, self.submitted = list(self.submitted), deque()
        return waiting

    def wait(self, timeout: float | None = None) -> list[Completed]:
        if not self.submitted:
            return []
        reason = self._reasons.popleft()
        result = TrainingResult(Reason.OK, 0.5, 1.0, 0.1, (), 3, 0.1) if reason.ok else None
        detail = "Traceback ...\nOSError: no space" if reason is Reason.ERROR else ""
        return [Completed(self.submitted.popleft(), result, reason, detail, 0, 0.1)]


class Together:
    """An executor that holds what it is given until it is told what becomes of it."""

    workers, capacity = 1, 8

    def __init__(self) -> None:
        self.held: dict[int, EvaluationJob] = {}  # by a worker
        self.queue: dict[int, EvaluationJob] = {}
        self._ended: list[Completed] = []

    def begin(self, setup: Setup, time_limit: float | None = None, slots: int = 1) -> None: ...

    def close(self) -> None: ...

    def submit(self, job: int, payload: EvaluationJob, group: Hashable = None, together: int | None = None) -> None:
        assert group == (payload.task, payload.slots)
        assert together == payload.slots
        self.queue[job] = payload

    def recall(self) -> list[int]:
        waiting, self.queue = list(self.queue), {}
        return waiting

    def hand_out(self) -> list[tuple[str, int]]:
        """Give the worker as many of the first jobs as may be together: their losses and slots."""
        slots = next(iter(self.queue.values())).slots
        while self.queue and len(self.held) < slots == next(iter(self.queue.values())).slots:
            number = next(iter(self.queue))
            self.held[number] = self.queue.pop(number)
        return [(job.loss.key, job.slots) for job in self.held.values()]

    def lose(self, exit_code: int) -> None:
        for number in self.held:
            lost = Completed(number, None, Reason.WORKER_LOST, "", 0, 0.1, len(self.held) - 1, exit_code)
            self._ended.append(lost)
        self.held = {}

    def end(self, result: Any, *numbers: int) -> None:
        """Let all jobs end, or those with the given places."""
        for number in [number for place, number in enumerate(self.held) if not numbers or place in numbers]:
            del self.held[number]
            reason = Reason.ERROR if isinstance(result, str) else Reason.OK
            detail, given = (result, None) if isinstance(result, str) else ("", result)
            self._ended.append(Completed(number, given, reason, detail, 0, 0.1))

    def wait(self, timeout: float | None = None) -> list[Completed]:
        ended, self._ended = self._ended, []
        return ended


OK = TrainingResult(Reason.OK, 0.5, 1.0, 0.1, (), 3, 0.1)
FUSED = Plan("fused", slots=4)


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


class Trial:
    """Evaluations of eight losses, up to four at once, with an executor that is told what becomes of them."""

    def __init__(self, ledger: Ledger) -> None:
        self.executor = Together()
        self.said: list[str] = []
        self.evaluations = Evaluations(ledger, self.executor, {TASK: FUSED}, self.said.append)
        request(self.evaluations, *range(8))
        assert self.executor.hand_out() == [(f"k{ticket}", 4) for ticket in range(4)]

    def wait(self) -> list[tuple[int, Reason]]:
        return [(answer.ticket, answer.row.reason) for answer in self.evaluations.wait()]

    def rounds(self, result: Any = OK) -> list[list[tuple[str, int]]]:
        """Let all that is left end with `result`: what is together each time."""
        found = []
        while self.executor.queue:
            found.append(self.executor.hand_out())
            self.executor.end(result)
            self.wait()
        return found


def test_losses_of_a_lost_worker_are_run_again_one_by_one_and_first(ledger: Ledger) -> None:
    trial = Trial(ledger)
    trial.executor.lose(-11)
    assert trial.wait() == []
    assert trial.rounds() == [
        *([(f"k{ticket}", 1)] for ticket in range(4)),
        [(f"k{ticket}", 4) for ticket in range(4, 8)],
    ]
    assert recorded(ledger) == [(f"k{ticket}", Reason.OK) for ticket in range(8)]
    assert trial.said == []


def test_only_a_loss_that_was_alone_in_each_of_three_lost_workers_is_to_blame(ledger: Ledger) -> None:
    trial = Trial(ledger)
    trial.executor.lose(-11)
    trial.wait()
    assert trial.executor.hand_out() == [("k0", 1)]
    for _ in range(2):
        trial.executor.lose(-11)
        assert trial.wait() == []
        assert trial.executor.hand_out() == [("k0", 1)]  # again, and before the others
    trial.executor.lose(-11)
    assert trial.wait() == [(0, Reason.WORKER_LOST)]
    trial.rounds()
    assert recorded(ledger) == [("k0", Reason.WORKER_LOST), *((f"k{ticket}", Reason.OK) for ticket in range(1, 8))]


def test_a_killed_worker_halves_how_many_train_at_once(ledger: Ledger) -> None:
    trial = Trial(ledger)
    trial.executor.lose(-9)
    trial.wait()
    (said,) = trial.said  # once for all that were lost
    assert said.endswith("with 4 losses at once in a process; going on with 2")
    assert [task.plan for task in ledger.tasks()] == [{**asdict(FUSED), "slots": 2}]  # so a resumed run knows it
    together = trial.rounds()
    assert together == [*([(f"k{t}", 1)] for t in range(4)), [("k4", 2), ("k5", 2)], [("k6", 2), ("k7", 2)]]


def test_too_little_memory_halves_how_many_train_at_once_down_to_one(ledger: Ledger) -> None:
    trial = Trial(ledger)
    short = FailedTogether("OutOfMemoryError: ...", out_of_memory=True, own=False)
    trial.executor.end(short)
    assert trial.wait() == []
    assert trial.executor.hand_out() == [("k0", 2), ("k1", 2)]
    trial.executor.end(short)
    assert trial.wait() == []
    assert [line.rpartition("; ")[2] for line in trial.said] == ["going on with 2", "going on with 1"]
    assert trial.rounds() == [[(f"k{ticket}", 1)] for ticket in range(8)]
    assert [task.plan for task in ledger.tasks()] == [{**asdict(FUSED), "slots": 1}]


def test_memory_that_is_too_little_for_one_is_its_own_error(ledger: Ledger) -> None:
    trial = Trial(ledger)
    trial.executor.end(FailedTogether("MemoryError", out_of_memory=True, own=True), 1)
    assert trial.wait() == []
    trial.executor.end(OK)
    trial.wait()
    assert trial.executor.hand_out() == [("k1", 1)]  # alone, since it was its own
    trial.executor.end("Traceback ...\nMemoryError")
    trial.wait()
    trial.rounds()
    assert dict(recorded(ledger))["k1"] is Reason.ERROR
    assert [line.rpartition("; ")[2] for line in trial.said] == ["going on with 2"]


def test_a_failure_of_all_is_traced_to_the_one_that_makes_it(ledger: Ledger) -> None:
    trial = Trial(ledger)
    trial.executor.end(FailedTogether("ValueError: broken", out_of_memory=False, own=False))
    assert trial.wait() == []
    assert trial.executor.hand_out() == [("k0", 1)]
    trial.executor.end("ValueError: broken")
    trial.wait()
    assert trial.rounds()[-1] == [(f"k{ticket}", 4) for ticket in range(4, 8)]
    assert [key for key, reason in recorded(ledger) if not reason.ok] == ["k0"]
    assert trial.said == []


def evaluate(
    setup: EvaluationSetup, ledger: Ledger, wanted: list[tuple[str, int]], workers: int = 1
) -> tuple[dict[tuple[str, int], EvaluationRow], list[str]]:
    """Evaluate cross-entropy for each (task, seed) in real workers: the rows, and what was said."""
    for key, task in setup.tasks.items():
        ledger.add_task(key, task.name, {}, "checksum", asdict(setup.plans[key]))
    said: list[str] = []
    rows: dict[tuple[str, int], EvaluationRow] = {}
    with LocalExecutor(workers) as executor:
        executor.begin(setup, slots=setup.slots)
        evaluations = Evaluations(ledger, executor, setup.plans, said.append)
        for ticket, (task, seed) in enumerate(wanted):
            evaluations.request(ticket, zoo_row("cross_entropy"), task, seed)
        answered: list[int] = []
        while len(answered) < len(wanted):
            for answer in evaluations.wait(60):
                answered.append(answer.ticket)
                rows[wanted[answer.ticket]] = answer.row
        assert sorted(answered) == list(range(len(wanted)))  # each exactly once
    assert len(list(ledger.evaluations())) == len(wanted)
    return rows, said


def test_workers_train_as_many_at_once_as_planned(ledger: Ledger) -> None:
    wanted = [("ab"[seed % 3 == 0], seed) for seed in range(24)]
    rows, said = evaluate(engines.setup(FUSED, engines.scripted), ledger, wanted, workers=2)
    assert all(row.reason.ok and row.score == seed / 1000 for (_, seed), row in rows.items())
    assert max(row.steps for row in rows.values()) <= 4
    assert said == []


@pytest.mark.parametrize("poison", [engines.SEGFAULT, engines.KILL])
def test_a_loss_that_ends_its_worker_each_time_is_found_among_others(ledger: Ledger, poison: int) -> None:
    wanted = [("a", seed) for seed in (1, 2, poison, 3, 4, 5, 6, 7, 8)]
    rows, said = evaluate(engines.setup(FUSED, engines.scripted), ledger, wanted)
    assert rows.pop(("a", poison)).reason is Reason.WORKER_LOST
    assert all(row.reason.ok for row in rows.values())
    assert len(said) == (poison == engines.KILL)


def test_a_worker_that_is_killed_once_costs_no_evaluation(ledger: Ledger, tmp_path: Path) -> None:
    wanted = [("a", seed) for seed in (1, 2, 3, engines.KILL_ONCE, 5, 6, 7, 8, 9)]
    marker = tmp_path / "killed"
    rows, said = evaluate(engines.setup(FUSED, engines.scripted, str(marker)), ledger, wanted, workers=2)
    assert marker.exists()
    assert all(row.reason.ok for row in rows.values())
    assert [line.rpartition("; ")[2] for line in said] == ["going on with 2"]


def test_an_engine_that_breaks_and_a_loss_that_fails_harm_no_others(ledger: Ledger) -> None:
    wanted = [("a", seed) for seed in (1, engines.FAIL, 2, 3, 4, engines.BREAK, 5, 6)]
    rows, said = evaluate(engines.setup(FUSED, engines.scripted), ledger, wanted)
    failed = {seed: row.detail for (_, seed), row in rows.items() if row.reason is Reason.ERROR}
    assert sorted(failed) == [engines.FAIL, engines.BREAK]
    assert "ValueError: on purpose" in failed[engines.FAIL]
    assert "ValueError: broken" in failed[engines.BREAK]
    assert all(row.reason.ok for (_, seed), row in rows.items() if seed < engines.FAIL)
    assert said == []


def test_memory_for_two_at_once_is_found_out(ledger: Ledger) -> None:
    wanted = [("a", seed) for seed in range(20)]
    plan = Plan("fused", slots=8)
    rows, said = evaluate(engines.setup(plan, engines.greedy), ledger, wanted)
    assert all(row.reason.ok for row in rows.values())
    assert max(row.steps for row in rows.values()) == 2
    assert said == [
        "out of memory with 8 losses at once in a process; going on with 4",
        "out of memory with 4 losses at once in a process; going on with 2",
    ]


def test_a_real_training_that_needs_too_much_memory_goes_on_with_fewer(ledger: Ledger) -> None:
    changes = {"model": "resnet9v2", "steps": 1, "epoch_steps": 1, "batch_size": 128, "stopping": []}
    data = {"source": "digits", "image_size": 32, "train_limit": 200, "validation_fraction": 0.05}
    task = load_task({"base": "digits-screen", **changes, "data": data}, "test")
    setup = engines.setup(Plan("fused", slots=8), engines.limited, load_dataset(task.data), {"a": task})
    rows, said = evaluate(setup, ledger, [("a", seed) for seed in range(8)])
    assert all(row.reason.ok and row.steps == 1 for row in rows.values())
    assert said
    assert all(line.startswith("out of memory with") for line in said)
