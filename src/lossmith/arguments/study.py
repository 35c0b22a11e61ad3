"""The arguments of `lossmith study`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, UseAppendAction, arg

from lossmith.arguments.training import Workers


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
    config: Annotated[
        Path | None,
        arg(metavar="FILE", help="YAML file with the settings of a study, instead of a preset", help_behavior_hint=""),
    ] = None
    run: Annotated[
        Path | None,
        arg(metavar="DIR", help="directory of the study", help_behavior_hint="(default: runs/NAME)"),
    ] = None
    workers: Workers = None
    overrides: Annotated[
        tuple[str, ...],
        UseAppendAction,
        arg(
            name="set",
            metavar="KEY=VALUE",
            help="change a setting: search.search.iterations=50",
            help_behavior_hint="(repeatable)",
        ),
    ] = ()
