"""The arguments of the commands that show or write, and train nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, UseAppendAction, arg, subcommand


@dataclass(frozen=True)
class Show:
    """Show a run, a study, or a loss.

    Examples: lossmith show runs/mine, lossmith show focal, lossmith show "-y*log(yhat)"
    """

    target: Annotated[
        str, Positional, arg(metavar="DIR|LOSS", help="a run's directory, a zoo name, a formula, or a JSON file")
    ]


@dataclass(frozen=True)
class Card:
    """Show what to know of a loss before training with it: optimum, learning rate, bounds, label noise, precision.

    Examples: lossmith card baikal, lossmith card runs/mine --html card.html, lossmith card focal --evidence runs/demo
    """

    target: Annotated[
        str,
        Positional,
        arg(metavar="LOSS", help="a zoo name, a formula, a JSON file, or a run's directory (its best loss)"),
    ]
    html: Annotated[
        Path | None,
        arg(metavar="FILE", help="write the card as one HTML page that needs no network", help_behavior_hint=""),
    ] = None
    evidence: Annotated[
        tuple[Path, ...],
        UseAppendAction,
        arg(
            metavar="DIR",
            help="a run whose ledger may hold evaluations of the loss and of cross-entropy",
            help_behavior_hint="(repeatable)",
        ),
    ] = ()
    classes: Annotated[
        tuple[int, ...],
        arg(metavar="K", help="numbers of classes to look at", help_behavior_hint="(default: 2 10 100 1000)"),
    ] = (2, 10, 100, 1000)


@dataclass(frozen=True)
class Report:
    """Write the report of a run or a study: one HTML page that needs no network, and tables beside it.

    Example: lossmith report runs/mine
    """

    directory: Annotated[Path, Positional, arg(metavar="DIR", help="directory of the run or the study")]
    out: Annotated[
        Path | None,
        arg(metavar="DIR", help="directory to write to", help_behavior_hint="(default: report/ in the run)"),
    ] = None


@dataclass(frozen=True)
class Export:
    """Write a loss as one file for another program, which needs no Lossmith.

    Example: lossmith export focal --to torch --out focal_loss.py
    """

    loss: Annotated[
        str,
        Positional,
        arg(metavar="LOSS", help="a zoo name, a formula, a JSON file, or a run's directory (its best loss)"),
    ]
    to: Annotated[
        str,
        arg(
            metavar="FORMAT",
            help="torch, keras, jax (Python source), latex, or json (which Lossmith reads back)",
        ),
    ]
    out: Annotated[
        Path | None,
        arg(metavar="FILE", help="file to write to", help_behavior_hint="(default: standard output)"),
    ] = None


@dataclass(frozen=True)
class BenchLosses:
    """What losses cost, beside cross-entropy.

    Example: lossmith bench losses --quick
    """

    quick: Annotated[bool, arg(help="fewer rounds, one thread, nothing compiled: a minute instead of several")] = False


@dataclass(frozen=True)
class BenchEngine:
    """How fast each way trains losses, beside one network in plain PyTorch, and how near that is to the limits.

    Examples: lossmith bench engine, lossmith bench engine --task cifar10-resnet9v2 --synthetic
    """

    task: Annotated[str, arg(metavar="TASK", help="name of a task, or a YAML file")] = "digits"
    data: Annotated[
        Path | None,
        arg(metavar="PATH", help="where the task's data is, if the task does not say", help_behavior_hint=""),
    ] = None
    synthetic: Annotated[bool, arg(help="random images of the data's shape: they tell speed alone")] = False
    quick: Annotated[bool, arg(help="one short round, fewer losses at once, nothing compiled")] = False
    json: Annotated[Path | None, arg(metavar="FILE", help="write all figures as JSON, too", help_behavior_hint="")] = (
        None
    )


@dataclass(frozen=True)
class Bench:
    """Measure on this machine what losses cost, or how fast they are trained.

    Examples: lossmith bench losses --quick, lossmith bench engine --task digits
    """

    what: (
        Annotated[BenchLosses, subcommand("losses", prefix_name=False)]
        | Annotated[BenchEngine, subcommand("engine", prefix_name=False)]
    )


@dataclass(frozen=True)
class Zoo:
    """List the published losses that come with Lossmith.

    Example: lossmith zoo
    """


@dataclass(frozen=True)
class Data:
    """Fetch a data set into the user's cache directory, where there is a network.

    Example: lossmith data fetch fashion-mnist
    """

    action: Positional[Literal["fetch"]]
    name: Positional[Literal["fashion-mnist"]] = "fashion-mnist"
