"""`loss`: one way to get any loss, by name, formula, file or expression."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

from torch import Tensor

from lossmith.errors import FormulaError, InvalidLossError, LossmithError, nearest
from lossmith.losses.kinds import CrossEntropyLoss, CurveLoss, ExpressionLoss
from lossmith.losses.module import Loss
from lossmith.losses.zoo import ZOO, ZooLoss
from lossmith.space.expression import Expression, number_text
from lossmith.space.integrity import examine
from lossmith.verdict import Reason

_WORD = re.compile(r"[A-Za-z_][\w-]*")
_SHOWN = 80  # characters of a formula in an error message


def loss(
    x: str | Path | Expression,
    *,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    flip: bool | None = None,
    **parameters: float,
) -> Loss:
    """A module that is called like `torch.nn.CrossEntropyLoss()`.

        loss("focal", gamma=1.5)
        loss("-y * log(yhat)", label_smoothing=0.1)
        loss("best.json")

    Args:
        x: a zoo name (see `lossmith.losses.zoo.ZOO`), a formula in y and yhat, the path of an exported loss (a `Path`,
            or a text that ends in .json), the directory of a run (its best loss), or an expression.
        weight: [C], of the classes; floating point.
        ignore_index: the label that counts for nothing.
        reduction: "none", "mean" or "sum".
        label_smoothing: in [0, 1].
        flip: whether the loss is -1 times the expression. None lets the integrity check decide, which also refuses what
            cannot be a loss; True or False skips the check.
        **parameters: of a zoo loss, such as `gamma`.

    Raises:
        InvalidLossError: the expression cannot be a loss; the message says why. Or a name that is in no zoo.
        FormulaError: the formula cannot be read.
        GraphError: the file cannot be read, or does not hold a loss.
        LossmithError: an unknown or invalid parameter or argument.
    """
    arguments: dict[str, Any] = {
        "weight": weight,
        "ignore_index": ignore_index,
        "reduction": reduction,
        "label_smoothing": label_smoothing,
    }
    if isinstance(x, str) and (entry := ZOO.get(x.strip())):
        if flip is not None:
            raise LossmithError(f"zoo loss '{entry.name}': a published loss has its orientation; leave flip out")
        return _from_zoo(entry, entry.settle(parameters), arguments)
    expression = _expression(x)
    if parameters:
        name = next(iter(parameters))
        known = ["weight", "ignore_index", "reduction", "label_smoothing", "flip"]
        raise LossmithError(f"unknown argument '{name}'{nearest(name, known)}; only zoo losses take parameters")
    if flip is None:
        examined = examine(expression)
        if not examined.verdict.ok or examined.backwards:
            shown = expression.text if len(expression.text) <= _SHOWN else f"{expression.text[:_SHOWN]}..."
            message = Reason.BACKWARDS.message if examined.verdict.ok else examined.verdict.message
            raise InvalidLossError(f"'{shown}' is not a loss: {message}")
        flip = bool(examined.verdict.flip)
    formula, latex = expression.text, expression.to_latex()
    if flip:
        formula, latex = f"-({formula})", rf"-\left({latex}\right)"
    return ExpressionLoss(formula, formula, latex, expression=expression, flip=flip, **arguments)


def _expression(x: str | Path | Expression) -> Expression:
    if isinstance(x, Expression):
        return x
    if isinstance(x, Path):
        return Expression.from_file(x)
    if not isinstance(x, str):
        raise LossmithError(f"expected a zoo name, a formula, a path or an Expression, found {type(x).__name__}")
    text = x.strip()
    if text.endswith(".json"):
        return Expression.from_file(Path(text))
    if len(text) <= _SHOWN and (Path(text) / "best.json").is_file():  # the directory of a run
        return Expression.from_file(Path(text) / "best.json")
    try:
        return Expression.from_text(text)
    except FormulaError as error:
        if not _WORD.fullmatch(text):
            raise
        message = f"unknown loss '{text:.{_SHOWN}}'{nearest(text, ZOO)}; the zoo has {', '.join(ZOO)}"
        raise InvalidLossError(message) from error


def _from_zoo(entry: ZooLoss, parameters: dict[str, float], arguments: dict[str, Any]) -> Loss:
    """The module of a zoo loss whose parameters are settled."""
    values = {name: number_text(value) for name, value in parameters.items()}
    expression = Expression.from_text(entry.template.format(**values)) if entry.template else None
    settings = ", ".join(f"{name} = {value}" for name, value in values.items())
    formula = f"{entry.formula}, {settings}" if settings else entry.formula
    described = (entry.name, formula, entry.latex)
    if entry.delegates:
        return CrossEntropyLoss(*described, expression=expression, **parameters, **arguments)
    if expression is not None:
        return ExpressionLoss(*described, expression=expression, **arguments)
    function = functools.partial(entry.function, **parameters) if parameters else entry.function
    return CurveLoss(*described, function=function, **arguments)
