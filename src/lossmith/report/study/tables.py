"""The tables of a study as CSV and LaTeX, and where each figure comes from.

CSV: fractions as fractions, numbers in full, an empty field where there is no value; `evaluations` are the ids of rows
in the ledger that `ledger` names, apart by blanks.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lossmith.report.study.stages import StageRecord
from lossmith.report.words import p_value, percent, points

_LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


def files(stages: Mapping[str, StageRecord]) -> dict[str, str]:
    """The content of each file, by its name."""
    found: dict[str, str] = {}
    for name in ("confirmation", "transfer"):
        if (stage := stages.get(name)) is not None and stage.result is not None:
            found[f"{name}.csv"] = _csv(COMPARISON, comparison_rows(stage.result))
            found[f"{name}-seeds.csv"] = _csv(SEEDS, _seed_rows(stage))
            found[f"{name}.tex"] = comparison_latex(stage.result)
    for name in ("elimination", "elimination-random"):
        if (stage := stages.get(name)) is not None and stage.result is not None:
            found[f"{name}.csv"] = _csv(ELIMINATION, _elimination_rows(stage.result))
    found["trace.csv"] = _csv(TRACE, trace_rows(stages))
    return found


COMPARISON = (
    *("cell", "dataset", "loss", "label", "formula", "pairs", "mean", "difference", "sd", "low", "high", "p", "p_holm"),
    *("improvement", "improvement_low", "improvement_high", "correlation", "detectable", "equivalent", "verdict"),
    *("nll", "ece", "evaluations"),
)


def comparison_rows(result: Mapping[str, Any]) -> Iterable[Sequence[Any]]:
    """A row for each loss in each cell, the baseline first."""
    losses = {loss["key"]: loss for loss in result["losses"]}
    analysis = result["analysis"]
    found = {(each["cell"], each["loss"]): each for each in analysis["differences"]}
    for cell in result["cells"]:
        keys = sorted(cell["scores"], key=lambda key: key != analysis["baseline"])
        for key in keys:
            scores, each = cell["scores"][key], found.get((cell["name"], key), {})
            improvement = each.get("improvement") or {}
            yield (
                cell["name"],
                cell["dataset"],
                key,
                losses[key]["label"],
                losses[key]["formula"],
                each.get("n"),
                mean_of(scores["values"]),
                *(each.get(name) for name in ("mean", "sd", "low", "high", "p", "p_adjusted")),
                *(improvement.get(name) for name in ("value", "low", "high")),
                *(each.get(name) for name in ("correlation", "detectable", "equivalent")),
                each.get("verdict", "baseline"),
                mean_of(scores["nll"]),
                mean_of(scores["ece"]),
                _ids(scores["evaluations"]),
            )


SEEDS = ("cell", "loss", "label", "seed", "accuracy", "nll", "ece", "evaluation")


def seeds_of(cell: Mapping[str, Any], result: Mapping[str, Any]) -> Sequence[int]:
    return cell["seeds"] if "seeds" in cell else result["registration"]["seeds"]


def _seed_rows(stage: StageRecord) -> Iterable[Sequence[Any]]:
    result = stage.result or {}
    labels = {loss["key"]: loss["label"] for loss in result["losses"]}
    for cell in result["cells"]:
        for key, scores in cell["scores"].items():
            parts = (scores["values"], scores["nll"], scores["ece"], scores["evaluations"])
            for seed, *values in zip(seeds_of(cell, result), *parts, strict=True):
                yield cell["name"], key, labels[key], seed, *values


ELIMINATION = ("phase", "task", "loss", "label", "seeds", "mean", "kept", "evaluations")


def _elimination_rows(result: Mapping[str, Any]) -> Iterable[Sequence[Any]]:
    labels = {loss["key"]: loss["label"] for loss in result["losses"]}
    for phase in result["phases"]:
        for key, scores in phase["scores"].items():
            ids = scores["evaluations"]
            row = (labels[key], len(scores["values"]), scores["mean"], int(scores["kept"]), _ids(ids))
            yield phase["name"], phase["task"], key, *row


TRACE = ("figure", "ledger", "evaluations")


def trace_rows(stages: Mapping[str, StageRecord]) -> Iterable[Sequence[Any]]:
    """Each figure that is made of several evaluations, with the ledger and the ids of them."""
    for name, stage in stages.items():
        result = stage.result
        if result is None:
            continue
        ledger = f"{name}/ledger.sqlite"
        if name == "null":
            yield "null: scores", ledger, _ids(result["evaluations"])
        for phase in result.get("phases", ()):
            for key, scores in phase["scores"].items():
                yield f"{name}: {phase['name']}, {key}: mean", ledger, _ids(scores["evaluations"])
        for cell in result.get("cells", ()):
            for key, scores in cell["scores"].items():
                yield f"{name}: {cell['name']}, {key}: mean, NLL, ECE", ledger, _ids(scores["evaluations"])
            baseline = (result.get("analysis") or {}).get("baseline")
            for key, scores in cell["scores"].items():
                if key != baseline and baseline in cell["scores"]:
                    both = [*scores["evaluations"], *cell["scores"][baseline]["evaluations"]]
                    yield f"{name}: {cell['name']}, {key}: difference, interval, p, verdict", ledger, _ids(both)
            for key, tuning in cell.get("tuning", {}).items():
                ids = [number for point in tuning["grid"] for number in point["evaluations"]]
                yield f"{name}: {cell['name']}, {key}: tuning", ledger, _ids(ids)


def comparison_latex(result: Mapping[str, Any]) -> str:
    """A `tabular` for the package booktabs."""
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{tabular}{llrrrrl}",
        r"\toprule",
        r"Cell & Loss & Accuracy & Points & 95\% interval & $p$ (Holm) & Verdict \\",
    ]
    previous = None
    for row in comparison_rows(result):
        values = dict(zip(COMPARISON, row, strict=True))
        if values["cell"] != previous:
            lines.append(r"\midrule")
        name = values["cell"] if values["cell"] != previous else ""
        previous = values["cell"]
        between = "" if values["low"] is None else f"{points(values['low'])} to {points(values['high'])}"
        columns = (
            name,
            values["label"],
            percent(values["mean"]),
            "" if values["difference"] is None else points(values["difference"]),
            between,
            "" if values["p_holm"] is None else p_value(values["p_holm"]),
            values["verdict"],
        )
        lines.append(" & ".join(latex(str(column)) for column in columns) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def latex(text: str) -> str:
    """Text as LaTeX prints it."""
    return "".join(_LATEX.get(character, character) for character in text)


def mean_of(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if there else None


def _ids(numbers: Sequence[int]) -> str:
    return " ".join(map(str, numbers))


def _csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(columns)
    writer.writerows(rows)
    return stream.getvalue()
