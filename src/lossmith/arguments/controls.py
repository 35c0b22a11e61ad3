"""The arguments of the controls of a search."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg, subcommand

from lossmith.arguments.common import Workers

_Search = Annotated[Path, Positional, arg(metavar="DIR", help="directory of the search")]


@dataclass(frozen=True)
class ControlRandom:
    """Draw as many losses at random as the search evolved: the same tasks and numbers, other draws.

    Example: lossmith control random runs/mine
    """

    directory: _Search
    run: Annotated[
        Path | None,
        arg(metavar="DIR", help="directory of the random search", help_behavior_hint="(default: runs/NAME-random)"),
    ] = None
    workers: Workers = None


@dataclass(frozen=True)
class ControlNull:
    """Train cross-entropy with as many seeds as the search trained losses: how high luck alone gets.

    Example: lossmith control null runs/mine
    """

    directory: _Search
    run: Annotated[
        Path | None,
        arg(metavar="DIR", help="directory of the null search", help_behavior_hint="(default: runs/NAME-null)"),
    ] = None
    workers: Workers = None


@dataclass(frozen=True)
class Control:
    """Run a control of a search at equal compute. Stop with Ctrl-C; 'lossmith resume' on its directory goes on.

    Examples: lossmith control random runs/mine, lossmith control null runs/mine
    """

    what: (
        Annotated[ControlRandom, subcommand("random", prefix_name=False)]
        | Annotated[ControlNull, subcommand("null", prefix_name=False)]
    )

    @property
    def workers(self) -> int | None:
        return self.what.workers
