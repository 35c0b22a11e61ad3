"""A fidelity study: every loss is trained on the expensive task and on each surrogate, and the orders are compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lossmith.ledger import Ledger
from lossmith.search.seeds import Purpose, stage_seeds
from lossmith.search.serving import EvaluationSetup
from lossmith.study.fidelity.config import ExpensiveConfig, FidelityConfig, SurrogateConfig
from lossmith.study.fidelity.losses import RankedLoss
from lossmith.study.fidelity.summary import summarise
from lossmith.study.trainings import Training, Trainings

KIND = "fidelity"  # of the result, and the key of the configuration in the ledger


def trainings_of(config: FidelityConfig, losses: Sequence[RankedLoss]) -> list[Training]:
    """All trainings, in the order in which they are wanted: task by task, seed by seed."""
    seeds = stage_seeds(config.seed, Purpose.FIDELITY, config.expensive.seeds)
    groups: list[SurrogateConfig | ExpensiveConfig] = [*config.surrogates, config.expensive]
    return [
        Training(each.loss, group.task.task_id, seed, "validation")
        for group in groups
        for seed in seeds[: group.seeds]
        for each in losses
    ]


def fidelity(
    ledger: Ledger,
    config: FidelityConfig,
    setup: EvaluationSetup,
    losses: Sequence[RankedLoss],
    trainings: Trainings,
) -> dict[str, Any]:
    """Train every loss on every task, compare the orders, and record the result in the ledger.

    Args:
        ledger: takes the result.
        config: of the study.
        setup: of its tasks.
        losses: each once, `require_enough` of them.
        trainings: knows the tasks.

    Returns:
        The content of the result, in the form that `docs/fidelity.md` describes.

    Raises:
        StoppedError, LossmithError: see `Trainings.run`.
    """
    rows = trainings.run(trainings_of(config, losses))
    content = summarise(config, setup, losses, rows)
    ledger.add_result(KIND, content)
    return content
