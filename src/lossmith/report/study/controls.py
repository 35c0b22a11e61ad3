"""The controls at equal compute: what luck alone reaches, and what drawing at random does."""

from __future__ import annotations

import statistics

from lossmith.report import words
from lossmith.report.markup import Column, Html, element, joined, paragraph, table
from lossmith.report.study.comparison import cell_table
from lossmith.report.study.contents import Confirmation, Null
from lossmith.report.study.parts import Context, Part, state_of
from lossmith.report.study.pictures import histogram
from lossmith.report.study.reading import SEARCH, Stage
from lossmith.study import study


def controls_part(context: Context) -> Part:
    """The luck floor, the random search, and the candidates against the random search's best."""
    record = context.record
    parts: list[Html] = [element("h3", "The luck floor")]
    null = next(iter(record.of_kind("null")), None)
    if null is not None and isinstance(null.result, Null):
        parts.append(_floor(context, null, null.result))
    else:
        parts.append(state_of(null, record))
    if record.config is not None:
        parts.append(element("h3", "Random search at equal compute"))
        random = record.get(study.RANDOM)
        parts.append(_random(context, record.stages[SEARCH], random) if _has_best(random) else state_of(random, record))
        if isinstance(record.confirmation, Confirmation):
            parts += _against(context, record.confirmation)
    return Part("controls", "Controls", "Controls: luck, and random search", joined(parts))


def _floor(context: Context, stage: Stage, result: Null) -> Html:
    scores = [value for value in result.values if value is not None]
    pairs = list(zip(result.evaluations, result.values, strict=True))
    every = stage.traced(result.evaluations)
    trace, task = context.trace, result.task
    if not scores:
        return paragraph("No training of cross-entropy succeeded, so there is no floor.", "note")
    top = max(scores)
    reached = sum(score >= result.search_best for score in scores)
    best = stage.traced([next(number for number, value in pairs if value == top)])
    mean = statistics.fmean(scores)
    shown_reached = trace.show(str(reached), reached, "trainings that reach the search's best", every, place=task)
    shown_best = trace.show(words.percent(top), top, "accuracy", best, place=task)
    shown_mean = trace.show(words.percent(mean), mean, "mean accuracy", every, place=task)
    says = (
        "luck alone can explain the fitness of the search's best; whether it is better, fresh seeds say."
        if reached
        else "the fitness of the search's best is more than luck gave. That its loss is better does not follow: that is"
        " for fresh seeds to say."
    )
    text = Html(
        f"Every candidate of a null search is cross-entropy, with another seed. Of {len(result.values):,} trainings on"
        f" the search's own task, as many as the search had, the mean is {shown_mean} and the best {shown_best}."
        f" The best fitness of the search is {words.percent(result.search_best)}: {shown_reached} of them reach it, so"
        f" {says}"
    )
    marks = [("best of cross-entropy", 100 * top, "k0"), ("best of the search", 100 * result.search_best, "k2")]
    random = context.record.get(study.RANDOM)
    if random is not None and random.record is not None and random.record.ranking:
        marks.append(("best of random search", 100 * random.record.ranking[0].score, ""))
    picture = histogram(
        "Scores of cross-entropy with other seeds", [100 * score for score in scores], marks, "validation accuracy, %"
    )
    caption = f"{words.count(len(scores), 'training')} of cross-entropy that differ in their seed alone."
    failed = len(result.values) - len(scores)
    if failed:
        caption += f" {failed} more failed."
    return joined(
        (paragraph(text), element("figure", joined((picture, element("figcaption", caption))), class_="single"))
    )


def _has_best(stage: Stage | None) -> bool:
    return stage is not None and stage.done and stage.record is not None and bool(stage.record.ranking)


def _random(context: Context, search: Stage, random: Stage | None) -> Html:
    rows: list[list[object]] = []
    for stage in (search, random):
        if stage is None or stage.record is None or not stage.record.ranking:
            continue
        own = [row for row in stage.record.evaluations if row.key.task == stage.record.config.task.task_id]
        best = stage.record.ranking[0]
        task = stage.record.config.task.name
        score = context.trace.show(
            words.percent(best.score),
            best.score,
            "accuracy",
            stage.traced([best.evaluation.id]),
            place=task,
            loss=best.loss.key,
        )
        count = context.trace.show(
            f"{len(own):,}", len(own), "number of trainings", stage.traced(row.id for row in own), place=task
        )
        rows.append([stage.name, score, count, element("code", words.truncated(best.loss.formula, 160))])
    columns = [
        Column("Search"),
        Column("Best fitness", numeric=True),
        Column("Trainings on its task", numeric=True),
        Column("Its best loss", wide=True),
    ]
    note = (
        "Each fitness is the best of many single trainings, with another seed for each of the two searches, so part of"
        " their difference is luck. The best of both go through the same elimination and the same confirmation."
    )
    return joined((table("Best of each search", columns, rows), paragraph(note, "soft")))


def _against(context: Context, result: Confirmation) -> list[Html]:
    """The candidates against each control in the baseline's place, on the test images."""
    stage = next(iter(context.record.of_kind("confirmation")))
    parts: list[Html] = []
    candidates = {loss.key for loss in result.losses if loss.role == "candidate"}
    for control, analysis in result.controls.items():
        parts.append(element("h3", Html(f"Against the control {context.names[control].html}, on the test images")))
        for cell in result.cells:
            scores = {key: own for key, own in cell.scores.items() if key in candidates or key == control}
            parts.append(cell_table(context, stage, analysis, cell.name, scores, "test images"))
    if parts:
        note = "What evolution gains over chance. A family of comparisons of its own, over which Holm corrects."
        parts.append(paragraph(note, "soft"))
    elif result.controls == {}:
        parts.append(paragraph("The confirmation has no control: no random search's loss was registered.", "soft"))
    return parts
