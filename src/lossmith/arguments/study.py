"""The arguments of `lossmith study`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from lossmith.arguments.common import Config, Overrides, Workers


@dataclass(frozen=True)
class Study:
    """The whole road: search, controls, elimination, transfer, registered confirmation, report.

    Stop with Ctrl-C at any moment; the same command, or 'lossmith resume DIR', goes on.

    Example: lossmith study study-digits
    """

    preset: Annotated[
        str | None,
        Positional,
        arg(
            metavar="PRESET",
            help="study-smoke (a minute or two), study-digits (minutes), study-fashion (hours), paper,"
            " paper-augmentations (days on a GPU)",
            help_behavior_hint="",
        ),
    ] = None
    config: Config = None
    run: Annotated[
        Path | None,
        arg(metavar="DIR", help="directory of the study", help_behavior_hint="(default: runs/NAME)"),
    ] = None
    workers: Workers = None
    overrides: Overrides = ()
