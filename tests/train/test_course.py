"""The course of a training: epochs, the curve's records, stopping rules, stages."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bars import make_task
from lossmith.train.course import Course
from lossmith.train.metrics import Scores
from lossmith.verdict import Reason


def follow(course: Course, correct: int = 0) -> list[tuple[int, int]]:
    """(step, epoch) of the ends of the epochs."""
    ends: list[tuple[int, int]] = []
    while not course.done:
        if course.stepped(1.0):
            record = course.epoch_ended(correct, 0.5)
            ends.append((record.step, record.epoch))
            course.next_stage()
    return ends


@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=4),
    epoch_steps=st.integers(1, 8),
)
def test_epochs_end_with_their_steps_or_their_stage(lengths: list[int], epoch_steps: int) -> None:
    steps = sum(lengths)
    course = Course(make_task(steps=steps, epoch_steps=epoch_steps, stages=[{"steps": length} for length in lengths]))
    expected: list[int] = []
    for place, length in enumerate(lengths):
        first = sum(lengths[:place])
        expected += [first + done for done in range(epoch_steps, length, epoch_steps)] + [first + length]
    assert follow(course) == [(step, number + 1) for number, step in enumerate(expected)]
    assert course.step == steps


def test_a_record_has_the_means_of_its_epoch_and_the_clocks_seconds() -> None:
    now = 10.0
    course = Course(make_task(steps=5, epoch_steps=3, batch_size=4), clock=lambda: now)
    assert [course.stepped(loss) for loss in (1.0, 2.0, 6.0)] == [False, False, True]
    now = 12.5
    record = course.epoch_ended(6, 0.25)
    assert (record.epoch, record.step, record.train_loss, record.seconds) == (1, 3, 3.0, 2.5)
    assert (record.train_accuracy, record.validation_accuracy) == (6 / 12, 0.25)
    assert [course.stepped(loss) for loss in (5.0, 7.0)] == [False, True]
    record = course.epoch_ended(8, 0.5)
    assert (record.epoch, record.step, record.train_loss, record.train_accuracy) == (2, 5, 6.0, 1.0)
    assert course.done
    result = course.ended(Reason.OK, Scores(0.5, 0.7, 0.1))
    assert (result.reason, result.score, result.nll, result.ece, result.steps) == (Reason.OK, 0.5, 0.7, 0.1, 5)
    assert (len(result.curve), result.seconds) == (2, 2.5)


def test_what_ends_early_has_no_scores() -> None:
    course = Course(make_task())
    course.stepped(1.0)
    result = course.ended(Reason.LOSS_NOT_FINITE)
    assert (result.score, result.nll, result.ece, result.curve, result.steps) == (None, None, None, (), 1)


@pytest.mark.parametrize(
    ("rules", "correct", "hopeless"),
    [
        ([(1, 0.5)], 9, True),
        ([(1, 0.5)], 10, False),  # as accurate as the minimum
        ([(2, 0.5)], 0, False),
        ([(2, 1.0), (1, 0.1)], 1, True),
        ([], 0, False),
    ],
)
def test_rules(rules: list[tuple[int, float]], correct: int, hopeless: bool) -> None:
    stopping: Any = [{"from_epoch": epoch, "min_train_accuracy": minimum} for epoch, minimum in rules]
    course = Course(make_task(epoch_steps=5, batch_size=4, stopping=stopping))
    for _ in range(5):
        course.stepped(0.0)
    course.epoch_ended(correct, 0.0)
    assert course.hopeless() is hopeless
