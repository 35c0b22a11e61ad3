r"""LaTeX tables of a study, for `\input`: booktabs rules, nothing but ASCII, every character of a name escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from lossmith.report import words
from lossmith.report.study.compute import costs
from lossmith.report.study.contents import Confirmation, Elimination, Measure, Transfer
from lossmith.report.study.forms import Analysis, Scores
from lossmith.report.study.parts import Context

_MINUS = re.compile(r"(?<![\w.])-(?=\d)")  # before a number
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "±": r"$\pm$",
}


def escaped(text: object) -> str:
    """Text as LaTeX shows it, in any encoding of the document: what is not ASCII is written as its code point."""
    return "".join(
        _SPECIAL.get(letter) or (letter if " " <= letter <= "~" else rf"\texttt{{U+{ord(letter):04X}}}")
        for letter in " ".join(str(text).split())
    )


def latex_files(context: Context) -> dict[str, str]:
    """The content of each file by its name."""
    files: dict[str, str] = {}
    for stage in context.record.stages.values():
        result = stage.result
        if isinstance(result, Confirmation):
            cells = [(cell.name, cell.scores) for cell in result.cells]
            files["confirmation.tex"] = _compared(context, result.analysis, cells, "the test images")
            files["calibration.tex"] = _calibration(context, result)
        elif isinstance(result, Transfer):
            trained = [(cell.name, cell.scores) for cell in result.cells if cell.error is None]
            files["transfer.tex"] = _compared(context, result.analysis, trained, "validation images")
        elif isinstance(result, Elimination):
            files[f"{stage.name}.tex"] = _elimination(context, result)
    files["losses.tex"] = _table(
        "ll",
        ("Name", "Loss"),
        (
            [escaped(name.text), rf"\texttt{{{escaped(name.loss.row.minimised)}}}"]
            for name in context.names.all.values()
        ),
        "The losses; minimised is the sum over the classes.",
        raw=True,
    )
    files["compute.tex"] = _compute(context)
    return files


def _compared(
    context: Context, analysis: Analysis, cells: Iterable[tuple[str, Mapping[str, Scores]]], split: str
) -> str:
    rows: list[Sequence[object]] = []
    for cell, scores in cells:
        found = analysis.of(cell)
        for key in sorted(scores, key=lambda key: key != analysis.baseline):
            own, one = scores[key], found.get(key)
            head = [cell, context.names[key].text, _spread(own.mean, own.sd)]
            if one is None:
                rows.append([*head, *["--"] * 4, "baseline"])
                continue
            between = "--" if one.low is None else f"{words.points(one.low)} to {words.points(one.high)}"
            p = words.p_value(one.p_adjusted)
            share = "--" if one.improvement is None else words.percent(one.improvement.value, 0)
            rows.append([*head, words.points(one.mean), between, p, share, one.verdict])
    interval = f"{100 * analysis.confidence:g}% interval"
    heads = ("Cell", "Loss", "Accuracy", "Points", interval, "p (Holm)", "Improves", "Verdict")
    caption = (
        f"Accuracy on {split} (mean ± SD over seeds) and paired differences to"
        f" {context.names[analysis.baseline]} in percentage points, with BCa intervals; p of sign-flip permutation"
        f" tests, Holm over {len(analysis.differences)} comparisons."
    )
    return _table("llrrrrrl", heads, rows, caption)


def _calibration(context: Context, result: Confirmation) -> str:
    rows: list[Sequence[object]] = []

    def shown(measure: Measure) -> list[str]:
        difference = measure.difference
        change = "--" if difference is None else f"{difference.mean:+.4f}"
        return ["--" if measure.mean is None else words.number(measure.mean), change]

    for cell in result.calibration.cells:
        for key, measures in cell.losses.items():
            rows.append([cell.name, context.names[key].text, *shown(measures["nll"]), *shown(measures["ece"])])
    heads = ("Cell", "Loss", "NLL", "Difference", "ECE", "Difference")
    return _table("llrrrr", heads, rows, "Calibration on the test images; lower is better.")


def _elimination(context: Context, result: Elimination) -> str:
    rows: list[Sequence[object]] = []
    for loss in result.losses:
        means = [
            "" if loss.key not in phase.scores else words.percent(phase.scores[loss.key].mean)
            for phase in result.phases
        ]
        place = "finalist" if loss.key in result.finalists else ""
        rows.append([context.names[loss.key].text, words.percent(loss.fitness), *means, place])
    heads = ("Loss", "Fitness", *(phase.name for phase in result.phases), "")
    caption = "Mean validation accuracy by phase of the elimination."
    return _table(f"lr{'r' * len(result.phases)}l", heads, rows, caption)


def _compute(context: Context) -> str:
    rows = [
        [
            stage.name,
            f"{cost.evaluations:,}",
            f"{cost.steps:,}",
            words.duration(cost.training_seconds),
            words.duration(cost.wall_seconds),
        ]
        for stage, cost, _ in costs(context.record)
    ]
    heads = ("Stage", "Trainings", "Steps", "Training, all workers", "Wall time")
    return _table("lrrrr", heads, rows, "Compute spent.")


def _spread(mean: float | None, sd: float | None) -> str:
    return "--" if mean is None else f"{words.percent(mean)} ± {words.percent(sd)}"


def _table(
    columns: str, heads: Sequence[str], rows: Iterable[Sequence[object]], caption: str, *, raw: bool = False
) -> str:
    r"""A table of \usepackage{booktabs}; where it is `raw`, the rows are LaTeX already."""
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{table}",
        "\\centering",
        f"\\caption{{{escaped(caption)}}}",
        f"\\begin{{tabular}}{{{columns}}}",
        "\\toprule",
        " & ".join(escaped(head) for head in heads) + r" \\",
        "\\midrule",
    ]
    for row in rows:
        cells = [str(cell) if raw else _MINUS.sub("$-$", escaped(cell)) for cell in row]
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", "\\end{table}", ""])
