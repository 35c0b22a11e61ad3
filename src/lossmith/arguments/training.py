"""The arguments of the commands that train."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, UseAppendAction, arg

from lossmith.arguments.common import Config, Overrides, Workers


@dataclass(frozen=True)
class Search:
    """Evolve losses. Stop with Ctrl-C at any moment; 'lossmith resume DIR' goes on.

    Example: lossmith search --preset digits --run runs/mine --set search.iterations=400
    """

    preset: Annotated[
        str | None,
        arg(
            metavar="NAME",
            help="smoke (seconds), digits (minutes), fashion (hours)",
            help_behavior_hint="(default: digits)",
        ),
    ] = None
    config: Config = None
    run: Annotated[
        Path | None, arg(metavar="DIR", help="directory of the run", help_behavior_hint="(default: runs/NAME)")
    ] = None
    seed: Annotated[
        int | None,
        arg(metavar="N", help="seed of everything random", help_behavior_hint="(default: the configuration's)"),
    ] = None
    workers: Workers = None
    overrides: Overrides = ()


@dataclass(frozen=True)
class Resume:
    """Go on with a search, a study or a stage of one that was stopped, however it was stopped.

    Example: lossmith resume runs/mine
    """

    directory: Annotated[Path, Positional, arg(metavar="DIR", help="directory of the run or the study")]
    workers: Workers = None


@dataclass(frozen=True)
class Train:
    """Train losses on a task with paired seeds, and compare each with the first.

    Example: lossmith train --task digits-full --loss cross_entropy --loss runs/mine --seeds 10
    """

    task: Annotated[str, arg(metavar="TASK", help="name of a task ('?' lists them), or a YAML file")]
    loss: Annotated[
        tuple[str, ...],
        UseAppendAction,
        arg(
            metavar="LOSS",
            help="a zoo name, a formula, a JSON file, or a run's directory (its best loss); give it once for each loss,"
            " the baseline first",
            help_behavior_hint="(repeatable)",
        ),
    ] = ()
    seeds: Annotated[
        int | None,
        arg(metavar="N", help="trainings of each loss", help_behavior_hint="(default: 1, or 10 for several losses)"),
    ] = None
    seed: Annotated[int, arg(metavar="N", help="seed that the training seeds are drawn from")] = 0
    split: Annotated[
        Literal["validation", "test"], arg(help="the part of the data that is scored; 'test' is for a final comparison")
    ] = "validation"
    run: Annotated[
        Path | None,
        arg(
            metavar="DIR",
            help="run whose ledger takes the results",
            help_behavior_hint="(default: a new runs/train-TASK)",
        ),
    ] = None
    workers: Workers = None
