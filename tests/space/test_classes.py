"""`K`, the number of classes, in formulas."""

from __future__ import annotations

import pickle

import pytest
import torch

from lossmith.errors import GraphError, LossmithError
from lossmith.space.config import SpaceConfig
from lossmith.space.expression import CLASSES, Expression
from lossmith.space.genome import OPERANDS, Genome
from lossmith.space.integrity import check, two_class_curve

TEXT = "yhat / K - y * log(yhat) * (1 - 2 * K)"


def test_written_and_read_back() -> None:
    expression = Expression.from_text(TEXT)
    assert expression.reads(CLASSES)
    assert Expression.from_text(expression.text) == expression
    assert Expression.from_json(expression.to_json()) == expression
    assert Expression.from_nodes({"root": ["mul", "yhat", "K"]}).text == "K * yhat"
    assert Expression.from_text("K").to_nodes() == {"root": ["K"]}
    assert Expression.from_text("square(K) / yhat").to_latex() == r"\frac{K^2}{\hat{y}+\epsilon}"


def test_canonical_order_is_number_then_classes_then_y() -> None:
    for text, canonical in (("K * 2", "2 * K"), ("y * K", "K * y"), ("yhat + K", "K + yhat")):
        assert Expression.from_text(text).text == canonical
        assert Expression.from_text(canonical).key == Expression.from_text(text).key


def test_bound() -> None:
    expression = Expression.from_text(TEXT)
    bound = expression.bind(10)
    assert not bound.reads(CLASSES)
    assert bound == Expression.from_text(TEXT.replace("K", "10"))
    assert bound == expression.bind(10)
    assert bound is expression.bind(10)  # kept
    assert bound.key != expression.bind(11).key
    assert expression.reads(CLASSES)
    y, yhat = torch.rand(5), torch.rand(5)
    expected = yhat / (10 + 1e-7) + 19 * y * torch.log(yhat)
    torch.testing.assert_close(bound.evaluate(y, yhat), expected)
    again = pickle.loads(pickle.dumps(expression))  # noqa: S301 - our own bytes
    assert again == expression
    assert hash(again) == hash(expression)


def test_what_does_not_read_it_is_itself() -> None:
    expression = Expression.from_text("-y * log(yhat)")
    assert expression.bind(10) is expression
    assert expression.bind(1) is expression


@pytest.mark.parametrize("classes", [1, 0, -3])
def test_too_few_classes(classes: int) -> None:
    with pytest.raises(LossmithError) as caught:
        Expression.from_text(TEXT).bind(classes)
    assert str(caught.value) == f"the loss reads K, the number of classes: at least 2, found {classes}"


def test_unbound_it_has_no_value() -> None:
    with pytest.raises(LossmithError, match="give it one with bind"):
        Expression.from_text(TEXT).evaluate(torch.rand(3), torch.rand(3))


def test_the_check_has_two_classes() -> None:
    expression = Expression.from_text("-y * log(yhat) + yhat / K")
    assert check(expression) == check(expression.bind(2))
    assert (two_class_curve(expression) == two_class_curve(expression.bind(2))).all()
    assert check(Expression.from_text("(3 - K) * y * log(yhat)")).flip is True
    assert not check(Expression.from_text("(2 - K) * y * log(yhat)")).ok


def test_the_search_never_draws_it() -> None:
    assert CLASSES not in OPERANDS
    assert CLASSES not in (*SpaceConfig().unary, *SpaceConfig().binary)
    with pytest.raises(GraphError, match="unknown input 'K'"):
        Genome.from_nodes({"root": ["mul", "y", "K"]})


def test_a_node_may_be_called_so() -> None:
    """A graph's own names come first, as they do for y: older files stay what they were."""
    assert Expression.from_nodes({"K": ["sin", "yhat"], "root": ["mul", "K", "y"]}).text == "y * sin(yhat)"
