"""What the commands of `lossmith.arguments` do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from lossmith import arguments
from lossmith.commands import showing
from lossmith.commands.confirmation import resume_confirmation, run_confirm
from lossmith.commands.controls import resume_null, run_control
from lossmith.commands.elimination import resume_elimination, run_eliminate
from lossmith.commands.fidelity import fidelity_command, resume_fidelity
from lossmith.commands.searching import resume_search, run_search
from lossmith.commands.study import resume_study, run_study
from lossmith.commands.training import run_train
from lossmith.commands.transfer import resume_transfer, transfer_command
from lossmith.commands.work import Work
from lossmith.execution.local import LocalExecutor
from lossmith.ledger import Ledger
from lossmith.report import terminal
from lossmith.study.study import is_study


def run(command: object, executor: LocalExecutor | None, began: float) -> int:
    """Carry out a command; `began` is the `time.monotonic()` at which the program started.

    `executor` is there for the commands that train (`arguments.Trains`).
    """
    console = Console(highlight=False)
    if isinstance(command, arguments.Trains):
        if executor is None:
            raise AssertionError("a command that trains needs an executor")
        work = Work(executor, began, console, command.workers)
        try:
            return _run_training(command, work)
        finally:
            work.executor.close()  # a study makes one for each of its stages
    match command:
        case arguments.Show():
            showing.show(command.target, console)
        case arguments.Card():
            showing.card(command, console)
        case arguments.Report():
            print(showing.report(command))
        case arguments.Export():
            showing.write_export(command)
        case arguments.Bench():
            showing.bench(command.what, console)
        case arguments.Zoo():
            console.print(terminal.zoo_table())
        case arguments.Data():
            showing.fetch(console)
        case _:
            raise AssertionError(f"no such command: {command!r}")
    return 0


def _run_training(command: arguments.Trains, work: Work) -> int:
    match command:
        case arguments.Search():
            return run_search(command, work)
        case arguments.Resume():
            return _resume(command, work)
        case arguments.Train():
            return run_train(command, work)
        case arguments.Eliminate():
            return run_eliminate(command, work)
        case arguments.Control():
            return run_control(command, work)
        case arguments.Transfer():
            return transfer_command(command, work)
        case arguments.Confirm():
            return run_confirm(command, work)
        case arguments.Fidelity():
            return fidelity_command(command, work)
        case arguments.Study():
            return run_study(command, work)


# by the key of the configuration that a run's ledger holds
_RESUMES: dict[str, Callable[[Path, Work], int]] = {
    "null": resume_null,
    "transfer": resume_transfer,
    "confirmation": resume_confirmation,
    "elimination": resume_elimination,
    "fidelity": resume_fidelity,
}


def _resume(command: arguments.Resume, work: Work) -> int:
    if is_study(command.directory):
        return resume_study(command.directory, work)
    with Ledger.read(command.directory) as ledger:
        configuration = ledger.configuration()
    for kind, resume in _RESUMES.items():
        if kind in configuration:
            return resume(command.directory, work)
    return resume_search(command, work)
