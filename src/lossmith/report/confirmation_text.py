"""What the terminal says of a confirmation: before it begins, and at its end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lossmith.errors import RunError
from lossmith.report import words
from lossmith.study.confirmation.registration import Registration

FORMAT = 1  # of the result


def announcement(registration: Registration, sha256: str, directory: str) -> Iterator[str]:
    """What is registered, line by line."""
    yield f"confirmation '{registration.name}' in {directory}: registered, sha256 {sha256}"
    for role in ("candidate", "control", "baseline"):
        labels = [loss.label for loss in registration.losses if loss.role == role]
        if labels:
            yield f"  {role}s: {', '.join(labels)}"
    for loss in registration.left_out:
        yield f"  left out: {loss.label}, from {loss.origin}: {loss.why}"
    yield f"  cells: {', '.join(cell.name for cell in registration.cells)}"
    yield f"  primary hypothesis: {registration.primary.statement}"
    tuning, trainings = registration.tuning, registration.trainings
    points = len(tuning.learning_rates) * len(tuning.weight_decays)
    losses, cells = (words.count(len(registration.losses), "loss"), words.count(len(registration.cells), "cell"))
    yield (
        f"  trainings: {trainings.tuning + trainings.testing:,}: {trainings.tuning:,} to tune ({losses} x {cells} x"
        f" {words.count(points, 'setting')} x {words.count(len(tuning.seeds), 'seed')}), {trainings.testing:,} on the"
        f" test images ({losses} x {cells} x {words.count(len(registration.seeds), 'seed')})"
    )


def time_line(seconds: float | None, workers: int) -> str:
    """The estimate of `lossmith.study.confirmation.estimate`, in words."""
    if seconds is None:
        return "  time: not known before the first trainings, since no source trained on such a task"
    return (
        f"  time: about {words.duration(seconds)} of training with {words.count(workers, 'worker')}, if as fast as the"
        " sources were"
    )


def summary(content: Mapping[str, Any]) -> RenderableType:
    """The result, from what `lossmith.study.confirmation.stage.confirm` gives and the ledger stores.

    Raises:
        RunError: the content is not of the form that this version knows.
    """
    if content.get("format") != FORMAT:
        raise RunError(f"the result of the confirmation has the form {content.get('format')!r}; update Lossmith")
    registration = content["registration"]
    labels = {loss["key"]: loss["label"] for loss in content["losses"]}
    baseline = labels[registration["baseline"]]
    parts: list[RenderableType] = []
    for cell in content["cells"]:
        parts += [_accuracies(cell, content, labels), _settings(cell, content, labels)]
    notes = (
        f"points: difference to {baseline} in percentage points of test accuracy, paired by seed; interval: BCa; p:"
        f" after Holm over {words.count(registration['comparisons'], 'comparison')}; lr, wd: each loss's own tuned"
        f" learning rate and weight decay; NLL, ECE: mean and difference to {baseline}, lower is better, without a test"
    )
    cost = f"training time, all workers: {words.duration(content['seconds'])}; registration: {content['sha256']}"
    parts.append(Group(Text(notes, "dim"), Text(cost, "dim")))
    first, *others = content["sentences"]
    parts.append(Group(Text(first, "bold"), *map(Text, others)))
    return Group(*(Padding(part, (0, 0, int(place < len(parts) - 1), 0)) for place, part in enumerate(parts)))


def _accuracies(cell: Mapping[str, Any], content: Mapping[str, Any], labels: Mapping[str, str]) -> RenderableType:
    seeds = words.count(len(content["registration"]["seeds"]), "seed")
    interval = f"{100 * content['analysis']['confidence']:g}% interval"
    table = _table(f"{cell['name']}: {cell['dataset']}, {cell['model']}, augmentation {cell['augmentation']}; {seeds}")
    for name in ("accuracy", "points", interval, "p"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    differences = {each["loss"]: each for each in content["analysis"]["differences"] if each["cell"] == cell["name"]}
    for key in _ordered(content):
        present = [value for value in cell["scores"][key]["values"] if value is not None]
        table.add_row(
            Text(labels[key]),
            words.percent(sum(present) / len(present) if present else None),
            *_difference(differences.get(key)),
            differences[key]["verdict"] if key in differences else "baseline",
        )
    return table


def _settings(cell: Mapping[str, Any], content: Mapping[str, Any], labels: Mapping[str, str]) -> RenderableType:
    """What was chosen for each loss, how many seeds failed with it, and its calibration."""
    table = _table("")
    for name in ("lr", "wd", "failed", "NLL", "", "ECE", ""):
        table.add_column(name, justify="right", no_wrap=True)
    calibration = next(each for each in content["calibration"]["cells"] if each["name"] == cell["name"])["losses"]
    for key in _ordered(content):
        tuning = cell["tuning"][key]
        setting = tuning["grid"][tuning["chosen"]]
        table.add_row(
            Text(labels[key]),
            f"{setting['learning_rate']:g}",
            f"{setting['weight_decay']:g}",
            str(cell["scores"][key]["values"].count(None)),
            *(text for measure in ("nll", "ece") for text in _measure(calibration[key][measure])),
        )
    return table


def _ordered(content: Mapping[str, Any]) -> list[str]:
    """The keys of the losses, the baseline of all comparisons first."""
    return sorted((loss["key"] for loss in content["losses"]), key=lambda key: key != content["analysis"]["baseline"])


def _table(title: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("loss", overflow="fold")
    return table


def _measure(measure: Mapping[str, Any]) -> tuple[str, str]:
    difference = measure["difference"]
    return words.number(measure["mean"], 3), words.NONE if difference is None else f"{difference['mean']:+.3f}"


def _difference(difference: Mapping[str, Any] | None) -> tuple[str, str, str]:
    if difference is None:
        return words.NONE, words.NONE, words.NONE
    low, high = difference["low"], difference["high"]
    interval = words.NONE if low is None else f"{words.points(low)} to {words.points(high)}"
    return words.points(difference["mean"]), interval, words.p_value(difference["p_adjusted"])
