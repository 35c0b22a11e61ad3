"""The arguments of `lossmith fidelity`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from lossmith.arguments.common import Config, Overrides, Workers


@dataclass(frozen=True)
class Fidelity:
    """Measure how well cheap tasks rank losses for an expensive one, against what they cost.

    Scores are validation accuracies. Stop with Ctrl-C at any moment; 'lossmith resume DIR' goes on.

    Example: lossmith fidelity --preset digits --run runs/fidelity
    """

    preset: Annotated[
        str | None,
        arg(
            metavar="NAME",
            help="smoke (seconds), digits (ten minutes), fashion (half an hour)",
            help_behavior_hint="(default: digits)",
        ),
    ] = None
    config: Config = None
    losses: Annotated[
        tuple[str, ...],
        arg(
            metavar="FROM",
            help="zoo names, formulas, JSON files, searches (losses evenly over the ranks of each); beside those that"
            " the settings name",
            help_behavior_hint="",
        ),
    ] = ()
    run: Annotated[
        Path | None, arg(metavar="DIR", help="directory of the run", help_behavior_hint="(default: runs/fidelity-NAME)")
    ] = None
    beside: Annotated[
        tuple[Path, ...],
        arg(
            metavar="DIR",
            help="finished fidelity runs, of other data, which the page shows beside this one",
            help_behavior_hint="",
        ),
    ] = ()
    workers: Workers = None
    overrides: Overrides = ()
