"""Losses of the user's own, by formula: `losses.toml`.

    [my_loss]
    formula = "-y * log(yhat) + 0.5 * square(y - yhat)"  # the formula language, with K for the number of classes
    flip = false                      # optional: whether the loss is -1 times the formula; else the check decides
    reference = "Doe 2024, table 3"   # optional, for people
    note = "least at yhat = 1"        # optional, for people
    latex = '-y \\ln \\hat{y} + ...'    # optional, else it is made of the formula

The file is looked for in the current directory, which is the project's, then in `$XDG_CONFIG_HOME/lossmith` (by default
`~/.config/lossmith`). A name in the first hides the same name in the second. Only formulas are read, nothing is run.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lossmith.errors import FormulaError, LossmithError, nearest
from lossmith.losses.zoo import ZOO
from lossmith.space.expression import CLASSES, PREDICTION, TARGET, Expression
from lossmith.space.formula import ALIASES
from lossmith.space.operators import OPERATORS

FILE = "losses.toml"
_NAME = re.compile(r"[A-Za-z_][\w-]*")
_KEYS: Mapping[str, type] = {"formula": str, "flip": bool, "reference": str, "note": str, "latex": str}
_TYPES = {str: "a text", bool: "true or false"}
_RESERVED = frozenset((TARGET, PREDICTION, CLASSES, *OPERATORS, *ALIASES))


@dataclass(frozen=True, slots=True)
class UserLoss:
    """One table of a `losses.toml`."""

    name: str
    formula: str  # as written
    expression: Expression
    file: Path
    flip: bool | None = None
    reference: str = ""
    note: str = ""
    latex: str = ""

    @property
    def where(self) -> str:
        """For messages: the file and the table."""
        return f"{self.file}: [{self.name}]"


def files() -> tuple[Path, ...]:
    """Where a `losses.toml` may be, the one that wins first."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    try:
        home = Path(base) if Path(base).is_absolute() else Path("~/.config").expanduser()
    except RuntimeError:  # nobody's home, as in a container without a user
        return (Path(FILE),)
    return Path(FILE), home / "lossmith" / FILE


def find(name: str) -> UserLoss | None:
    """The user's loss of this name, or None.

    Raises:
        LossmithError: a file that was looked at is wrong.
    """
    for file in files():
        if (found := read(file).get(name)) is not None:
            return found
    return None


def names() -> list[str]:
    """The names of all user losses.

    Raises:
        LossmithError: a file is wrong.
    """
    return list(user_losses())


def user_losses() -> dict[str, UserLoss]:
    """All user losses by name, the project's first.

    Raises:
        LossmithError: a file is wrong.
    """
    found: dict[str, UserLoss] = {}
    for file in files():
        for name, loss in read(file).items():
            found.setdefault(name, loss)
    return found


def read(file: Path) -> dict[str, UserLoss]:
    """The losses of one file; none where there is no such file.

    Raises:
        LossmithError: the file cannot be read, is not TOML, or holds something else than losses; names file and key.
    """
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        problem = getattr(error, "strerror", None) or str(error).replace("\n", " ")
        raise LossmithError(f"{file}: cannot read the losses: {problem}") from error
    return {name: _loss(file, name, table) for name, table in content.items()}


def _loss(file: Path, name: str, table: Any) -> UserLoss:
    where = f"{file}: [{name:.80}]"
    if not _NAME.fullmatch(name):
        raise LossmithError(f"{where}: a loss is named with letters, digits, '_' and '-', and starts with a letter")
    if name in ZOO or name in _RESERVED:
        kind = "a loss of the zoo" if name in ZOO else "a name of the formula language"
        raise LossmithError(f"{where}: is {kind}; give your loss another name")
    if not isinstance(table, dict):
        raise LossmithError(f'{file}: {name}: expected a table: [{name}] and below it formula = "..."')
    for key, value in table.items():
        if key not in _KEYS:
            raise LossmithError(f"{where}: unknown key '{key:.80}'{nearest(key, _KEYS)}; keys are {', '.join(_KEYS)}")
        if not isinstance(value, _KEYS[key]):
            raise LossmithError(f"{where}: {key} must be {_TYPES[_KEYS[key]]}, found {value!r:.80}")
    if "formula" not in table:
        raise LossmithError(f"{where}: formula is missing")
    try:
        expression = Expression.from_text(table["formula"])
    except FormulaError as error:
        raise LossmithError(f"{where}: {error}") from error
    return UserLoss(name, expression=expression, file=file, **table)
