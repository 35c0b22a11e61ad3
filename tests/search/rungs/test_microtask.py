"""The micro-task: what it says of losses, and that nothing but the loss decides it."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch

from helpers import accepted_expressions
from lossmith.config import MicrotaskConfig
from lossmith.search.rungs.microtask import SLOTS, Microtask
from lossmith.space.expression import Expression
from lossmith.space.integrity import check

QUICK = MicrotaskConfig(steps=12)
CROSS_ENTROPY = Expression.from_text("-y*log_abs(yhat)"), False
NOT_FINITE = Expression.from_text("exp(exp(exp(9*yhat)))*y"), True


@functools.cache
def some() -> list[tuple[Expression, bool]]:
    return [(e, bool(check(e).flip)) for e in accepted_expressions(SLOTS + 8, seed=31)]


@pytest.mark.parametrize("classes", [2, 10, 60])
def test_losses_that_train_pass_and_others_do_not(classes: int) -> None:
    task = Microtask(MicrotaskConfig(), classes, slots=4)
    texts = ("-y*log_abs(yhat)", "square(y - yhat)", "y*log_abs(yhat)", "max0(yhat - 1)*y")
    losses = [(Expression.from_text(text), False) for text in texts]
    same, brier, rising, flat = task.scores(losses)
    assert (same.accuracy, same.worst) == (pytest.approx(1.0), pytest.approx(1.0))
    assert brier.accuracy > 0.7
    assert max(rising.accuracy, flat.accuracy) < 0.6
    assert rising.worst == 0
    assert task.passes(losses[:3]) == [True, True, False]


def test_a_loss_that_gives_up_classes_fails_though_it_learns_most() -> None:
    """It ends at 20% on digits, where it learns two classes."""
    task = Microtask(MicrotaskConfig(), 10)
    loss = Expression.from_text("min(log10_abs(-1), i1((-1) + max(y, yhat)))"), False
    (score,) = task.scores([loss])
    assert score.accuracy > 0.5
    assert score.worst < 0.1
    assert task.passes([loss]) == [False]


def test_a_score_does_not_depend_on_what_shares_the_batch() -> None:
    task = Microtask(QUICK, 10)
    alone = [task.scores([loss])[0] for loss in some()[:6]]
    assert task.scores(some())[:6] == alone  # in a batch, and over more than one
    order = np.random.default_rng(0).permutation(len(some())).tolist()
    shuffled = task.scores([some()[i] for i in order])
    assert [shuffled[order.index(i)] for i in range(6)] == alone
    assert len(set(task.scores(some()))) > 10  # the test would mean nothing if all were alike


def test_not_a_bit_of_the_weights_depends_on_what_shares_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    task = Microtask(QUICK, 10)
    ended: list[torch.Tensor] = []
    finite = torch.Tensor.isfinite
    monkeypatch.setattr(torch.Tensor, "isfinite", lambda x: (ended.append(x), finite(x))[1])
    losses = [*some()[:5], NOT_FINITE]
    for batch in ([losses[3]], losses, [NOT_FINITE] * 20 + losses[::-1]):
        task.scores(batch)
    weights = [x for x in ended if x.dim() == 2 and x.dtype == torch.float32 and x.shape[0] == SLOTS]
    del weights[0]  # of cross-entropy, which the scores are relative to
    assert len(weights) == 3
    assert torch.equal(weights[0][0], weights[1][3])
    assert torch.equal(weights[0][0], weights[2][22])
    assert not weights[1][5].isfinite().all()


@pytest.mark.parametrize("classes", [2, 3, 10, 37])
def test_a_loss_that_is_not_finite_fails_and_spoils_no_other(classes: int) -> None:
    task = Microtask(QUICK, classes)
    alone = [task.scores([loss])[0] for loss in (CROSS_ENTROPY, some()[0])]
    first, failed, last = task.scores([CROSS_ENTROPY, NOT_FINITE, some()[0]])
    assert [first, last] == alone
    assert failed.worst == 0
    assert failed.accuracy < 0.0 or classes == 2
    assert task.passes([NOT_FINITE]) == [False]


def test_the_number_of_threads_changes_nothing_and_is_left_alone() -> None:
    threads = torch.get_num_threads()
    found = []
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            found.append(Microtask(QUICK, 10).scores(some()[:8]))
            assert torch.get_num_threads() == number
    finally:
        torch.set_num_threads(threads)
    assert found[0] == found[1] == found[2]


def test_the_global_generator_is_neither_read_nor_moved() -> None:
    torch.manual_seed(1)
    first = Microtask(QUICK, 5).scores(some()[:3])
    state = torch.random.get_rng_state()
    torch.manual_seed(2)
    assert Microtask(QUICK, 5).scores(some()[:3]) == first
    torch.manual_seed(1)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_threshold_decides() -> None:
    losses = some()[:20]
    scores = Microtask(QUICK, 10).scores(losses)
    strict = Microtask(QUICK.model_copy(update={"threshold": 0.3}), 10).passes(losses)
    assert strict == [score.worst >= 0.3 for score in scores]
    assert {True, False} == set(strict)


def test_no_losses_have_no_scores() -> None:
    assert Microtask(QUICK, 10).scores([]) == []
