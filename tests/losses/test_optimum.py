"""Where losses are least: the table of published losses, the slopes, the limits."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import lossmith
from lossmith.errors import LossmithError
from lossmith.losses.optimum import descent, even_logits, even_loss, optimum

CLASSES = (2, 10, 100, 1000)


@given(p=st.floats(1e-12, 1 - 1e-12), classes=st.integers(2, 300))
def test_the_softmax_of_even_logits_is_what_was_asked(p: float, classes: int) -> None:
    out = even_logits(torch.tensor([p], dtype=torch.float64), classes).softmax(1)[0]
    assert out[0].item() == pytest.approx(p, rel=1e-9)
    assert out[1:].tolist() == pytest.approx([(1 - p) / (classes - 1)] * (classes - 1), rel=1e-3)


def test_even_logits_are_finite_at_the_ends() -> None:
    logits = even_logits(torch.tensor([0.0, 1.0]), 10)
    assert logits.isfinite().all()
    assert logits.softmax(1)[:, 0].tolist() == pytest.approx([0.0, 1.0])


@pytest.mark.parametrize("classes", CLASSES)
def test_the_even_loss_of_cross_entropy_is_minus_log_p(classes: int) -> None:
    p = torch.tensor([1e-8, 0.1, 0.5, 1 - 1e-8], dtype=torch.float64)
    assert even_loss(lossmith.loss("cross_entropy"), p, classes).tolist() == pytest.approx((-p.log()).tolist())


def test_many_points_of_many_classes_are_computed_in_parts() -> None:
    p = torch.linspace(0.01, 0.99, 1200, dtype=torch.float64)
    whole = even_loss(lossmith.loss("baikal"), p, 1000)
    assert whole.shape == (1200,)
    assert torch.equal(whole[1000:], even_loss(lossmith.loss("baikal"), p[1000:], 1000))


# computed once from the formulas in the papers; the other classes share the rest evenly
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cross_entropy", (1, 1, 1, 1)),
        ("-y*log(yhat)", (1, 1, 1, 1)),
        ("label_smoothing", (0.95, 0.91, 0.90, 0.90)),
        ("baikal", (0.71, 0.32, 0.10, 0.03)),
    ],
)
def test_the_optimum_of_published_losses(name: str, expected: tuple[float, ...]) -> None:
    loss = lossmith.loss(name)
    assert [optimum(loss, classes) for classes in CLASSES] == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("smoothing", [0.001, 0.1, 0.5])
def test_the_optimum_of_label_smoothing_is_its_target(classes: int, smoothing: float) -> None:
    expected = 1 - smoothing + smoothing / classes
    assert optimum(lossmith.loss("label_smoothing", smoothing=smoothing), classes) == pytest.approx(expected, abs=1e-4)
    assert optimum(lossmith.loss("cross_entropy", label_smoothing=smoothing), classes) == pytest.approx(
        expected, abs=1e-4
    )


def test_a_loss_that_is_flat_at_its_end_falls_all_the_way() -> None:
    assert optimum(lossmith.loss("-erf(9*y*yhat)", flip=False), 10) == 1.0


def test_a_loss_that_rises_is_least_at_the_lower_end() -> None:
    assert optimum(lossmith.loss("-y*log(yhat)", flip=True), 10) < 1e-7


def test_a_loss_that_is_finite_nowhere_has_no_optimum() -> None:
    assert math.isnan(optimum(lossmith.loss("log(0 - 1 - y*yhat)", flip=False), 10))


def test_a_pole_inside_is_passed_over() -> None:
    # NaN below 1/2 at the true class, least at the upper end
    assert optimum(lossmith.loss("-log(y*yhat - 0.5*y + 1 - y)", flip=False), 3) == 1.0


@pytest.mark.parametrize("classes", CLASSES)
def test_the_descent_of_cross_entropy_is_minus_one_over_p(classes: int) -> None:
    assert descent(lossmith.loss("cross_entropy"), classes) == pytest.approx(-classes)
    assert descent(lossmith.loss("-y*log(yhat)"), classes) == pytest.approx(-classes)
    assert descent(lossmith.loss("-y*log(yhat)", flip=True), classes) == pytest.approx(classes)


@given(classes=st.integers(2, 200))
def test_the_descent_is_the_slope_of_the_even_loss(classes: int) -> None:
    loss = lossmith.loss("y/yhat - log_abs(yhat) + sin(y - yhat)", flip=False)
    p, step = 1 / classes, 1e-6 / classes
    low, high = even_loss(loss, torch.tensor([p - step, p + step], dtype=torch.float64), classes).tolist()
    assert descent(loss, classes) == pytest.approx((high - low) / (2 * step), rel=1e-4)


def test_a_loss_without_slope_has_descent_zero() -> None:
    assert descent(lossmith.loss("y", flip=False), 10) == 0


def test_arguments_of_the_loss_that_belong_to_a_batch_are_left_out() -> None:
    plain = lossmith.loss("baikal")
    weighted = lossmith.loss("baikal", weight=torch.tensor([2.0, 1.0, 1.0]), ignore_index=0, reduction="sum")
    assert optimum(weighted, 3) == optimum(plain, 3)
    assert descent(weighted, 3) == descent(plain, 3)
    assert weighted.weight is not None  # untouched
    assert weighted.reduction == "sum"


@pytest.mark.parametrize("classes", [1, 0, -3])
def test_fewer_than_two_classes_are_refused(classes: int) -> None:
    for call in (optimum, descent):
        with pytest.raises(LossmithError, match="at least 2 classes"):
            call(lossmith.loss("baikal"), classes)
