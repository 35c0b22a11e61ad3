"""What the terminal says of a transfer."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lossmith.report import words

_STYLES = {"better": "bold green", "worse": "bold red", "equivalent": "bold", "not comparable": "red"}


def cell_line(cell: Mapping[str, Any], losses: Sequence[Mapping[str, Any]]) -> str:
    """A finished cell in one line: the baseline's mean accuracy (`losses` begin with it), and the mean differences."""
    baseline, *others = losses
    base = cell["scores"][baseline["key"]]["values"]
    parts = [f"{baseline['label']} {_accuracy(base)}"]
    for loss in others:
        gains = _gains(cell["scores"][loss["key"]]["values"], base)
        failed = len(base) - len(gains)
        mean = f"{words.points(statistics.fmean(gains))} points" if gains else ""
        lost = f"{failed} of {words.count(len(base), 'pair')} failed" if failed else ""
        parts.append(f"{loss['label']} {', '.join(filter(None, (mean, lost)))}")
    return f"{cell['name']}: {'; '.join(parts)}"


def transfer_summary(content: Mapping[str, Any]) -> RenderableType:
    """Every loss in every cell, from what `lossmith.study.transfer.transfer` gives; losing cells like winning ones."""
    labels = {loss["key"]: loss["label"] for loss in content["losses"]}
    analysis, baseline = content["analysis"], content["baseline"]
    found = {(entry["cell"], entry["loss"]): entry for entry in analysis["differences"]}
    parts: list[RenderableType] = []
    for cell in content["cells"]:
        if cell["error"] is not None:
            continue
        title = f"{cell['name']}, validation accuracy, {words.count(len(cell['seeds']), 'seed')}"
        table = Table(
            title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0)
        )
        table.add_column("loss", overflow="fold")
        for name in ("accuracy", "points", f"{100 * analysis['confidence']:.0f}% interval", "p", "wins"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("verdict")
        for key, score in cell["scores"].items():
            entry = found.get((cell["name"], key))
            figures = [words.NONE] * 4 + [Text("baseline", "dim")] if entry is None else _figures(entry)
            table.add_row(Text(labels[key]), _accuracy(score["values"]), *figures)
        parts += [table, Text()]
    note = (
        f"points: mean difference to {labels[baseline]} in percentage points, paired by seed; p: adjusted after Holm"
        " over all cells and losses; wins: the share of seeds in which it scores higher, ties counting half"
    )
    parts += [Text(note, "dim"), _overall(content, labels)]
    parts += [
        Text(f"not trained: {cell['name']}: {cell['error']}", "red")
        for cell in content["cells"]
        if cell["error"] is not None
    ]
    parts += [Text(sentence(content), "bold")]
    return Group(*parts)


def sentence(content: Mapping[str, Any]) -> str:
    """How many comparisons ended how, and what they cannot show."""
    verdicts = Counter(entry["verdict"] for entry in content["analysis"]["differences"])
    order = ("better", "worse", "equivalent", "no evidence", "not comparable")
    counts = ", ".join(f"{verdicts[name]} {name}" for name in order if verdicts[name])
    trained = [cell for cell in content["cells"] if cell["error"] is None]
    text = (
        f"{words.count(sum(verdicts.values()), 'comparison')} in {words.count(len(trained), 'cell')}: {counts}."
        f" Trained for {words.duration(content['seconds'])} in all."
    )
    if needed := too_few(len(trained[0]["seeds"]), sum(verdicts.values())):
        text += f" {needed}"
    return f"{text} Scores are of validation images: what is chosen by them is to be confirmed on others."


def too_few(seeds: int, comparisons: int) -> str:
    """That no difference can be told with so few seeds; empty where one can."""
    from lossmith.study.statistics import pairs_needed  # noqa: PLC0415 - scipy takes a second

    needed = pairs_needed(comparisons, 0.05)
    if seeds >= needed:
        return ""
    return (
        f"{words.count(seeds, 'seed')} cannot tell a difference after Holm over"
        f" {words.count(comparisons, 'comparison')}, however large: at least {needed} are needed."
    )


def _figures(entry: Mapping[str, Any]) -> list[str | Text]:
    mean, low, high, improvement = (entry[name] for name in ("mean", "low", "high", "improvement"))
    between = words.NONE if low is None else f"{words.points(low)} to {words.points(high)}"
    share = words.NONE if improvement is None else words.percent(improvement["value"], 0)
    p = None if entry["p"] is None else entry["p_adjusted"]
    verdict = entry["verdict"] + (f" ({entry['failed']} failed)" if entry["failed"] else "")
    return [words.points(mean), between, words.p_value(p), share, Text(verdict, _STYLES.get(entry["verdict"], ""))]


def _overall(content: Mapping[str, Any], labels: Mapping[str, str]) -> RenderableType:
    """Over data sets: mean ranks, and Wilcoxon's test where there are enough."""
    analysis = content["analysis"]
    datasets = len({cell["dataset"] for cell in content["cells"] if cell["error"] is None})
    ranks = sorted(analysis["ranks"].items(), key=lambda item: item[1])
    text = "; ".join(f"{labels[key]} {rank:.2f}" for key, rank in ranks)
    lines = [f"mean rank over {words.count(datasets, 'data set')} (1 is best): {text}"]
    if analysis["friedman"] is not None:
        lines.append(f"all alike (Friedman): p = {words.p_value(analysis['friedman'])}")
    tested = [entry for entry in analysis["overall"] if entry["p_adjusted"] is not None]
    lines += [
        f"{labels[entry['loss']]}: {words.points(entry['mean'])} points over data sets,"
        f" p = {words.p_value(entry['p_adjusted'])} (Wilcoxon, Holm)"
        for entry in tested
    ]
    return Text("\n".join(lines))


def _accuracy(values: Sequence[float | None]) -> str:
    present = [value for value in values if value is not None]
    return words.percent(statistics.fmean(present)) if present else words.NONE


def _gains(values: Sequence[float | None], base: Sequence[float | None]) -> list[float]:
    return [a - b for a, b in zip(values, base, strict=True) if a is not None and b is not None]
