"""What the commands of `lossmith.arguments` do."""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
import signal
import sys
import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from lossmith import arguments
from lossmith.config import ExecutionConfig, RunConfig, from_stored, load_file, load_preset
from lossmith.errors import ConfigError, LossmithError, RunError
from lossmith.execution.local import LocalExecutor
from lossmith.files import write_atomically
from lossmith.ledger import FILE, Ledger, LossRow, TaskRow
from lossmith.losses.build import loss as build_loss
from lossmith.losses.export import export
from lossmith.report import live, terminal
from lossmith.search.best import FILE as BEST
from lossmith.search.best import best_losses, write_best
from lossmith.search.evaluation import expression_row, prepare, published_row
from lossmith.search.plans import description, planned
from lossmith.search.run import search
from lossmith.search.seeds import comparison_seeds
from lossmith.search.serving import EvaluationSetup, training_device
from lossmith.study.comparison import compare, require_two
from lossmith.train.data import fetch_fashion_mnist
from lossmith.train.data.fashion import download_directory
from lossmith.train.task import TaskConfig, load_task, task_names

_STOPPED = 130
_RUNS = Path("runs")
_SEEDS = 10  # of a comparison, unless the user says otherwise; fewer than 6 can show nothing
_MAX_SEEDS = 100_000
_LABEL = 40  # characters of a formula in a comparison's table


@dataclass(frozen=True, slots=True)
class _Work:
    """What a command that trains is given."""

    executor: LocalExecutor
    began: float  # `time.monotonic()` when the program started
    console: Console
    workers: int | None  # as the user wants them

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


def run(command: object, executor: LocalExecutor | None, began: float) -> int:
    """Carry out a command; `began` is the `time.monotonic()` at which the program started.

    `executor` is there for the commands that train (`arguments.Trains`).
    """
    console = Console(highlight=False)
    if isinstance(command, arguments.Trains):
        if executor is None:
            raise AssertionError("a command that trains needs an executor")
        return _run_training(command, _Work(executor, began, console, command.workers))
    match command:
        case arguments.Show():
            _show(command.target, console)
        case arguments.Card():
            _card(command, console)
        case arguments.Report():
            from lossmith.report.page import write_report  # noqa: PLC0415 - plotly takes long

            print(write_report(command.directory, command.out))
        case arguments.Export():
            _export(command)
        case arguments.Bench():
            _bench(command.what, console)
        case arguments.Zoo():
            console.print(terminal.zoo_table())
        case arguments.Data():
            _fetch(console)
        case _:
            raise AssertionError(f"no such command: {command!r}")
    return 0


def _run_training(command: arguments.Search | arguments.Resume | arguments.Train, work: _Work) -> int:
    match command:
        case arguments.Search():
            return _search(command, work)
        case arguments.Resume():
            return _resume(command, work)
        case arguments.Train():
            return _train(command, work)


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
    directory = command.run or _directory_for(config.name)
    # before anything is written: data may be missing
    setup = work.planned(work.prepare((config.screening, config.task)), config.execution)
    with Ledger.create(directory, config.model_dump(mode="json")) as ledger:
        return _run_search(ledger, config, setup, work)


def _resume(command: arguments.Resume, work: _Work) -> int:
    with Ledger.open(command.directory) as ledger:
        config = _stored(ledger)
        setup = work.planned(work.prepare((config.screening, config.task)), config.execution, ledger.tasks())
        return _run_search(ledger, config, setup, work)


def _stored(ledger: Ledger) -> RunConfig:
    values = ledger.configuration()
    if "search" not in values:
        raise RunError(
            f"{ledger.directory}: holds a comparison, not a search; repeat its 'lossmith train --run' to go on"
        )
    return from_stored(values, f"{ledger.directory / FILE}: stored configuration")


def _run_search(ledger: Ledger, config: RunConfig, setup: EvaluationSetup, work: _Work) -> int:
    workers = work.executor.workers
    ledger.begin_session(_command_line(), workers, _versions(), work.began)
    print(f"search '{config.name}' in {ledger.directory}: seed {config.seed}, {workers} workers", flush=True)
    if config.screening.data != config.task.data:
        print(f"note: losses are screened on other data ({config.screening.data.source}) than they are searched on")
    for line in description(setup, workers):
        print(line, flush=True)
    at_once = workers * setup.plans[config.task.task_id].slots
    if at_once > config.search.in_flight:
        print(f"note: while losses evolve, search.in_flight lets {config.search.in_flight} of {at_once} train at once")
    try:
        with live.LiveProgress(work.console) as display, _stop_signals() as stopped:
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
        return _STOPPED
    work.console.print(terminal.run_summary(ledger))
    print(f"best loss: {best}\nreport:    lossmith report {ledger.directory}")
    return 0


def _show(target: str, console: Console) -> None:
    if _is_directory(target):
        with Ledger.read(Path(target)) as ledger:
            console.print(terminal.run_summary(ledger))
    elif not target.strip():
        raise ConfigError("show: name a run's directory or a loss, such as 'lossmith show focal'")
    else:
        console.print(terminal.loss_summary(target))


def _card(command: arguments.Card, console: Console) -> None:
    from lossmith.report.card import card_view  # noqa: PLC0415 - no other command needs these
    from lossmith.report.card_page import write_card  # noqa: PLC0415
    from lossmith.report.card_terminal import card_text  # noqa: PLC0415

    if not command.target.strip():
        raise ConfigError("card: name a loss, such as 'lossmith card focal'")
    if command.html is not None and not command.html.name:
        raise ConfigError("--html: name a file, such as card.html")
    view = card_view(command.target, classes=command.classes, evidence=command.evidence)
    if command.html is None:
        console.print(card_text(view))
    else:
        print(write_card(view, command.html))


def _train(command: arguments.Train, work: _Work) -> int:
    if command.task == "?":
        print("\n".join(task_names()))
        return 0
    task = load_task(command.task, "--task")
    if not command.loss:
        raise ConfigError("--loss: name at least one loss, such as --loss cross_entropy; 'lossmith zoo' lists some")
    count = command.seeds if command.seeds is not None else (1 if len(command.loss) == 1 else _SEEDS)
    if not 1 <= count <= _MAX_SEEDS:
        raise ConfigError(f"--seeds {count}: expected 1 to {_MAX_SEEDS}")
    if command.seed < 0:
        raise ConfigError(f"--seed {command.seed}: expected 0 or more")
    if len(command.loss) > 1:
        require_two(count)
    losses = [_named_loss(text) for text in command.loss]
    keys = [loss.key for _, loss in losses]
    if twice := next((label for label, loss in losses if keys.count(loss.key) > 1), None):
        raise ConfigError(f"--loss: '{twice}' is given twice (two names of one loss)")
    directory = command.run or _directory_for(f"train-{task.name}")
    seeds = comparison_seeds(command.seed, count)
    # before anything is written: data may be missing
    setup = work.planned(work.prepare([task]), ExecutionConfig(), _tasks(directory))
    with _open_or_create(directory, {"name": f"train-{task.name}"}) as ledger:
        ledger.begin_session(_command_line(), work.executor.workers, _versions(), work.began)
        for line in description(setup, work.executor.workers):
            print(line, flush=True)
        with live.ComparisonProgress(work.console) as display, _stop_signals() as stopped:
            content = compare(
                ledger,
                task,
                setup,
                losses,
                seeds,
                split=command.split,
                executor=work.executor,
                update=display.update,
                should_stop=stopped.is_set,
                say=work.say,
            )
    if content is None:
        print(f"stopped; nothing is lost. Repeat the command with --run {directory} to go on")
        return _STOPPED
    work.console.print(terminal.comparison_table(content))
    return 0


def _export(command: arguments.Export) -> None:
    if not command.loss.strip():
        raise ConfigError("export: name a loss, such as 'lossmith export focal --to torch'")
    if _is_directory(command.loss) and not (Path(command.loss.strip()) / BEST).exists():
        raise RunError(f"{command.loss}: has no {BEST}; name the directory of a run that has trained a loss")
    text = export(build_loss(command.loss), to=command.to)
    if command.out is None:
        print(text, end="")
    elif not command.out.name:
        raise ConfigError("--out: name a file, such as --out focal_loss.py")
    else:
        print(write_atomically(command.out, text))


def _bench(what: arguments.BenchLosses | arguments.BenchEngine, console: Console) -> None:
    if isinstance(what, arguments.BenchLosses):
        from lossmith.bench.report import run as bench_losses  # noqa: PLC0415 - no other command needs it

        bench_losses(console, quick=what.quick)
        return
    from lossmith.bench.engine.report import run as bench_engine  # noqa: PLC0415 - likewise

    bench_engine(console, task=what.task, data=what.data, synthetic=what.synthetic, quick=what.quick, out=what.json)


def _fetch(console: Console) -> None:
    with live.DownloadProgress(console) as display:
        directory = fetch_fashion_mnist(download_directory(), progress=display.update)
    print(f"Fashion-MNIST is in {directory}")


def _named_loss(text: str) -> tuple[str, LossRow]:
    """The loss that a user names: a run directory means its best loss."""
    text = text.strip()
    if not text:
        raise ConfigError("--loss: a name, formula, file or run is missing between the quotes")
    if _is_directory(text):
        with Ledger.read(Path(text)) as ledger:
            found = best_losses(ledger, _stored(ledger), 1)
        if not found:
            raise RunError(f"{text}: has no trained loss yet; let its search go on")
        return f"best of {text.rstrip('/')}", found[0].loss
    loss = build_loss(text)
    if (row := published_row(loss)) is not None:  # by name, or from an exported file
        return loss.name, row
    if loss.expression is None:
        raise ConfigError(f"--loss {text}: only its default parameters can be trained here, since no formula says it")
    return _shortened(text), expression_row(loss.expression, bool(loss.flip))


def _shortened(text: str) -> str:
    return text if len(text) <= _LABEL else f"{text[: _LABEL - 3]}..."


def _is_directory(text: str) -> bool:
    try:
        return bool(text.strip()) and Path(text).is_dir()
    except OSError:  # a formula may be longer than a file's name
        return False


def _open_or_create(directory: Path, configuration: dict[str, str]) -> Ledger:
    return Ledger.open(directory) if (directory / FILE).exists() else Ledger.create(directory, configuration)


def _tasks(directory: Path) -> list[TaskRow]:
    """The tasks that the run in a directory knows, if there is one."""
    if not (directory / FILE).exists():
        return []
    with Ledger.read(directory) as ledger:
        return ledger.tasks()


def _directory_for(name: str) -> Path:
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
