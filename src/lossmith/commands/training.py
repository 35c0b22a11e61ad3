"""`lossmith train`: a comparison of losses with paired seeds."""

from __future__ import annotations

from lossmith import arguments
from lossmith.commands.naming import named_loss
from lossmith.commands.work import STOPPED, Work, directory_for, known_tasks, open_or_create
from lossmith.config import ExecutionConfig
from lossmith.errors import ConfigError
from lossmith.report import terminal
from lossmith.search.seeds import comparison_seeds
from lossmith.study.comparison import compare, require_two
from lossmith.study.trainings import StoppedError
from lossmith.train.task import load_task, task_names

_SEEDS = 10  # of a comparison, unless the user says otherwise; fewer than 6 can show nothing
_MAX_SEEDS = 100_000


def run_train(command: arguments.Train, work: Work) -> int:
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
    losses = [named_loss(text, "--loss") for text in command.loss]
    keys = [loss.key for _, loss in losses]
    if twice := next((label for label, loss in losses if keys.count(loss.key) > 1), None):
        raise ConfigError(f"--loss: '{twice}' is given twice (two names of one loss)")
    directory = command.run or directory_for(f"train-{task.name}")
    seeds = comparison_seeds(command.seed, count)
    # before anything is written: data may be missing
    setup = work.planned(work.prepare([task]), ExecutionConfig(), known_tasks(directory))
    try:
        with (
            open_or_create(directory, {"name": f"train-{task.name}"}) as ledger,
            work.trainings(ledger, setup) as trainings,
        ):
            content = compare(ledger, task, trainings, losses, seeds, split=command.split)
    except StoppedError:
        print(f"stopped; nothing is lost. Repeat the command with --run {directory} to go on")
        return STOPPED
    work.console.print(terminal.comparison_table(content))
    return 0
