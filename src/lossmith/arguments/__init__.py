"""The commands of the command line and their arguments, as data; what each does is in `lossmith.commands`."""

from __future__ import annotations

from typing import Annotated

from tyro.conf import subcommand

from lossmith.arguments.showing import Bench, Card, Data, Export, Report, Show, Zoo
from lossmith.arguments.training import Resume, Search, Train

Trains = Search | Resume | Train  # the commands that train, and so have workers

Command = (
    Annotated[Search, subcommand("search")]
    | Annotated[Resume, subcommand("resume")]
    | Annotated[Show, subcommand("show")]
    | Annotated[Card, subcommand("card")]
    | Annotated[Report, subcommand("report")]
    | Annotated[Train, subcommand("train")]
    | Annotated[Export, subcommand("export")]
    | Annotated[Bench, subcommand("bench")]
    | Annotated[Zoo, subcommand("zoo")]
    | Annotated[Data, subcommand("data")]
)
