from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lossmith.errors import FormulaError
from lossmith.space.expression import MAX_DEPTH, Expression
from lossmith.space.formula import MAX_TEXT, parse


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("-y*log(yhat)", "neg(y) * log(yhat)"),
        ("-(y*ln(yhat))", "neg(y * log(yhat))"),
        ("  1+ 2 *y ", "1 + 2 * y"),
        ("2*yhat*y", "y * (2 * yhat)"),
        ("y-yhat-1", "y - yhat - 1"),
        ("y-(yhat-1)", "y - (yhat - 1)"),
        ("y/yhat/2", "y / yhat / 2"),
        ("(y-yhat)^2", "square(y - yhat)"),
        ("-2^2", "neg(square(2))"),
        ("-2", "-2"),
        ("--2", "neg(-2)"),
        ("y*-1", "(-1) * y"),
        ("sqrt(yhat)", "sqrt_abs(yhat)"),
        (".5e1*y + 1E-3", "0.001 + 5 * y"),
        ("max(yhat, y)", "max(y, yhat)"),
        ("div(y, yhat)", "y / yhat"),
    ],
)
def test_formulas_are_read_and_written(text: str, canonical: str) -> None:
    expression = parse(text)
    assert expression.text == canonical
    assert parse(canonical) == expression


def test_precedence_is_arithmetic_s() -> None:
    y, yhat = torch.tensor([3.0]), torch.tensor([4.0])
    for text, value in [("1 + y * yhat", 13), ("(1 + y) * yhat", 16), ("-yhat^2 - y", -19), ("y - yhat - 1", -2)]:
        assert parse(text).evaluate(y, yhat).item() == value


@pytest.mark.parametrize(
    ("text", "position", "message"),
    [
        ("y*sinn(yhat)", 2, "unknown name 'sinn' (did you mean 'sin'?)"),
        ("y +", 3, "expected a number, y, yhat, K, an operator or '(', the formula ends"),
        ("y + * 2", 4, "expected a number"),
        ("(y + 1", 6, "expected ')'"),
        ("y + 1)", 5, "expected an operator"),
        ("y yhat", 2, "expected an operator"),
        ("sin y", 4, "expected '(' after 'sin'"),
        ("max(y)", 0, "'max' takes 2 input(s), found 1"),
        ("sin(y, y)", 0, "'sin' takes 1 input(s), found 2"),
        ("yhat^3", 5, "only the power 2"),
        ("y & yhat", 2, "unexpected character '&'"),
        ("y +  é", 5, "unexpected character 'é'"),
        ("", 0, "the formula ends"),
        ("   ", 0, "the formula ends"),
        ("1e999", 0, "not a finite number"),
        ("__import__(1)", 0, "unknown name '__import__'"),
        ("y.__class__", 1, "unexpected character '.'"),
    ],
)
def test_a_wrong_formula_points_at_the_character(text: str, position: int, message: str) -> None:
    with pytest.raises(FormulaError) as caught:
        parse(text)
    assert caught.value.position == position
    assert message in str(caught.value)
    assert f"character {position + 1}" in str(caught.value)
    line, caret = caught.value.pointer().splitlines()
    assert caret.index("^") == 2 + position
    assert line.strip() == text.strip()


def test_bounds_on_length_and_depth() -> None:
    with pytest.raises(FormulaError, match="at most"):
        parse("y" * (MAX_TEXT + 1))
    with pytest.raises(FormulaError, match="nested"):
        parse("(" * 5_000 + "y" + ")" * 5_000)
    with pytest.raises(FormulaError, match="levels"):
        parse("-" * 5_000 + "y")
    with pytest.raises(FormulaError, match="levels"):
        parse("+".join(["y"] * 500))
    nested = MAX_DEPTH - 2
    assert parse("neg(" * nested + "y" + ")" * nested).text.count("neg") == nested


@given(st.text(alphabet="y hatsincoexplg()+-*/^,.0123456789e", max_size=60) | st.text(max_size=30))
def test_any_text_is_a_formula_or_a_formula_error(text: str) -> None:
    try:
        expression = parse(text)
    except FormulaError as error:
        assert 0 <= error.position <= len(text)  # noqa: PT017 - a property of the error, if there is one
    else:
        assert Expression.from_text(expression.text) == expression
