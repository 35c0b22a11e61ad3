"""What the terminal says of the controls of a search."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lossmith.report import words
from lossmith.study.controls import reaching


def null_summary(content: Mapping[str, Any]) -> RenderableType:
    """A null search, from what `lossmith.study.controls.null_search` gives."""
    scores = [value for value in content["values"] if value is not None]
    table = Table.grid(padding=(0, 2))
    facts = [
        ("null search of", content["of"]),
        ("trainings of cross-entropy", f"{len(content['values']):,} on '{content['task']}', each with its own seed"),
        ("did not train", f"{len(content['values']) - len(scores):,}"),
        ("mean", words.percent(statistics.fmean(scores)) if scores else words.NONE),
        ("SD", words.percent(statistics.stdev(scores)) if len(scores) > 1 else words.NONE),
        ("best: the luck floor", words.percent(content["best"])),
        ("best fitness of the search", words.percent(content["search_best"])),
        ("cross-entropy, with the search's seed", words.percent(content["search_baseline"])),
        ("training time, all workers", words.duration(content["seconds"])),
    ]
    for name, value in facts:
        table.add_row(Text(name, "dim"), Text(value))
    return Group(table, Text(null_sentence(content), "bold"))


def null_sentence(content: Mapping[str, Any]) -> str:
    """The search's best fitness against the floor, and what that does and does not say."""
    best, trainings = content["best"], words.count(len(content["values"]), "training")
    found = f"The search's best fitness is {words.percent(content['search_best'])}"
    if best is None:
        return f"{found}; none of {trainings} of cross-entropy on its task succeeded, so there is no floor."
    above = reaching(content)
    figures = (
        f"{found}, the best of {trainings} of cross-entropy with other seeds {words.percent(best)};"
        f" {above:,} of them {'reaches' if above == 1 else 'reach'} the search's best."
    )
    if above:
        says = (
            "As high a best comes from seeds alone: the fitness of the search is no sign of a loss better than"
            " cross-entropy. Nor does it show that there is none: fitness is a single training, with the search's seed."
        )
    else:
        says = (
            "Seeds alone did not get as high in as many trainings. That the loss beats cross-entropy does not follow:"
            " fitness is a single training, with a seed that all losses of the search share; a confirmation with fresh"
            " seeds shows it, or does not."
        )
    return f"{figures} {says}"


def random_sentence(search_best: float, search_trainings: int, random_best: float | None, trainings: int) -> str:
    """The best fitness of a search beside that of its random search; trainings are those on the searches' own task."""
    figures = (
        f"Best fitness: {words.percent(search_best)} in {words.count(search_trainings, 'training')} of the search,"
        f" {words.percent(random_best)} in {words.count(trainings, 'training')} of the random search."
    )
    return (
        f"{figures} Each is the best of many single trainings, with another seed, so part of their difference is luck:"
        " what evolution gains shows where the best of both are trained again with the same fresh seeds."
    )
