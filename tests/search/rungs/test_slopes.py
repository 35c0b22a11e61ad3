"""Gradients from tables are those of the losses, slot by slot."""

from __future__ import annotations

import pytest
import torch

import lossmith
from helpers import accepted_expressions
from lossmith.search.rungs.slopes import SlopeTables, others
from lossmith.space.expression import Expression
from lossmith.space.integrity import check

CLASSES = 7
LABELS = torch.arange(32) % CLASSES


def logits(slots: int, scale: float) -> torch.Tensor:
    return scale * torch.randn(slots, 32, CLASSES, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("scale", [0.1, 1.0, 5.0])
def test_gradients_are_those_of_the_losses(scale: float) -> None:
    expressions = [
        Expression.from_text(text)
        for text in ("-y*log_abs(yhat)", "y/yhat - log_abs(yhat)", "square(y - yhat)", "sin(3*yhat) - tanh(y*yhat)")
    ]
    z = logits(6, scale)
    found = SlopeTables([(e, i % 2 == 1) for i, e in enumerate(expressions)], 6).gradient(z, others(LABELS, CLASSES))
    for slot, expression in enumerate(expressions):
        given = z[slot].clone().requires_grad_()
        lossmith.loss(expression, flip=slot % 2 == 1)(given, LABELS).backward()
        assert given.grad is not None
        torch.testing.assert_close(found[slot], given.grad, rtol=2e-3, atol=2e-4 * float(given.grad.abs().max()))
    assert not found[4:].any()  # empty slots


def test_random_losses_have_their_gradients_but_for_kinks() -> None:
    pairs = [(e, bool(check(e).flip)) for e in accepted_expressions(60, seed=21)]
    z = logits(60, 2.0)
    found = SlopeTables(pairs, 60).gradient(z, others(LABELS, CLASSES))
    off = 0
    for slot, (expression, flip) in enumerate(pairs):
        given = z[slot].clone().requires_grad_()
        lossmith.loss(expression, flip=flip)(given, LABELS).backward()
        assert given.grad is not None
        near = torch.isclose(found[slot], given.grad, rtol=1e-2, atol=1e-3 * float(given.grad.abs().max()))
        off += int((~near).any(1).sum())
    assert off < 0.02 * 60 * len(LABELS)  # examples with an output beside a kink, between two points of the table


def test_a_loss_that_is_not_finite_has_a_gradient_that_is_not() -> None:
    tables = SlopeTables([(Expression.from_text("exp(exp(exp(9*yhat)))*y"), False)], 1)
    assert not tables.gradient(logits(1, 1.0), others(LABELS, CLASSES)).isfinite().all()


def test_logits_that_are_not_finite_stay_in_their_slot() -> None:
    tables = SlopeTables([(Expression.from_text("-y*log_abs(yhat)"), False)] * 3, 3)
    good, bad = logits(3, 1.0), logits(3, 1.0)
    bad[1] = torch.nan
    bad[2, 0, 0] = torch.inf
    found = tables.gradient(bad, others(LABELS, CLASSES))
    assert torch.equal(found[0], tables.gradient(good, others(LABELS, CLASSES))[0])
    assert found[1].isnan().all()
    assert found[2, 0].isnan().any()
