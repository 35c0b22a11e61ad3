"""The parts of a study's page, each from what a stage left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lossmith.report import words
from lossmith.report.markup import Column, Html, element, escaped, facts, joined, paragraph, table
from lossmith.report.record import SearchRecord
from lossmith.report.study import svg
from lossmith.report.study.stages import StageRecord
from lossmith.report.study.tables import mean_of, seeds_of

_MISSING = "This stage has not been run."
_UNFINISHED = "This stage is not finished; 'lossmith resume' on its directory goes on."
_FORMULA = 70  # characters of a formula in a table


def verdict(stage: StageRecord | None) -> Html:
    """What was found, in words."""
    if stage is None or stage.result is None:
        return joined([paragraph("There is no verdict: nothing is confirmed yet.", "finding big"), _state(stage)])
    result = stage.result
    roles = {loss["key"]: loss.get("role", "candidate") for loss in result["losses"]}
    labels = {loss["key"]: loss["label"] for loss in result["losses"]}
    found: dict[str, list[str]] = {}
    for each in result["analysis"]["differences"]:
        if roles[each["loss"]] == "candidate":
            found.setdefault(each["verdict"], []).append(f"{labels[each['loss']]} on {each['cell']}")
    baseline = labels[result["analysis"]["baseline"]]
    parts = [f"{', '.join(places)}: {word}" for word, places in found.items()]
    better = found.get("better", [])
    if better:
        headline = f"Evidence that a found loss is better than {baseline}: {', '.join(better)}."
    else:
        headline = f"No evidence that a found loss is better than {baseline}."
    sentences = joined(element("li", sentence) for sentence in result["sentences"])
    return joined(
        [
            paragraph(headline, "finding big"),
            paragraph(f"Candidates against {baseline}, every cell: {'; '.join(parts)}."),
            element("ul", sentences, class_="verdict"),
        ]
    )


def registration(stage: StageRecord | None) -> Html:
    """What was asked."""
    if stage is None or stage.result is None:
        return _state(stage)
    result = stage.result
    asked = result["registration"]
    tuning = asked["tuning"]
    grid = f"learning rate x {_numbers(tuning['learning_rates'])}, weight decay {_numbers(tuning['weight_decays'])}"
    pairs = [
        ("primary hypothesis", asked["primary"]["statement"]),
        ("registered", words.moment(stage.snapshot.created)),
        ("SHA-256 of registration.json", element("code", result["sha256"])),
        ("seeds on the test images", len(asked["seeds"])),
        ("margin of equivalence", f"{100 * asked['margin']:g} points"),
        ("comparisons (Holm)", asked["comparisons"]),
        ("tuning of every loss", f"{grid}; {words.count(len(tuning['seeds']), 'seed')} each, on validation fold 2"),
    ]
    losses = [(loss["label"], loss["role"], _formula(loss)) for loss in asked["losses"]]
    cells = [(cell["name"], cell["dataset"], cell["model"], cell["augmentation"]) for cell in asked["cells"]]
    left_out = [paragraph(f"Left out: {each['label']}: {each['why']}.", "soft") for each in asked["left_out"]]
    return joined(
        [
            facts(pairs),
            table("Losses", [Column("loss"), Column("role"), Column("formula", wide=True)], losses),
            *left_out,
            table("Cells", [Column("cell"), Column("data set"), Column("network"), Column("augmentation")], cells),
        ]
    )


def comparison(stage: StageRecord | None) -> Html:
    """Every loss in every cell against the baseline: table, forest plot, ranks, calibration, raw results."""
    if stage is None or stage.result is None:
        return _state(stage)
    result = stage.result
    cells = [cell for cell in result["cells"] if cell.get("error") is None]
    left_out = [
        paragraph(f"{cell['name']} was not trained: {cell['error']}", "note")
        for cell in result["cells"]
        if cell.get("error") is not None
    ]
    if not cells or result["analysis"] is None:
        return joined([*left_out, paragraph("No cell was trained.")])
    parts = [
        *left_out,
        _comparison_table(stage, cells),
        element("figure", _forest(result, cells)),
        _ranks(result),
        _losing(result),
        _calibration(cells, result),
        _seeds_table(stage, cells),
    ]
    if any("tuning" in cell for cell in cells):
        parts.append(_tuning(cells, result))
    return joined(parts)


def controls(stages: Mapping[str, StageRecord]) -> Html:
    """The luck floor and the random search."""
    parts: list[Html] = []
    null = stages.get("null")
    if null is None or null.result is None:
        parts += [element("h3", "The luck floor"), _state(null)]
    else:
        result = null.result
        scores = [100 * value for value in result["values"] if value is not None]
        marks = [("best of the null", max(scores), "base")] if scores else []
        if result["search_best"] is not None:
            marks.append(("best of the search", 100 * result["search_best"], "own"))
        reach = sum(score >= 100 * (result["search_best"] or 2) for score in scores)
        ledger = f"Ledger null, {words.count(len(result['evaluations']), 'evaluation')}."
        told = (
            f"{words.count(len(scores), 'training')} of cross-entropy on '{result['task']}', each with its own seed:"
            f" {reach} reach the search's best fitness. A search whose best is within reach of luck has shown"
            " nothing yet; one above it has shown that its best single score is not luck alone."
        )
        parts += [element("h3", "The luck floor"), paragraph(told)]
        if scores:
            label = "Scores of cross-entropy with other seeds"
            parts.append(element("figure", svg.histogram(label, scores, marks)))
        parts.append(paragraph(ledger, "soft"))
    search, random = (_best(stages.get(name)) for name in ("search", "random"))
    parts.append(element("h3", "Random search at equal compute"))
    if random is None or search is None:
        parts.append(_state(stages.get("random")))
    else:
        rows = [
            (name, words.percent(best[0]), best[1], best[2]) for name, best in (("search", search), ("random", random))
        ]
        columns = [Column("search"), *(Column(name, numeric=True) for name in ("best fitness", "trainings"))]
        parts.append(table("Best fitness, a single training each", [*columns, Column("loss", wide=True)], rows))
    return joined(parts)


def elimination(stages: Mapping[str, StageRecord]) -> Html:
    """Phases, and who was kept."""
    parts: list[Html] = []
    for name in ("elimination", "elimination-random"):
        stage = stages.get(name)
        if stage is None and name == "elimination-random":
            continue
        parts.append(element("h3", "Of the search" if name == "elimination" else "Of the random search"))
        if stage is None or stage.result is None:
            parts.append(_state(stage))
            continue
        labels = {loss["key"]: loss["label"] for loss in stage.result["losses"]}
        for phase in stage.result["phases"]:
            rows = sorted(phase["scores"].items(), key=lambda item: -(item[1]["mean"] or -1))
            shown = [
                (
                    element("code", words.truncated(labels[key], _FORMULA)),
                    _traced(words.percent(scores["mean"]), name, scores["evaluations"]),
                    len(scores["values"]),
                    "kept" if scores["kept"] else "",
                )
                for key, scores in rows
            ]
            columns = [Column("loss", wide=True), Column("accuracy", numeric=True), Column("seeds", numeric=True)]
            caption = f"{phase['name']}: task '{phase['task']}', validation fold 1, {phase['keep']} kept"
            content = table(caption, [*columns, Column("")], shown)
            parts.append(element("details", joined([element("summary", caption), content])))
        kept = ", ".join(labels[key] for key in stage.result["finalists"])
        parts.append(paragraph(f"Finalists, the best first: {kept}."))
    return joined(parts)


def search(stage: StageRecord | None) -> Html:
    """The search itself, in short; its own report says more."""
    if stage is None:
        return _state(None)
    record = SearchRecord.of(stage.snapshot)
    if record is None:
        return paragraph("The ledger holds no search.")
    scored = [row.score for row in stage.snapshot.evaluations if row.score is not None and _own(record, row.key.task)]
    best, line = 0.0, []
    for number, score in enumerate(scored, 1):
        best = max(best, score)
        line.append((float(number), 100 * best))
    parts = [
        paragraph(
            f"{words.count(len(scored), 'loss')} trained on the search's own task. 'lossmith report"
            f" {stage.directory}' writes the whole report of the search."
        )
    ]
    if line:
        label = "Best validation accuracy so far"
        parts.append(element("figure", svg.curves(label, [("best so far", line, "own")], "trainings on the task")))
    return joined(parts)


def training_curves(stage: StageRecord | None) -> Html:
    """Validation accuracy by step of the candidates and the baseline, mean over the seeds, in each cell."""
    if stage is None or stage.result is None:
        return _state(stage)
    result, rows = stage.result, {row.id: row for row in stage.snapshot.evaluations}
    labels = {loss["key"]: loss["label"] for loss in result["losses"]}
    roles = {loss["key"]: loss.get("role") for loss in result["losses"]}
    baseline = result["analysis"]["baseline"]
    parts: list[Html] = []
    for cell in result["cells"]:
        lines = []
        for key, scores in cell["scores"].items():
            if key != baseline and roles[key] != "candidate":
                continue
            own = [rows[number].curve for number in scores["evaluations"] if number in rows]
            epochs = min((len(curve) for curve in own), default=0)
            line = [
                (
                    float(own[0][place]["step"]),
                    100 * sum(curve[place]["validation_accuracy"] for curve in own) / len(own),
                )
                for place in range(epochs)
            ]
            if len(line) > 1:
                lines.append((labels[key], line, "base" if key == baseline else "own"))
        if lines:
            caption = f"{cell['name']}: candidates solid, {labels[baseline]} dashed; validation accuracy, mean of seeds"
            parts.append(
                element("figure", joined([svg.curves(caption, lines, "step"), element("figcaption", caption)]))
            )
    return joined(parts) if parts else paragraph("No training has more than one epoch.")


def cost(stages: Mapping[str, StageRecord]) -> Html:
    """Compute spent, by stage."""
    rows = [
        (
            name,
            f"{stage.trainings:,}",
            words.duration(stage.training_seconds),
            words.duration(stage.wall_seconds),
            words.count(len(stage.snapshot.sessions), "session"),
        )
        for name, stage in stages.items()
    ]
    total = (
        "all",
        f"{sum(stage.trainings for stage in stages.values()):,}",
        words.duration(sum(stage.training_seconds for stage in stages.values())),
        words.duration(sum(stage.wall_seconds for stage in stages.values())),
        "",
    )
    names = ("trainings", "training time, all workers", "wall time")
    columns = [Column("stage"), *(Column(name, numeric=True) for name in names), Column("")]
    return table("Compute spent", columns, [*rows, total], [*[""] * len(rows), "reference"])


# -- parts of a comparison -------------------------------------------------------------------------------------------


def _comparison_table(stage: StageRecord, cells: Sequence[Mapping[str, Any]]) -> Html:
    result = stage.result or {}
    labels = {loss["key"]: loss["label"] for loss in result["losses"]}
    analysis = result["analysis"]
    found = {(each["cell"], each["loss"]): each for each in analysis["differences"]}
    rows, classes = [], []
    for cell in cells:
        for key in sorted(cell["scores"], key=lambda key: key != analysis["baseline"]):
            scores, each = cell["scores"][key], found.get((cell["name"], key))
            accuracy = _traced(words.percent(mean_of(scores["values"])), stage.name, scores["evaluations"])
            classes.append("first" if key == analysis["baseline"] else "")
            if each is None:
                rows.append((cell["name"], labels[key], accuracy, *[""] * 6, "baseline"))
                continue
            between = f"{words.points(each['low'])} to {words.points(each['high'])}" if each["low"] is not None else ""
            both = [*scores["evaluations"], *cell["scores"][analysis["baseline"]]["evaluations"]]
            improvement = each["improvement"]
            rows.append(
                (
                    cell["name"],
                    labels[key],
                    accuracy,
                    _traced(words.points(each["mean"]), stage.name, both),
                    between,
                    words.p_value(each["p"]),
                    words.p_value(each["p_adjusted"]),
                    "" if improvement is None else words.percent(improvement["value"], 0),
                    words.NONE if each["detectable"] is None else f"{100 * each['detectable']:.2f}",
                    each["verdict"],
                )
            )
    names = ("accuracy", "points", "interval", "p", "p (Holm)", "improvement", "detectable")
    columns = [Column("cell"), Column("loss"), *(Column(name, numeric=True) for name in names), Column("verdict")]
    caption = (
        f"Mean accuracy; difference to {labels[analysis['baseline']]} in points, paired by seed, with its"
        f" {100 * analysis['confidence']:g}% interval (BCa); sign-flip p, and after Holm over all cells and losses; the"
        " share of seeds in which it is better; the difference in points that so many seeds find with 80% power"
    )
    return table(caption, columns, rows, classes)


def _forest(result: Mapping[str, Any], cells: Sequence[Mapping[str, Any]]) -> Html:
    labels = {loss["key"]: loss["label"] for loss in result["losses"]}
    analysis = result["analysis"]
    groups = []
    for cell in cells:
        bars = [
            svg.Bar(
                labels[each["loss"]],
                *(100 * each[name] for name in ("mean", "low", "high")),
                kind=each["verdict"] if each["verdict"] in ("better", "worse", "equivalent") else "none",
                hint=f"{labels[each['loss']]}: {words.points(each['mean'])} points, {each['verdict']}",
            )
            for each in analysis["differences"]
            if each["cell"] == cell["name"] and each["low"] is not None
        ]
        groups.append((cell["name"], bars))
    if not any(bars for _, bars in groups):
        return paragraph("No difference has an interval.")
    return svg.forest("Differences to the baseline with their intervals", groups, 100 * analysis["margin"])


def _ranks(result: Mapping[str, Any]) -> Html:
    analysis = result["analysis"]
    labels = {loss["key"]: loss["label"] for loss in result["losses"]}
    title = element("h3", "Ranks over data sets")
    if analysis["critical_difference"] is None:
        why = (
            "A critical-difference diagram needs two data sets: cells of one data set are no separate evidence."
        )
        return joined([title, paragraph(why, "soft")])
    ranks = {labels[key]: rank for key, rank in analysis["ranks"].items()}
    told = f"Friedman's p that all are alike: {words.p_value(analysis['friedman'])}."
    diagram = svg.rank_diagram("Mean ranks over data sets", ranks, analysis["critical_difference"])
    return joined([title, paragraph(told), element("figure", diagram)])


def _losing(result: Mapping[str, Any]) -> Html:
    labels = {loss["key"]: loss["label"] for loss in result["losses"]}
    losing = [each for each in result["analysis"]["differences"] if each["mean"] is not None and each["mean"] < 0]
    lines = [
        element(
            "li", f"{labels[each['loss']]} on {each['cell']}: {words.points(each['mean'])} points, {each['verdict']}"
        )
        for each in sorted(losing, key=lambda each: each["mean"])
    ]
    title = element("h3", "Where losses are below the baseline")
    return joined([title, element("ul", joined(lines)) if lines else paragraph("Nowhere.")])


def _calibration(cells: Sequence[Mapping[str, Any]], result: Mapping[str, Any]) -> Html:
    labels = {loss["key"]: loss["label"] for loss in result["losses"]}
    rows = [
        (
            cell["name"],
            labels[key],
            words.number(mean_of(scores["nll"]), 3),
            words.number(mean_of(scores["ece"]), 3),
        )
        for cell in cells
        for key, scores in cell["scores"].items()
    ]
    columns = [Column("cell"), Column("loss"), Column("NLL (nats)", numeric=True), Column("ECE", numeric=True)]
    caption = "Negative log-likelihood and calibration error (15 bins), means over the seeds; lower is better"
    return joined([element("h3", "Calibration"), table(caption, columns, rows)])


def _seeds_table(stage: StageRecord, cells: Sequence[Mapping[str, Any]]) -> Html:
    result = stage.result or {}
    labels = {loss["key"]: loss["label"] for loss in result["losses"]}
    parts = [element("summary", "Every result, seed by seed")]
    for cell in cells:
        seeds = seeds_of(cell, result)
        rows = [
            (
                labels[key],
                *(
                    _traced(words.percent(value), stage.name, [number])
                    for value, number in zip(scores["values"], scores["evaluations"], strict=True)
                ),
            )
            for key, scores in cell["scores"].items()
        ]
        columns = [Column("loss"), *(Column(str(number), numeric=True) for number in range(1, len(seeds) + 1))]
        parts.append(table(f"{cell['name']}: accuracy by seed (the seeds are in the CSV file)", columns, rows))
    return element("details", joined(parts))


def _tuning(cells: Sequence[Mapping[str, Any]], result: Mapping[str, Any]) -> Html:
    labels = {loss["key"]: loss["label"] for loss in result["losses"]}
    parts = [element("summary", "Tuning, the same for every loss")]
    for cell in cells:
        rows = [
            (
                labels[key],
                f"{point['learning_rate']:g}",
                f"{point['weight_decay']:g}",
                _traced(words.percent(point["mean"]), "confirmation", point["evaluations"]),
                "chosen" if number == tuning["chosen"] else "",
            )
            for key, tuning in cell["tuning"].items()
            for number, point in enumerate(tuning["grid"])
        ]
        names = ("learning rate", "weight decay", "validation accuracy")
        columns = [Column("loss"), *(Column(name, numeric=True) for name in names), Column("")]
        parts.append(table(cell["name"], columns, rows))
    return element("details", joined(parts))


def _traced(text: str, ledger: str, evaluations: Sequence[int]) -> Html:
    """A figure that says where it comes from."""
    ids = words.truncated(" ".join(map(str, evaluations)), 400)
    return element("span", text, title=f"ledger {ledger}, evaluations {ids}")


def _state(stage: StageRecord | None) -> Html:
    return paragraph(_MISSING if stage is None else _UNFINISHED, "note")


def _best(stage: StageRecord | None) -> tuple[float, str, Html] | None:
    record = None if stage is None else SearchRecord.of(stage.snapshot)
    if stage is None or record is None or not record.ranking:
        return None
    first = record.ranking[0]
    trained = sum(_own(record, row.key.task) for row in stage.snapshot.evaluations)
    formula = f"-({first.loss.formula})" if first.loss.flip else first.loss.formula
    return first.score, f"{trained:,}", element("code", words.truncated(formula, _FORMULA))


def _own(record: SearchRecord, task: str) -> bool:
    return task == record.config.task.task_id


def _formula(loss: Mapping[str, Any]) -> Html:
    text = f"-({loss['formula']})" if loss["flip"] else loss["formula"]
    return element("code", escaped(text))


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
