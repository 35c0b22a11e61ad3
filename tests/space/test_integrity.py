from __future__ import annotations

import numpy as np
import pytest

from lossmith.errors import InvalidLossError
from lossmith.losses.build import loss
from lossmith.space.expression import Expression
from lossmith.space.genome import Genome, random_genome
from lossmith.space.integrity import check, examine, two_class_curve
from lossmith.verdict import Reason


@pytest.mark.parametrize(
    ("formula", "reason", "flip"),
    [
        ("-y*log_abs(yhat)", Reason.OK, False),
        ("y*log_abs(yhat)", Reason.OK, True),
        ("abs(y - yhat)", Reason.OK, False),
        ("y - y*yhat", Reason.OK, False),
        ("log_abs(yhat) - y / yhat", Reason.OK, True),  # Baikal, unflipped
        ("yhat*(y - yhat)", Reason.OK, True),  # a hill
        ("yhat*(yhat - y)", Reason.OK, False),  # a valley
        ("yhat + 1", Reason.NO_TARGET, None),
        ("y + 1", Reason.NO_PREDICTION, None),
        ("y + yhat", Reason.FLAT, None),
        ("square(yhat) + 0*y", Reason.OPTIMUM_AT_HALF, None),
        ("y + sin(20*yhat)", Reason.MANY_TURNS, None),
        ("y*yhat - exp(exp(exp(exp(2 + yhat))))", Reason.NOT_FINITE, None),
        ("y*log(yhat - 0.5)", Reason.NOT_FINITE, None),
    ],
)
def test_each_rule(formula: str, reason: Reason, flip: bool | None) -> None:
    verdict = check(Expression.from_text(formula))
    assert (verdict.reason, verdict.flip) == (reason, flip)
    assert verdict.ok == (reason is Reason.OK)
    assert verdict.message


def test_a_cyclic_genome_has_a_verdict() -> None:
    genome = Genome.from_nodes({"h0": ["neg", "h1"], "h1": ["neg", "h0"], "root": ["add", "h0", "h1"]})
    verdict = check(genome)
    assert verdict.reason is Reason.CYCLIC
    assert "h0 -> h1 -> h0" in verdict.message


def test_the_phenotype_falls_toward_the_right_answer_and_is_scaled() -> None:
    for formula in ("-y*log_abs(yhat)", "y*log_abs(yhat)"):
        phenotype = examine(Expression.from_text(formula)).phenotype
        assert phenotype is not None
        assert phenotype.shape == (1000,)
        assert (phenotype.min(), phenotype.max()) == (0.0, 1.0)
        assert phenotype[0] < phenotype[-1]


@pytest.mark.parametrize("formula", ["sigmoid_deriv(yhat / max0(y))", "min(sigmoid(yhat / y), softplus(yhat / y))"])
def test_a_first_step_that_jumps_is_noticed(formula: str) -> None:
    """The method's check, and the published program, orient these backwards; nothing of ours trains them so."""
    expression = Expression.from_text(formula)
    examined = examine(expression)
    assert examined.verdict.ok
    assert examined.backwards
    assert examined.phenotype is not None
    assert (np.diff(examined.phenotype[1:]) < 0).all()  # falls as the wrong class becomes likelier
    with pytest.raises(InvalidLossError, match="orients the rest the wrong way"):
        loss(expression)
    assert loss(expression, flip=not examined.verdict.flip).flip != examined.verdict.flip


@pytest.mark.parametrize("formula", ["-y*log_abs(yhat)", "yhat*(y - yhat)", "log_abs(yhat) - y / yhat"])
def test_ordinary_curves_are_not_backwards(formula: str) -> None:
    assert not examine(Expression.from_text(formula)).backwards


def test_the_curve_has_the_true_class_last() -> None:
    curve = two_class_curve(Expression.from_text("y*yhat"))
    np.testing.assert_allclose(curve[[0, 500, -1]], [1, 0.4995, 0], atol=1e-4)


@pytest.mark.slow
def test_the_share_of_random_graphs_that_is_accepted() -> None:
    rng = np.random.default_rng(0)
    accepted = sum(check(random_genome(rng)).ok for _ in range(20_000))
    print(f"accepted {accepted} of 20,000 random graphs ({accepted / 200:.1f}%)")
    assert 0.05 < accepted / 20_000 < 0.60
