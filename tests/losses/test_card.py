"""The loss card: its numbers against known ones, and its sentences for losses good, bad and broken."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence

import pytest
import torch

from helpers import accepted_expressions
from lossmith.errors import LossmithError
from lossmith.losses import card_words
from lossmith.losses.build import loss
from lossmith.losses.card import CLASSES, ForClasses, LossCard, card
from lossmith.losses.card_measures import for_classes, value_and_gradient
from lossmith.losses.module import Loss
from lossmith.losses.zoo import ZOO
from lossmith.space.expression import Expression

SMALL = (2, 10)


def unchecked(formula: str) -> Loss:
    """The loss of a formula as it stands, whether or not it can serve as one."""
    return loss(formula, flip=False)


@functools.cache
def zoo_card(name: str) -> LossCard:
    return loss(name).card()


def row(made: LossCard, classes: int) -> ForClasses:
    return next(row for row in made.by_classes if row.classes == classes)


def said(sentences: Sequence[str], part: str) -> str:
    """The one sentence that has `part` in it."""
    (found,) = [sentence for sentence in sentences if part in sentence]
    return found


# -- by the number of classes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "optima"),
    [
        ("cross_entropy", (1, 1, 1, 1)),
        ("label_smoothing", (0.95, 0.91, 0.90, 0.90)),
        ("baikal", (0.71, 0.32, 0.10, 0.03)),
        ("ngl", (0.57, 0.39, 0.36, 0.36)),
        ("taylorglo_mnist", (0.75, 0.53, 0.48, 0.47)),
        ("taylorglo_oldlossga", (0.69, 0.45, 0.40, 0.39)),
        ("mae", (1, 1, 1, 1)),
        ("bi_tempered", (1, 1, 1, 1)),
    ],
)
def test_the_optimum_for_each_number_of_classes(name: str, optima: tuple[float, ...]) -> None:
    made = zoo_card(name)
    assert tuple(row.classes for row in made.by_classes) == CLASSES
    assert [row.optimum for row in made.by_classes] == pytest.approx(optima, abs=0.0051)


def test_cross_entropy_has_nothing_to_warn_of() -> None:
    made = zoo_card("cross_entropy")
    assert made.warnings == ()
    for row in made.by_classes:
        assert row.scale == pytest.approx(1)
        assert row.descent == pytest.approx(-row.classes)
        assert row.start == pytest.approx(math.log(row.classes))
        assert row.rises_at is None
        assert row.gradient_bounded
        assert math.sqrt(row.classes / (row.classes - 1)) - 1e-3 <= row.gradient <= math.sqrt(2) + 1e-12
        assert row.undefined == ()
        assert (row.infimum.value, row.infimum.at) == (0, 1)
        assert (row.supremum.value, row.supremum.at) == (math.inf, 0)
        assert row.supremum.growth == pytest.approx(1)
    assert "all the way up to p_t = 1." in said(made.findings, "Pushes")
    assert "Unbounded as p_t -> 0" in said(made.findings, "Unbounded")


@pytest.mark.parametrize("factor", [2.0, 0.01, 700.0])
def test_the_scale_of_a_multiple_of_cross_entropy(factor: float) -> None:
    made = card(loss(f"-{factor} * y * log(yhat)"))
    assert [row.scale for row in made.by_classes] == pytest.approx([1 / factor] * 4, rel=1e-9)
    grave = [sentence for sentence in made.warnings if "gradient at the start" in sentence]
    assert bool(grave) == (factor != 2.0)


def test_label_smoothing_as_an_argument_counts() -> None:
    smoothed = loss("cross_entropy", label_smoothing=0.1).card(classes=SMALL)
    assert smoothed.label_smoothing == 0.1
    zoo = loss("label_smoothing").card(classes=SMALL)
    for a, b in zip(smoothed.by_classes, zoo.by_classes, strict=True):
        assert (a.optimum, a.scale, a.descent) == pytest.approx((b.optimum, b.scale, b.descent))


def test_class_weights_and_ignored_labels_do_not_count() -> None:
    plain = loss("baikal").card(classes=SMALL)
    assert repr(loss("baikal", weight=torch.rand(5), ignore_index=0).card(classes=SMALL)) == repr(plain)


def test_baikal_is_a_poor_idea_for_many_classes() -> None:
    made = zoo_card("baikal")
    sentence = said(made.warnings, "A poor idea")
    assert sentence.startswith("A poor idea for 100 and 1,000 classes:")
    assert "p_t = 0.10 and 0.032" in sentence
    assert "With 10 classes" in said(made.warnings, "p_t = 0.32")
    assert "2 classes" in said(made.findings, "p_t = 0.71")
    assert "float16" in said(made.warnings, "3.54e6")  # y/p^2 times p (1 - p), near p = 1e-7
    assert not any("poor idea" in sentence for sentence in loss("baikal").card(classes=SMALL).warnings)


def test_a_loss_that_teaches_the_wrong_way() -> None:
    made = unchecked("y * log(yhat)").card(classes=SMALL)
    assert "Does not learn from scratch with 2 and 10 classes" in made.warnings[0]
    assert "unbounded below as p_t -> 0, like -1 ln(1/p_t)" in said(made.warnings, "no least value")
    assert not any("Pushes" in sentence or "poor idea" in sentence for sentence in (*made.findings, *made.warnings))


def test_a_loss_with_a_hill_on_the_way() -> None:
    # 20 cos(20 p) - 6 turns positive where 20 p = 2 pi - arccos 0.3
    made = unchecked("y * sin(20 * yhat) - 6 * (y * yhat)").card(classes=(10,))
    assert row(made, 10).rises_at == pytest.approx((2 * math.pi - math.acos(0.3)) / 20, abs=0.02)
    assert "it rises from p_t = 0.25 on" in said(made.warnings, "all the way")
    assert not any("Is least" in sentence for sentence in made.findings)


# -- range and gradient ------------------------------------------------------------------------------------------------


def test_bounded_losses() -> None:
    mae, brier = card(loss("y*(1 - yhat)")), card(loss("square(y - yhat)"))
    for classes in CLASSES:
        for made, highest in ((mae, 1), (brier, classes / (classes - 1))):
            bounds = row(made, classes)
            assert (bounds.infimum.value, bounds.infimum.at) == (0, 1)
            assert bounds.supremum.value == pytest.approx(highest)
            assert bounds.supremum.at == 0
            assert bounds.gradient_bounded
    assert "between 0 and 1.11" in said(brier.findings, "Bounded")
    assert "hardly move" in said(mae.warnings, "With 100 and 1,000 classes")  # p (1 - p) at p = 1/K


def test_the_least_value_is_where_the_optimum_is() -> None:
    for bounds in zoo_card("baikal").by_classes:
        assert bounds.infimum.at == bounds.optimum
        p, others = bounds.optimum, (1 - bounds.optimum) / (bounds.classes - 1)
        expected = 1 / p - math.log(p) - (bounds.classes - 1) * math.log(others)
        assert bounds.infimum.value == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("formula", "at", "growth"),
    [
        ("-3 * y * log(yhat)", 0, 3),
        ("y * square(log(yhat))", 0, math.nan),
        ("-y * log(yhat) - 0.25 * (log(yhat) + log(yhat))", 0, 1.5),
        ("y * yhat - 0.5 * ((1 - y) * log(yhat))", 1, 4.5),  # (K - 1) / 2, at K = 10
        ("y * exp(-log(yhat))", 0, math.nan),
        ("y * log(1 - log(yhat))", 0, math.nan),  # grows like ln ln, however slowly
    ],
)
def test_losses_without_an_upper_bound(formula: str, at: float, growth: float) -> None:
    bounds = row(unchecked(formula).card(classes=(10,)), 10)
    assert (bounds.supremum.value, bounds.supremum.at) == (math.inf, at)
    assert bounds.supremum.growth == pytest.approx(growth, nan_ok=True)


def test_gradients_without_a_bound() -> None:
    assert not row(card(loss("y * square(log(yhat))"), classes=(10,)), 10).gradient_bounded
    assert row(card(loss("y * (1 - yhat)"), classes=(10,)), 10).gradient == pytest.approx(math.sqrt(2) / 4, rel=0.01)


@pytest.mark.parametrize("name", ["focal", "ngl", "bi_tempered"])
def test_gradients_are_those_of_the_module(name: str) -> None:
    criterion = loss(name, reduction="mean")
    logits, labels = torch.randn(9, 5, dtype=torch.float64), torch.arange(9) % 5
    leaf = logits.clone().requires_grad_()
    criterion(leaf, labels).backward()
    value, gradient = value_and_gradient(criterion, logits, labels)
    assert leaf.grad is not None
    torch.testing.assert_close(gradient / 9, leaf.grad)
    torch.testing.assert_close(value.mean(), criterion(logits, labels))


# -- curves ------------------------------------------------------------------------------------------------------------


def test_curves_and_pull_of_cross_entropy() -> None:
    made = loss("cross_entropy").card(classes=SMALL)
    curves = made.curves
    assert curves is not None
    assert curves == made.baseline_curves
    assert curves.target == pytest.approx([-math.log(p) for p in curves.p])
    assert set(curves.others) == {0}
    assert curves.target_slope == pytest.approx([-1] * len(curves.p))
    assert set(curves.others_slope) == {0}
    for line in made.lines:
        assert line.pull == pytest.approx([1 - p for p in line.p])
        assert line.value == pytest.approx([-math.log(p) for p in line.p])


def test_the_pull_changes_sign_at_the_optimum() -> None:
    made = loss("baikal").card(classes=(10, 100))
    for line, bounds in zip(made.lines, made.by_classes, strict=True):
        assert line.classes == bounds.classes
        for p, pull in zip(line.p, line.pull, strict=True):
            if abs(p - bounds.optimum) > 0.01:
                assert (pull > 0) == (p < bounds.optimum)


def test_a_loss_that_is_no_sum_over_the_classes() -> None:
    made = loss("normalised_cross_entropy").card(classes=SMALL)
    assert made.curves is None
    assert made.key == ""
    assert made.lines[1].value[0] > made.lines[1].value[-1]


# -- noise and numbers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mae", "normalised_cross_entropy", "nce_mae"])
def test_symmetric_losses(name: str) -> None:
    made = loss(name).card(classes=(10,))
    assert made.asymmetry < 1e-9
    assert said(made.findings, "Symmetric").startswith("Symmetric")


@pytest.mark.parametrize("name", ["cross_entropy", "focal", "baikal", "brier"])
def test_losses_that_are_not_symmetric(name: str) -> None:
    made = loss(name).card(classes=(10,))
    assert 0.05 < made.asymmetry <= 1
    assert said(made.findings, "ymmetric").startswith("Not symmetric")


def test_extreme_logits() -> None:
    right, wrong, one_wrong = loss("cross_entropy").card(classes=(10,)).extremes
    assert (right.value, right.gradient, right.finite) == (0, 0, True)
    assert wrong.value == pytest.approx(20_000 + math.log(9), rel=1e-6)
    assert one_wrong.gradient == pytest.approx(math.sqrt(2))
    made = unchecked("y * exp(1 / yhat)").card(classes=(10,))
    assert [extreme.finite for extreme in made.extremes] == [False, False, False]
    assert "not finite in float32 at extreme logits" in said(made.warnings, "extreme")


def test_precision() -> None:
    made = loss("cross_entropy").card(classes=(10,))
    errors = {each.setting: each.error for each in made.precision}
    assert all(each.error == each.baseline for each in made.precision)
    assert errors["float32"] < 1e-6
    assert 1e-4 < errors["bfloat16"] < 0.02
    assert errors["autocast to bfloat16"] <= errors["bfloat16"]


# -- nasty ones --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("formula", ["y", "y + yhat", "1 - 0 * (y * yhat)", "max0(y - 5) * yhat"])
def test_flat_losses(formula: str) -> None:
    made = unchecked(formula).card()
    assert made.warnings == ("Has no gradient with 2, 10, 100 and 1,000 classes: there is nothing to learn from.",)
    assert made.findings == ()
    assert all(math.isnan(row.optimum) and row.scale == math.inf and row.descent == 0 for row in made.by_classes)


def test_a_loss_that_is_finite_nowhere() -> None:
    made = unchecked("yhat * log(y - 2)").card(classes=SMALL)
    assert made.warnings[0].startswith("Cannot begin to learn with 2 and 10 classes")
    assert math.isnan(row(made, 10).infimum.value)
    assert card_words.bound_text(row(made, 10).infimum) == "finite nowhere"
    assert "finite in float32, bfloat16 and autocast" in said(made.warnings, "ordinary logits")
    assert math.isnan(made.asymmetry)


def test_a_loss_that_is_not_a_number_in_part() -> None:
    made = unchecked("-log(yhat + 0.05 - 0.5 * y)").card(classes=(2,))  # of a negative number where p_t < 0.45
    low, high = row(made, 2).undefined
    assert low < 1e-7
    assert high == pytest.approx(0.45, abs=0.03)
    assert "between p_t =" in said(made.warnings, "not finite at places")


@pytest.mark.parametrize(
    "formula",
    [
        "1 / (yhat - y)",
        "exp(exp(exp(10 * (y * yhat))))",
        "-y * sqrt_abs(yhat - 0.5)",
        "y / (y - yhat)",
        "i0(80 / yhat) * y",
    ],
)
def test_nasty_formulas_have_a_card(formula: str) -> None:
    check_sentences(unchecked(formula).card())


@pytest.mark.parametrize("expression", accepted_expressions(15, seed=3), ids=lambda expression: expression.key)
def test_random_accepted_losses_have_a_card(expression: Expression) -> None:
    check_sentences(loss(expression).card(classes=(2, 100)))


@pytest.mark.parametrize("name", ZOO)
def test_every_loss_of_the_zoo_has_a_card(name: str) -> None:
    made = zoo_card(name)
    check_sentences(made)
    assert made.published == name
    assert made.reference == ZOO[name].reference
    assert made.note == ZOO[name].note
    assert all(row.descent < 0 and row.rises_at is None for row in made.by_classes)
    assert all(extreme.finite for extreme in made.extremes)


def check_sentences(made: LossCard) -> None:
    for sentence in (*made.warnings, *made.findings):
        assert sentence.endswith(".")
        assert sentence[0].isupper()
        assert "nan" not in sentence.split()
        assert "inf" not in sentence.split()
    assert made.warnings or made.findings
    assert made.name in str(made)
    pushes = [sentence for sentence in made.findings if sentence.startswith("Pushes the true class all the way")]
    assert not pushes or any(row.optimum == 1 and row.descent < 0 for row in made.by_classes)
    for row in made.by_classes:
        if row.optimum < card_words.POOR and row.descent < 0:
            assert f"{row.classes:,}" in said(made.warnings, "poor idea")


# -- the record --------------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_card_and_nothing_global_is_drawn_from() -> None:
    state = torch.get_rng_state()
    criterion = loss("ngl")
    assert repr(card(criterion, seed=1)) == repr(card(criterion, seed=1))
    assert for_classes(criterion, 10, seed=2).scale != for_classes(criterion, 10, seed=3).scale
    assert torch.equal(torch.get_rng_state(), state)


def test_a_card_is_plain_and_frozen() -> None:
    made = loss("baikal").card(classes=SMALL)
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.name = "x"  # type: ignore[misc] - the assignment that must fail is what is tested
    assert not hasattr(made, "__dict__")
    assert dataclasses.asdict(made)["by_classes"][0]["classes"] == 2
    assert "warning: With 10 classes" in str(made)
    assert loss("baikal").training  # untouched


def test_what_the_card_says_of_its_loss() -> None:
    made = card(loss("log(yhat) * y"), classes=SMALL, provenance={"run": "demo", "validation_accuracy": 0.97312345})
    assert made.orientation == "-1 times the expression"
    assert made.provenance == (("run", "demo"), ("validation_accuracy", "0.973123"))
    assert made.published == ""
    assert card(loss("y * (1 - yhat)"), classes=SMALL).published == "mae"


@pytest.mark.parametrize(
    ("classes", "typical"), [((2,), 2), ((3, 5), 5), ((1000, 100), 100), ((2, 10, 100), 10), ((12, 1000), 12)]
)
def test_what_is_measured_once_is_measured_for_about_ten_classes(classes: tuple[int, ...], typical: int) -> None:
    assert loss("mae").card(classes=classes).typical == typical


@pytest.mark.parametrize(
    ("classes", "problem"),
    [
        ((), "1 to 12 numbers"),
        ((1,), "from 2 to 10,000, found 1"),
        ((10_001,), "found 10001"),
        ((2, 2), "2 is given twice"),
        ((True,), "found True"),
        ((2.5,), "found 2.5"),
        (tuple(range(2, 15)), "found 13"),
    ],
)
def test_numbers_of_classes_that_are_refused(classes: tuple[int, ...], problem: str) -> None:
    with pytest.raises(LossmithError, match=problem):
        loss("mae").card(classes=classes)


# -- words -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (1.5, "1.5"),
        (12345.0, "12,300"),
        (2.641e6, "2.64e6"),
        (1e-8, "1e-8"),
        (math.inf, "infinite"),
        (-math.inf, "-infinite"),
        (math.nan, "not a number"),
    ],
)
def test_numbers(value: float, text: str) -> None:
    assert card_words.number(value) == text


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (1.0, "1"),
        (0.316, "0.32"),
        (0.0316, "0.032"),
        (0.995, "0.995"),
        (0.9999999, "1 - 1e-7"),
        (3e-9, "3e-9"),
        (math.nan, "none"),
    ],
)
def test_probabilities(p: float, text: str) -> None:
    assert card_words.probability(p) == text
