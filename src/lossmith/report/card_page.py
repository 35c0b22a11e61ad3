"""A loss card as one HTML page: no network, no script, readable on a phone, in dark and in light."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

from lossmith.files import write_atomically
from lossmith.losses import card_words
from lossmith.losses.card import ForClasses, LossCard
from lossmith.report import frame
from lossmith.report.card import BASELINE_NAME, CardView, drawn_scale, scaled
from lossmith.report.card_svg import Series, line_plot, swatch
from lossmith.report.card_terminal import error_text, measured_texts, missing_text, start_text
from lossmith.report.markup import Column, Html, element, escaped, facts, joined, paragraph, table
from lossmith.report.mathml import mathml_of
from lossmith.version import __version__

_COLOURS = 6  # classes `k0` to `k5` of the style sheet


def write_card(view: CardView, path: Path) -> Path:
    """Write the page; gives `path`.

    Raises:
        RunError: the file cannot be written.
    """
    return write_atomically(path, page(view))


def page(view: CardView) -> bytes:
    """The page's HTML, in UTF-8."""
    sections = [
        ("know", "What to know", _sentences(view.card)),
        ("classes", "By number of classes", _by_classes(view.card)),
        ("curves", f"Beside {BASELINE_NAME}", _figures(view)),
        ("numbers", "Range, noise and precision", _numbers(view.card)),
        *([("evidence", "Evidence", _evidence(view))] if view.sought else []),
        *([("use", "Use it", _use(view.python))] if view.python else []),
    ]
    return frame.page(
        f"{_title(view.card)} - loss card",
        style="card.css",
        header=_header(view.card),
        sections=joined(frame.section(*section) for section in sections),
        footer=paragraph(f"Made by Lossmith {__version__}. Nothing on this page is loaded from a network."),
    )


def typeset(text: str) -> Html:
    """A text of a card as HTML, with its ASCII mathematics as a book would print it."""
    written = escaped(text)
    for plain, typeset_as in (
        ("p_t", "<i>p<sub>t</sub></i>"),
        ("z_t", "<i>z<sub>t</sub></i>"),
        ("-&gt;", "→"),
        ("+-1e4", "±10<sup>4</sup>"),
    ):
        written = written.replace(plain, typeset_as)
    return Html(
        re.sub(r"(?<![\w.])x (?=\d)", "&times; ", re.sub(r"(?<![\w.])(\d+(?:\.\d+)?)e(-?\d+)\b", _power, written))
    )


def _power(match: re.Match[str]) -> str:
    mantissa = "" if match[1] == "1" else f"{match[1]}·"
    return f"{mantissa}10<sup>{match[2].replace('-', '&minus;')}</sup>"


def _title(made: LossCard) -> str:
    return made.name if len(made.name) <= 60 else f"{made.name[:57]}..."


def _header(made: LossCard) -> Html:
    drawn = mathml_of(made.latex)
    named = made.name != made.formula
    pairs: list[tuple[object, object]] = [
        ("known as", made.published if made.published != made.name else ""),
        ("source", made.reference),
        ("expression key", element("code", made.key, class_="whole") if made.key else ""),
        ("orientation", made.orientation),
        ("label smoothing", f"{made.label_smoothing:g}" if made.label_smoothing else ""),
        *((name.replace("_", " "), value) for name, value in made.provenance),
    ]
    parts = [
        paragraph("Loss card", class_="kind"),
        element("h1", made.name if named else _title(made)),
        element("div", drawn, class_="formula big-formula", tabindex=0) if drawn else Html(""),
        element("p", joined((element("code", made.formula), escaped(" minimised, summed over the classes"))))
        if made.curves is not None
        else element("p", joined((element("code", made.formula), escaped(" minimised")))),
        paragraph(made.note) if made.note else Html(""),
        facts((name, value) for name, value in pairs if value),
    ]
    return joined(parts)


def _sentences(made: LossCard) -> Html:
    warnings = [element("li", typeset(sentence), class_="warning") for sentence in made.warnings]
    findings = [element("li", typeset(sentence)) for sentence in made.findings]
    return element("ul", joined((*warnings, *findings)), class_="sentences")


def _by_classes(made: LossCard) -> Html:
    names = (
        "Classes K",
        "Least at p_t",
        f"{BASELINE_NAME.capitalize()}",
        "From p_t = 1/K",
        "SGD rate",
        "Gradient up to",
    )
    columns = [Column(typeset(name), numeric=place != 3) for place, name in enumerate(names)]
    rows = [
        [
            f"{row.classes:,}",
            card_words.probability(row.optimum),
            "1",
            start_text(row),
            card_words.factor(row.scale),
            card_words.gradient_text(row),
        ]
        for row in made.by_classes
    ]
    text = (
        "p_t is the probability of the true class; the others share the rest evenly. SGD rate: what to multiply a"
        f" learning rate tuned for {BASELINE_NAME} by, so that the first steps are as large. Gradient: the norm of one"
        f" example's gradient in the logits, the largest found ({BASELINE_NAME}: 1.41)."
    )
    cells = [[typeset(cell) for cell in row] for row in rows]
    return joined(
        (
            paragraph(typeset(text)),
            table("What depends on the number of classes", columns, cells, list(map(_marks, made.by_classes))),
        )
    )


def _marks(row: ForClasses) -> str:
    """The CSS classes that mark what is wrong in a row."""
    marks = ["poor"] if row.optimum < card_words.UNSURE else []
    if not row.descent < 0 or row.rises_at is not None:
        marks.append("wrong-way")
    if not row.gradient_bounded:
        marks.append("unbounded")
    return " ".join(marks)


# -- figures -----------------------------------------------------------------------------------------------------------


def _figures(view: CardView) -> Html:
    made = view.card
    factor = drawn_scale(view, made.typical)
    text = (
        f"Drawn times the SGD rate ({card_words.number(factor, 2)} with {made.typical:,} classes), so that the first"
        f" steps are as large as {BASELINE_NAME}'s."
    )
    panels: list[Html] = []
    own, base = made.curves, made.baseline_curves
    if own is not None:
        text += (
            " For hard labels the loss is f1(p) of the target class plus f0(p) of every other, where p is the"
            " probability of the class; its gradient in the logits is made of p f1'(p) and p f0'(p)."
        )
        for title, values, other in (
            ("f1(p), of the target class", own.target, base.target),
            ("f0(p), of every other class", own.others, base.others),
            ("p f1'(p), its slope in ln p", own.target_slope, base.target_slope),
            ("p f0'(p), its slope in ln p", own.others_slope, base.others_slope),
        ):
            series = [
                Series(base.p, other, "base", BASELINE_NAME),
                Series(own.p, scaled(values, factor), "own", "this loss"),
            ]
            panels.append(_panel(title, line_plot(f"{title}, beside {BASELINE_NAME}", series, "probability p", "")))
    else:
        text += (
            " This loss is no sum over the classes, so it has no curves; its value along the even line stands for them."
        )
    panels = [_line_panel(view, "pull"), *panels, _line_panel(view, "value")]
    entries = (swatch("own", "this loss"), swatch("base", BASELINE_NAME)) if own is not None else ()
    legend = element("ul", joined(entries), class_="legend")
    return joined((paragraph(typeset(text)), legend, element("div", joined(panels), class_="panels card-panels")))


def _line_panel(view: CardView, what: str) -> Html:
    made = view.card
    lines = made.lines[:_COLOURS]
    first = lines[0].p
    pull = what == "pull"
    baseline = tuple(1 - p if pull else -math.log(p) for p in first)
    series = [Series(first, baseline, "base", BASELINE_NAME)]
    entries = [swatch("base", BASELINE_NAME)]
    for place, line in enumerate(lines):
        values = line.pull if pull else _from_end(line.value)
        label = f"{line.classes:,} classes"
        series.append(Series(line.p, scaled(values, drawn_scale(view, line.classes)), f"k{place}", label))
        entries.append(swatch(f"k{place}", label))
    if pull:
        title = "Pull on the true class, -d loss / d z_t: above 0 it is pushed up"
    else:
        title = "Loss along the even line, less its value at p_t = 0.99"
    plot = line_plot(title, series, "probability p of the true class", "")
    return _panel(title, joined((plot, element("ul", joined(entries), class_="legend"))))


def _from_end(values: Sequence[float]) -> tuple[float, ...]:
    last = values[-1] if math.isfinite(values[-1]) else 0.0
    return tuple(value - last for value in values)


def _panel(title: str, content: Html) -> Html:
    return element("figure", joined((element("figcaption", typeset(title)), element("div", content))))


# -- numbers -----------------------------------------------------------------------------------------------------------


def _numbers(made: LossCard) -> Html:
    bounds = table(
        "Range of one example's loss on the even line, looked at up to logits that are 1e6 apart.",
        [Column("Classes K", numeric=True), Column("Least"), Column("Most")],
        [
            [
                f"{row.classes:,}",
                typeset(card_words.bound_text(row.infimum)),
                typeset(card_words.bound_text(row.supremum)),
            ]
            for row in made.by_classes
        ],
    )
    extremes = table(
        f"At extreme logits, in float32 with {made.typical:,} classes: the value, and the norm of the gradient.",
        [Column("Case"), Column("Value", numeric=True), Column("Gradient", numeric=True)],
        [
            [typeset(one.case), typeset(card_words.number(one.value)), typeset(card_words.number(one.gradient))]
            for one in made.extremes
        ],
    )
    precision = table(
        "Error of the gradient against float64: the largest of one example at normal logits of standard deviation 3, in"
        " percent of the root mean square gradient.",
        [Column("Computed in"), Column("This loss", numeric=True), Column(BASELINE_NAME.capitalize(), numeric=True)],
        [[one.setting, typeset(error_text(one.error)), typeset(error_text(one.baseline))] for one in made.precision],
    )
    noise = (
        f"Label noise: {card_words.symmetry_text(made.asymmetry)}, with {made.typical:,} classes (Ghosh et al. 2017)."
    )
    return joined((bounds, extremes, precision, paragraph(noise)))


def _evidence(view: CardView) -> Html:
    if not view.evidence:
        return paragraph(missing_text(view))
    names = ("", "This loss", BASELINE_NAME.capitalize(), "Difference", "95% interval")
    columns = [Column(name, numeric=place > 0) for place, name in enumerate(names)]
    parts: list[Html] = []
    for evidence in view.evidence:
        parts.append(paragraph(evidence.sentence, class_="finding"))
        caption = f"{evidence.task}, {evidence.split} split: means over the seeds, differences paired by seed"
        parts.append(table(caption, columns, [measured_texts(one) for one in evidence.measured]))
    return joined(parts)


def _use(python: str) -> Html:
    call = "loss = criterion(logits, labels)  # called like torch.nn.CrossEntropyLoss()"
    code = f"import lossmith\n\ncriterion = {python}\n{call}"
    return element("pre", element("code", code), tabindex=0)
