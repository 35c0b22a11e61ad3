"""The stages between a search and its confirmation: elimination, and transfer."""

from __future__ import annotations

from lossmith.report import words
from lossmith.report.markup import Column, Html, element, joined, paragraph, table
from lossmith.report.study.comparison import (
    cell_table,
    forest_panels,
    rank_part,
    reading,
    training_curves,
)
from lossmith.report.study.contents import Elimination, Transfer
from lossmith.report.study.parts import Context, Part, folded, state_of, verdict_html
from lossmith.report.study.reading import Stage
from lossmith.report.transfer_text import too_few

_CELLS = 40  # of a transfer whose tables and panels are all shown; the CSV files hold every one


def elimination_part(context: Context) -> Part:
    stages = context.record.of_kind("elimination")
    parts: list[Html] = []
    for stage in stages:
        if len(stages) > 1:
            parts.append(element("h3", "Of the search" if stage is stages[0] else f"'{stage.name}'"))
        if isinstance(stage.result, Elimination):
            parts += _phases(context, stage, stage.result)
        else:
            parts.append(state_of(stage, context.record))
    return Part("elimination", "Elimination", "Elimination", joined(parts))


def _phases(context: Context, stage: Stage, result: Elimination) -> list[Html]:
    losses = {loss.key: loss for loss in result.losses}
    reached = {key: sum(key in phase.scores for phase in result.phases) for key in losses}
    place = {key: number for number, key in enumerate(result.finalists)}
    means = {key: [phase.scores[key].mean for phase in result.phases if key in phase.scores] for key in losses}

    def order(key: str) -> tuple[float, ...]:
        last = means[key][-1] if means[key] else None
        return (place.get(key, len(place)), -reached[key], -(last if last is not None else -1.0))

    columns = [Column("Loss"), Column("Fitness in the search", numeric=True)]
    columns += [Column(f"{phase.name}: {phase.task}", numeric=True) for phase in result.phases]
    columns.append(Column("Outcome"))
    rows: list[list[object]] = []
    for key in sorted(losses, key=order):
        row: list[object] = [context.names[key].html, _fitness(context, stage, result, key)]
        left = "finalist" if key in place else words.NONE
        for phase in result.phases:
            scores = phase.scores.get(key)
            if scores is None:
                row.append("")
                continue
            failed = sum(value is None for value in scores.values)
            text = f"{failed} failed" if scores.mean is None else words.percent(scores.mean)
            if len(scores.values) < len(phase.seeds):
                text += f" ({words.count(len(scores.values), 'seed')})"
            shown = context.trace.show(
                text,
                scores.mean,
                "mean accuracy",
                stage.traced(scores.evaluations),
                place=phase.name,
                loss=key,
            )
            row.append(element("strong", shown) if scores.kept else shown)
            if not scores.kept:
                left = f"left after {phase.name}"
        rows.append([*row, element("span", left, class_="whole")])
    seeds = "; ".join(
        f"{phase.name}: {words.count(len(phase.seeds), 'seed')} on '{phase.task}',"
        f" {sum(scores.kept for scores in phase.scores.values())} of {len(phase.scores)} went on"
        for phase in result.phases
    )
    text = (
        f"{words.count(len(losses), 'loss')} of {', '.join(source.name for source in result.sources)}, on validation"
        f" images that the search was not scored on. Phases: {seeds}. A loss that failed with a seed is never kept."
    )
    races = [(phase, phase.racing) for phase in result.phases if phase.racing is not None]
    if races:
        used, fixed = sum(race.trainings for _, race in races), sum(race.fixed_trainings for _, race in races)
        saved = f", about {words.duration(result.seconds_saved)} saved" if result.seconds_saved is not None else ""
        text += f" Racing used {used:,} trainings instead of {fixed:,}{saved}."
    finalists = ", ".join(context.names[key].text for key in result.finalists)
    caption = f"Mean validation accuracy; bold: went on. Finalists, the best first: {finalists}"
    classes = ["kept" if key in place else "" for key in sorted(losses, key=order)]
    return [paragraph(text), table(caption, columns, rows, classes)]


def _fitness(context: Context, stage: Stage, result: Elimination, key: str) -> Html:
    loss = next(each for each in result.losses if each.key == key)
    source = context.record.stage_in(result.sources[loss.source].directory)
    text = words.percent(loss.fitness)
    if source is None:
        return element("span", text, title=f"evaluation {loss.evaluation} of {result.sources[loss.source].directory}")
    rows = source.traced([loss.evaluation])
    return context.trace.show(text, loss.fitness, "accuracy", rows, loss=key)


def transfer_part(context: Context, stage: Stage | None) -> Part:
    place = ("transfer", "Transfer", "Transfer to other cells")
    if stage is None or not isinstance(stage.result, Transfer):
        return Part(*place, state_of(stage, context.record))
    result = stage.result
    trained = [cell for cell in result.cells if cell.error is None]
    scores = {cell.name: cell.scores for cell in trained}
    few = too_few(max((len(cell.seeds) for cell in trained), default=0), len(result.analysis.differences))
    parts: list[Html] = [
        paragraph(
            "Every loss in every cell, on validation images; the learning rate is the cell's own, tuned for none."
            " What stands out here is to be confirmed on test images."
        ),
        *(
            paragraph(f"Not trained: {cell.name}: {cell.error}", "note")
            for cell in result.cells
            if cell.error is not None
        ),
        _grid(context, stage, result),
        *([paragraph(few, "note")] if few else []),
        reading(result.analysis, context.names[result.baseline]),
        *(
            folded(f"{name}: all figures", cell_table(context, stage, result.analysis, name, own, "validation images"))
            for name, own in list(scores.items())[:_CELLS]
        ),
        forest_panels(context, result.analysis, list(scores)[:_CELLS]),
        rank_part(context, stage, result.analysis, list(dict.fromkeys(cell.dataset for cell in trained)), scores),
    ]
    if len(scores) > _CELLS:
        rest = len(scores) - _CELLS
        parts.append(
            paragraph(f"The details of {words.count(rest, 'more cell')} are in transfer.csv and scores.csv.", "note")
        )
    if context.record.config is None:
        parts += [element("h3", "Training curves"), training_curves(context, stage, scores, lambda key: True)]
    return Part(*place, joined(parts))


def _grid(context: Context, stage: Stage, result: Transfer) -> Html:
    """Losses x cells: differences to the baseline, with verdicts; its own accuracy first."""
    trained = [cell for cell in result.cells if cell.error is None]
    others = [loss.key for loss in result.losses if loss.key != result.baseline]
    columns = [Column("Cell"), Column(Html(f"{context.names[result.baseline].html}, accuracy"), numeric=True)]
    columns += [Column(Html(f"{context.names[key].html}, points"), numeric=True) for key in others]
    rows: list[list[object]] = []
    for cell in trained:
        found = result.analysis.of(cell.name)
        base = cell.scores[result.baseline]
        base_rows = stage.traced(base.evaluations)
        row: list[object] = [cell.name]
        row.append(
            context.trace.show(
                words.percent(base.mean), base.mean, "mean accuracy", base_rows, place=cell.name, loss=result.baseline
            )
        )
        for key in others:
            one = found[key]
            text = context.trace.show(
                words.points(one.mean),
                one.mean,
                "mean difference",
                stage.traced(cell.scores[key].evaluations),
                place=cell.name,
                loss=key,
                against=result.baseline,
                less=base_rows,
            )
            row.append(Html(f"{text}<br>{verdict_html(one.verdict)}"))
        rows.append(row)
    caption = f"Mean differences to {context.names[result.baseline]} in points of validation accuracy"
    return table(caption, columns, rows)
