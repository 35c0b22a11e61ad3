"""The arguments of `lossmith confirm`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from lossmith.arguments.common import Config, Overrides, Workers


@dataclass(frozen=True)
class Confirm:
    """Compare a shortlist of losses on test images that nothing has seen, as registered beforehand.

    Example: lossmith confirm --losses runs/mine-elimination --cells digits-full --seeds 20 --run runs/mine-confirmed
    """

    directory: Annotated[
        Path | None,
        Positional,
        arg(metavar="DIR", help="a confirmation to go on with, or to show", help_behavior_hint=""),
    ] = None
    losses: Annotated[
        tuple[str, ...],
        arg(
            metavar="FROM",
            help="the candidates, at most 5: zoo names, formulas, JSON files, searches (their best), eliminations"
            " (their finalists)",
            help_behavior_hint="",
        ),
    ] = ()
    cells: Annotated[
        tuple[str, ...],
        arg(
            metavar="TASK",
            help="names of tasks ('lossmith train --task ?' lists them), or YAML files",
            help_behavior_hint="",
        ),
    ] = ()
    controls: Annotated[
        tuple[str, ...],
        arg(metavar="FROM", help="losses beside the candidates, such as a random search's best", help_behavior_hint=""),
    ] = ()
    sources: Annotated[
        tuple[str, ...],
        arg(metavar="DIR", help="further runs that led to the losses", help_behavior_hint=""),
    ] = ()
    null_search: Annotated[
        Path | None, arg(metavar="DIR", help="the null search, whose best is the luck floor", help_behavior_hint="")
    ] = None
    seeds: Annotated[
        int | None,
        arg(metavar="N", help="trainings of each loss on the test images", help_behavior_hint="(default: 20)"),
    ] = None
    seed: Annotated[
        int | None,
        arg(metavar="N", help="seed that the training seeds are drawn from", help_behavior_hint="(default: 0)"),
    ] = None
    config: Config = None
    run: Annotated[
        Path | None,
        arg(metavar="DIR", help="directory of the confirmation", help_behavior_hint="(default: a new runs/NAME)"),
    ] = None
    register_only: Annotated[bool, arg(help="write and hash the registration, and train nothing yet")] = False
    workers: Workers = None
    overrides: Overrides = ()
