"""The errors that Lossmith raises for a user's mistake or a machine's failure.

Each message is one line that says what is wrong, where, and what to do. The command line prints it and exits
with code 2; a library user catches `LossmithError`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LossmithError(Exception):
    """Base of every error that Lossmith raises on purpose."""


class ConfigError(LossmithError):
    """A configuration file, preset or override that is not valid."""


class FormulaError(LossmithError):
    """A formula that cannot be read.

    Attributes:
        text: the formula as given.
        position: index (from 0) of the first wrong character; `len(text)` where something is missing at the end.
    """

    def __init__(self, problem: str, text: str, position: int) -> None:
        super().__init__(f"formula, character {position + 1}: {problem}")
        self.text = text
        self.position = position

    def pointer(self) -> str:
        """Two lines for a terminal: (a stretch of) the formula, and a caret under the character that is wrong."""
        start = max(0, self.position - 60)
        return f"  {self.text[start : start + 100]}\n  {' ' * (self.position - start)}^"


class GraphError(LossmithError):
    """A graph that is not well formed: unknown operator, wrong number of inputs, unknown input, or a cycle."""


class CyclicGraphError(GraphError):
    """A graph whose active part has a cycle."""


class InvalidLossError(LossmithError):
    """A well-formed expression that cannot serve as a loss; the message carries the integrity check's reason."""


class DataError(LossmithError):
    """A data set that is missing, empty, damaged, or does not fit the task."""


class RunError(LossmithError):
    """A run directory or its ledger that cannot be used: not a run, in use, damaged, or from a newer version."""


def nearest(name: str, known: Iterable[str]) -> str:
    """' (did you mean 'X'?)' for the closest of `known` to `name`, or '' where none is close."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" (did you mean '{close[0]}'?)" if close else ""
