"""The controls of a search at equal compute: a random search, and a null search.

A search reports the best of many single trainings, which is partly the luckiest. The random search says what drawing as
many losses gives without evolution; the null search, whose candidates are all cross-entropy with other seeds, says how
high the best of as many trainings gets by luck alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from lossmith.config import Count, ExecutionConfig, RunConfig
from lossmith.errors import RunError
from lossmith.ledger import EvaluationKey, Ledger
from lossmith.search.best import best_losses, of_search
from lossmith.search.evaluation import zoo_row
from lossmith.search.seeds import Purpose, control_seed, stage_seeds, training_seed
from lossmith.settings import Settings
from lossmith.study.trainings import Training, Trainings
from lossmith.train.task import TaskConfig

KIND = "null"  # of the result, and the key of the configuration in the ledger
_BASELINE = "cross_entropy"


class NullConfig(Settings):
    """A null search: cross-entropy, trained on a search's own task with as many seeds as the search trained losses."""

    name: Annotated[str, Field(min_length=1, max_length=120)]
    of: str  # the search's directory, as the user named it
    task: TaskConfig  # the search's own
    trainings: Count
    search_best: float  # the best fitness of the search, in [0, 1]
    search_baseline: float | None  # cross-entropy's with the search's own seed, where it trained
    seed: Annotated[int, Field(ge=0, lt=2**63)]  # the search's
    execution: ExecutionConfig  # the search's


def random_control(config: RunConfig, where: str) -> RunConfig:
    """The random search that is the control of the search of `config`: same tasks, same numbers, other draws.

    Raises:
        RunError: the search, which `where` names, is a random one itself.
    """
    if config.search.method == "random":
        raise RunError(f"{where}: is a random search itself; name the search whose control you want")
    search = config.search.model_copy(update={"method": "random"})
    changes = {"name": f"{config.name[:90]}-random", "seed": control_seed(config.seed), "search": search}
    return config.model_copy(update=changes)


def null_control(ledger: Ledger, config: RunConfig, of: str) -> NullConfig:
    """The null search that is the control of the finished search of `config`, which `ledger` holds.

    Raises:
        RunError: no loss of the search has trained on its own task.
    """
    best = best_losses(ledger, config, 1)
    if not best or best[0].evaluation.score is None:
        raise RunError(f"{of}: no loss has trained on the search's own task, so there is nothing to hold against luck")
    own = [row for row in of_search(ledger.evaluations(), config) if row.key.task == config.task.task_id]
    loss, task = zoo_row(_BASELINE), config.task.task_id
    reference = ledger.find(EvaluationKey(loss.key, task, training_seed(config.seed), "validation"))
    return NullConfig(
        name=f"{config.name[:90]}-null",
        of=of,
        task=config.task,
        trainings=len(own),
        search_best=best[0].evaluation.score,
        search_baseline=None if reference is None else reference.score,
        seed=config.seed,
        execution=config.execution,
    )


def null_search(ledger: Ledger, config: NullConfig, trainings: Trainings) -> dict[str, Any]:
    """Train what the ledger does not hold yet, and record the result.

    Returns:
        The content of the result, in the form that `docs/controls.md` describes.

    Raises:
        StoppedError, LossmithError: see `Trainings.run`.
    """
    task, loss = config.task.task_id, zoo_row(_BASELINE)
    seeds = stage_seeds(config.seed, Purpose.NULL_SEARCH, config.trainings)
    rows = list(trainings.run(Training(loss, task, seed) for seed in seeds).values())
    values = [row.score for row in rows]
    content = {
        "format": 1,
        "of": config.of,
        "task": config.task.name,
        "task_id": task,
        "values": values,
        "evaluations": [row.id for row in rows],
        "best": max((value for value in values if value is not None), default=None),
        "search_best": config.search_best,
        "search_baseline": config.search_baseline,
        "seconds": sum(row.seconds for row in rows),
    }
    ledger.add_result(KIND, content)
    return content


def reaching(content: Mapping[str, Any]) -> int:
    """How many null trainings score at least the search's best."""
    return sum(value is not None and value >= content["search_best"] for value in content["values"])
