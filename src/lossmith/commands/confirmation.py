"""`lossmith confirm`: a registered comparison on test images."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lossmith.arguments.confirmation import Confirm
from lossmith.commands.naming import named_loss
from lossmith.commands.work import STOPPED, Work, directory_for
from lossmith.errors import ConfigError, RunError
from lossmith.ledger import FILE, Ledger
from lossmith.report import confirmation_text
from lossmith.search.serving import EvaluationSetup
from lossmith.study.confirmation.cells import settings
from lossmith.study.confirmation.config import ConfirmationConfig, confirmation_of, load_confirmation
from lossmith.study.confirmation.estimate import estimated_seconds
from lossmith.study.confirmation.overlaps import find_overlaps
from lossmith.study.confirmation.register import register
from lossmith.study.confirmation.registration import CONFIGURATION, Registration, create, difference, registered
from lossmith.study.confirmation.sources import SourceRun, located, read_source
from lossmith.study.confirmation.stage import KIND, OVERLAP, confirm
from lossmith.study.trainings import StoppedError
from lossmith.train.data import load_dataset


def run_confirm(command: Confirm, work: Work) -> int:
    """What the command line asks for."""
    values = _values(command)
    if command.directory is not None:
        if values or command.run or command.config or command.overrides or command.register_only:
            raise ConfigError(
                f"{command.directory}: what it does is registered, so it takes no options; register anew with --run"
            )
        return resume_confirmation(command.directory, work)
    if command.config is None and not (command.losses and command.cells):
        raise ConfigError(
            "give --losses and --cells, or a --config FILE, or the directory of a confirmation to go on with"
        )
    if command.config is not None:
        config = load_confirmation(command.config, command.overrides, values)
    else:
        config = confirmation_of(values, "confirmation", command.overrides)
    return run_confirmation(
        config, command.run or directory_for(config.name), work, register_only=command.register_only
    )


def run_confirmation(config: ConfirmationConfig, directory: Path, work: Work, *, register_only: bool = False) -> int:
    """Register a confirmation in `directory` and go on with it; where it is there already, only go on.

    Raises:
        ConfigError, RunError, DataError: it is refused; or the directory holds something else.
    """
    if (directory / FILE).exists():
        with Ledger.read(directory) as ledger:
            registered(ledger)
            stored = ledger.configuration()[CONFIGURATION]
        asked = config.model_dump(mode="json")
        if changed := difference(_moved(stored, asked, directory), asked):
            raise RunError(
                f"{directory}: holds a confirmation with other settings: {changed}; 'lossmith confirm {directory}' goes"
                " on with it, or register anew in another directory"
            )
    else:
        registration, _ = register(config, named_loss)
        create(directory, config, registration).close()
    if register_only:
        _announce(directory, work)
        return 0
    return resume_confirmation(directory, work)


def resume_confirmation(directory: Path, work: Work) -> int:
    """Go on with what is registered in `directory`; where it is done, print its result.

    Raises:
        RunError: the registration was changed, or is none.
        DataError: the test images were seen before.
    """
    with Ledger.read(directory) as ledger:
        registered(ledger)
        results = ledger.results(KIND)
    if results:
        work.console.print(confirmation_text.summary(results[-1]))
        return 0
    sources = _announce(directory, work)
    try:
        with Ledger.open(directory) as ledger:
            registration, sha256 = registered(ledger)
            setup = _prepared(ledger, registration, work)
            overlaps = _overlaps(ledger, registration, sources, work)
            limit = registration.execution.time_limit
            with work.trainings(ledger, setup, title="confirmation", time_limit=limit) as trainings:
                content = confirm(ledger, registration, sha256, overlaps, trainings)
    except StoppedError:
        print(f"stopped; nothing is lost. Go on with: lossmith confirm {directory}")
        return STOPPED
    work.console.print(confirmation_text.summary(content))
    return 0


def _moved(stored: Mapping[str, Any], asked: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """The stored settings, with runs named as they are now: the same place may have another name, seen from another
    working directory or since it was moved together with the confirmation."""

    def name(before: Any, now: Any) -> Any:
        with contextlib.suppress(RunError, OSError, TypeError):
            if Path(located(before, directory)).resolve() == Path(now).resolve():
                return now
        return before

    moved = {**stored, "null_search": name(stored["null_search"], asked["null_search"])}
    for key in ("losses", "controls", "sources"):
        if len(stored[key]) == len(asked[key]):
            moved[key] = [name(*both) for both in zip(stored[key], asked[key], strict=True)]
    return moved


def _values(command: Confirm) -> dict[str, Any]:
    """The settings that the command line gives."""
    given = {
        "losses": list(command.losses),
        "cells": list(command.cells),
        "controls": list(command.controls),
        "sources": list(command.sources),
        "null_search": None if command.null_search is None else str(command.null_search),
        "seeds": command.seeds,
        "seed": command.seed,
    }
    return {key: value for key, value in given.items() if value not in (None, [])}


def _announce(directory: Path, work: Work) -> list[SourceRun]:
    """Say what is registered, and, where nothing is done yet, what it will cost.

    Gives the sources, where they are still to be looked at.
    """
    with Ledger.read(directory) as ledger:
        registration, sha256 = registered(ledger)
        begun = bool(ledger.results(OVERLAP))
    for line in confirmation_text.announcement(registration, sha256, str(directory)):
        print(line, flush=True)
    if begun:
        return []
    sources = [read_source(located(each.directory, directory)) for each in registration.sources]
    workers = work.executor.workers
    print(confirmation_text.time_line(estimated_seconds(registration, sources, workers), workers), flush=True)
    return sources


def _prepared(ledger: Ledger, registration: Registration, work: Work) -> EvaluationSetup:
    """The tasks of all settings; those of one cell are all trained by the same plan, on which results depend."""
    cells = [[each.task for each in settings(cell, registration.tuning)] for cell in registration.cells]
    setup = work.prepare(task for tasks in cells for task in tasks)
    known = {row.task_id: row for row in ledger.tasks()}
    groups = [[task.task_id for task in tasks] for tasks in cells]
    asked = [key for group in groups for key in ([one for one in group if one in known] or group[:1])]
    few = replace(setup, tasks={key: setup.tasks[key] for key in asked})
    found = dict(work.planned(few, registration.execution, known.values()).plans)
    plans = {
        key: found.get(key) or next(found[one] for one in group if one in found) for group in groups for key in group
    }
    return replace(setup, plans=plans)


def _overlaps(
    ledger: Ledger, registration: Registration, sources: Sequence[SourceRun], work: Work
) -> list[Mapping[str, Any]]:
    """Which test images were seen before, as the ledger has it, or as is found now."""
    if known := ledger.results(OVERLAP):
        return known[-1]["cells"]
    found = find_overlaps(
        registration.cells, sources, registration.overlap, lambda data: load_dataset(data, notice=work.say)
    )
    ledger.add_result(OVERLAP, {"format": 1, "limit": registration.overlap, "cells": found})
    return list(found)
