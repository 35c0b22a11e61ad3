"""The search: its best losses, and the best so far beside that of the controls."""

from __future__ import annotations

import os
from pathlib import Path

from lossmith.report import sentences, words
from lossmith.report.markup import Column, Html, element, joined, paragraph, table
from lossmith.report.mathml import loss_of, mathml
from lossmith.report.record import Ranked
from lossmith.report.study.contents import Null
from lossmith.report.study.parts import Context, Part, state_of, swatches
from lossmith.report.study.pictures import Line, line_panel
from lossmith.report.study.reading import SEARCH, Stage
from lossmith.study import study

_BEST = 10  # losses in the table
_STYLES = {SEARCH: "k2", study.RANDOM: "k7", study.NULL: "k0"}
_LABELS = {SEARCH: "search", study.RANDOM: "random search", study.NULL: "cross-entropy with other seeds"}


def search_part(context: Context, out: Path) -> Part:
    """`out` is the report's directory, from which the search's own report is linked where it was written."""
    place = ("search", "Search", "The search")
    stage = context.record.stages[SEARCH]
    record = stage.record
    if record is None:
        return Part(*place, state_of(stage, context.record))
    parts = [paragraph(sentences.state_sentence(record, str(context.record.directory)), "state")]
    if not record.ranking:
        parts.append(paragraph("No loss has been trained on the search's own task yet."))
        return Part(*place, joined(parts))
    rows = [_row(context, stage, ranked) for ranked in record.ranking[:_BEST]]
    columns = [
        Column("Rank", numeric=True),
        Column("Loss", wide=True),
        Column("Validation accuracy", numeric=True),
        Column("Candidate", numeric=True),
    ]
    of, task = words.count(len(record.ranking), "loss"), record.config.task.name
    caption = f"The best {len(rows)} of {of} that trained on '{task}'"
    parts += [
        paragraph(sentences.optimism(record), "note"),
        _so_far(context),
        table(caption, columns, rows),
        _own_report(stage, out),
    ]
    return Part(*place, joined(parts))


def _row(context: Context, stage: Stage, ranked: Ranked) -> list[object]:
    drawn = mathml(loss_of(ranked.loss))
    text = element("code", ranked.loss.minimised)
    shown = joined((element("div", drawn, class_="formula", tabindex=0), text)) if drawn else text
    rows = stage.traced([ranked.evaluation.id])
    score = context.trace.show(words.percent(ranked.score), ranked.score, "accuracy", rows, loss=ranked.loss.key)
    return [ranked.rank, shown, score, words.NONE if ranked.candidate is None else ranked.candidate.number]


def best_so_far(stage: Stage) -> list[float]:
    """The best accuracy after each training on the search's own task, those before the first success left out."""
    if isinstance(stage.result, Null):
        scores = list(stage.result.values)
    elif stage.record is not None:
        own = stage.record.config.task.task_id
        scores = [row.score for row in stage.record.evaluations if row.key.task == own]
    else:
        scores = []
    found: list[float] = []
    for score in scores:
        if score is not None or found:
            found.append(max([*found[-1:], *([score] if score is not None else [])]))
    return found


def _so_far(context: Context) -> Html:
    lines: list[Line] = []
    for name, style in _STYLES.items():
        stage = context.record.get(name)
        if stage is not None and (best := best_so_far(stage)):
            label = f"{_LABELS[name]}: {words.percent(best[-1])}"
            lines.append(Line(label, style, range(1, len(best) + 1), [100 * each for each in best], steps=True))
    label = "Best validation accuracy so far"
    picture = line_panel(label, lines, "trainings on the search's own task", "best so far, %", cut=False)
    caption = element("figcaption", f"{label}, over trainings: equal compute stands above each other.")
    figure = element("figure", joined((picture, caption)), class_="single")
    return joined((swatches((line.style, line.label) for line in lines), figure))


def _own_report(stage: Stage, out: Path) -> Html:
    page = stage.directory / "report" / "index.html"
    if page.exists() and stage.directory.parent in out.parents:  # a report that lies elsewhere may travel alone
        own = element("a", "The report of the search", href=Path(os.path.relpath(page, out)).as_posix())
        return paragraph(Html(f"{own} shows every evaluation and the lineage of the best loss."))
    command = element("code", "lossmith report")
    text = f"{command} on the search's own directory shows every evaluation and the lineage of the best loss."
    return paragraph(Html(text), "soft")
