"""The stream of jobs: when it asks for the next, when it ends, and what a pre-screen does in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
from torch import Tensor
from torch.nn import functional

from bars import LOSSES, FromStep, alone, make_dataset, make_task, timeless
from lossmith.errors import ConfigError, DataError
from lossmith.train.data import Dataset
from lossmith.train.engine import Job, Result, run
from lossmith.train.plan import Plan
from lossmith.train.result import TrainingResult
from lossmith.train.task import TaskConfig
from lossmith.verdict import Reason

WAYS = [Plan("processes"), Plan("fused", 1), Plan("fused", 3)]
SCREEN = {"model": "convnet", "steps": 10, "batch_size": 16, "min_train_accuracy": 0.5}


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return make_dataset()


def from_list(jobs: list[Job | None]) -> Callable[[], Job | None]:
    left = iter(jobs)
    return lambda: next(left, None)


def backwards(logits: Tensor, target: Tensor) -> Tensor:
    return -functional.cross_entropy(logits, target).clamp(max=3)


def refuse(loss: Tensor, logits: Tensor) -> Tensor:
    raise ArithmeticError("refused")


def reasons(results: list[tuple[int, Result]]) -> dict[int, Reason | str]:
    """How each job ended; each is told of once."""
    found = {number: result.reason if isinstance(result, TrainingResult) else str(result) for number, result in results}
    assert len(found) == len(results)
    return found


@pytest.mark.parametrize("plan", WAYS, ids=str)
def test_every_job_gives_its_result_once(dataset: Dataset, plan: Plan) -> None:
    jobs = [Job(10 + number, LOSSES[number % 4], number // 2) for number in range(5)]
    jobs[3] = Job(13, FromStep(4, refuse), 0)
    results = list(run(make_task(steps=6), dataset, from_list(list(jobs)), plan))
    assert reasons(results) == dict.fromkeys(range(10, 15), Reason.OK) | {13: "refused"}


@pytest.mark.parametrize("plan", WAYS, ids=str)
def test_both_ways_score_the_split_that_the_job_names(dataset: Dataset, plan: Plan) -> None:
    jobs: list[Job | None] = [Job(0, LOSSES[0], 0, "validation"), Job(1, LOSSES[0], 0, "test")]
    found = dict(run(make_task(steps=6), dataset, from_list(jobs), plan))
    for number, split in enumerate(("validation", "test")):
        expected, result = alone(make_task(steps=6), dataset, Job(0, LOSSES[0], 0, split)).result, found[number]
        assert isinstance(expected, TrainingResult)
        assert isinstance(result, TrainingResult)
        assert result.score == pytest.approx(expected.score, abs=2.1 / 30)  # of 30 images
        assert result.nll == pytest.approx(expected.nll, rel=1e-3)
    assert timeless(found[0]) != timeless(found[1])


@pytest.mark.parametrize("plan", WAYS, ids=str)
def test_a_job_is_asked_for_only_where_a_slot_is_free(dataset: Dataset, plan: Plan) -> None:
    held: set[int] = set()
    given = 0

    def take() -> Job | None:
        nonlocal given
        assert len(held) < plan.slots
        if given == 5:
            return None
        given += 1
        held.add(given)
        return Job(given, FromStep(given, refuse) if given % 2 else LOSSES[0], 0)

    for number, _ in run(make_task(steps=6), dataset, take, plan):
        held.remove(number)
    assert (given, held) == (5, set())


def test_no_job_now_and_one_later(dataset: Dataset) -> None:
    """One is in training: the stream goes on, and asks again at every step."""
    asked = 0

    def take() -> Job | None:
        nonlocal asked
        asked += 1
        return {1: Job(1, LOSSES[0], 0), 6: Job(2, LOSSES[1], 1)}.get(asked)

    results = list(run(make_task(steps=6), dataset, take, Plan("fused", 2)))
    assert reasons(results) == {1: Reason.OK, 2: Reason.OK}
    assert [number for number, _ in results] == [1, 2]
    # 2 before the first step; one before each of its others, the 4th of which has the second job; then one until 1 ends
    assert asked > 6


@pytest.mark.parametrize("plan", WAYS, ids=str)
@pytest.mark.parametrize("prescreen", [None, SCREEN])
def test_without_a_job_it_ends_at_once(dataset: Dataset, plan: Plan, prescreen: Any) -> None:
    asked: list[None] = []
    assert list(run(make_task(prescreen=prescreen), dataset, lambda: asked.append(None), plan)) == []
    assert len(asked) == 1


def test_results_come_as_jobs_end_and_jobs_may_come_of_results(dataset: Dataset) -> None:
    """As a search does: what is asked next depends on what has ended."""
    waiting: list[Job] = [Job(0, LOSSES[0], 0), Job(1, FromStep(3, refuse), 0)]
    order: list[int] = []
    for number, _ in run(make_task(steps=6), dataset, lambda: waiting.pop(0) if waiting else None, Plan("fused", 2)):
        order.append(number)
        if number in (1, 2):
            waiting.append(Job(number + 1, FromStep(2, refuse), 0))
    assert order in ([1, 0, 2, 3], [1, 2, 0, 3])


@pytest.mark.parametrize("plan", WAYS, ids=str)
def test_what_is_wrong_with_the_task_is_told(dataset: Dataset, plan: Plan) -> None:
    jobs: list[Job | None] = [Job(0, LOSSES[0], 0)]
    task = make_task(augment={"pad": 8})
    with pytest.raises(DataError, match=r"augment\.pad 8 can push"):
        list(run(task, dataset, from_list(jobs), plan))


# --- stages and pre-screens ------------------------------------------------------------------------------------------


def test_stages_are_trained_in_processes_and_refused_fused(dataset: Dataset) -> None:
    task = make_task(steps=6, stages=[{"steps": 2, "resize": 6}, {"steps": 4, "resize": 8}], prescreen=SCREEN)
    job = Job(0, LOSSES[0], 0)
    assert reasons(list(run(task, dataset, from_list([job]), Plan("processes")))) == {0: Reason.OK}
    taken: list[None] = []
    with pytest.raises(ConfigError, match="has stages of different images: set execution"):
        list(run(task, dataset, lambda: taken.append(None), Plan("fused", 2)))
    assert taken == []  # no job is lost


def screened_jobs() -> list[Job]:
    """Of ten, half fail the pre-screen in different ways."""
    good = [Job(number, LOSSES[number % 4], number % 3) for number in range(5)]
    bad: list[Job] = [Job(5, backwards, 0), Job(6, FromStep(7, refuse), 1), Job(7, backwards, 2)]
    nan = [Job(8, FromStep(3, lambda loss, logits: loss * float("nan")), 0), Job(9, FromStep(13, refuse), 1)]
    return [job for pair in zip(good, [*bad, *nan], strict=True) for job in pair]


def screened_task() -> TaskConfig:
    return make_task(steps=8, epoch_steps=4, prescreen=SCREEN, optimizer={"learning_rate": 0.02})


@pytest.fixture(scope="module")
def screened_alone(dataset: Dataset) -> dict[int, Result]:
    return {job.number: alone(screened_task(), dataset, job).result for job in screened_jobs()}


@pytest.mark.parametrize("slots", [3, 10])
def test_a_pre_screen_ends_what_fails_it_as_alone(
    dataset: Dataset, screened_alone: dict[int, Result], slots: int
) -> None:
    task, expected = screened_task(), screened_alone
    found = dict(results := list(run(task, dataset, from_list(list(screened_jobs())), Plan("fused", slots))))
    assert len(results) == 10
    assert reasons(results) == reasons(list(expected.items()))
    wanted = {5: Reason.BELOW_THRESHOLD, 6: "refused", 8: Reason.LOSS_NOT_FINITE, 9: "refused", 0: Reason.OK}
    assert reasons(results).items() >= wanted.items()
    for number, result in expected.items():
        other = found[number]
        if isinstance(result, TrainingResult):
            assert isinstance(other, TrainingResult)
            assert (other.steps, len(other.curve)) == (result.steps, len(result.curve))
            for one, two in zip(result.curve, other.curve, strict=True):
                assert two.train_loss == pytest.approx(one.train_loss, rel=1e-2)
        else:
            assert timeless(other) == timeless(result)


def test_pre_screened_bits_do_not_depend_on_the_slots(dataset: Dataset) -> None:
    def results(slots: int) -> dict[int, Any]:
        found = run(screened_task(), dataset, from_list(list(screened_jobs())), Plan("fused", slots))
        return {number: timeless(result) for number, result in found}

    assert results(1) == results(4)


def test_what_fails_the_pre_screen_is_told_before_others_end(dataset: Dataset) -> None:
    """Whoever holds the slots can give them to others meanwhile."""
    jobs: list[Job | None] = [Job(0, LOSSES[0], 0), Job(1, backwards, 0), Job(2, FromStep(2, refuse), 1)]
    later = [Job(3, FromStep(1, refuse), 0)]
    told: list[int] = []

    def take() -> Job | None:
        if jobs:
            return jobs.pop(0)
        return later.pop() if later and told else None

    task = make_task(steps=40, epoch_steps=10, prescreen=SCREEN, optimizer={"learning_rate": 0.02})
    for number, _ in run(task, dataset, take, Plan("fused", 3)):
        told.append(number)
    assert told.index(0) == 3
    assert sorted(told) == [0, 1, 2, 3]


@pytest.mark.parametrize("plan", WAYS, ids=str)
def test_a_job_may_come_of_a_failed_pre_screen(dataset: Dataset, plan: Plan) -> None:
    """Nothing is in training then, but the next job is there as soon as the failure is told."""
    waiting = [Job(0, backwards, 0)]
    told: list[int] = []
    task = make_task(steps=6, prescreen=SCREEN)
    for number, _ in run(task, dataset, lambda: waiting.pop() if waiting else None, plan):
        told.append(number)
        if number < 2:
            waiting.append(Job(number + 1, LOSSES[0], 0))
    assert told == [0, 1, 2]


def test_a_pre_screen_in_processes_is_not_told_of_the_test_split(dataset: Dataset) -> None:
    task = make_task(steps=6, prescreen=SCREEN)
    ways: list[Literal["processes", "fused"]] = ["processes", "fused"]
    for way in ways:
        job: Iterator[Job] = iter([Job(0, backwards, 0, "test")])
        ((_, result),) = run(task, dataset, lambda job=job: next(job, None), Plan(way))
        assert isinstance(result, TrainingResult)
        assert (result.reason, result.score, result.steps) == (Reason.BELOW_THRESHOLD, None, 10)
