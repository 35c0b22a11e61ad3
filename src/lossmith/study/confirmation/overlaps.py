"""Test images that were seen before: by the cell's own training and tuning, or by what led to the losses.

Looked for by content, since another split seed, another file or another name can hide the same images. Real data sets
hold a few images twice, so some are allowed; how many there are is part of the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lossmith.errors import DataError
from lossmith.study.confirmation.registration import RegisteredCell
from lossmith.study.confirmation.sources import SourceRun, UsedTask
from lossmith.train.data import Dataset
from lossmith.train.data.overlap import Digests, among, at_one_size, image_digests
from lossmith.train.task import DataConfig

Load = Callable[[DataConfig], Dataset]


def find_overlaps(
    cells: Sequence[RegisteredCell], sources: Sequence[SourceRun], limit: float, load: Load
) -> list[dict[str, Any]]:
    """How many test images of each cell were seen, and by whom.

    Args:
        cells: whose test images.
        sources: whose training and validation images, and test images where losses were scored on them.
        limit: the share of a cell's test images from which on it is refused.
        load: reads a data set, such as `load_dataset`.

    Returns:
        Of each cell {"cell", "test": images, "train": shared with its own training images, "validation": with its own
        validation images, "sources": [{"directory", "shared"}]}.

    Raises:
        DataError: a share is `limit` or more, or a source's data cannot be read.
    """
    images = _Images(load)
    return [_of_cell(cell, sources, limit, images) for cell in cells]


def _of_cell(cell: RegisteredCell, sources: Sequence[SourceRun], limit: float, images: _Images) -> dict[str, Any]:
    data = cell.task.data
    test = images.of(data, "test")
    own = {name: int(among(test, [images.of(data, name)]).sum()) for name in ("train", "validation")}
    _require(own["train"], len(test), limit, cell, "are among its training images; mend the data")
    _require(
        own["validation"],
        len(test),
        limit,
        cell,
        "are among its validation images, on which losses are tuned: a test set cannot serve as validation; mend the"
        " data",
    )
    seen = []
    for source in sources:
        used = np.zeros(len(test), bool)
        for task in source.tasks:
            used |= _used(cell, source, task, images)
        shared = int(used.sum())
        _require(
            shared,
            len(test),
            limit,
            cell,
            f"were used by {source.directory}, which led to the losses; take other data, or the split_seed and"
            " fractions of that run",
        )
        seen.append({"directory": source.directory, "shared": shared})
    return {"cell": cell.name, "test": len(test), **own, "sources": seen}


def _used(cell: RegisteredCell, source: SourceRun, used: UsedTask, images: _Images) -> npt.NDArray[np.bool_]:
    """Which of the cell's test images a task of a source trained on, validated on, or was scored on."""
    names = ("train", "validation", "test") if used.scored_test else ("train", "validation")
    ours, theirs = at_one_size(cell.task.data, used.task.data)
    try:
        others = [images.of(theirs, name) for name in names]
    except DataError as error:
        raise DataError(
            f"{source.directory}: the data of its task '{used.task.name}' cannot be read, so it cannot be told whether"
            f" test images were used: {error}"
        ) from error
    return among(images.of(ours, "test"), others)


def _require(shared: int, test: int, limit: float, cell: RegisteredCell, problem: str) -> None:
    if shared >= limit * test:
        raise DataError(
            f"cell '{cell.name}': {shared} of its {test} test images ({100 * shared / test:.1f}%, of which less than"
            f" {100 * limit:g}% may be) {problem}"
        )


class _Images:
    """The digests of data sets, each read once."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._known: dict[str, dict[str, Digests]] = {}

    def of(self, data: DataConfig, split: str) -> Digests:
        key = data.digest()
        if key not in self._known:
            dataset = self._load(data)
            self._known[key] = {name: image_digests(getattr(dataset, name)) for name in ("train", "validation", "test")}
        return self._known[key][split]


def sentences(overlaps: Iterable[Mapping[str, Any]]) -> list[str]:
    """What was found, where it is something."""
    found = []
    for each in overlaps:
        places = [("its training images", each["train"]), ("its validation images", each["validation"])]
        places += [(f"the images of {source['directory']}", source["shared"]) for source in each["sources"]]
        parts = [f"{shared} among {where}" for where, shared in places if shared]
        if parts:
            found.append(f"{each['cell']}: of {each['test']} test images, {', '.join(parts)}.")
    return found
