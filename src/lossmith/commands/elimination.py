"""`lossmith eliminate`: the best losses of searches go through phases."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from lossmith.arguments.elimination import Eliminate
from lossmith.commands.searching import stored_search
from lossmith.commands.work import STOPPED, Work, chosen, directory_for, known_tasks
from lossmith.config import RunConfig
from lossmith.errors import RunError
from lossmith.ledger import FILE, Ledger
from lossmith.report.elimination_text import elimination_summary
from lossmith.report.record import SearchRecord
from lossmith.report.snapshot import Snapshot
from lossmith.study.elimination.candidates import Entry, enter
from lossmith.study.elimination.config import EliminationConfig, from_stored, load_file, load_preset, with_racing
from lossmith.study.elimination.finalists import KIND, write_finalists
from lossmith.study.elimination.protocol import eliminate
from lossmith.study.trainings import StoppedError
from lossmith.train.models import build_model
from lossmith.train.task import BUILT_IN_MODELS


def run_eliminate(command: Eliminate, work: Work) -> int:
    config = chosen(command.protocol, command.config, command.overrides, load_preset, load_file, "protocol")
    if command.racing:
        config = with_racing(config, "--racing")
    return run_elimination(config, command.directories, command.run or directory_for(f"eliminate-{config.name}"), work)


def run_elimination(config: EliminationConfig, sources: Sequence[Path], directory: Path, work: Work) -> int:
    """Eliminate the losses of the searches in `sources`, in `directory`, from the start or from where it was.

    Where the elimination in `directory` has ended, its result is printed and nothing is trained.

    Returns:
        0, or STOPPED after Ctrl-C.

    Raises:
        ConfigError, RunError, DataError: the searches, the directory, the data or a model cannot be used; nothing was
            trained.
    """
    if (directory / FILE).exists():
        with Ledger.read(directory) as ledger:
            stored, entry = stored_elimination(ledger)
        if sources and [_search_in(source).digest() for source in sources] != [one.digest for one in entry.sources]:
            raise RunError(f"{directory}: holds the elimination of other searches; use another --run")
        if stored != config:
            raise RunError(
                f"{directory}: holds an elimination with other settings; 'lossmith resume {directory}' goes on with it,"
                " or use another --run"
            )
        return _run(config, entry, directory, work)
    with contextlib.ExitStack() as stack:
        searches: list[tuple[Ledger, RunConfig]] = []
        for source in sources:
            ledger = stack.enter_context(Ledger.read(source))
            searches.append((ledger, stored_search(ledger)))
        entry = enter(searches, config)
        for number, (ledger, _) in enumerate(searches):
            _remark(ledger, config.taken_from(len(searches))[number], entry.sources[number].losses, work)
    return _run(config, entry, directory, work)


def resume_elimination(directory: Path, work: Work) -> int:
    with Ledger.read(directory) as ledger:
        config, entry = stored_elimination(ledger)
    return _run(config, entry, directory, work)


def stored_elimination(ledger: Ledger) -> tuple[EliminationConfig, Entry]:
    """The settings of the elimination that a ledger holds, and who takes part.

    Raises:
        RunError: it holds something else.
    """
    values = ledger.configuration()
    if KIND not in values:
        raise RunError(f"{ledger.directory}: holds no elimination; use another --run")
    where = f"{ledger.directory / FILE}: stored configuration"
    return from_stored(values[KIND], where), Entry.of(values["entry"])


def _search_in(directory: Path) -> RunConfig:
    with Ledger.read(directory) as ledger:
        return stored_search(ledger)


def _remark(ledger: Ledger, wanted: int, found: int, work: Work) -> None:
    """Say what a user may not expect of a search."""
    record = SearchRecord.of(Snapshot.of(ledger))
    if record is not None and not record.state.finished:
        work.say(f"{ledger.directory}: its search is not finished; the best losses so far take part")
    if found < wanted:
        work.say(f"{ledger.directory}: gives {found} losses, not {wanted}: it has no more that trained and differ")


def _require_models(config: EliminationConfig) -> None:
    """Build the network of each phase once: what one needs may not be installed.

    Raises:
        ConfigError: a network cannot be built.
    """
    for task in (phase.task for phase in config.phases):
        for model in filter(None, (task.model, task.prescreen and task.prescreen.model)):
            if model in BUILT_IN_MODELS:
                draws = torch.Generator().manual_seed(0)
                build_model(model, in_channels=3, num_classes=10, generator=draws, dropout_generator=draws)


def _run(config: EliminationConfig, entry: Entry, directory: Path, work: Work) -> int:
    exists = (directory / FILE).exists()
    if exists:
        with Ledger.read(directory) as ledger:
            found = ledger.results(KIND)
        if found:
            return _end(found[-1], directory, work)
    _require_models(config)
    tasks = [phase.task for phase in config.phases]
    # before anything is written: data may be missing
    setup = work.planned(work.prepare(tasks), config.execution, known_tasks(directory))
    stored: dict[str, Any] = {
        "name": config.name,
        KIND: config.model_dump(mode="json"),
        "entry": entry.stored(),
    }
    losses, phases = len(entry.candidates), len(config.phases)
    print(f"elimination '{config.name}' in {directory}: {losses} losses, {phases} phases", flush=True)
    try:
        with (
            Ledger.open(directory) if exists else Ledger.create(directory, stored) as ledger,
            work.trainings(ledger, setup, title="elimination", time_limit=config.execution.time_limit) as trainings,
        ):
            content = eliminate(ledger, config, entry, trainings, work.say)
    except StoppedError:
        print(f"stopped; nothing is lost. Go on with: lossmith resume {directory}")
        return STOPPED
    return _end(content, directory, work)


def _end(content: dict[str, Any], directory: Path, work: Work) -> int:
    work.console.print(elimination_summary(content))
    print(f"finalists: {write_finalists(directory, content)}")
    return 0
