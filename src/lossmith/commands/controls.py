"""`lossmith control`: the controls of a search at equal compute."""

from __future__ import annotations

from pathlib import Path

from lossmith.arguments.controls import Control, ControlNull, ControlRandom
from lossmith.commands.searching import search_in, stored_search
from lossmith.commands.work import STOPPED, Work, directory_for, known_tasks
from lossmith.config import RunConfig
from lossmith.errors import RunError
from lossmith.ledger import FILE, Ledger
from lossmith.report import controls_text, words
from lossmith.report.record import SearchRecord
from lossmith.report.snapshot import Snapshot
from lossmith.search.best import of_search, ranked
from lossmith.settings import validate
from lossmith.study.controls import KIND, NullConfig, null_control, null_search, random_control
from lossmith.study.trainings import StoppedError


def run_control(command: Control, work: Work) -> int:
    match command.what:
        case ControlRandom(directory, run):
            return run_random(directory, run, work)
        case ControlNull(directory, run):
            return run_null(directory, run, work)


def run_random(of: Path, directory: Path | None, work: Work) -> int:
    """The random search at equal compute of the search in `of`; `directory` is its own, None: runs/NAME-random."""
    with Ledger.read(of) as ledger:
        evolved = stored_search(ledger)
    config = random_control(evolved, str(of))
    directory = directory or directory_for(config.name)
    code = search_in(config, directory, work, known_tasks(of))
    if code == 0:
        (best, count), (random_best, random_count) = _best(of, evolved), _best(directory, config)
        if best is not None:
            sentence = controls_text.random_sentence(best, count, random_best, random_count)
            work.console.print(sentence, style="bold", markup=False)
    return code


def run_null(of: Path, directory: Path | None, work: Work) -> int:
    """The null search of the search in `of`; `directory` is its own, None: runs/NAME-null.

    Raises:
        RunError: the search is not finished, or `directory` holds something else.
    """
    with Ledger.read(of) as ledger:
        config = stored_search(ledger)
        record = SearchRecord.of(Snapshot.of(ledger))
        if record is None or not record.state.finished:
            raise RunError(
                f"{of}: its search is not finished, so it is not known how many trainings equal it;"
                f" 'lossmith resume {of}' goes on with it"
            )
        null = null_control(ledger, config, str(of))
    directory = directory or directory_for(null.name)
    if (directory / FILE).exists():
        with Ledger.read(directory) as ledger:
            same = stored_null(ledger).model_copy(update={"of": null.of}) == null
        if not same:
            raise RunError(f"{directory}: holds the null search of another search; use another --run")
    return _run(null, directory, work)


def resume_null(directory: Path, work: Work) -> int:
    with Ledger.read(directory) as ledger:
        config = stored_null(ledger)
    return _run(config, directory, work)


def stored_null(ledger: Ledger) -> NullConfig:
    """The configuration of the null search that a ledger holds.

    Raises:
        RunError: it holds something else.
    """
    values = ledger.configuration()
    if KIND not in values:
        raise RunError(f"{ledger.directory}: holds no null search; use another --run")
    return validate(NullConfig, values[KIND], f"{ledger.directory / FILE}: stored configuration")


def _run(config: NullConfig, directory: Path, work: Work) -> int:
    exists = (directory / FILE).exists()
    if exists:
        with Ledger.read(directory) as ledger:
            found = ledger.results(KIND)
        if found:
            work.console.print(controls_text.null_summary(found[-1]))
            return 0
    # trained as the search's were: the arithmetic may differ otherwise
    known = known_tasks(directory) or (known_tasks(Path(config.of)) if (Path(config.of) / FILE).exists() else [])
    setup = work.planned(work.prepare([config.task]), config.execution, known)
    stored = {"name": config.name, KIND: config.model_dump(mode="json")}
    print(f"null search '{config.name}' in {directory}: {words.count(config.trainings, 'training')}", flush=True)
    try:
        with (
            Ledger.open(directory) if exists else Ledger.create(directory, stored) as ledger,
            work.trainings(ledger, setup, title="null search", time_limit=config.execution.time_limit) as trainings,
        ):
            content = null_search(ledger, config, trainings)
    except StoppedError:
        print(f"stopped; nothing is lost. Go on with: lossmith resume {directory}")
        return STOPPED
    work.console.print(controls_text.null_summary(content))
    return 0


def _best(directory: Path, config: RunConfig) -> tuple[float | None, int]:
    """The best fitness of a search, and how many trainings it made on its own task."""
    with Ledger.read(directory) as ledger:
        rows = list(ledger.evaluations())
    best = ranked(rows, config)
    own = [row for row in of_search(rows, config) if row.key.task == config.task.task_id]
    return (best[0].score if best else None), len(own)
