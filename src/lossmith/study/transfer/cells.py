"""The cells of a transfer, each a task; and which of them cannot be trained here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from lossmith.errors import ConfigError, LossmithError
from lossmith.settings import merged
from lossmith.study.transfer.config import FOLD, TransferConfig
from lossmith.train.data import Dataset, load_dataset
from lossmith.train.inputs import largest_size
from lossmith.train.models import try_model
from lossmith.train.models.build import IMAGENET
from lossmith.train.task import TaskConfig, load_task

_START = {False: "scratch", True: "pretrained"}


@dataclass(frozen=True, slots=True)
class Cell:
    """One place of the grid."""

    name: str  # data set/model/augmentation/start, of which the task has it too
    dataset: str
    model: str
    augmentation: str
    pretrained: bool
    task: TaskConfig  # scored on validation fold 1
    error: str | None = None  # why it cannot be trained; None: not known to be so


def cells_of(config: TransferConfig, where: str) -> list[Cell]:
    """All cells, the data sets outermost; a pretrained one whose model has no weights bears that as its error.

    Raises:
        ConfigError: the settings of a cell make no task, or two cells have the same; `where` starts the message.
    """
    found: list[Cell] = []
    ids: dict[str, str] = {}
    for dataset, model, augmentation, pretrained in product(
        config.datasets, config.models, config.augmentations, config.pretrained
    ):
        cell = _cell(config, dataset, model, augmentation, pretrained=pretrained, where=where)
        same = ids.setdefault(cell.task.task_id, cell.name)
        if cell.error is None and same != cell.name:
            raise ConfigError(
                f"{where}: cells '{same}' and '{cell.name}' are one task (the place of the data does not count):"
                " leave one out, or give one of the data sets another split_seed"
            )
        found.append(cell)
    return found


def _cell(config: TransferConfig, dataset: str, model: str, augmentation: str, *, pretrained: bool, where: str) -> Cell:
    name = f"{dataset}/{model}/{augmentation}/{_START[pretrained]}"
    values: dict[str, Any] = {}
    layers = [config.task, config.models[model], config.augmentations[augmentation]]
    layers += [case.task for case in config.cases if case.holds(dataset, model, augmentation, pretrained=pretrained)]
    for layer in layers:
        values = merged(values, layer)
    data = config.datasets[dataset].model_copy(update={"validation_fold": FOLD})
    values |= {"name": name, "data": data.model_dump(mode="json")}
    task = load_task(values, f"{where}: cell '{name}'")
    if not pretrained and task.weights is not None:
        raise ConfigError(
            f"{where}: cell '{name}' starts from scratch, but has weights '{task.weights}': set them in a case with"
            " 'pretrained: true'"
        )
    error = None
    if pretrained and task.weights is None:
        error = f"no weights are named for model '{model}': set 'weights' in a case with 'pretrained: true'"
    return Cell(name, dataset, model, augmentation, pretrained, task, error)


def problems(cells: Sequence[Cell], *, progress: Callable[[int, int], None] | None = None) -> dict[str, str]:
    """Why cells cannot be trained here, by name: data or a package missing, weights not to be had, and the like.

    Every data set is read and every network is built and tried once. `progress` is told of images that are decoded.
    """
    found: dict[str, str] = {}
    datasets: dict[str, Dataset | str] = {}
    models: dict[tuple[object, ...], str | None] = {}
    for cell in cells:
        if cell.error is not None:
            found[cell.name] = cell.error
            continue
        key = cell.task.data.digest()
        if key not in datasets:
            try:
                # what a user should read of the data is told when it is loaded to be trained on
                datasets[key] = load_dataset(cell.task.data, progress=progress, notice=lambda text: None)
            except LossmithError as error:
                datasets[key] = str(error)
        data = datasets[key]
        why = data if isinstance(data, str) else _model_problem(cell.task, data, models)
        if why is not None:
            found[cell.name] = why
    return found


def _model_problem(task: TaskConfig, data: Dataset, known: dict[tuple[object, ...], str | None]) -> str | None:
    shape = (data.image_shape[0], *largest_size(task, data.image_shape))
    # weights that cannot be downloaded take a minute to say so, and once is enough
    asked = (task.model, task.weights) if task.weights == IMAGENET else ()
    key = (*asked, shape, data.num_classes, task.model, task.dropout, task.weights)
    if asked and known.get(asked) is not None:
        return known[asked]
    if key not in known:
        known[key] = None
        try:
            try_model(
                task.model, image_shape=shape, num_classes=data.num_classes, dropout=task.dropout, weights=task.weights
            )
        except LossmithError as error:
            known[key] = str(error)
            if asked:
                known[asked] = str(error)
    return known[key]
