"""`lossmith transfer`: losses on other models, data sets and augmentations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lossmith.arguments.transfer import Transfer
from lossmith.commands.naming import named_loss
from lossmith.commands.work import STOPPED, Work, chosen, directory_for, is_directory, known_tasks
from lossmith.errors import ConfigError, RunError
from lossmith.ledger import FILE, Ledger, TaskRow
from lossmith.report import live, transfer_text, words
from lossmith.search.serving import EvaluationSetup
from lossmith.settings import validate
from lossmith.study.elimination.finalists import finalists
from lossmith.study.trainings import StoppedError
from lossmith.study.transfer.cells import Cell, cells_of, problems
from lossmith.study.transfer.config import TransferConfig, load_file, load_preset
from lossmith.study.transfer.transfer import KIND, NamedLoss, transfer
from lossmith.train.task import TaskConfig


def transfer_command(command: Transfer, work: Work) -> int:
    config = chosen(command.preset, command.config, command.overrides, load_preset, load_file)
    for text in command.losses:
        if not text.strip():
            raise ConfigError("--losses: a name, formula, file or run is missing between the quotes")
    config = config.model_copy(update={"losses": (*config.losses, *(text.strip() for text in command.losses))})
    name = config.name if command.config else f"transfer-{config.name}"
    return run_transfer(config, command.run or directory_for(name), work, skip_unavailable=command.skip_unavailable)


def run_transfer(config: TransferConfig, directory: Path, work: Work, *, skip_unavailable: bool = False) -> int:
    """The transfer of `config` in `directory`, from the start or from where it was; gives the exit code.

    What the texts of `config.losses` mean is settled when it begins.

    Raises:
        RunError: the directory holds something else.
        ConfigError, FormulaError: a loss cannot be had, or a cell cannot be trained and none may be left out.
    """
    cells = cells_of(config, f"transfer '{config.name}'")
    if not (directory / FILE).exists():
        losses = _losses(config)
        stored = {
            "name": config.name,
            KIND: config.model_dump(mode="json"),
            "losses": [each.content() for each in losses],
            "skip_unavailable": skip_unavailable,
        }
        return _run(config, cells, losses, stored, directory, work)
    with Ledger.read(directory) as ledger:
        stored = ledger.configuration()
    if _stored_config(stored, directory) != config:
        raise RunError(
            f"{directory}: holds a transfer with other settings; go on with 'lossmith resume {directory}', or use"
            " another --run"
        )
    stored["skip_unavailable"] = stored["skip_unavailable"] or skip_unavailable
    return _run(config, cells, [NamedLoss.of(each) for each in stored["losses"]], stored, directory, work)


def resume_transfer(directory: Path, work: Work) -> int:
    with Ledger.read(directory) as ledger:
        config = _stored_config(ledger.configuration(), directory)
    return run_transfer(config, directory, work)


def _stored_config(stored: dict[str, Any], directory: Path) -> TransferConfig:
    if KIND not in stored:
        raise RunError(f"{directory}: holds no transfer; use another --run")
    return validate(TransferConfig, stored[KIND], f"{directory / FILE}: stored configuration")


def _run(
    config: TransferConfig,
    cells: Sequence[Cell],
    losses: Sequence[NamedLoss],
    stored: dict[str, Any],
    directory: Path,
    work: Work,
) -> int:
    exists = (directory / FILE).exists()
    if exists:
        with Ledger.read(directory) as ledger:
            results = ledger.results(KIND)
        if results and all(cell["error"] is None for cell in results[-1]["cells"]):
            work.console.print(transfer_text.transfer_summary(results[-1]))
            return 0
    else:
        results = []
    cells = _checked(cells, work, skip=stored["skip_unavailable"])
    if results and {cell.name for cell in cells if cell.error is None} == {
        cell["name"] for cell in results[-1]["cells"] if cell["error"] is None
    }:  # what could not be trained then cannot be trained now
        work.console.print(transfer_text.transfer_summary(results[-1]))
        return 0
    tasks = [cell.task for cell in cells if cell.error is None]
    setup = _planned(work.prepare(tasks), config, known_tasks(directory), work)
    print(f"transfer '{config.name}' in {directory}: {_grid(config, losses, len(tasks))}", flush=True)
    if note := transfer_text.too_few(config.seeds, len(tasks) * (len(losses) - 1)):
        work.say(note)
    done = 0

    def show(cell: dict[str, Any]) -> None:
        nonlocal done
        done += 1
        line = transfer_text.cell_line(cell, [each.content() for each in losses])
        work.console.print(f"cell {done} of {len(tasks)}, {line}", soft_wrap=True, markup=False)

    try:
        with (
            Ledger.open(directory) if exists else Ledger.create(directory, stored) as ledger,
            work.trainings(ledger, setup, title=KIND, time_limit=config.execution.time_limit) as trainings,
        ):
            content = transfer(ledger, config, cells, losses, trainings, ended=show)
    except StoppedError:
        print(f"stopped; nothing is lost. Go on with: lossmith resume {directory}")
        return STOPPED
    work.console.print(transfer_text.transfer_summary(content))
    return 0


def _grid(config: TransferConfig, losses: Sequence[NamedLoss], cells: int) -> str:
    names = words.count(len(losses), "loss"), words.count(cells, "cell"), words.count(config.seeds, "seed")
    return f"{' x '.join(names)} = {len(losses) * cells * config.seeds:,} trainings"


def _losses(config: TransferConfig) -> list[NamedLoss]:
    """The baseline and the losses, each once."""
    found = [NamedLoss(*named_loss(config.baseline, "setting 'baseline'"))]
    for text in config.losses:
        for each in _from(text):
            if all(each.loss.key != other.loss.key for other in found):
                found.append(each)
    if len(found) < 2:
        raise ConfigError(
            "no loss to compare with the baseline: name some, such as --losses baikal, or --losses DIR with the"
            " directory of a search or an elimination"
        )
    return _apart(found)


def _from(text: str) -> list[NamedLoss]:
    if is_directory(text) and (kept := finalists(text)) is not None:
        return [NamedLoss(each.label, each.loss) for each in kept]
    return [NamedLoss(*named_loss(text, "--losses"))]


def _apart(losses: Sequence[NamedLoss]) -> list[NamedLoss]:
    """The losses with labels that are all different."""
    found: list[NamedLoss] = []
    for each in losses:
        label, number = each.label, 2
        while any(other.label == label for other in found):
            label, number = f"{each.label} ({number})", number + 1
        found.append(NamedLoss(label, each.loss))
    return found


def _checked(cells: Sequence[Cell], work: Work, *, skip: bool) -> list[Cell]:
    """The cells, those that cannot be trained with the reason, which is said.

    Raises:
        ConfigError: there are such cells and `skip` is not set, or there are no others.
    """
    with live.DecodingProgress(work.console) as display:
        found = problems(cells, progress=display.update)
    if not found:
        return list(cells)
    for name, why in found.items():
        work.say(f"cell '{name}' cannot be trained here: {why}")
    first, why = next(iter(found.items()))
    if len(found) == len(cells):
        raise ConfigError(f"no cell can be trained here; the first, '{first}': {why}")
    if not skip:
        raise ConfigError(
            f"{len(found)} of {len(cells)} cells cannot be trained here, such as '{first}': {why}. Mend that, or let"
            " the others go on with --skip-unavailable"
        )
    return [replace(cell, error=found.get(cell.name)) for cell in cells]


def _planned(setup: EvaluationSetup, config: TransferConfig, known: list[TaskRow], work: Work) -> EvaluationSetup:
    """`setup` with plans, measured once for cells that differ in augmentation or length alone."""

    def alike(task: TaskConfig) -> tuple[object, ...]:
        return (task.model, task.data.digest(), task.batch_size, task.resize, bool(task.stages), task.optimizer.name)

    rows = {row.task_id for row in known}
    first: dict[tuple[object, ...], str] = {}
    for key, task in setup.tasks.items():
        first.setdefault(alike(task), key)
    measured = set(first.values()) | rows
    part = replace(setup, tasks={key: task for key, task in setup.tasks.items() if key in measured})
    plans = work.planned(part, config.execution, known).plans
    return replace(setup, plans={key: plans.get(key) or plans[first[alike(t)]] for key, t in setup.tasks.items()})
