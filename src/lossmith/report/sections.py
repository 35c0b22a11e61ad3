"""The sections of a report, each a function of what the ledger held."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import plotly.graph_objects as go

from lossmith.ledger import LossRow
from lossmith.losses.build import loss as build_loss
from lossmith.report import figures, sentences, words
from lossmith.report.comparison import ComparisonView, LossView
from lossmith.report.cost import cost_of, rung_costs
from lossmith.report.curves import HIGH, LOW, shape
from lossmith.report.markup import Column, Html, element, escaped, facts, joined, paragraph, table
from lossmith.report.mathml import loss_of, mathml
from lossmith.report.record import Ranked, SearchRecord, Step
from lossmith.report.snapshot import Snapshot
from lossmith.search.candidate import Stage

BEST = 20  # losses in the table
_PANELS = 6  # losses whose curves are drawn
_NOTHING_TRAINED = "No loss has been trained on the search's own task yet."


@dataclass(frozen=True, slots=True)
class Section:
    """One section of the page."""

    place: str  # its id
    short: str  # its name in the navigation
    title: str
    content: Html
    figures: dict[str, str] = field(default_factory=dict)  # by the id of their place: what Plotly.newPlot takes


# -- header ------------------------------------------------------------------------------------------------------------


def header(snapshot: Snapshot, record: SearchRecord | None) -> Html:
    """What was run, how far it is, when, and with which versions."""
    kind = "Comparison of losses" if record is None else "Search for loss functions"
    versions = snapshot.sessions[-1].versions if snapshot.sessions else {}
    general = [
        ("started", words.moment(snapshot.created)),
        ("Lossmith", versions.get("lossmith", words.NONE)),
        ("PyTorch", versions.get("torch", words.NONE)),
    ]
    about: list[Html] = [paragraph(kind, class_="kind"), element("h1", snapshot.name)]
    if record is None:
        return joined((*about, facts(general)))
    config = record.config
    if config.search.method == "random":
        about[0] = paragraph("Random search for loss functions, the control of an evolution", class_="kind")
    about += [
        paragraph(sentences.state_sentence(record, str(snapshot.directory)), class_="state"),
        facts(
            [
                ("searched on", sentences.task_words(config.task)),
                ("screened on", sentences.task_words(config.screening)),
                ("data", config.task.data.source),
                ("seed", config.seed),
                ("random losses", f"{config.search.initial:,}"),
                ("population", f"{config.search.population:,}"),
                ("iterations", f"{config.search.iterations:,}"),
                *general,
            ]
        ),
    ]
    return joined(about)


# -- progress ----------------------------------------------------------------------------------------------------------


def progress(record: SearchRecord) -> Section:
    title = "Progress of the search"
    if not record.evaluations:
        return Section("progress", "Progress", title, paragraph("No evaluation has finished yet."))
    text = (
        "Every evaluation is a point. Screening is another, cheaper task, so its points compare only with each other."
        " The scale is logarithmic in the error (100% less the accuracy): the top, where the best losses differ, takes"
        " most of the room."
    )
    if len(record.evaluations) > figures.MAX_POINTS:
        text += f" Of {words.count(len(record.evaluations), 'evaluation')}, evenly spaced ones are drawn."
    baseline = record.baseline
    if baseline is None:
        text += " Cross-entropy was not trained on this task in this run, so no line stands for it."
    else:
        of = f", mean of {baseline.trainings} trainings" if baseline.trainings > 1 else ", one training"
        text += f" Cross-entropy reached {words.percent(baseline.score)} on the same task{of}."
    figure = figures.progress_figure(record)
    return _with_figures("progress", "Progress", title, {"progress-figure": (figure, title, text)})


# -- the best losses ---------------------------------------------------------------------------------------------------


def best(record: SearchRecord) -> Section:
    title = "Best losses"
    if not record.ranking:
        return Section("best", title, title, paragraph(_NOTHING_TRAINED))
    shown = record.ranking[:BEST]
    columns = [
        Column("Rank", numeric=True),
        Column("Loss", wide=True),
        Column("Validation accuracy", numeric=True),
        Column("NLL, nats", numeric=True),
        Column("ECE", numeric=True),
        Column("Candidate", numeric=True),
        Column("Parent", numeric=True),
        Column("Key"),
    ]
    rows = [_ranked_row(ranked) for ranked in shown]
    classes = ["first", *[""] * (len(shown) - 1)]
    if record.baseline is not None:
        note = f"cross-entropy, {words.count(record.baseline.trainings, 'training')}"
        rows.append(["", note, words.percent(record.baseline.score), *[words.NONE] * 5])
        classes.append("reference")
    caption = (
        f"The best {len(shown)} of {words.count(len(record.ranking), 'loss')} that trained on"
        f" '{record.config.task.name}'. NLL: negative log-likelihood; ECE: expected calibration error, 15 bins."
        " The parent of a random loss is the candidate that it was screened as."
    )
    parts = [paragraph(sentences.optimism(record), class_="note")]
    if line := sentences.python_line(shown[0].loss):
        code = element("code", f"import lossmith\n\ncriterion = {line}")
        parts += [
            paragraph("The best loss, in place of torch.nn.CrossEntropyLoss():"),
            element("pre", code, tabindex=0),
        ]
    return Section("best", title, title, joined((*parts, table(caption, columns, rows, classes))))


def _ranked_row(ranked: Ranked) -> list[object]:
    row, candidate = ranked.evaluation, ranked.candidate
    return [
        ranked.rank,
        formula_cell(ranked.loss),
        words.percent(ranked.score),
        words.number(row.nll),
        words.number(row.ece),
        words.NONE if candidate is None else candidate.number,
        words.NONE if candidate is None or candidate.parent is None else candidate.parent,
        element("code", ranked.loss.key, class_="whole"),
    ]


def formula_cell(loss: LossRow) -> Html:
    """A loss as MathML, and as text to copy: what is minimised, with its sign."""
    oriented = loss.minimised
    buttons = [_copy_button("Copy formula", oriented)]
    if line := sentences.python_line(loss):
        buttons.append(_copy_button("Copy Python", line))
    source = element("div", joined((element("code", oriented), *buttons)), class_="source")
    drawn = mathml(loss_of(loss))
    return joined((element("div", drawn, class_="formula"), source)) if drawn else source


def _copy_button(label: str, text: str) -> Html:
    return element("button", label, type="button", class_="copy", data_copy=text)


# -- curves ------------------------------------------------------------------------------------------------------------


def curves(record: SearchRecord) -> Section:
    title = "The best losses as two curves"
    place, short = "curves", "Curves"
    losses = [(ranked, loss) for ranked in record.ranking[:_PANELS] if (loss := loss_of(ranked.loss)) is not None]
    if not losses:
        return Section(place, short, title, paragraph(_NOTHING_TRAINED))
    text = (
        "For hard labels a loss is f1(p), taken at the target class, plus f0(p), taken at every other class, where p is"
        " the probability that the network gives the class. What training cannot see is taken out: a straight line"
        " added to both curves (softmax cancels it), so that f0 begins and ends at 0; a constant, so that f1 ends at 0;"
        f" and a positive factor, so that the taller of the two spans 1 between p = {LOW} and p = {HIGH}, which is what"
        " is shown. Losses that look alike here train alike, learning rate aside."
    )
    shapes = [shape(loss) for _, loss in losses]
    baseline = shape(build_loss("cross_entropy"))
    bounds = figures.curve_range([*shapes, baseline])
    panels: list[Html] = []
    drawn: dict[str, str] = {}
    for (ranked, _), its_shape in zip(losses, shapes, strict=True):
        panel = f"curve-{ranked.rank}"
        drawn[panel] = figures.figure_json(figures.curve_figure(its_shape, baseline, bounds), buttons=False)
        label = f"The two curves of the loss of rank {ranked.rank}, and of cross-entropy"
        gap = "" if its_shape.complete else " Not finite everywhere: the curves have gaps there."
        panels.append(
            element(
                "figure",
                joined(
                    (
                        element("figcaption", joined((_panel_title(ranked), escaped(gap)))),
                        element("div", class_="plot", id=panel, role="img", aria_label=label),
                    )
                ),
            )
        )
    content = joined((paragraph(text), _LEGEND, element("div", joined(panels), class_="panels")))
    return Section(place, short, title, content, drawn)


def _panel_title(ranked: Ranked) -> Html:
    drawn = mathml(loss_of(ranked.loss))
    shown = drawn or element("code", words.truncated(ranked.loss.formula, 200))
    heading = f"Rank {ranked.rank}, {words.percent(ranked.score)}"
    return joined((element("strong", heading), element("div", shown, class_="formula", tabindex=0)))


def _key(colour: str, dash: str, text: str) -> str:
    line = f'<line x1="1" y1="4" x2="33" y2="4" stroke="{colour}" stroke-width="2.5" stroke-dasharray="{dash}"/>'
    return f'<li><svg viewBox="0 0 34 8" aria-hidden="true">{line}</svg>{text}</li>'


_LEGEND = element(
    "ul",
    Html(
        _key(figures.LOSS_COLOUR, "", "f1, target class")
        + _key(figures.LOSS_COLOUR, "5 3", "f0, each other class")
        + _key(figures.BASELINE_COLOUR, "", "f1 of cross-entropy")
        + _key(figures.BASELINE_COLOUR, "5 3", "f0 of cross-entropy")
    ),
    class_="legend",
)


# -- lineage -----------------------------------------------------------------------------------------------------------


def lineage(record: SearchRecord) -> Section:
    title = "Lineage of the best loss"
    if not record.ranking:
        return Section("lineage", "Lineage", title, paragraph(_NOTHING_TRAINED))
    steps = record.lineage(record.ranking[0])
    mutations = sum(step.candidate.mutation is not None for step in steps)
    text = (
        f"From a random loss to the best one: {words.count(mutations, 'mutation')}."
        " h0, h1, ... and root are the nodes of its graph."
    )
    items = (element("li", _step(record, step)) for step in steps)
    content = joined((paragraph(text), element("ol", joined(items), class_="lineage")))
    return Section("lineage", "Lineage", title, content)


def _step(record: SearchRecord, step: Step) -> Html:
    candidate, evaluation = step.candidate, step.evaluation
    if candidate.mutation is not None:
        change = words.mutation_words(candidate.mutation)
    elif candidate.stage == Stage.SCREENING:
        change = "random loss, screened"
    elif candidate.stage == Stage.RANDOM:
        change = "random loss"
    else:
        change = "the same loss, on the search's own task"
    task = record.config.screening if candidate.stage == Stage.SCREENING else record.config.task
    if evaluation is None:
        fitness = "not evaluated yet"
    elif evaluation.score is None:
        fitness = f"did not train: {evaluation.reason.message}"
    else:
        fitness = f"{words.percent(evaluation.score)} on '{task.name}'"
    heading = Html(f"{element('strong', f'Candidate {candidate.number}')}: {escaped(change)}. {escaped(fitness)}")
    parts = [paragraph(heading, class_="change")]
    if candidate.stage != Stage.SELECTION:
        parts.append(formula_cell(step.loss))
    return joined(parts)


# -- verdicts ----------------------------------------------------------------------------------------------------------


def verdicts(record: SearchRecord) -> Section:
    title = "Verdicts"
    total = sum(record.verdicts.values())
    refused = sum(record.refused.values())
    columns = [
        Column("Verdict"),
        Column("Count", numeric=True),
        Column("Share", numeric=True),
        Column("Meaning", wide=True),
    ]
    evaluated = [
        [element("code", reason.value, class_="whole"), f"{count:,}", words.percent(count / total, 1), reason.message]
        for reason, count in record.verdicts.most_common()
    ]
    drafts = [
        [
            element("code", reason, class_="whole"),
            f"{count:,}",
            words.percent(count / refused, 1),
            words.reason_message(reason),
        ]
        for reason, count in record.refused.most_common()
    ]
    parts = [
        element("h3", "Of evaluations"),
        table(f"{words.count(total, 'evaluation')} of the search, by verdict", columns, evaluated)
        if evaluated
        else paragraph("No evaluation has finished yet."),
        element("h3", "Of drafts, before any training"),
        table(f"{words.count(refused, 'draft')} refused before training, by reason", columns, drafts)
        if drafts
        else paragraph("No draft was refused."),
    ]
    return Section("verdicts", title, title, joined(parts))


# -- comparisons -------------------------------------------------------------------------------------------------------


def comparisons(views: Sequence[ComparisonView]) -> Section:
    title = "Comparisons with fresh seeds" if len(views) > 1 else "Comparison with fresh seeds"
    contents: list[Html] = []
    drawn: dict[str, str] = {}
    for number, view in enumerate(views, start=1):
        place = f"comparison-{number}"
        figure, caption = figures.comparison_figure(view), _comparison_caption(view)
        drawn[place] = figures.figure_json(figure)
        contents += [
            element("h3", f"Task '{view.task}', {view.split} split, {words.count(len(view.seeds), 'seed')}"),
            paragraph(view.sentence, class_="finding"),
            _comparison_table(view),
            _figure(place, figure, "Paired differences to the baseline", caption),
            element("details", joined((element("summary", "Every seed's accuracy"), _seed_table(view)))),
        ]
    return Section("comparison", "Comparison", title, joined(contents), drawn)


def _comparison_caption(view: ComparisonView) -> str:
    return (
        f"Each small point is one seed: the loss's accuracy less that of {view.baseline_loss.label}, both trained from"
        " the same initial weights on the same batches. The diamond is their mean, with its interval."
    )


def _comparison_table(view: ComparisonView) -> Html:
    columns = [
        Column("Loss"),
        Column("Accuracy, mean ± SD", numeric=True),
        Column("Failed", numeric=True),
        Column("Difference, points", numeric=True),
        Column("Interval, points", numeric=True),
        Column("p", numeric=True),
        Column("p, adjusted", numeric=True),
        Column("Pairs", numeric=True),
        Column("Verdict", wide=True),
    ]
    caption = (
        f"Accuracy on the {view.split} split over {words.count(len(view.seeds), 'seed')}. Differences are paired, to"
        f" {view.baseline_loss.label}, in percentage points, with {100 * view.confidence:.0f}% intervals; p is of a"
        " sign-flip permutation test, adjusted after Holm for the number of losses."
    )
    return table(caption, columns, [_compared_row(loss) for loss in view.losses])


def _compared_row(loss: LossView) -> list[object]:
    name = joined((element("div", loss.label), element("code", loss.formula)))
    spread = words.NONE if loss.mean is None else f"{words.percent(loss.mean)} ± {words.percent(loss.sd)}"
    head = [name, spread, loss.failed]
    difference = loss.difference
    if difference is None:
        return [*head, *[words.NONE] * 5, loss.verdict]
    return [
        *head,
        words.points(difference.mean),
        f"{words.points(difference.low)} to {words.points(difference.high)}",
        words.p_value(difference.p),
        words.p_value(difference.p_adjusted),
        difference.n,
        loss.verdict,
    ]


def _seed_table(view: ComparisonView) -> Html:
    columns = [Column("Seed", numeric=True), *(Column(loss.label, numeric=True) for loss in view.losses)]
    scores = zip(*(loss.scores for loss in view.losses), strict=True)
    rows = [
        [seed, *(words.percent(score) if score is not None else "failed" for score in of_seed)]
        for seed, of_seed in zip(view.seeds, scores, strict=True)
    ]
    return table(f"Accuracy on the {view.split} split, seed by seed", columns, rows)


# -- cost --------------------------------------------------------------------------------------------------------------


def cost(snapshot: Snapshot) -> Section:
    its_cost = cost_of(snapshot)
    record = SearchRecord.of(snapshot)
    rungs = [] if record is None else sentences.rung_facts(rung_costs(record))
    columns = [
        Column("Session", numeric=True),
        Column("Started"),
        Column("Evaluations", numeric=True),
        Column("Training steps", numeric=True),
        Column("Training", numeric=True),
        Column("Wall time", numeric=True),
        Column("Workers", numeric=True),
        Column("Outside training", numeric=True),
        Column("Command", wide=True),
    ]
    rows: list[list[object]] = [
        [
            one.session.id,
            element("span", words.moment(one.session.started), class_="whole"),
            f"{one.evaluations:,}",
            f"{one.steps:,}",
            words.duration(one.training_seconds),
            words.duration(one.session.seconds),
            one.session.workers,
            words.percent(one.overhead, 1),
            element("code", one.session.command),
        ]
        for one in its_cost.sessions
    ]
    content = joined(
        (
            paragraph(sentences.overhead_sentence(its_cost), class_="big"),
            paragraph(
                "The share of the workers' time that was not training: start-up, waiting, choosing candidates, writing."
                " 1 - training seconds / (workers x wall seconds)."
            ),
            facts(sentences.cost_facts(its_cost) + rungs),
            table("Each session is one process that wrote this run", columns, rows)
            if rows
            else paragraph("No process has written this run yet."),
        )
    )
    return Section("cost", "Cost", "Cost", content)


# -- figures -----------------------------------------------------------------------------------------------------------


def _with_figures(place: str, short: str, title: str, drawn: dict[str, tuple[go.Figure, str, str]]) -> Section:
    """A section of figures; `drawn` has for each id the figure, its label, and its caption."""
    content = joined(_figure(key, figure, label, caption) for key, (figure, label, caption) in drawn.items())
    data = {key: figures.figure_json(figure) for key, (figure, _, _) in drawn.items()}
    return Section(place, short, title, content, data)


def _figure(place: str, figure: go.Figure, label: str, caption: str) -> Html:
    # the height is kept free, so that nothing moves when the figure is drawn
    style = f"height:{figure.layout.height}px"
    plot = element("div", class_="plot", id=place, role="img", aria_label=label, style=style)
    return element("figure", joined((plot, element("figcaption", caption))))
