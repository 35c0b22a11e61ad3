"""What the command line prints: a run, a loss, a comparison, the zoo. Progress is in `live`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lossmith.errors import InvalidLossError
from lossmith.ledger import Ledger
from lossmith.losses.build import loss as build_loss
from lossmith.losses.kinds import ExampleLoss
from lossmith.losses.module import Loss
from lossmith.losses.optimum import even_loss
from lossmith.losses.user import find, user_losses
from lossmith.losses.zoo import ZOO, Parameter
from lossmith.report import sentences, words
from lossmith.report.comparison import ComparisonView, LossView
from lossmith.report.cost import cost_of, rung_costs
from lossmith.report.plot import CurvePlot
from lossmith.report.record import SearchRecord
from lossmith.report.snapshot import Snapshot
from lossmith.space.expression import Expression
from lossmith.space.integrity import check

_BEST = 10  # losses of a run
_SHOWN_AT = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)  # probabilities in the table of a loss's curves
_CLASSES = 10  # of the curve of a loss that is a function of the whole example
_DRAWN_FROM, _DRAWN_TO, _DRAWN = 0.005, 0.995, 145  # the plotted stretch of p, and its points


# -- a run -------------------------------------------------------------------------------------------------------------


def run_summary(ledger: Ledger) -> RenderableType:
    """A run: what it searched, how far it is, its best losses, verdicts, comparisons, cost.

    Raises:
        ConfigError, RunError: the ledger cannot be read by this version.
    """
    snapshot = Snapshot.of(ledger)
    record = SearchRecord.of(snapshot)
    parts: list[RenderableType] = [Text(f"{snapshot.name}  ({snapshot.directory})", "bold")]
    if record is not None:
        config = record.config
        parts += [
            Text(sentences.state_sentence(record, str(snapshot.directory))),
            _facts(
                [
                    ("searched on", sentences.task_words(config.task)),
                    ("screened on", sentences.task_words(config.screening)),
                    ("seed", str(config.seed)),
                    ("started", words.moment(snapshot.created)),
                ]
            ),
            _best_losses(record),
            _verdicts(record),
        ]
    parts += [comparison_table(content) for content in snapshot.comparisons]
    its_cost = cost_of(snapshot)
    rungs = [] if record is None else sentences.rung_facts(rung_costs(record))
    parts += [_facts(sentences.cost_facts(its_cost) + rungs), Text(sentences.overhead_sentence(its_cost), "bold")]
    return _spaced(parts)


def _best_losses(record: SearchRecord) -> RenderableType:
    if not record.ranking:
        return Text("No loss has been trained on the search's own task yet.")
    table = _table("Best losses, by validation accuracy")
    for name in ("", "accuracy", "NLL", "ECE", "candidate"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("loss", overflow="fold")
    for ranked in record.ranking[:_BEST]:
        row, candidate = ranked.evaluation, ranked.candidate
        table.add_row(
            str(ranked.rank),
            words.percent(ranked.score),
            words.number(row.nll),
            words.number(row.ece),
            words.NONE if candidate is None else str(candidate.number),
            Text(ranked.loss.minimised),
        )
    if record.baseline is not None:
        note = f"cross-entropy, {words.count(record.baseline.trainings, 'training')}"
        table.add_row("", words.percent(record.baseline.score), *[words.NONE] * 3, note, style="dim")
    return Group(table, Text(sentences.optimism(record), "italic"))


def _verdicts(record: SearchRecord) -> RenderableType:
    evaluated = ", ".join(f"{count:,} {reason.value}" for reason, count in record.verdicts.most_common())
    refused = ", ".join(f"{count:,} {reason}" for reason, count in record.refused.most_common())
    return _facts([("evaluations by verdict", evaluated or "none yet"), ("drafts refused", refused or "none")])


# -- a loss ------------------------------------------------------------------------------------------------------------


def loss_summary(x: str | Path | Expression | Loss) -> RenderableType:
    """A loss: formula, LaTeX, key, verdict, orientation, and its two curves.

    Args:
        x: a loss, or anything that `lossmith.loss` takes. An expression that cannot be a loss is shown with the reason.

    Raises:
        LossmithError: there is no such loss, or it cannot be read.
    """
    loss = x if isinstance(x, Loss) else _built(x)
    pairs = [("formula", loss.formula), ("LaTeX", loss.to_latex())]
    if loss.expression is None:
        pairs.append(("verdict", "published; a function of the whole example, so it has no key and is not checked"))
    else:
        verdict = check(loss.expression)
        orientation = "-1 times the expression" if loss.flip else "the expression as it stands"
        pairs += [
            ("expression", loss.expression.text),
            ("key", loss.expression.key),
            ("verdict", f"{verdict.reason.value}: {verdict.message}"),
            (
                "minimised",
                orientation if verdict.ok else "nothing: it is not a loss; below, the expression as it stands",
            ),
        ]
    if (entry := ZOO.get(loss.name)) is not None:
        pairs += [("source", entry.reference), ("note", entry.note), ("soft targets", entry.soft)]
    elif isinstance(x, str) and loss.name == x.strip() and (user := find(loss.name)) is not None:
        pairs += [(name, text) for name, text in (("source", user.reference), ("note", user.note)) if text]
        pairs.append(("defined in", str(user.file)))
    curves = _even_curve(loss) if isinstance(loss, ExampleLoss) else _curves(loss)
    return _spaced([Text(loss.name, "bold"), _facts(pairs), curves])


def _built(x: str | Path | Expression) -> Loss:
    try:
        return build_loss(x)
    except InvalidLossError:
        return build_loss(x, flip=False)  # unchecked, to show what it is; a name that nothing has is refused again


def _curves(loss: Loss) -> RenderableType:
    p = torch.linspace(_DRAWN_FROM, _DRAWN_TO, _DRAWN, dtype=torch.float64)
    drawn = [curve.tolist() for curve in loss.curves(p)]
    finite = [value for curve in drawn for value in curve if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=1.0)
    titles = ("f1(p), for the target class", "f0(p), for each other class")
    plots = [
        Group(Text(title, "bold"), CurvePlot(curve, low, high, style))
        for title, curve, style in zip(titles, drawn, ("cyan", "magenta"), strict=True)
    ]
    table = _table("")
    table.add_column("p", justify="right")
    for name in ("f1(p)", "f0(p)"):
        table.add_column(name, justify="right")
    columns = loss.curves(torch.tensor(_SHOWN_AT, dtype=torch.float64))
    for row in zip(_SHOWN_AT, *(column.tolist() for column in columns), strict=True):
        table.add_row(*(f"{value:.5g}" for value in row))
    return _spaced([Columns(plots, padding=(0, 4)), table])


def _even_curve(loss: Loss) -> RenderableType:
    """The loss of an example, where the classes beside the target share the rest evenly."""
    p = torch.linspace(_DRAWN_FROM, _DRAWN_TO, _DRAWN, dtype=torch.float64)
    drawn = even_loss(loss, p, _CLASSES).tolist()
    finite = [value for value in drawn if math.isfinite(value)]
    title = Text(f"loss of an example by its p_t, {_CLASSES} classes, the others even", "bold")
    table = _table("")
    for name in ("p_t", "loss"):
        table.add_column(name, justify="right")
    values = even_loss(loss, torch.tensor(_SHOWN_AT, dtype=torch.float64), _CLASSES).tolist()
    for at, value in zip(_SHOWN_AT, values, strict=True):
        table.add_row(str(at), f"{value:.5g}")
    plot = CurvePlot(drawn, min(finite, default=0.0), max(finite, default=1.0), "cyan")
    return _spaced([Group(title, plot), table])


# -- comparisons and the zoo -------------------------------------------------------------------------------------------


def comparison_table(content: Mapping[str, Any]) -> RenderableType:
    """A comparison, from what `lossmith.study.comparison.compare` gives and the ledger stores.

    Raises:
        RunError: the content is not of the form that this version knows.
    """
    view = ComparisonView.of(content)
    table = _table(f"Task '{view.task}', {view.split} split, {words.count(len(view.seeds), 'seed')}")
    table.add_column("loss", overflow="fold")
    interval = f"{100 * view.confidence:.0f}% interval"
    for name in ("accuracy", "SD", "failed", "points", interval, "p"):
        table.add_column(name, justify="right", no_wrap=True)
    for loss in view.losses:
        table.add_row(
            Text(loss.label),
            words.percent(loss.mean),
            words.percent(loss.sd),
            str(loss.failed),
            *_difference(loss),
        )
    note = (
        f"points: difference to {view.baseline_loss.label} in percentage points, paired by seed; p: adjusted after Holm"
    )
    return Group(table, Text(note, "dim"), Text(view.sentence, "bold"))


def _difference(loss: LossView) -> tuple[str, str, str]:
    difference = loss.difference
    if difference is None:
        return words.NONE, words.NONE, words.NONE
    interval = f"{words.points(difference.low)} to {words.points(difference.high)}"
    return words.points(difference.mean), interval, words.p_value(difference.p_adjusted)


def zoo_table() -> RenderableType:
    """The published losses that come with Lossmith, and the user's own.

    Raises:
        LossmithError: a `losses.toml` is wrong.
    """
    published = [(loss.name, loss.formula, parameter_text(loss.parameters), loss.reference) for loss in ZOO.values()]
    parts: list[RenderableType] = [
        Text("Published losses: lossmith.loss(NAME)", "bold"),
        Text("f(y, yhat) of one class, summed over the K classes; where it says sum, the loss of an example", "dim"),
        _named_formulas(published),
    ]
    users = list(user_losses().values())
    for file in dict.fromkeys(loss.file for loss in users):
        own = [(loss.name, loss.formula, "", loss.reference or loss.note) for loss in users if loss.file == file]
        parts += [Text(f"Your losses, of {file}", "bold"), _named_formulas(own)]
    return _spaced(parts)


def parameter_text(parameters: Sequence[Parameter]) -> str:
    """'gamma = 2 (at least 0)'; the range once where all share it."""
    ranges = {one.range_text for one in parameters}
    if len(ranges) == 1 and len(parameters) > 1:
        return f"{', '.join(f'{one.name} = {one.default:g}' for one in parameters)} (each {ranges.pop()})"
    return ", ".join(f"{one.name} = {one.default:g} {_range(one)}" for one in parameters)


def _range(parameter: Parameter) -> str:
    text = parameter.range_text
    return f"in {text}" if text[0] in "[(" else f"({text})"


def _named_formulas(losses: Sequence[tuple[str, str, str, str]]) -> Table:
    """Of (name, formula, parameters, source), one below the other."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, formula, parameters, source in losses:
        lines = [Text(formula)]
        lines += [Text(text, style) for text, style in ((parameters, "cyan"), (source, "dim")) if text]
        grid.add_row(Text(name), Group(*lines))
    return grid


# -- shapes ------------------------------------------------------------------------------------------------------------


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))


def _facts(pairs: list[tuple[str, str]]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in pairs:
        grid.add_row(name, Text(value))
    return grid


def _spaced(parts: list[RenderableType]) -> RenderableType:
    return Group(*(Padding(part, (0, 0, 1 if place < len(parts) - 1 else 0, 0)) for place, part in enumerate(parts)))
