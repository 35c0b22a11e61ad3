"""`lossmith search` and `lossmith resume`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from lossmith import arguments
from lossmith.commands.work import STOPPED, Work, chosen, directory_for
from lossmith.config import RunConfig, from_stored, load_file, load_preset
from lossmith.errors import LossmithError, RunError
from lossmith.ledger import FILE, Ledger, TaskRow
from lossmith.report import live, terminal
from lossmith.search.best import write_best
from lossmith.search.run import search
from lossmith.search.serving import EvaluationSetup


def run_search(command: arguments.Search, work: Work) -> int:
    overrides = command.overrides if command.seed is None else (*command.overrides, f"seed={command.seed}")
    config = chosen(command.preset, command.config, overrides, load_preset, load_file)
    directory = command.run or directory_for(config.name)
    # before anything is written: data may be missing
    setup = work.planned(work.prepare((config.screening, config.task)), config.execution)
    with Ledger.create(directory, config.model_dump(mode="json")) as ledger:
        return _search(ledger, config, setup, work)


def search_in(config: RunConfig, directory: Path, work: Work, known: Iterable[TaskRow] = ()) -> int:
    """Search in a directory, from the start or from where the same search was; `known` has plans to begin with.

    Raises:
        RunError: the directory holds another search, or something else.
    """
    if not (directory / FILE).exists():
        setup = work.planned(work.prepare((config.screening, config.task)), config.execution, known)
        with Ledger.create(directory, config.model_dump(mode="json")) as ledger:
            return _search(ledger, config, setup, work)
    with Ledger.open(directory) as ledger:
        if stored_search(ledger) != config:
            raise RunError(f"{directory}: holds another search; use another --run")
        setup = work.planned(work.prepare((config.screening, config.task)), config.execution, ledger.tasks())
        return _search(ledger, config, setup, work)


def resume_search(command: arguments.Resume, work: Work) -> int:
    with Ledger.open(command.directory) as ledger:
        config = stored_search(ledger)
        setup = work.planned(work.prepare((config.screening, config.task)), config.execution, ledger.tasks())
        return _search(ledger, config, setup, work)


def stored_search(ledger: Ledger) -> RunConfig:
    """The configuration of the search that a ledger holds.

    Raises:
        RunError: it holds something else.
    """
    values = ledger.configuration()
    if "search" not in values:
        kinds = ("null", "elimination", "fidelity", "transfer", "confirmation")
        held = next((kind for kind in kinds if kind in values), "comparison")
        more = "; repeat its 'lossmith train --run' to go on" if held == "comparison" else ""
        raise RunError(f"{ledger.directory}: holds a {held}, not a search{more}")
    return from_stored(values, f"{ledger.directory / FILE}: stored configuration")


def _search(ledger: Ledger, config: RunConfig, setup: EvaluationSetup, work: Work) -> int:
    workers = work.executor.workers
    work.begin(ledger)
    kind = "random search" if config.search.method == "random" else "search"
    print(f"{kind} '{config.name}' in {ledger.directory}: seed {config.seed}, {workers} workers", flush=True)
    if config.screening.data != config.task.data:
        print(f"note: losses are screened on other data ({config.screening.data.source}) than they are searched on")
    work.describe(setup)
    at_once = workers * setup.plans[config.task.task_id].slots
    if at_once > config.search.in_flight:
        print(f"note: in the last stage, search.in_flight lets {config.search.in_flight} of {at_once} train at once")
    try:
        with live.LiveProgress(work.console) as display, work.stopping() as stopped:
            update, stop = display.update, stopped.is_set
            progress = search(
                ledger, config, setup, executor=work.executor, update=update, should_stop=stop, say=work.say
            )
    except BaseException:
        with contextlib.suppress(LossmithError):  # what stopped the search is what must be told
            write_best(ledger, config)
        raise
    best = write_best(ledger, config)
    if progress.told < progress.total:
        print(f"stopped; nothing is lost. Go on with: lossmith resume {ledger.directory}")
        return STOPPED
    work.console.print(terminal.run_summary(ledger))
    print(f"best loss: {best}\nreport:    lossmith report {ledger.directory}")
    return 0
