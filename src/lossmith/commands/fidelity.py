"""`lossmith fidelity`: how well cheap tasks rank losses for an expensive one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lossmith.arguments.fidelity import Fidelity
from lossmith.commands.naming import named_loss
from lossmith.commands.searching import stored_search
from lossmith.commands.work import STOPPED, Work, chosen, directory_for, is_directory, known_tasks
from lossmith.errors import ConfigError, RunError
from lossmith.ledger import FILE, Ledger
from lossmith.report import words
from lossmith.report.fidelity import write_fidelity
from lossmith.report.fidelity_text import fidelity_summary
from lossmith.search.serving import EvaluationSetup
from lossmith.study.fidelity.config import FidelityConfig, from_stored, load_file, load_preset
from lossmith.study.fidelity.cost import training_flops
from lossmith.study.fidelity.fidelity import KIND, fidelity, trainings_of
from lossmith.study.fidelity.losses import (
    RankedLoss,
    each_once,
    random_losses,
    require_enough,
    stratified,
    zoo_losses,
)
from lossmith.study.trainings import StoppedError


def fidelity_command(command: Fidelity, work: Work) -> int:
    config = chosen(command.preset, command.config, command.overrides, load_preset, load_file)
    for text in command.losses:
        if not text.strip():
            raise ConfigError("--losses: a name, formula, file or run is missing between the quotes")
    named = (*config.losses.named, *(text.strip() for text in command.losses))
    config = config.model_copy(update={"losses": config.losses.model_copy(update={"named": named})})
    directory = command.run or directory_for(f"fidelity-{config.name}")
    return run_fidelity(config, directory, work, beside=command.beside)


def run_fidelity(config: FidelityConfig, directory: Path, work: Work, *, beside: Sequence[Path] = ()) -> int:
    """The fidelity study of `config` in `directory`, from the start or from where it was.

    Which losses are ranked is settled when it begins. Where the study in `directory` has ended, its result is printed,
    its page is written again, and nothing is trained.

    Args:
        config: of the study.
        directory: of the run.
        work: workers and terminal.
        beside: finished fidelity runs that the page shows, too.

    Returns:
        0, or STOPPED after Ctrl-C.

    Raises:
        RunError: the directory, or one of `beside`, holds something else.
        ConfigError, FormulaError, SearchError, DataError: losses, tasks or data cannot be had; nothing was trained.
    """
    others = [_finished(each) for each in beside]
    exists = (directory / FILE).exists()
    losses: list[RankedLoss] | None = None
    if exists:
        with Ledger.read(directory) as ledger:
            stored, losses = _stored(ledger)
            found = ledger.results(KIND)
        if stored != config:
            raise RunError(
                f"{directory}: holds a fidelity study with other settings; go on with 'lossmith resume {directory}', or"
                " use another --run"
            )
        if found:
            return _end(found[-1], others, directory, work)
    # before anything is written: data may be missing
    setup = work.prepare([config.expensive.task, *(each.task for each in config.surrogates)])
    for key, task in setup.tasks.items():  # a model may need what is not installed
        training_flops(task, setup.dataset(key).image_shape, setup.classes[key])
    if losses is None:
        losses = _losses(config, setup)
    setup = work.planned(setup, config.execution, known_tasks(directory))
    values = {
        "name": config.name,
        KIND: config.model_dump(mode="json"),
        "losses": [each.stored() for each in losses],
    }
    count = words.count(len(trainings_of(config, losses)), "training")
    tasks = words.count(len(config.surrogates), "surrogate")
    print(f"fidelity study '{config.name}' in {directory}: {len(losses)} losses, {tasks}, {count}", flush=True)
    try:
        with (
            Ledger.open(directory) if exists else Ledger.create(directory, values) as ledger,
            work.trainings(ledger, setup, title=KIND, time_limit=config.execution.time_limit) as trainings,
        ):
            content = fidelity(ledger, config, setup, losses, trainings)
    except StoppedError:
        print(f"stopped; nothing is lost. Go on with: lossmith resume {directory}")
        return STOPPED
    return _end(content, others, directory, work)


def resume_fidelity(directory: Path, work: Work) -> int:
    with Ledger.read(directory) as ledger:
        config, _ = _stored(ledger)
    return run_fidelity(config, directory, work)


def _stored(ledger: Ledger) -> tuple[FidelityConfig, list[RankedLoss]]:
    """The settings of the fidelity study that a ledger holds, and its losses.

    Raises:
        RunError: it holds something else.
    """
    values = ledger.configuration()
    if KIND not in values:
        raise RunError(f"{ledger.directory}: holds no fidelity study; use another directory")
    where = f"{ledger.directory / FILE}: stored configuration"
    return from_stored(values[KIND], where), [RankedLoss.of(each) for each in values["losses"]]


def _finished(directory: Path) -> dict[str, Any]:
    """The result of another fidelity study.

    Raises:
        RunError: the directory holds none.
    """
    with Ledger.read(directory) as ledger:
        _stored(ledger)
        found = ledger.results(KIND)
    if not found:
        raise RunError(
            f"{directory}: its fidelity study is not finished; 'lossmith resume {directory}' goes on with it"
        )
    return found[-1]


def _losses(config: FidelityConfig, setup: EvaluationSetup) -> list[RankedLoss]:
    classes = setup.classes[config.expensive.task.task_id]
    found = zoo_losses() if config.losses.zoo else []
    for text in config.losses.named:
        found += _named(text, config.losses.per_search)
    found += random_losses(config.losses, config.seed, classes)
    found = each_once(found, classes)
    require_enough(found, config)
    return found


def _named(text: str, per_search: int) -> list[RankedLoss]:
    if is_directory(text):
        with Ledger.read(Path(text)) as ledger:
            return stratified(ledger, stored_search(ledger), per_search)
    label, loss = named_loss(text, "--losses")
    return [RankedLoss(label, loss, "named")]


def _end(content: dict[str, Any], others: Sequence[dict[str, Any]], directory: Path, work: Work) -> int:
    work.console.print(fidelity_summary(content))
    print(f"page: {write_fidelity(directory, [content, *others])}")
    return 0
