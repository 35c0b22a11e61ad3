"""The arguments of `lossmith transfer`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from lossmith.arguments.common import Config, Overrides, Workers


@dataclass(frozen=True)
class Transfer:
    """Train losses on other models, data sets and augmentations, and compare each with the baseline in every cell.

    Scores are validation accuracies. Stop with Ctrl-C at any moment; 'lossmith resume DIR' goes on.

    Example: lossmith transfer --preset digits --losses runs/mine baikal --run runs/transfer
    """

    preset: Annotated[
        str | None,
        arg(
            metavar="NAME",
            help="digits (a minute), fashion (up to an hour), method, augmentations (days of several GPUs)",
            help_behavior_hint="(default: digits)",
        ),
    ] = None
    config: Config = None
    losses: Annotated[
        tuple[str, ...],
        arg(
            metavar="FROM",
            help="zoo names, formulas, JSON files, searches (the best loss of each), eliminations (all finalists);"
            " beside those that the settings name",
            help_behavior_hint="",
        ),
    ] = ()
    run: Annotated[
        Path | None, arg(metavar="DIR", help="directory of the run", help_behavior_hint="(default: runs/NAME)")
    ] = None
    skip_unavailable: Annotated[
        bool, arg(help="leave out the cells that cannot be trained here, instead of refusing to begin")
    ] = False
    workers: Workers = None
    overrides: Overrides = ()
