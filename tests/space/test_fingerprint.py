"""One function, one fingerprint, however it is written; another function, another."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import accepted_expressions
from lossmith.space.expression import Expression
from lossmith.space.fingerprint import POINTS, TOLERANCE, Fingerprints, fingerprint, same, slopes
from lossmith.space.integrity import check


def of(formula: str, flip: bool = False) -> np.ndarray:
    return fingerprint(Expression.from_text(formula), flip)


@functools.cache
def some() -> list[tuple[Expression, bool]]:
    """Random losses with their orientation."""
    return [(expression, bool(check(expression).flip)) for expression in accepted_expressions(150, seed=11)]


losses = st.sampled_from(range(150)).map(lambda i: some()[i])


@given(losses)
@settings(deadline=None, max_examples=60)
def test_the_slopes_are_those_of_automatic_differentiation(loss: tuple[Expression, bool]) -> None:
    expression, _ = loss
    p = torch.linspace(0.013, 0.987, 50, dtype=torch.float64)
    found = slopes(expression, p)
    p.requires_grad_()
    expected = []
    for y in (1.0, 0.0):
        value = expression.evaluate(torch.full_like(p, y), p)
        expected.append(torch.autograd.grad(value.sum(), p)[0] if value.requires_grad else torch.zeros_like(p))
    torch.testing.assert_close(found, torch.cat(expected), rtol=1e-6, atol=1e-9, equal_nan=True)


@given(losses, st.floats(1e-3, 1e3), st.floats(-50, 50))
@settings(deadline=None)
def test_a_positive_factor_and_a_multiple_of_the_output_change_nothing(
    loss: tuple[Expression, bool], factor: float, shift: float
) -> None:
    expression, flip = loss
    rewritten = Expression.from_text(f"{factor!r}*({expression.text}) + ({shift * factor!r})*yhat")
    assert same(fingerprint(rewritten, flip), fingerprint(expression, flip))


@given(losses, st.integers(-9, 9))
@settings(deadline=None)
def test_what_softmax_cancels_changes_nothing(loss: tuple[Expression, bool], number: int) -> None:
    expression, flip = loss
    assert same(of(f"({expression.text}) + ({number}) + y", flip), fingerprint(expression, flip))


@given(losses)
@settings(deadline=None)
def test_the_orientation_counts_and_not_where_the_sign_stands(loss: tuple[Expression, bool]) -> None:
    expression, flip = loss
    turned = Expression.from_text(f"-({expression.text})")
    assert same(fingerprint(turned, not flip), fingerprint(expression, flip))
    assert not same(fingerprint(turned, flip), fingerprint(expression, flip))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("yhat*y + yhat*y", "2*(y*yhat)"),
        ("-(square(yhat) - y*yhat)", "y*yhat - square(yhat)"),
        ("square(y - yhat)", "square(yhat) - 2*(y*yhat)"),
        ("square(y - yhat)", "square(yhat - y)"),
        ("y*(1 - yhat) + (1 - y)*yhat", "abs(y - yhat)"),
        ("-log_abs(yhat)*y", "-log10_abs(yhat)*y"),
        ("exp(y - yhat)*y", "exp(1 - yhat)*y"),
        ("tanh_deriv(yhat)*y", "-square(tanh(yhat))*y"),
        ("max(y, yhat)*yhat", "max(yhat, y)*yhat"),
        ("max0(y - yhat)", "-min0(yhat - y)"),
        ("log_abs(exp(y*yhat))", "y*yhat"),
    ],
)
def test_rewriting_changes_nothing(one: str, other: str) -> None:
    assert same(of(one), of(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("-y*log_abs(yhat)", "y*log_abs(yhat)"),
        ("-y*log_abs(yhat)", "-y*log_abs(yhat) + 0.01*(y*yhat)"),
        ("-y*log_abs(yhat)", "-y*log_abs(yhat) + 0.001*square(yhat)"),
        ("y/yhat", "y/yhat - log_abs(yhat)"),  # Baikal, and Baikal without its logarithm: both are large at p = 0
        ("square(y - yhat)", "abs(y - yhat)"),
        ("square(y - yhat)", "square(y - yhat) + y*yhat"),
        # the same two-class curve and another loss: only one of them looks at the other classes
        ("-y*log_abs(yhat)", "-(1 - y)*log_abs(1 - yhat)"),
        ("-y*yhat", "-y*yhat + 1e-3*(y*square(yhat))"),
        ("i0(y*yhat)", "i0e(y*yhat)"),
    ],
)
def test_other_functions_have_other_fingerprints(one: str, other: str) -> None:
    assert not same(of(one), of(other))


@pytest.mark.parametrize("formula", ["yhat", "yhat + y", "3", "exp(y)"])
def test_a_loss_without_gradient_has_the_fingerprint_zero(formula: str) -> None:
    assert same(of(formula), np.zeros(2 * POINTS))


@pytest.mark.parametrize("formula", ["y/(yhat - yhat)", "log(yhat - 2)*y", "exp(exp(exp(9/yhat)))*y"])
def test_what_is_not_finite_is_no_obstacle(formula: str) -> None:
    found = of(formula)
    assert np.isfinite(found).all()
    assert same(found, of(f"2*({formula})"))


def test_the_look_up_finds_what_a_comparison_with_all_finds() -> None:
    rng = np.random.default_rng(0)
    store, kept = Fingerprints(), []
    for expression, flip in some():
        found = fingerprint(expression, flip) + TOLERANCE * rng.uniform(-1.5, 1.5)  # also at the edge of "same"
        assert (found in store) == any(same(found, other) for other in kept)
        store.add(found)
        kept.append(found)
        near = found + TOLERANCE * rng.uniform(-0.99, 0.99, found.shape)
        assert near in store
    assert len(store) == len(kept)


def test_nothing_is_in_an_empty_store() -> None:
    assert of("-y*log_abs(yhat)") not in Fingerprints()
