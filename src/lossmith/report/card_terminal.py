"""A loss card on the terminal, within 80 columns."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lossmith.losses import card_words
from lossmith.losses.card import ForClasses, LossCard
from lossmith.report import words
from lossmith.report.card import BASELINE_NAME, CardView, drawn_scale, scaled
from lossmith.report.card_evidence import ACCURACY, NLL, Evidence, Measured
from lossmith.report.card_svg import value_range
from lossmith.report.plot import CurvePlot

_WIDTH, _HEIGHT = 30, 6  # of a plot, in characters


def card_text(view: CardView) -> RenderableType:
    """Everything on a card, for rich to print."""
    made = view.card
    parts: list[RenderableType] = [Text(made.name, "bold"), _identity(view)]
    parts += [_sentences(made)]
    parts += [_by_classes(made), _bounds(made), _plots(view), _numbers(made), *_evidence(view)]
    return Group(*(Padding(part, (0, 0, 0 if place == len(parts) - 1 else 1, 0)) for place, part in enumerate(parts)))


def _identity(view: CardView) -> Table:
    made = view.card
    pairs = [
        ("minimised", made.formula),
        ("LaTeX", made.latex),
        ("expression key", made.key),
        ("orientation", made.orientation),
        ("label smoothing", f"{made.label_smoothing:g}" if made.label_smoothing else ""),
        ("known as", made.published if made.published != made.name else ""),
        ("source", made.reference),
        ("note", made.note),
        *(((name.replace("_", " ")), value) for name, value in made.provenance),
        ("in Python", view.python),
    ]
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in pairs:
        if value:
            grid.add_row(Text(name), Text(value))
    return grid


def _sentences(made: LossCard) -> RenderableType:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for sentence in made.warnings:
        grid.add_row(Text("!", "bold yellow"), Text(sentence, "yellow"))
    for sentence in made.findings:
        grid.add_row(Text("-", "dim"), Text(sentence))
    return Group(Text("What to know", "bold"), grid)


# -- tables ------------------------------------------------------------------------------------------------------------


def _by_classes(made: LossCard) -> RenderableType:
    table = _table(
        "By number of classes",
        ("classes", "least at p_t", BASELINE_NAME, "from p_t = 1/K", "SGD rate", "gradient up to"),
        right=(0, 1, 2, 4, 5),
    )
    for row in made.by_classes:
        table.add_row(
            f"{row.classes:,}",
            card_words.probability(row.optimum),
            "1",
            Text(start_text(row)),
            card_words.factor(row.scale),
            card_words.gradient_text(row),
        )
    note = (
        "p_t: probability of the true class, the others sharing the rest evenly. SGD rate: what to multiply a learning"
        f" rate tuned for {BASELINE_NAME} by. Gradient: its norm in the logits, one example; {BASELINE_NAME} 1.41."
    )
    return Group(table, Text(note, "dim"))


def start_text(row: ForClasses) -> str:
    """What the loss does on the way from p_t = 1/K to its optimum."""
    if math.isnan(row.descent):
        return "not finite"
    if row.descent == 0:
        return "flat"
    if row.descent > 0:
        return "rises: wrong way"
    if row.rises_at is not None:
        return f"falls to {card_words.probability(row.rises_at)} only"
    return "falls"


def _bounds(made: LossCard) -> RenderableType:
    table = _table("Range of one example's loss", ("classes", "least", "most"), right=(0,))
    for row in made.by_classes:
        table.add_row(f"{row.classes:,}", card_words.bound_text(row.infimum), card_words.bound_text(row.supremum))
    return table


def _numbers(made: LossCard) -> RenderableType:
    extremes = _table(
        f"Logits of +-1e4 in float32, {made.typical:,} classes", ("case", "value", "gradient"), right=(1, 2)
    )
    for one in made.extremes:
        extremes.add_row(one.case, card_words.number(one.value), card_words.number(one.gradient))
    precision = _table(
        "Error of the gradient at ordinary logits", ("computed in", "this loss", BASELINE_NAME), right=(1, 2)
    )
    for each in made.precision:
        precision.add_row(each.setting, error_text(each.error), error_text(each.baseline))
    noise = Text.assemble(("Label noise: ", "bold"), card_words.symmetry_text(made.asymmetry))
    return Group(extremes, Text(), precision, Text(), noise)


def error_text(error: float) -> str:
    return "not finite" if math.isnan(error) else f"{card_words.number(100 * error, 2)}%"


def _table(title: str, names: Sequence[str], *, right: Sequence[int]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for place, name in enumerate(names):
        table.add_column(name, justify="right" if place in right else "left", overflow="fold")
    return table


# -- plots -------------------------------------------------------------------------------------------------------------


def _plots(view: CardView) -> RenderableType:
    made = view.card
    factor = drawn_scale(view, made.typical)
    line = next(line for line in made.lines if line.classes == made.typical)
    pull, baseline = scaled(line.pull, factor), tuple(1 - p for p in line.p)
    rows: list[tuple[str, Sequence[float], Sequence[float]]] = []
    if made.curves is not None:
        base = made.baseline_curves
        rows += [
            ("f1(p), the target class", scaled(made.curves.target, factor), base.target),
            ("f0(p), each other class", scaled(made.curves.others, factor), base.others),
        ]
    else:
        rows.append(("value along p_t", scaled(line.value, factor), tuple(-math.log(p) for p in line.p)))
    rows.append(("pull on the true class", pull, baseline))
    note = (
        f"With {made.typical:,} classes, and times {card_words.number(factor, 2)}, so that the first steps are as large"
        f" as {BASELINE_NAME}'s. Pull: -d loss / d z_t; above 0 the true class is pushed up."
    )
    drawn: list[RenderableType] = [Text(note, "dim")]
    for title, own, other in rows:
        low, high = value_range([own, other])
        pair = [
            Group(Text(title, "bold"), CurvePlot(own, low, high, "cyan", _WIDTH, _HEIGHT)),
            Group(Text(BASELINE_NAME, "bold"), CurvePlot(other, low, high, "magenta", _WIDTH, _HEIGHT)),
        ]
        drawn.append(Columns(pair, padding=(0, 2)))
    return Group(Text(f"Beside {BASELINE_NAME}", "bold"), *drawn)


# -- evidence ----------------------------------------------------------------------------------------------------------


def _evidence(view: CardView) -> list[RenderableType]:
    if not view.sought:
        return []
    if not view.evidence:
        return [Text(missing_text(view))]
    return [_one(evidence) for evidence in view.evidence]


def missing_text(view: CardView) -> str:
    return f"No evaluation of this loss in {', '.join(view.sought)}."


def _one(evidence: Evidence) -> RenderableType:
    table = _table("", ("", "this loss", BASELINE_NAME, "difference", "95% interval"), right=(1, 2, 3, 4))
    for one in evidence.measured:
        table.add_row(*measured_texts(one))
    return Group(Text.assemble(("Evidence  ", "bold"), evidence.sentence), table)


def measured_texts(one: Measured) -> tuple[str, str, str, str, str]:
    """(name and unit, this loss, cross-entropy, difference, interval); accuracy and ECE in percent."""
    percent = one.name != NLL
    unit = 100 if percent else 1
    digits = 2 if percent else 4

    def shown(value: float | None, sign: str = "") -> str:
        return words.NONE if value is None else f"{unit * value:{sign}.{digits}f}"

    name = {ACCURACY: "accuracy, %", NLL: "NLL, nats"}.get(one.name, "ECE, %")
    difference = one.difference
    if difference is None:
        return name, shown(one.mean), shown(one.baseline), words.NONE, words.NONE
    interval = f"{shown(difference.low, '+')} to {shown(difference.high, '+')}"
    return name, shown(one.mean), shown(one.baseline), shown(difference.mean, "+"), interval
