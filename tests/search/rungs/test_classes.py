"""The rung that knows the number of classes."""

from __future__ import annotations

import pytest

import lossmith
from helpers import accepted_expressions
from lossmith.losses.optimum import descent, optimum
from lossmith.search.rungs.classes import leads_to_the_true_class
from lossmith.space.expression import Expression
from lossmith.space.integrity import check


def leads(formula: str, classes: int, *, flip: bool = False) -> bool:
    return leads_to_the_true_class(Expression.from_text(formula), flip, classes)


@pytest.mark.parametrize("formula", ["-y*log(yhat)", "y/yhat - log_abs(yhat)", "square(y - yhat)", "-y*yhat"])
@pytest.mark.parametrize("classes", [2, 10, 100])
def test_losses_that_train_pass(formula: str, classes: int) -> None:
    assert leads(formula, classes)


def test_a_loss_turned_over_does_not() -> None:
    assert not leads("-y*log(yhat)", 10, flip=True)


def test_the_number_of_classes_decides() -> None:
    # falls for p above 1/4, where an untrained network of two classes stands, and one of ten does not
    assert leads("-y*square(yhat - 0.25)", 2)
    assert not leads("-y*square(yhat - 0.25)", 10)


@pytest.mark.parametrize("formula", ["max0(yhat - 0.5)*y", "y", "y*log(yhat - 0.5)"])
def test_a_loss_without_slope_or_value_there_does_not(formula: str) -> None:
    assert not leads(formula, 10, flip=True)


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_the_answers_are_those_of_the_loss_s_own_optimum_and_descent(classes: int) -> None:
    answers = []
    for expression in accepted_expressions(40, seed=41):
        flip = bool(check(expression).flip)
        loss = lossmith.loss(expression, flip=flip)
        expected = descent(loss, classes) < 0 and optimum(loss, classes) > 1.01 / classes
        answers.append(leads_to_the_true_class(expression, flip, classes))
        assert answers[-1] == expected, expression.text
    assert set(answers) == {True, False} or classes == 2
