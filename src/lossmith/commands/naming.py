"""The losses that a user names on the command line or in a configuration."""

from __future__ import annotations

from pathlib import Path

from lossmith.commands.searching import stored_search
from lossmith.commands.work import is_directory
from lossmith.errors import ConfigError, RunError
from lossmith.ledger import Ledger, LossRow
from lossmith.losses.build import loss as build_loss
from lossmith.search.best import best_losses
from lossmith.search.evaluation import expression_row, published_row

_LABEL = 40  # characters of a formula in a comparison's table


def named_loss(text: str, where: str) -> tuple[str, LossRow]:
    """The label and the loss that a user's text means; a run's directory means its best loss.

    Args:
        text: a name of the zoo, a formula, a JSON file, or a run's directory.
        where: the option or setting, the start of the error message.

    Raises:
        ConfigError, RunError, FormulaError: it means none.
    """
    text = text.strip()
    if not text:
        raise ConfigError(f"{where}: a name, formula, file or run is missing between the quotes")
    if is_directory(text):
        with Ledger.read(Path(text)) as ledger:
            found = best_losses(ledger, stored_search(ledger), 1)
        if not found:
            raise RunError(f"{text}: has no trained loss yet; let its search go on")
        return f"best of {text.rstrip('/')}", found[0].loss
    loss = build_loss(text)
    if (row := published_row(loss)) is not None:  # by name, or from an exported file
        return loss.name, row
    if loss.expression is None:
        raise ConfigError(f"{where} {text}: only its default parameters can be trained here, since no formula says it")
    return _shortened(text), expression_row(loss.expression, bool(loss.flip))


def _shortened(text: str) -> str:
    return text if len(text) <= _LABEL else f"{text[: _LABEL - 3]}..."
