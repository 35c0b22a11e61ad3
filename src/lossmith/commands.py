"""What the commands of `lossmith.arguments` do."""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
import signal
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from lossmith import arguments
from lossmith.config import RunConfig, from_stored, load_file, load_preset
from lossmith.errors import ConfigError, RunError
from lossmith.execution.local import LocalExecutor
from lossmith.ledger import FILE, Ledger, LossRow
from lossmith.losses.build import loss as build_loss
from lossmith.losses.zoo import ZOO
from lossmith.report import live, terminal
from lossmith.search.best import best_losses, write_best
from lossmith.search.evaluation import expression_row, zoo_row
from lossmith.search.run import search
from lossmith.search.seeds import comparison_seeds
from lossmith.study.comparison import compare, require_two
from lossmith.train.data import fetch_fashion_mnist
from lossmith.train.data.fashion import cache_directory
from lossmith.train.task import load_task, task_names

_STOPPED = 130
_RUNS = Path("runs")


@dataclass(frozen=True, slots=True)
class _Work:
    """What a command that trains is given."""

    executor: LocalExecutor
    began: float  # `time.monotonic()` when the program started
    console: Console


def run(command: object, executor: LocalExecutor | None, began: float) -> int:
    """Carry out a command; `began` is the `time.monotonic()` at which the program started.

    `executor` is there for the commands that train (`arguments.Trains`).
    """
    console = Console(highlight=False)
    if isinstance(command, arguments.Trains):
        if executor is None:
            raise AssertionError("a command that trains needs an executor")
        work = _Work(executor, began, console)
        match command:
            case arguments.Search():
                return _search(command, work)
            case arguments.Resume():
                return _resume(command, work)
            case arguments.Train():
                return _train(command, work)
    match command:
        case arguments.Show():
            _show(command.target, console)
        case arguments.Report():
            from lossmith.report.page import write_report  # noqa: PLC0415 - plotly takes long

            print(write_report(command.directory, command.out))
        case arguments.Zoo():
            console.print(terminal.zoo_table())
        case arguments.Data():
            _fetch(console)
        case _:
            raise AssertionError(f"no such command: {command!r}")
    return 0


def _search(command: arguments.Search, work: _Work) -> int:
    if command.preset and command.config:
        raise ConfigError(
            "--preset and --config exclude each other; a file can start from a preset with 'preset: NAME'"
        )
    overrides = command.overrides if command.seed is None else (*command.overrides, f"seed={command.seed}")
    if command.config:
        config = load_file(command.config, overrides)
    else:
        config = load_preset(command.preset or "digits", overrides)
    directory = command.run or _free(_RUNS / config.name)
    with Ledger.create(directory, config.model_dump(mode="json")) as ledger:
        return _run_search(ledger, config, work)


def _resume(command: arguments.Resume, work: _Work) -> int:
    with Ledger.open(command.directory) as ledger:
        config = _stored(ledger)
        return _run_search(ledger, config, work)


def _stored(ledger: Ledger) -> RunConfig:
    values = ledger.configuration()
    if "search" not in values:
        raise RunError(
            f"{ledger.directory}: holds a comparison, not a search; repeat its 'lossmith train --run' to go on"
        )
    return from_stored(values, f"{ledger.directory / FILE}: stored configuration")


def _run_search(ledger: Ledger, config: RunConfig, work: _Work) -> int:
    workers = work.executor.workers
    ledger.begin_session(_command_line(), workers, _versions(), work.began)
    print(f"search '{config.name}' in {ledger.directory}: seed {config.seed}, {workers} workers", flush=True)
    try:
        with live.LiveProgress(work.console) as display, _stop_signals() as stopped:
            progress = search(ledger, config, executor=work.executor, update=display.update, should_stop=stopped.is_set)
    finally:
        best = write_best(ledger, config)
    if progress.told < progress.total:
        print(f"stopped; nothing is lost. Go on with: lossmith resume {ledger.directory}")
        return _STOPPED
    work.console.print(terminal.run_summary(ledger))
    print(f"best loss: {best}\nreport:    lossmith report {ledger.directory}")
    return 0


def _show(target: str, console: Console) -> None:
    if Path(target).is_dir():
        with Ledger.read(Path(target)) as ledger:
            console.print(terminal.run_summary(ledger))
    else:
        console.print(terminal.loss_summary(target))


def _train(command: arguments.Train, work: _Work) -> int:
    if command.task == "?":
        print("\n".join(task_names()))
        return 0
    task = load_task(command.task, "--task")
    if not command.loss:
        raise ConfigError("--loss: name at least one loss, such as --loss cross_entropy; 'lossmith zoo' lists some")
    if command.seeds < 1:
        raise ConfigError(f"--seeds {command.seeds}: at least 1 is needed")
    if len(command.loss) > 1:
        require_two(command.seeds)
    losses = [_named_loss(text) for text in command.loss]
    keys = [loss.key for _, loss in losses]
    if twice := next((label for label, loss in losses if keys.count(loss.key) > 1), None):
        raise ConfigError(f"--loss: '{twice}' is given twice (two names of one loss)")
    directory = command.run or _free(_RUNS / f"train-{task.name}")
    seeds = comparison_seeds(command.seed, command.seeds)
    with _open_or_create(directory, {"name": f"train-{task.name}"}) as ledger:
        ledger.begin_session(_command_line(), work.executor.workers, _versions(), work.began)
        with live.ComparisonProgress(work.console) as display, _stop_signals() as stopped:
            content = compare(
                ledger,
                task,
                losses,
                seeds,
                split=command.split,
                executor=work.executor,
                update=display.update,
                should_stop=stopped.is_set,
            )
    if content is None:
        print(f"stopped; nothing is lost. Repeat the command with --run {directory} to go on")
        return _STOPPED
    work.console.print(terminal.comparison_table(content))
    return 0


def _fetch(console: Console) -> None:
    with live.DownloadProgress(console) as display:
        directory = fetch_fashion_mnist(cache_directory(), progress=display.update)
    print(f"Fashion-MNIST is in {directory}")


def _named_loss(text: str) -> tuple[str, LossRow]:
    """The loss that a user names: a run directory means its best loss."""
    if Path(text).is_dir():
        with Ledger.read(Path(text)) as ledger:
            found = best_losses(ledger, _stored(ledger), 1)
        if not found:
            raise RunError(f"{text}: has no trained loss yet; let its search go on")
        return f"best of {Path(text).name}", found[0].loss
    if text in ZOO:
        return text, zoo_row(text)
    loss = build_loss(text)
    if loss.expression is None:
        raise AssertionError(f"'{text}' is neither of the zoo nor an expression")
    return text.strip(), expression_row(loss.expression, bool(loss.flip))


def _open_or_create(directory: Path, configuration: dict[str, str]) -> Ledger:
    return Ledger.open(directory) if (directory / FILE).exists() else Ledger.create(directory, configuration)


def _free(directory: Path) -> Path:
    """`directory`, or the first of directory-2, directory-3, ... that does not exist."""
    number, free = 2, directory
    while free.exists():
        free = directory.with_name(f"{directory.name}-{number}")
        number += 1
    return free


def _command_line() -> str:
    return " ".join(["lossmith", *sys.argv[1:]])


def _versions() -> dict[str, str]:
    packages = {name: importlib.metadata.version(name) for name in ("lossmith", "torch", "numpy")}
    return {**packages, "python": platform.python_version(), "platform": platform.platform()}


class _Stop:
    """Whether a signal asked for the end."""

    def __init__(self) -> None:
        self._asked = False

    def is_set(self) -> bool:
        return self._asked

    def ask(self, number: int, frame: types.FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt  # the second time at once; even then every transaction is whole
        self._asked = True


@contextlib.contextmanager
def _stop_signals() -> Iterator[_Stop]:
    """Ctrl-C and SIGTERM ask the work to stop between two transactions instead of breaking into it."""
    stop = _Stop()
    previous = {number: signal.signal(number, stop.ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
