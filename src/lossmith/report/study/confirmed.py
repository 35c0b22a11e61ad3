"""The confirmation: every loss in every cell on the test images."""

from __future__ import annotations

from lossmith.report import words
from lossmith.report.markup import Column, Html, element, joined, paragraph, table
from lossmith.report.study.comparison import (
    cell_table,
    forest_panels,
    rank_part,
    reading,
    seeds_table,
    training_curves,
)
from lossmith.report.study.contents import CalibrationCell, Confirmation, ConfirmedCell, Measure
from lossmith.report.study.parts import Context, Part, folded, state_of
from lossmith.report.study.reading import Stage

_LABELS = {"nll": "NLL", "ece": "ECE"}


def confirmation_part(context: Context, stage: Stage | None) -> Part:
    place = ("confirmation", "Confirmation", "Confirmation on the test images")
    if stage is None or not isinstance(stage.result, Confirmation):
        note = paragraph("No test result is shown before all of them are there, so that there is nothing to stop for.")
        return Part(*place, joined((state_of(stage, context.record), note)))
    result = stage.result
    cells = {cell.name: cell.scores for cell in result.cells}
    roles = {loss.key: loss.role for loss in result.losses}
    parts = [
        *(cell_table(context, stage, result.analysis, name, scores, "test images") for name, scores in cells.items()),
        reading(result.analysis, context.names[result.analysis.baseline]),
        forest_panels(context, result.analysis, list(cells)),
        rank_part(context, stage, result.analysis, list(dict.fromkeys(cell.dataset for cell in result.cells)), cells),
        element("h3", "Calibration"),
        paragraph(
            "Negative log-likelihood in nats and expected calibration error (15 bins) on the test images, with paired"
            f" differences to {context.names[result.analysis.baseline]} and their intervals. Lower is better. They"
            " describe; no test is made of them.",
            "soft",
        ),
        *(_calibration(context, stage, result, cell) for cell in result.calibration.cells),
        element("h3", "Seed by seed"),
        *(
            folded(f"{name}: every accuracy", seeds_table(context, stage, name, scores, result.registration.seeds))
            for name, scores in cells.items()
        ),
        element("h3", "Tuning"),
        paragraph(
            "Every loss tried the same settings with the same seeds on validation images; the chosen one was trained"
            " again with fresh seeds for the test.",
            "soft",
        ),
        *(_chosen(context, cell) for cell in result.cells),
        *(folded(f"{cell.name}: every setting", _grid(context, stage, cell)) for cell in result.cells),
        element("h3", "Training curves"),
        training_curves(
            context,
            stage,
            cells,
            lambda key: roles[key] in ("candidate", "control") or key == result.analysis.baseline,
        ),
    ]
    return Part(*place, joined(parts))


def _calibration(context: Context, stage: Stage, result: Confirmation, cell: CalibrationCell) -> Html:
    columns = [Column("Loss")]
    for label in _LABELS.values():
        columns += [
            Column(f"{label}, mean", numeric=True),
            Column("Difference", numeric=True),
            Column("Interval", numeric=True),
        ]
    scores = next(each.scores for each in result.cells if each.name == cell.name)
    baseline = result.analysis.baseline

    def shown(key: str, name: str, measure: Measure) -> list[object]:
        label, own = _LABELS[name], stage.traced(scores[key].evaluations)
        text = words.number(measure.mean)
        mean = context.trace.show(text, measure.mean, f"mean {label}", own, place=cell.name, loss=key)
        difference = measure.difference
        if difference is None:
            return [mean, words.NONE, words.NONE]
        found = context.trace.show(
            f"{difference.mean:+.4f}",
            difference.mean,
            f"mean difference of {label}",
            own,
            place=cell.name,
            loss=key,
            against=baseline,
            less=stage.traced(scores[baseline].evaluations),
        )
        return [mean, found, f"{difference.low:+.4f} to {difference.high:+.4f}"]

    order = sorted(cell.losses, key=lambda key: key != baseline)
    rows = [
        [
            context.names[key].html,
            *(text for name in _LABELS for text in shown(key, name, cell.losses[key][name])),
        ]
        for key in order
    ]
    return table(f"{cell.name}: calibration", columns, rows, ["reference" if key == baseline else "" for key in order])


def _chosen(context: Context, cell: ConfirmedCell) -> Html:
    columns = [
        Column("Loss"),
        Column("Learning rate", numeric=True),
        Column("Weight decay", numeric=True),
        Column("Validation accuracy, mean", numeric=True),
        Column("At the edge of the grid"),
    ]
    rows: list[list[object]] = []
    for key, tuned in cell.tuning.items():
        setting = tuned.grid[tuned.chosen]
        rates = sorted({each.learning_rate for each in tuned.grid})
        edge = "no"
        if len(rates) > 2 and setting.learning_rate in (rates[0], rates[-1]):
            edge = "lowest learning rate" if setting.learning_rate == rates[0] else "highest learning rate"
        mean = words.percent(setting.mean)
        side = element("span", edge, class_="whole")
        rows.append([context.names[key].html, f"{setting.learning_rate:g}", f"{setting.weight_decay:g}", mean, side])
    return table(f"{cell.name}: the settings that were chosen", columns, rows)


def _grid(context: Context, stage: Stage, cell: ConfirmedCell) -> Html:
    grids = list(cell.tuning.items())
    columns = [
        Column("Learning rate", numeric=True),
        Column("Weight decay", numeric=True),
        *(Column(context.names[key].html, numeric=True) for key, _ in grids),
    ]
    rows: list[list[object]] = []
    for place, setting in enumerate(grids[0][1].grid if grids else ()):
        row: list[object] = [f"{setting.learning_rate:g}", f"{setting.weight_decay:g}"]
        for key, tuned in grids:
            own = tuned.grid[place]
            where = f"{cell.name}, learning rate {own.learning_rate:g}, weight decay {own.weight_decay:g}"
            text = context.trace.show(
                "failed" if own.mean is None else words.percent(own.mean),
                own.mean,
                "mean accuracy",
                stage.traced(own.evaluations),
                place=where,
                loss=key,
            )
            row.append(element("strong", text) if place == tuned.chosen else text)
        rows.append(row)
    return table(f"{cell.name}: validation accuracy at every setting, the chosen ones in bold", columns, rows)
