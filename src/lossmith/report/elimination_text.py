"""What the terminal shows of an elimination."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lossmith.report import words

_SHOWN = 12  # losses of a phase, the kept ones first


def elimination_summary(content: Mapping[str, Any]) -> RenderableType:
    """Each phase's scores and the finalists, from what `lossmith.study.elimination.protocol.eliminate` gives."""
    losses = {loss["key"]: loss for loss in content["losses"]}
    sources = ", ".join(f"{source['name']} ({words.count(source['losses'], 'loss')})" for source in content["sources"])
    parts: list[RenderableType] = [Text(f"Elimination: {sources}", "bold"), Text("")]
    for phase in content["phases"]:
        parts += [_phase(phase, losses), Text("")]
    parts.append(Text("Finalists, the best first", "bold"))
    parts += [Text(f"  {rank}. {losses[key]['label']}") for rank, key in enumerate(content["finalists"], start=1)]
    cost = f"{words.count(content['evaluations'], 'training')}, {words.duration(content['seconds'])} of training"
    if "seconds_saved" in content:
        cost += f"; racing saved about {words.duration(content['seconds_saved'])}"
    parts += [Text(""), Text(cost, "dim")]
    return Group(*parts)


def _phase(phase: Mapping[str, Any], losses: Mapping[str, Mapping[str, Any]]) -> RenderableType:
    scores = phase["scores"]
    most = words.count(len(phase["seeds"]), "seed")
    racing = phase["racing"]
    fewest = min(len(score["values"]) for score in scores.values())
    given = most if fewest == len(phase["seeds"]) else f"{fewest} to {most}"
    title = f"{phase['name']}: task '{phase['task']}', {words.count(len(scores), 'loss')}, {given}"
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("", "accuracy", "SD", "seeds"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("loss", overflow="fold")
    order = sorted(scores, key=lambda key: (not scores[key]["kept"], -(scores[key]["mean"] or 0.0)))
    for key in order[:_SHOWN]:
        score = scores[key]
        values = score["values"]
        if score["mean"] is None:
            accuracy, spread = f"{values.count(None)} failed", words.NONE
        else:
            accuracy, spread = words.percent(score["mean"]), words.percent(_deviation(values))
        label = Text(losses[key]["label"])
        table.add_row("kept" if score["kept"] else "", accuracy, spread, str(len(values)), label)
    notes: list[RenderableType] = []
    if len(order) > _SHOWN:
        notes.append(Text(f"and {len(order) - _SHOWN} more", "dim"))
    if racing is not None:
        used, fixed = racing["trainings"], racing["fixed_trainings"]
        share = words.percent(1 - used / fixed, 0)
        notes.append(Text(f"racing: {used} trainings instead of {fixed} ({share} fewer)", "dim"))
    return Group(table, *notes)


def _deviation(values: list[float]) -> float | None:
    """With n - 1; None for a single value."""
    if len(values) < 2:
        return None
    mean = sum(values) / len(values)
    return (sum((value - mean) ** 2 for value in values) / (len(values) - 1)) ** 0.5
