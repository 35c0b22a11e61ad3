"""Losses against a baseline in cells: what a confirmation and a transfer have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from lossmith.report import words
from lossmith.report.markup import Column, Html, element, joined, paragraph, table
from lossmith.report.study.forms import Analysis, Difference, Scores
from lossmith.report.study.parts import Context, Name, panels, swatches, verdict_html
from lossmith.report.study.pictures import Interval, Line, forest, line_panel, rank_diagram
from lossmith.report.study.reading import Stage
from lossmith.report.study.trace import Rows

Cells = Mapping[str, Mapping[str, Scores]]  # cell name -> loss key -> scores


def cell_table(
    context: Context, stage: Stage, analysis: Analysis, cell: str, scores: Mapping[str, Scores], split: str
) -> Html:
    """Every loss in one cell: its accuracy, and its paired difference to the baseline. The order is that of the losses,
    whoever won."""
    interval = f"{100 * analysis.confidence:g}% interval"
    columns = [
        Column("Loss"),
        Column("Accuracy, mean ± SD", numeric=True),
        Column("Difference, points", numeric=True),
        Column(interval, numeric=True),
        Column("p", numeric=True),
        Column("p, Holm", numeric=True),
        Column("Verdict"),
        Column("Probability of improvement", numeric=True),
        Column("Detectable, points", numeric=True),
        Column("Correlation", numeric=True),
        Column("Failed", numeric=True),
    ]
    found = analysis.of(cell)
    order = sorted(scores, key=lambda key: key != analysis.baseline)
    rows = [_row(context, stage, analysis, cell, scores, key, found.get(key)) for key in order]
    seeds = words.count(len(next(iter(scores.values())).values), "seed") if scores else "no seeds"
    caption = f"{cell}: accuracy on the {split}, {seeds}; differences to {context.names[analysis.baseline]}"
    return table(caption, columns, rows, ["reference" if key == analysis.baseline else "" for key in order])


def _row(
    context: Context,
    stage: Stage,
    analysis: Analysis,
    cell: str,
    scores: Mapping[str, Scores],
    key: str,
    difference: Difference | None,
) -> list[object]:
    own = stage.traced(scores[key].evaluations)
    base = stage.traced(scores[analysis.baseline].evaluations)

    def shown(text: str, value: float | int | None, measure: str, less: Rows | None = None) -> Html:
        against = analysis.baseline if less is not None else ""
        return context.trace.show(text, value, measure, own, place=cell, loss=key, against=against, less=less)

    mean, sd = scores[key].mean, scores[key].sd
    accuracy = Html(
        f"{shown(words.percent(mean), mean, 'mean accuracy')} ± {shown(words.percent(sd), sd, 'SD of accuracy')}"
    )
    name = context.names[key].html
    if difference is None:
        failed = shown(str(scores[key].failed), scores[key].failed, "failed trainings")
        reference = element("span", "baseline", class_="soft")
        return [name, accuracy, *[words.NONE] * 4, reference, *[words.NONE] * 3, failed]
    one = difference
    low, high = shown(words.points(one.low), one.low, "interval low", base), one.high
    better = one.improvement
    share = None if better is None else better.value
    wins = shown(words.percent(share, 0), share, "probability of improvement", base)
    if better is not None:
        wins = Html(f"{wins} ({100 * better.low:.0f} to {100 * better.high:.0f})")
    detectable = words.NONE if one.detectable is None else f"{100 * one.detectable:.2f}"
    return [
        name,
        accuracy,
        shown(words.points(one.mean), one.mean, "mean difference", base),
        Html(f"{low} to {shown(words.points(high), high, 'interval high', base)}")
        if one.low is not None
        else words.NONE,
        shown(words.p_value(one.p), one.p, "p", base),
        shown(words.p_value(one.p_adjusted), one.p_adjusted, "adjusted p", base),
        verdict_html(one.verdict),
        wins,
        shown(detectable, one.detectable, "minimum detectable effect", base),
        shown(words.number(one.correlation, 2), one.correlation, "correlation", base),
        shown(str(one.failed), one.failed, "failed pairs", base),
    ]


def reading(analysis: Analysis, baseline: Name) -> Html:
    """What the columns are."""
    return paragraph(
        f"Differences are to {baseline}, in percentage points of accuracy, paired by seed: with one seed all losses"
        " start from the same weights and see the same batches. The interval is BCa, for its comparison alone; p is"
        f" of a sign-flip permutation test, after Holm over all {len(analysis.differences)} comparisons here. The"
        " probability of improvement is the share of seeds with which a loss scores higher. Detectable is the"
        " difference that so many seeds find with 80% probability. Correlation is of the paired scores: the higher,"
        " the more the pairing is worth. Point at a number to see the evaluations that it is made of.",
        "soft",
    )


def forest_panels(context: Context, analysis: Analysis, cells: Sequence[str]) -> Html:
    """A forest plot for each cell."""
    drawn: list[tuple[str, Html]] = []
    for cell in cells:
        rows = [
            Interval(
                context.names[each.loss].text,
                _points(each.mean),
                _points(each.low),
                _points(each.high),
                each.verdict,
                f"{words.points(each.mean)}  {each.verdict}",
            )
            for each in analysis.of(cell).values()
        ]
        if rows:
            label = f"Differences to {context.names[analysis.baseline]} on {cell}"
            drawn.append((cell, forest(label, rows, 100 * analysis.margin)))
    caption = (
        f"Dot: mean difference to {context.names[analysis.baseline]}; line: {100 * analysis.confidence:g}% interval;"
        f" grey band: ±{100 * analysis.margin:g} points, within which losses count as equivalent. Each panel has its"
        " own scale."
    )
    return joined((element("h3", "Forest plot of the differences"), paragraph(caption, "soft"), panels(drawn)))


def _points(difference: float | None) -> float | None:
    return None if difference is None else 100 * difference


def rank_part(context: Context, stage: Stage, analysis: Analysis, datasets: Sequence[str], cells: Cells) -> Html:
    """Ranks over data sets, with a critical-difference diagram where there are enough of them."""
    parts = [element("h3", "Ranks over data sets")]
    count, losses = len(datasets), len(analysis.ranks)
    ranks = sorted(analysis.ranks.items(), key=lambda pair: pair[1])
    shown: list[Html] = []
    for key, rank in ranks:
        rows = stage.traced(number for scores in cells.values() for number in scores[key].evaluations)
        text = context.trace.show(f"{rank:.2f}", rank, "mean rank", rows, loss=key)
        shown.append(Html(f"{context.names[key].html} {text}"))
    parts.append(paragraph(Html(f"Mean rank, 1 is best: {', '.join(shown)}.")))
    if analysis.critical_difference is None:
        parts.append(
            paragraph(
                f"There is no critical-difference diagram: the cells are of one data set ({', '.join(datasets)}), which"
                " counts once, since its cells are not independent; it takes at least two.",
                "note",
            )
        )
    else:
        diagram = rank_diagram(
            "Critical-difference diagram",
            [(context.names[key].text, rank) for key, rank in ranks],
            analysis.critical_difference,
        )
        caption = "Losses that a bar joins do not differ in rank at 5% (Nemenyi)."
        if analysis.critical_difference > losses - 1:
            caption += (
                f" With {count} data sets no two of {losses} losses can: their ranks differ by {losses - 1} at most,"
                f" and {analysis.critical_difference:.2f} would be needed."
            )
        if analysis.friedman is not None:
            caption += f" Are all alike? Friedman's p = {words.p_value(analysis.friedman)}."
        figure = element("figure", joined((diagram, element("figcaption", caption))), class_="single")
        parts.append(figure)
    tested = [
        f"{context.names[each.loss]} {words.points(each.mean)} points, p = {words.p_value(each.p_adjusted)} after Holm"
        for each in analysis.overall
        if each.p_adjusted is not None
    ]
    if tested:
        parts.append(paragraph(f"Over {count} data sets (Wilcoxon): {'; '.join(tested)}."))
    elif count > 1:
        parts.append(paragraph(f"Wilcoxon's test needs six data sets to reach 5%; here are {count}.", "soft"))
    return joined(parts)


def seeds_table(context: Context, stage: Stage, cell: str, scores: Mapping[str, Scores], seeds: Sequence[int]) -> Html:
    """Every accuracy, seed by seed."""
    columns = [Column("Seed", numeric=True), *(Column(context.names[key].html, numeric=True) for key in scores)]

    def shown(key: str, place: int) -> Html:
        value, number = scores[key].values[place], scores[key].evaluations[place]
        text = "failed" if value is None else words.percent(value)
        return context.trace.show(text, value, "accuracy", stage.traced([number]), place=cell, loss=key)

    rows = [[seed, *(shown(key, place) for key in scores)] for place, seed in enumerate(seeds)]
    return table(f"{cell}, seed by seed", columns, rows)


def training_curves(
    context: Context, stage: Stage, cells: Cells, wanted: Callable[[str], bool], split: str = "validation images"
) -> Html:
    """The accuracy while training, mean over the seeds, of some losses and the baseline."""
    drawn: list[tuple[str, Html]] = []
    styles: dict[str, object] = {}
    for cell, scores in cells.items():
        lines: list[Line] = []
        for key in filter(wanted, scores):
            if len(found := mean_curve(stage, scores[key])) > 1:
                name = context.names[key]
                steps, accuracy = zip(*found, strict=True)
                lines.append(Line(name.text, name.style, steps, [100 * value for value in accuracy]))
                styles[name.style] = name.html
        if lines:
            lines.sort(key=lambda line: line.style != "base")
            drawn.append((cell, line_panel(f"Training on {cell}", lines, "training steps", "accuracy, %")))
    if not drawn:
        return paragraph("There are no curves to draw: no training was recorded at two epochs or more.", "soft")
    note = (
        f"Accuracy on the {split} at the end of each epoch, mean over the seeds that trained to the end. No score is"
        " taken from these curves: what counts is after the last step."
    )
    return joined((paragraph(note, "soft"), swatches(styles.items()), panels(drawn)))


def mean_curve(stage: Stage, scores: Scores) -> list[tuple[int, float]]:
    """(step, mean validation accuracy) at the epochs that all seeds with a score have."""
    curves = [
        {point["step"]: point["validation_accuracy"] for point in stage.rows[number].curve}
        for number, value in zip(scores.evaluations, scores.values, strict=True)
        if value is not None
    ]
    common = set.intersection(*(set(curve) for curve in curves)) if curves else set()
    return [(step, sum(curve[step] for curve in curves) / len(curves)) for step in sorted(common)]
