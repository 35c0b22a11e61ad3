"""What the commands that train have in common: workers, progress, signals, directories."""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
import signal
import sys
import time
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from rich.console import Console

from lossmith.config import ExecutionConfig
from lossmith.errors import ConfigError
from lossmith.execution.base import Executor
from lossmith.execution.local import LocalExecutor
from lossmith.ledger import FILE, Ledger, TaskRow
from lossmith.report import live
from lossmith.search.evaluation import prepare
from lossmith.search.plans import description, planned
from lossmith.search.serving import EvaluationSetup, training_device
from lossmith.study.trainings import Trainings
from lossmith.train.task import TaskConfig

_C = TypeVar("_C")
STOPPED = 130  # the exit code after Ctrl-C
_RUNS = Path("runs")


class StageExecutor(Executor, Protocol):
    """An executor whose workers can be fewer than it was made for."""

    def restrict(self, workers: int) -> None:
        """Begin with no more than this many workers."""
        ...


def local_executor(workers: int) -> StageExecutor:
    """Processes of this machine; what a worker needs is imported before there are any."""
    return LocalExecutor(workers, ["lossmith.search.serving"])


@dataclass
class Work:
    """What a command that trains is given."""

    executor: StageExecutor
    began: float  # `time.monotonic()` when the program started
    console: Console
    workers: int | None  # as the user wants them
    another: Callable[[int], StageExecutor] = local_executor  # makes the next stage's, of so many workers
    _stop: Stop | None = None  # while signals are caught

    def say(self, text: str) -> None:
        """Print a line, above what is drawn of the progress."""
        self.console.print(f"note: {text}", soft_wrap=True, markup=False)

    def prepare(self, tasks: Iterable[TaskConfig]) -> EvaluationSetup:
        """`lossmith.search.evaluation.prepare`, with its progress where images are decoded."""
        with live.DecodingProgress(self.console) as display:
            return prepare(tasks, progress=display.update, notice=self.say)

    def planned(
        self, setup: EvaluationSetup, execution: ExecutionConfig, known: Iterable[TaskRow] = ()
    ) -> EvaluationSetup:
        """`lossmith.search.plans.planned`; where a GPU trains, one process is enough for it."""
        setup = planned(setup, known, execution)
        if training_device().type == "cuda" and self.workers is None:
            self.executor.restrict(1)
        return setup

    def begin(self, ledger: Ledger) -> None:
        """Note in the ledger that this process writes."""
        ledger.begin_session(_command_line(), self.executor.workers, _versions(), self.began)

    def describe(self, setup: EvaluationSetup) -> None:
        """Print how losses will be trained."""
        for line in description(setup, self.executor.workers):
            print(line, flush=True)

    @contextlib.contextmanager
    def trainings(
        self, ledger: Ledger, setup: EvaluationSetup, *, title: str = "training", time_limit: float | None = None
    ) -> Iterator[Trainings]:
        """A session of a stage after the search: its workers, with their progress; Ctrl-C raises `StoppedError`."""
        self.begin(ledger)
        self.describe(setup)
        with live.TrainingProgress(title, self.console) as display, self.stopping() as stopped:
            yield Trainings(
                ledger,
                setup,
                self.executor,
                time_limit=time_limit,
                update=display.update,
                should_stop=stopped.is_set,
                say=self.say,
            )

    def next_stage(self) -> None:
        """End the workers of one stage, and make those of the next, which has other tasks."""
        workers = self.executor.workers
        self.executor.close()
        self.executor = self.another(workers)
        self.began = time.monotonic()

    @contextlib.contextmanager
    def stopping(self) -> Iterator[Stop]:
        """Ctrl-C and SIGTERM ask the work to stop between two transactions instead of breaking into it.

        Within another one it is the same: who asks while a study prepares a stage is heard when the stage trains.
        """
        if self._stop is not None:
            yield self._stop
            return
        self._stop = stop = Stop()
        previous = {number: signal.signal(number, stop.ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield stop
        finally:
            self._stop = None
            for number, handler in previous.items():
                signal.signal(number, handler)


def chosen(
    preset: str | None,
    file: Path | None,
    overrides: Sequence[str],
    load_preset: Callable[[str, Sequence[str]], _C],
    load_file: Callable[[Path, Sequence[str]], _C],
    word: str = "preset",
) -> _C:
    """The settings that --preset (or what `word` calls it) or --config asks for; the preset 'digits' without either.

    Raises:
        ConfigError: both are given, or the settings are wrong.
    """
    if preset and file:
        raise ConfigError(
            f"--{word} and --config exclude each other; a file can start from a {word} with 'preset: NAME'"
        )
    return load_file(file, overrides) if file else load_preset(preset or "digits", overrides)


def open_or_create(directory: Path, configuration: Mapping[str, Any]) -> Ledger:
    return Ledger.open(directory) if (directory / FILE).exists() else Ledger.create(directory, configuration)


def known_tasks(directory: Path) -> list[TaskRow]:
    """The tasks that the run in a directory knows, if there is one."""
    if not (directory / FILE).exists():
        return []
    with Ledger.read(directory) as ledger:
        return ledger.tasks()


def directory_for(name: str) -> Path:
    """runs/NAME, or the first of runs/NAME-2, runs/NAME-3, ... that does not exist.

    Raises:
        ConfigError: the name cannot be a directory's.
    """
    if Path(name).name != name or "\0" in name:
        raise ConfigError(f"the name {name!r} cannot be a directory's; say where with --run")
    number, free = 2, _RUNS / name
    while free.exists():
        free = _RUNS / f"{name}-{number}"
        number += 1
    return free


def is_directory(text: str) -> bool:
    try:
        return bool(text.strip()) and Path(text).is_dir()
    except OSError:  # a formula may be longer than a file's name
        return False


def _command_line() -> str:
    return " ".join(["lossmith", *sys.argv[1:]])


def _versions() -> dict[str, str]:
    packages = {name: importlib.metadata.version(name) for name in ("lossmith", "torch", "numpy")}
    return {**packages, "python": platform.python_version(), "platform": platform.platform()}


class Stop:
    """Whether a signal asked for the end."""

    def __init__(self) -> None:
        self._asked = False

    def is_set(self) -> bool:
        return self._asked

    def ask(self, number: int, frame: types.FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt  # the second time at once; even then every transaction is whole
        self._asked = True
