"""`loss`: one way to get any loss, by name, formula, file or expression."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

from torch import Tensor

from lossmith.errors import FormulaError, InvalidLossError, LossmithError, nearest
from lossmith.losses.kinds import CrossEntropyLoss, ExampleLoss, ExpressionLoss
from lossmith.losses.module import Loss
from lossmith.losses.stored import StoredLoss, read_stored
from lossmith.losses.user import find, names
from lossmith.losses.zoo import ZOO, ZooLoss
from lossmith.space.expression import Expression, number_text
from lossmith.space.integrity import examine
from lossmith.verdict import Reason

# runs/demo, ./x, /home/me/x, losses.toml; a formula that is wrong has blanks, brackets or other operators, or reads y
_PATH = re.compile(r"(?=.*[./])(?!.*\by(hat)?\b)[~.]?/?[\w-]+[\w.-]*(/[\w.-]+)*/?")
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
        x: a zoo name (see `lossmith.losses.zoo.ZOO`), a name of a `losses.toml` (see `lossmith.losses.user`), a formula
            in y, yhat and K, the path of an exported loss (a `Path`, or a text that ends in .json), the directory of a
            run (its best loss), or an expression.
        weight: [C], of the classes; floating point.
        ignore_index: the label that counts for nothing.
        reduction: "none", "mean" or "sum".
        label_smoothing: in [0, 1].
        flip: whether the loss is -1 times the expression. None lets the integrity check decide, which also refuses what
            cannot be a loss; True or False skips the check. A `losses.toml` or a JSON file may say it, too.
        **parameters: of a zoo loss, such as `gamma`.

    Raises:
        InvalidLossError: the expression cannot be a loss; the message says why. Or a name that is in no zoo.
        FormulaError: the formula cannot be read.
        GraphError: the file cannot be read, or does not hold a loss.
        LossmithError: an unknown or invalid parameter or argument, or a `losses.toml` that is wrong.
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
    file = _file(x)
    stored = StoredLoss() if file is None else read_stored(file)
    if stored.name:
        if flip is not None:
            raise LossmithError(
                f"{file}: '{stored.name}' is a published loss, which has its orientation; leave flip out"
            )
        return _from_zoo(ZOO[stored.name], ZOO[stored.name].settle({**stored.settings, **parameters}), arguments)
    user = find(x.strip()) if file is None and isinstance(x, str) and _WORD.fullmatch(x.strip()) else None
    expression = user.expression if user else stored.expression or _expression(x)
    if parameters:
        name = next(iter(parameters))
        known = ["weight", "ignore_index", "reduction", "label_smoothing", "flip"]
        raise LossmithError(f"unknown argument '{name}'{nearest(name, known)}; only zoo losses take parameters")
    if flip is None:
        flip = stored.flip if user is None else user.flip
    if flip is None:
        examined = examine(expression)
        if not examined.verdict.ok or examined.backwards:
            shown = expression.text if len(expression.text) <= _SHOWN else f"{expression.text[:_SHOWN]}..."
            message = Reason.BACKWARDS.message if examined.verdict.ok else examined.verdict.message
            where = "" if user is None else f"{user.where}: "
            raise InvalidLossError(f"{where}'{shown}' is not a loss: {message}")
        flip = bool(examined.verdict.flip)
    formula, latex = expression.text, expression.to_latex()
    if flip:
        formula, latex = f"-({formula})", rf"-\left({latex}\right)"
    if user is not None:
        latex = user.latex or latex
        return ExpressionLoss(user.name, formula, latex, expression=expression, flip=flip, **arguments)
    made = ExpressionLoss(formula, formula, latex, expression=expression, flip=flip, **arguments)
    made.provenance = stored.provenance
    return made


def _file(x: object) -> Path | None:
    """The file that holds the loss, where `x` names one or the directory of a run."""
    if isinstance(x, Path):
        return x
    if not isinstance(x, str):
        return None
    text = x.strip()
    if text.endswith(".json"):
        return Path(text)
    best = Path(text) / "best.json"
    return best if len(text) <= _SHOWN and best.is_file() else None


def _expression(x: object) -> Expression:
    if isinstance(x, Expression):
        return x
    if not isinstance(x, str):
        raise LossmithError(f"expected a zoo name, a formula, a path or an Expression, found {type(x).__name__}")
    text = x.strip()
    try:
        return Expression.from_text(text)
    except FormulaError as error:
        if _PATH.fullmatch(text):
            message = f"'{text:.{_SHOWN}}' is no loss: no such file, no run with a best.json, and no formula"
            raise InvalidLossError(message) from error
        if not _WORD.fullmatch(text):
            raise
        users = names()
        mine = f"; losses.toml has {', '.join(users)}" if users else ""
        message = f"unknown loss '{text:.{_SHOWN}}'{nearest(text, [*ZOO, *users])}; the zoo has {', '.join(ZOO)}{mine}"
        raise InvalidLossError(message) from error


def _from_zoo(entry: ZooLoss, parameters: dict[str, float], arguments: dict[str, Any]) -> Loss:
    """The module of a zoo loss whose parameters are settled."""
    values = {name: number_text(value) for name, value in parameters.items()}
    expression = entry.expression(**parameters)
    settings = ", ".join(f"{name} = {value}" for name, value in values.items())
    formula = f"{entry.formula}, {settings}" if settings else entry.formula
    described = (entry.name, formula, entry.latex)
    if entry.delegates:
        made: Loss = CrossEntropyLoss(*described, expression=expression, **parameters, **arguments)
    elif expression is not None:
        made = ExpressionLoss(*described, expression=expression, **arguments)
    elif entry.function is not None:
        function = functools.partial(entry.function, **parameters) if parameters else entry.function
        made = ExampleLoss(*described, function=function, **arguments)
    else:
        raise AssertionError(f"zoo loss '{entry.name}' is neither an expression nor a function")
    made.settings = parameters
    return made
