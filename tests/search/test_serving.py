from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

import engines
from lossmith.ledger import LossRow
from lossmith.search.evaluation import zoo_row
from lossmith.search.serving import EvaluationJob, FailedTogether, is_out_of_memory
from lossmith.train.engine import Job
from lossmith.train.plan import Plan

CROSS_ENTROPY = zoo_row("cross_entropy")


class Inbox:
    """Jobs that are there from the beginning; the end of the test where a server waits for more."""

    def __init__(self, *jobs: EvaluationJob) -> None:
        self.jobs = deque(enumerate(jobs))
        self.held: set[int] = set()
        self.taken: list[int] = []

    def take(self) -> tuple[int, Any] | None:
        if not self.jobs:
            return None
        job = self.jobs.popleft()
        self.held.add(job[0])
        self.taken.append(job[0])
        return job

    def wait(self) -> tuple[int, Any]:
        assert not self.held, "waits for a job while it holds one"
        job = self.take()
        if job is None:
            raise EOFError
        return job


def serve(inbox: Inbox, engine: Callable[..., Any], slots: int = 3) -> list[tuple[int, Any]]:
    server, answers = engines.setup(Plan("fused", slots=slots), engine)(), []
    try:
        for number, outcome in server(inbox):
            inbox.held.remove(number)
            answers.append((number, outcome))
    except EOFError:
        assert not inbox.jobs
    else:
        raise AssertionError("the server returned")
    assert sorted(number for number, _ in answers) == sorted(inbox.taken)  # each once
    return answers


def job(task: str, seed: int = 0, slots: int = 3, loss: LossRow = CROSS_ENTROPY) -> EvaluationJob:
    return EvaluationJob(loss, task, seed, "validation", slots)


class Watched:
    """An engine that ends the job it has trained longest, and notes what it was given and what it holds."""

    def __init__(self) -> None:
        self.runs: list[tuple[str, int, list[list[int]]]] = []  # task's model steps, slots, what was held at each end

    def __call__(
        self, task: Any, dataset: Any, take: Callable[[], Job | None], plan: Plan, *, device: torch.device
    ) -> Iterator[tuple[int, Any]]:
        ends: list[list[int]] = []
        self.runs.append((task.name, plan.slots, ends))
        held: deque[int] = deque()
        while True:
            while len(held) < plan.slots and (job := take()) is not None:
                held.append(job.number)
            if not held:
                return
            ends.append(list(held))
            yield held.popleft(), "result"


def test_jobs_of_one_task_train_together_and_another_task_waits_for_their_end() -> None:
    engine = Watched()
    names = {key: task.name for key, task in engines.TASKS.items()}
    answers = serve(Inbox(*(job(task) for task in "aaaabbaab")), engine)
    assert [number for number, _ in answers] == list(range(9))
    assert engine.runs == [
        (names["a"], 3, [[0, 1, 2], [1, 2, 3], [2, 3], [3]]),  # nothing more of it once another waits
        (names["b"], 3, [[4, 5], [5]]),
        (names["a"], 3, [[6, 7], [7]]),
        (names["b"], 3, [[8]]),
    ]


def test_an_engine_is_kept_while_jobs_of_its_task_come() -> None:
    engine = Watched()
    serve(Inbox(*(job("a", slots=1) for _ in range(5))), engine)
    assert len(engine.runs) == 1


def test_fewer_at_once_is_a_plan_of_its_own() -> None:
    engine = Watched()
    serve(Inbox(job("a"), job("a"), job("a", slots=1), job("a", slots=1), job("a")), engine)
    assert [(slots, ends) for _, slots, ends in engine.runs] == [(3, [[0, 1], [1]]), (1, [[2], [3]]), (3, [[4]])]


def test_a_broken_engine_answers_for_what_it_holds_and_is_begun_again() -> None:
    inbox = Inbox(*(job("a", seed) for seed in (engines.BREAK, 1, 2, 3, 4)), job("b", 5))
    answers = dict(serve(inbox, engines.scripted))
    assert {number for number, outcome in answers.items() if isinstance(outcome, FailedTogether)} == {0, 1, 2}
    fault = answers[0]
    assert (fault.out_of_memory, fault.own) == (False, False)
    assert fault.detail.strip().endswith("ValueError: broken")
    assert answers[5].score == 0.005


def test_a_job_that_trains_alone_fails_as_itself() -> None:
    server = engines.setup(Plan("fused", slots=3), engines.scripted)()
    with pytest.raises(ValueError, match="broken"):
        next(server(Inbox(job("a", engines.BREAK, slots=1))))
    (_, error), *_ = serve(Inbox(job("a", engines.NO_MEMORY, slots=1)), engines.scripted)
    assert isinstance(error, MemoryError)


def test_memory_that_a_job_s_own_step_lacks_is_told_from_an_error() -> None:
    answers = dict(serve(Inbox(job("a", engines.NO_MEMORY), job("a", engines.FAIL)), engines.scripted))
    fault = answers[0]
    assert isinstance(fault, FailedTogether)
    assert (fault.out_of_memory, fault.own) == (True, True)
    assert isinstance(answers[1], ValueError)


def test_a_loss_that_cannot_be_built_fails_as_one_that_raises() -> None:
    raised: list[Exception] = []

    def calling(task: Any, dataset: Any, take: Callable[[], Job | None], plan: Plan, **_: object) -> Iterator[Any]:
        while (one := take()) is not None:
            try:
                one.loss(torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64))
            except Exception as error:  # as the engine does
                raised.append(error)
                yield one.number, error
            else:
                yield one.number, "trained"

    answers = serve(Inbox(job("a", loss=LossRow("k", "y*unknown(yhat)", True)), job("a")), calling)
    assert answers[1] == (1, "trained")
    assert answers[0] == (0, raised[0])
    assert "unknown" in str(raised[0])


def test_what_says_that_memory_is_short() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"))
    assert is_out_of_memory(RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("out of memory"))
