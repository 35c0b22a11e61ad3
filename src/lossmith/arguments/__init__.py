"""The commands of the command line and their arguments, as data; what each does is in `lossmith.commands`."""

from __future__ import annotations

from typing import Annotated

from tyro.conf import subcommand

from lossmith.arguments.confirmation import Confirm
from lossmith.arguments.controls import Control
from lossmith.arguments.elimination import Eliminate
from lossmith.arguments.fidelity import Fidelity
from lossmith.arguments.showing import Bench, Card, Data, Export, Report, Show, Zoo
from lossmith.arguments.study import Study
from lossmith.arguments.training import Resume, Search, Train
from lossmith.arguments.transfer import Transfer

# the commands that train, and so have workers
Trains = Search | Resume | Train | Study | Control | Eliminate | Confirm | Transfer | Fidelity

Command = (
    Annotated[Search, subcommand("search")]
    | Annotated[Resume, subcommand("resume")]
    | Annotated[Show, subcommand("show")]
    | Annotated[Card, subcommand("card")]
    | Annotated[Report, subcommand("report")]
    | Annotated[Train, subcommand("train")]
    | Annotated[Control, subcommand("control")]
    | Annotated[Transfer, subcommand("transfer")]
    | Annotated[Eliminate, subcommand("eliminate")]
    | Annotated[Fidelity, subcommand("fidelity")]
    | Annotated[Confirm, subcommand("confirm")]
    | Annotated[Study, subcommand("study")]
    | Annotated[Export, subcommand("export")]
    | Annotated[Bench, subcommand("bench")]
    | Annotated[Zoo, subcommand("zoo")]
    | Annotated[Data, subcommand("data")]
)
