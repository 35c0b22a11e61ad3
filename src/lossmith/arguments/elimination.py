"""The arguments of `lossmith eliminate`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from lossmith.arguments.common import Config, Overrides, Workers


@dataclass(frozen=True)
class Eliminate:
    """Send the best losses of searches through phases, each of which keeps the best, up to a few finalists.

    Stop with Ctrl-C at any moment; 'lossmith resume DIR' goes on.

    Example: lossmith eliminate runs/mine --protocol digits --run runs/mine-elimination --racing
    """

    directories: Annotated[
        tuple[Path, ...], Positional, arg(metavar="DIR", help="directories of searches, one or several")
    ] = ()
    protocol: Annotated[
        str | None,
        arg(
            metavar="NAME",
            help="smoke (seconds), digits (a minute or two), fashion (an hour), method (the paper's, on CIFAR-10)",
            help_behavior_hint="(default: digits)",
        ),
    ] = None
    config: Config = None
    run: Annotated[
        Path | None,
        arg(metavar="DIR", help="directory of the elimination", help_behavior_hint="(default: runs/eliminate-NAME)"),
    ] = None
    racing: Annotated[bool, arg(help="give seeds only where they decide, at a stated error rate")] = False
    workers: Workers = None
    overrides: Overrides = ()
