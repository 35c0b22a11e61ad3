"""The figures of a report, as plotly figures; colours that must follow the page's theme are left to its style sheet."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from lossmith.ledger import EvaluationRow
from lossmith.report import words
from lossmith.report.comparison import ComparisonView
from lossmith.report.curves import Shape
from lossmith.report.record import SearchRecord
from lossmith.search.candidate import Stage

MAX_POINTS = 20_000  # drawn as SVG; of more, evenly spaced ones are drawn
_FORMULA = 90  # characters of a formula in a label
LOSS_COLOUR, BASELINE_COLOUR = "#3f83f0", "#b25bd6"
_BEST, _FAILED, _QUIET = "#12a07a", "#e0524d", "#8b94a3"
_STAGES = {
    Stage.SCREENING: _QUIET,
    Stage.SELECTION: "#d08a1d",
    Stage.EVOLUTION: LOSS_COLOUR,
    Stage.RANDOM: LOSS_COLOUR,  # instead of evolution
}
_ACCURACIES = (0, 20, 40, 60, 80, 90, 95, 98, 99, 99.5, 99.8, 99.9, 99.95, 99.99)  # percent, on the axis
_CONFIG = {
    "responsive": True,
    "displaylogo": False,
    # plotly offers to upload a figure to its makers' server: a report stays where it is
    "plotlyServerURL": "",
    "modeBarButtonsToRemove": ["sendChartToCloud", "sendDataToCloud", "select2d", "lasso2d", "autoScale2d"],
    "toImageButtonOptions": {"format": "svg"},
}


def figure_json(figure: go.Figure, *, buttons: bool = True) -> str:
    """What `Plotly.newPlot` takes, safe inside a script element; `buttons` to zoom and to save the figure."""
    config = {**_CONFIG, "displayModeBar": "hover" if buttons else False}
    text = json.dumps({**json.loads(figure.to_json() or "{}"), "config": config}, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


# -- progress ----------------------------------------------------------------------------------------------------------


def progress_figure(record: SearchRecord) -> go.Figure:
    """Every evaluation of the search, in the order in which they finished.

    The axis is logarithmic in the error, so that the top, where the best losses differ, takes most of the room.
    """
    rows = list(enumerate(record.evaluations, start=1))
    scores = [row.score for _, row in rows if row.score is not None]
    floor = _error_floor(scores)
    worst = max((_error(score, floor) for score in scores), default=100.0)
    figure = go.Figure()
    stages = [_stage(record, row) for _, row in rows]
    for stage, colour in _STAGES.items():
        trained = [pair for pair, at in zip(rows, stages, strict=True) if at is stage and pair[1].score is not None]
        if trained:
            figure.add_trace(_points(record, _thinned(trained, len(rows)), stage, colour, floor))
    failed = [pair for pair in rows if pair[1].score is None]
    if failed:
        figure.add_trace(_failures(record, _thinned(failed, len(rows)), 1.3 * worst))
    for task_id, label, width in (
        (record.config.screening.task_id, "best on the screening task", 1.5),
        (record.config.task.task_id, "best so far", 2.5),
    ):
        colour = _BEST if width > 2 else _QUIET
        if best := _running_best([pair for pair in rows if pair[1].key.task == task_id]):
            figure.add_trace(_best_line(best, len(rows), label, colour, width, floor))
    _add_baseline(figure, record, floor)
    _mark_stages(figure, stages)
    # a perfect score has no place of its own on a logarithmic axis: it is drawn at `floor`, and labelled there
    ticks = {f"{accuracy:g}%": 100 - accuracy for accuracy in _ACCURACIES if 100 - accuracy >= 1.5 * floor}
    if max(scores, default=0.0) == 1:
        ticks["100%"] = floor
    figure.update_layout(_layout(height=500, showlegend=True))
    figure.update_xaxes(title_text="evaluation, in the order of finishing", rangemode="tozero")
    figure.update_yaxes(
        title_text="validation accuracy",
        type="log",
        autorange="reversed",
        tickvals=list(ticks.values()),
        ticktext=list(ticks),
    )
    return figure


def _stage(record: SearchRecord, row: EvaluationRow) -> Stage:
    candidate = record.candidate_of(row)
    if candidate is not None and candidate.stage in _STAGES:
        return Stage(candidate.stage)
    return Stage.SCREENING if row.key.task == record.config.screening.task_id else Stage.EVOLUTION


def _error_floor(scores: Sequence[float]) -> float:
    """Where a perfect score is drawn on an axis that has no 0: a step better than the best that is not perfect."""
    return min((100 * (1 - score) for score in scores if score < 1), default=1.0) / 2


def _error(score: float, floor: float) -> float:
    return max(100 * (1 - score), floor)


def _thinned(pairs: list[tuple[int, EvaluationRow]], total: int) -> list[tuple[int, EvaluationRow]]:
    return pairs[:: -(-total // MAX_POINTS)]


def _points(
    record: SearchRecord, pairs: list[tuple[int, EvaluationRow]], stage: Stage, colour: str, floor: float
) -> go.Scatter:
    return go.Scatter(
        x=[number for number, _ in pairs],
        y=[_error(row.score, floor) for _, row in pairs if row.score is not None],
        mode="markers",
        name=stage.value,
        marker={"color": colour, "size": 6, "opacity": 0.8},
        text=[_hover(record, number, row) for number, row in pairs],
        hovertemplate="%{text}<extra></extra>",
    )


def _failures(record: SearchRecord, pairs: list[tuple[int, EvaluationRow]], y: float) -> go.Scatter:
    return go.Scatter(
        x=[number for number, _ in pairs],
        y=[y] * len(pairs),
        mode="markers",
        name="did not train",
        marker={"color": _FAILED, "size": 7, "symbol": "x-thin", "line": {"color": _FAILED, "width": 1.5}},
        text=[_hover(record, number, row) for number, row in pairs],
        hovertemplate="%{text}<extra></extra>",
    )


def _hover(record: SearchRecord, number: int, row: EvaluationRow) -> str:
    """Plotly reads some HTML in labels, so formulas are escaped here too."""
    candidate = record.candidate_of(row)
    formula = html.escape(words.truncated(record.snapshot.losses[row.key.loss].formula, _FORMULA))
    score = "no score" if row.score is None else f"accuracy {words.percent(row.score)}"
    who = f", candidate {candidate.number}" if candidate else ""
    return f"<b>{formula}</b><br>{score}, verdict {row.reason.value}<br>evaluation {number}{who}"


def _running_best(pairs: list[tuple[int, EvaluationRow]]) -> list[tuple[int, float]]:
    best: list[tuple[int, float]] = []
    for number, row in pairs:
        if row.score is not None and (not best or row.score > best[-1][1]):
            best.append((number, row.score))
    return best


def _best_line(
    best: list[tuple[int, float]], last: int, label: str, colour: str, width: float, floor: float
) -> go.Scatter:
    steps = [*best, (last, best[-1][1])]
    return go.Scatter(
        x=[number for number, _ in steps],
        y=[_error(score, floor) for _, score in steps],
        mode="lines",
        name=label,
        line={"shape": "hv", "color": colour, "width": width},
        text=[words.percent(score) for _, score in steps],
        hovertemplate=f"{label}: %{{text}}<extra></extra>",
    )


def _add_baseline(figure: go.Figure, record: SearchRecord, floor: float) -> None:
    baseline = record.baseline
    if baseline is None:
        return
    name = f"cross-entropy, {words.percent(baseline.score)}"
    figure.add_trace(
        go.Scatter(
            x=[0, max(1, len(record.evaluations))],
            y=[_error(baseline.score, floor)] * 2,
            mode="lines",
            name=name,
            line={"color": BASELINE_COLOUR, "width": 2, "dash": "dash"},
            hovertemplate=f"{name}<extra></extra>",
        )
    )


def _mark_stages(figure: go.Figure, stages: Sequence[Stage]) -> None:
    """A line where each stage begins, and its name above."""
    for number, stage in enumerate(Stage):
        if stage in stages:
            start = stages.index(stage) + 0.5
            figure.add_vline(x=start, line={"color": _QUIET, "width": 1, "dash": "dot"})
            figure.add_annotation(
                x=start,
                y=1,
                yref="paper",
                yshift=16 * (number % 2),  # neighbours may begin too close together for one line
                yanchor="bottom",
                xanchor="left",
                text=stage.value,
                showarrow=False,
            )


# -- curves ------------------------------------------------------------------------------------------------------------


def curve_range(shapes: Sequence[Shape]) -> tuple[float, float]:
    """One range for all panels, so that they can be compared."""
    values = np.concatenate([curve for shape in shapes for curve in (shape.target, shape.others)])
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    margin = 0.06 * (high - low)
    return low - margin, high + margin


def curve_figure(shape: Shape, baseline: Shape, bounds: tuple[float, float]) -> go.Figure:
    """The two curves of one loss over cross-entropy's."""
    figure = go.Figure()
    for curves, name, colour, width in (
        (baseline, "cross-entropy", BASELINE_COLOUR, 1.5),
        (shape, "this loss", LOSS_COLOUR, 2.5),
    ):
        for values, curve, dash in ((curves.target, "f1", "solid"), (curves.others, "f0", "dash")):
            figure.add_trace(
                go.Scatter(
                    x=curves.p.tolist(),
                    y=[None if np.isnan(value) else value for value in values],
                    mode="lines",
                    name=f"{name} {curve}",
                    line={"color": colour, "width": width, "dash": dash},
                    hovertemplate=f"{name}, {curve}(%{{x:.2f}}) = %{{y:.3f}}<extra></extra>",
                )
            )
    figure.update_layout(_layout(height=230, showlegend=False))
    figure.update_layout(margin={"l": 42, "r": 8, "t": 8, "b": 40})
    figure.update_xaxes(title_text="probability p", range=[0, 1], tickvals=[0, 0.25, 0.5, 0.75, 1])
    figure.update_yaxes(range=list(bounds), zeroline=True)
    return figure


# -- comparison --------------------------------------------------------------------------------------------------------


def comparison_figure(comparison: ComparisonView) -> go.Figure:
    """The paired differences of every loss to the baseline: each seed, and the mean with its interval."""
    figure = go.Figure()
    compared = [loss for loss in comparison.losses if loss.key != comparison.baseline]
    # rows are placed by number: two losses may have labels that read alike
    for place, loss in enumerate(compared):
        pairs = zip(comparison.seeds, comparison.differences(loss), strict=True)
        points = [(seed, 100 * difference) for seed, difference in pairs if difference is not None]
        figure.add_trace(
            go.Scatter(
                x=[difference for _, difference in points],
                y=[place + 0.22] * len(points),
                mode="markers",
                name="one seed",
                showlegend=place == 0,
                marker={"color": _QUIET, "size": 7, "opacity": 0.6},
                text=[f"seed {seed}" for seed, _ in points],
                hovertemplate="%{text}: %{x:+.2f} points<extra></extra>",
            )
        )
        if (difference := loss.difference) is not None:
            mean, low, high = (100 * value for value in (difference.mean, difference.low, difference.high))
            figure.add_trace(
                go.Scatter(
                    x=[mean],
                    y=[place],
                    mode="markers",
                    name=f"mean with {100 * difference.confidence:.0f}% interval",
                    showlegend=place == 0,
                    marker={"color": LOSS_COLOUR, "size": 11, "symbol": "diamond"},
                    error_x={"array": [high - mean], "arrayminus": [mean - low], "thickness": 2, "width": 6},
                    hovertemplate=f"{mean:+.2f} points ({low:+.2f} to {high:+.2f})<extra></extra>",
                )
            )
    figure.add_vline(x=0, line={"color": BASELINE_COLOUR, "width": 2, "dash": "dash"})
    figure.update_layout(_layout(height=150 + 62 * max(1, len(compared)), showlegend=True))
    label = html.escape(words.truncated(comparison.baseline_loss.label, 40))
    figure.update_xaxes(title_text=f"difference to {label}, points", zeroline=False)
    figure.update_yaxes(
        tickvals=list(range(len(compared))),
        ticktext=[html.escape(words.truncated(loss.label, 28)) for loss in compared],
        range=[len(compared) - 0.5, -0.5],
        automargin=True,
        showgrid=False,
        zeroline=False,
    )
    return figure


def _layout(*, height: int, showlegend: bool) -> dict[str, Any]:
    return {
        "template": go.layout.Template(),  # plotly's own is 7 kB for every figure
        "height": height,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 13},
        "margin": {"l": 64, "r": 16, "t": 46, "b": 64},
        "hovermode": "closest",
        "hoverlabel": {"align": "left"},
        "showlegend": showlegend,
        "legend": {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0},
        "xaxis": {"gridcolor": _QUIET, "zerolinecolor": _QUIET, "automargin": True},
        "yaxis": {"gridcolor": _QUIET, "zerolinecolor": _QUIET, "automargin": True},
    }
