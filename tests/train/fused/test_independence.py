"""A training's bits, those of its weights included, for sizes that fill neither vectors nor lines of the cache."""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor

from bars import LOSSES, FromStep, alone, furthest, make_dataset, make_task, same_bits, together
from lossmith.train.engine import Job
from lossmith.train.result import TrainingResult
from lossmith.verdict import Reason

MODELS = (
    *("convnet", "resnet9v2", "user_models:plain", "user_models:residual", "user_models:excited"),
    *("user_models:channels_last", "user_models:in_place", "user_models:frozen", "user_models:one_layer_twice"),
)


def spoil(loss: Tensor, logits: Tensor) -> Tensor:
    return loss * float("nan")


def refuse(loss: Tensor, logits: Tensor) -> Tensor:
    raise ArithmeticError("refused")


@pytest.mark.parametrize(
    ("model", "size", "batch", "channels"),
    [*((model, 7, 5, 3) for model in MODELS), ("resnet9v2", 9, 3, 1), ("user_models:excited", 6, 3, 1)],
)
def test_a_slots_bits_do_not_depend_on_the_others(model: str, size: int, batch: int, channels: int) -> None:
    dataset = make_dataset(size, channels)
    task = make_task(model=model, steps=3, batch_size=batch, epoch_steps=2)
    jobs = [Job(number, LOSSES[number], number // 2) for number in range(4)]
    by_itself = {job.number: together(task, dataset, [job], 1)[job.number] for job in jobs}
    for slots in (2, 4):
        found = together(task, dataset, jobs, slots)
        assert [number for number in found if not same_bits(found[number], by_itself[number])] == []


@pytest.mark.parametrize("seed", range(2))
def test_slots_refilled_in_any_order(seed: int) -> None:
    """Jobs that end at any step and leave by all ways, so that slots move all the time."""
    dataset = make_dataset(7)
    rules = [{"from_epoch": epoch, "min_train_accuracy": minimum} for epoch, minimum in ((1, 0.3), (2, 0.5))]
    task = make_task(steps=9, batch_size=5, epoch_steps=3, stopping=rules, optimizer={"learning_rate": 0.003})
    draw = random.Random(seed)  # noqa: S311 - an order, no secret

    def jobs() -> list[Job]:
        whole = [Job(number, LOSSES[number % 4], number // 3) for number in range(8)]
        nan = [Job(10 + step, FromStep(step, spoil), step % 3) for step in (0, 2, 5, 7)]
        raising = [Job(20 + step, FromStep(step, refuse), step % 2) for step in (1, 4, 8)]
        found = [*whole, *nan, *raising]
        draw.shuffle(found)
        return found

    expected = together(task, dataset, sorted(jobs(), key=lambda job: job.number), 1)
    reasons = {outcome.result.reason for outcome in expected.values() if isinstance(outcome.result, TrainingResult)}
    assert reasons == {Reason.OK, Reason.BELOW_THRESHOLD, Reason.LOSS_NOT_FINITE}
    for slots in (3, draw.randint(4, 13)):
        found = together(task, dataset, jobs(), slots)
        assert found.keys() == expected.keys()
        assert [number for number in found if not same_bits(found[number], expected[number])] == []


@pytest.mark.slow
def test_resnet_at_the_methods_size_equals_separate_trainings() -> None:
    """32x32 in colour, 50 steps in float64: within 1e-9 of the largest number of each tensor.

    A bias before batch norm has the gradient 0 and holds only rounding; of the body, those are left out.
    """
    dataset = make_dataset(32, 3)
    task = make_task(model="resnet9v2", steps=50, epoch_steps=50, optimizer={"learning_rate": 0.003, "eps": 1e-5})
    jobs = [Job(number, LOSSES[number], number) for number in range(3)]
    found = together(task, dataset, jobs, 3, dtype=torch.float64)
    for job in jobs:
        expected = alone(task, dataset, job, dtype=torch.float64)
        for outcome in (expected, found[job.number]):
            for state in outcome.states:
                for block in (1, 2):
                    for layer in (2, 5):
                        del state[f"{block}.body.{layer}.bias"]
        worst, where = furthest(found[job.number], expected)
        assert worst <= 1e-9, where
