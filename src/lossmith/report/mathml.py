"""Formulas for people: MathML, which browsers draw without any library."""

from __future__ import annotations

from latex2mathml.converter import convert

from lossmith.errors import LossmithError
from lossmith.ledger import LossRow
from lossmith.losses.build import loss as build_loss
from lossmith.losses.module import Loss
from lossmith.losses.zoo import ZOO as PUBLISHED
from lossmith.report.markup import Html
from lossmith.search.serving import ZOO
from lossmith.space.expression import Expression

_LONGEST = 3_000  # characters of LaTeX; longer ones nobody reads, and the text formula stands beside it


def loss_of(row: LossRow) -> Loss | None:
    """The loss that a ledger's row names; None where this version cannot read it."""
    try:
        if row.key.startswith(ZOO):
            # a ledger may come from anywhere, and the text may be a path: nothing but the zoo is looked up
            return build_loss(row.formula) if row.formula in PUBLISHED else None
        return build_loss(Expression.from_text(row.formula), flip=bool(row.flip))
    except LossmithError:
        return None


def mathml(loss: Loss | None) -> Html:
    """The oriented curve of a loss as MathML; empty where there is none to show, or it is too long to be read."""
    return Html("") if loss is None else mathml_of(loss.to_latex())


def mathml_of(latex: str) -> Html:
    """LaTeX as MathML; empty where it is too long to be read."""
    return Html(convert(latex)) if len(latex) <= _LONGEST else Html("")
