"""What the terminal says of a fidelity study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lossmith.report import words


def fidelity_summary(content: Mapping[str, Any]) -> RenderableType:
    """Every surrogate with its cost and its agreement, the cheapest first, from what
    `lossmith.study.fidelity.fidelity.fidelity` gives."""
    expensive, top = content["expensive"], content["top"]
    losses = words.count(len(content["losses"]), "loss")
    title = f"Surrogates of '{expensive['name']}' on {expensive['dataset']}: {losses}"
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("surrogate", overflow="fold")
    best = f"top {'/'.join(map(str, top))}"
    for name in ("seconds", "steps", "tau", "interval", *([best] if top else []), "failed"):
        table.add_column(name, justify="right", no_wrap=True)
    for entry in by_cost(content["surrogates"]):
        table.add_row(Text(entry["name"]), *_figures(entry, entry["cost"], entry["failed"], top))
    name = Text(f"{expensive['name']}, once", "dim")
    table.add_row(name, *_figures(expensive["single"], expensive["cost"], expensive["failed"], top))
    reliability = expensive["reliability"]
    table.add_row(Text("its seeds halved", "dim"), *_figures(reliability, None, None, top))
    seeds = words.count(len(expensive["seeds"]), "seed")
    notes = (
        "seconds: of training one loss, on this machine as busy as it was, a mean; tau: Kendall's tau-b with the mean"
        f" of the expensive task's other seeds (it has {seeds}), and its {100 * content['confidence']:.0f}% bootstrap"
        " interval over losses; top k: the share of the best k losses that is among the surrogate's best k; failed:"
        " losses of which a training failed, which rank last; its seeds halved: half of the expensive task's trainings"
        " against the other half"
    )
    cost = f"{words.count(content['evaluations'], 'training')}, {words.duration(content['seconds'])} of training"
    return Group(table, Text(""), Text(notes, "dim"), Text(cost, "dim"), Text(content["recommendation"], "bold"))


def by_cost(surrogates: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The cheapest first."""
    return sorted(surrogates, key=lambda entry: (entry["cost"]["seconds"], entry["cost"]["flops"], entry["name"]))


def interval(estimate: Mapping[str, float]) -> str:
    """'0.31 to 0.52'."""
    return f"{estimate['low']:.2f} to {estimate['high']:.2f}"


def _figures(
    measures: Mapping[str, Any], cost: Mapping[str, float] | None, failed: int | None, top: Sequence[int]
) -> list[str]:
    return [
        words.NONE if cost is None else f"{cost['seconds']:.3g}",
        words.NONE if cost is None else f"{cost['steps']:,}",
        f"{measures['tau']['value']:.2f}",
        interval(measures["tau"]),
        *(["/".join(f"{measures['recall'][str(k)]['value']:.2f}" for k in top)] if top else []),
        words.NONE if failed is None else str(failed),
    ]
