"""The verdicts of a confirmation in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lossmith.study.confirmation.registration import Registration
from lossmith.study.confirmation.tuning import Tuning

if TYPE_CHECKING:
    from lossmith.study.analysis import Analysis, CellDifference  # it imports scipy, which takes a second


def sentences(
    registration: Registration, analysis: Analysis, against: Mapping[str, Analysis], tuning: Tuning
) -> list[str]:
    """The primary hypothesis first, then every comparison, then what to bear in mind.

    Args:
        registration: what was asked.
        analysis: all losses against the baseline.
        against: the candidates against each control, by its key.
        tuning: what was chosen.
    """
    labels = registration.labels()
    primary = next(
        each
        for each in analysis.differences
        if (each.loss, each.cell) == (registration.primary.loss, registration.primary.cell)
    )
    found = [f"Primary hypothesis: {difference_sentence(primary, labels, analysis, len(registration.seeds))}"]
    found += [
        difference_sentence(each, labels, analysis, len(registration.seeds))
        for each in analysis.differences
        if each is not primary
    ]
    found += _overall(analysis, labels)
    found += [
        f"Against a control: {difference_sentence(each, labels, other, len(registration.seeds))}"
        for other in against.values()
        for each in other.differences
    ]
    return found + _edges(registration, tuning)


def difference_sentence(each: CellDifference, labels: Mapping[str, str], analysis: Analysis, seeds: int) -> str:
    """One comparison; its interval covers the seeds, not the choice of the images."""
    label, baseline = labels[each.loss], labels[analysis.baseline]
    start = f"On {each.cell}, with {seeds} paired seeds,"
    if each.verdict == "not comparable":
        return (
            f"{start} {label} is not comparable with {baseline}: {each.failed} of them failed with one of the two, and"
            " the others are a selection."
        )
    figures = _figures(each, analysis.confidence)
    match each.verdict:
        case "better" | "worse":
            return f"{start} there is evidence that {label} is {each.verdict} than {baseline} ({figures})."
        case "equivalent":
            margin = f"{100 * analysis.margin:g} points"
            return f"{start} {label} and {baseline} are equivalent within {margin} ({figures})."
        case _:
            power = (
                f"; so many seeds find a difference of {100 * each.detectable:.2f} points with 80% power"
                if each.detectable is not None
                else ""
            )
            return f"{start} there is no evidence that {label} differs from {baseline} ({figures}{power})."


def _figures(each: CellDifference, confidence: float) -> str:
    if each.mean is None:
        return "no pairs"
    interval = (
        f", {100 * confidence:g}% interval {100 * each.low:+.2f} to {100 * each.high:+.2f}"
        if each.low is not None and each.high is not None
        else ""
    )
    return f"{100 * each.mean:+.2f} points{interval}, p = {each.p_adjusted:.3g} after Holm"


def _overall(analysis: Analysis, labels: Mapping[str, str]) -> list[str]:
    found = []
    for each in analysis.overall:
        if each.p is None or each.p_adjusted is None or each.mean is None:
            continue
        what = (
            f"there is evidence that {labels[each.loss]} is {'better' if each.mean > 0 else 'worse'} than"
            if each.p_adjusted < 0.05
            else f"there is no evidence that {labels[each.loss]} differs from"
        )
        figures = f"{100 * each.mean:+.2f} points on average, Wilcoxon p = {each.p_adjusted:.3g} after Holm"
        found.append(f"Over {each.datasets} data sets, {what} {labels[analysis.baseline]} ({figures}).")
    return found


def _edges(registration: Registration, tuning: Tuning) -> list[str]:
    places: dict[str, list[str]] = {}
    for cell in registration.cells:
        for key, tuned in tuning[cell.name].items():
            for edge in tuned.edges:
                places.setdefault(edge, []).append(f"{registration.labels()[key]} on {cell.name}")
    return [
        f"Tuned to the {edge} of the grid, so that a wider one may hold a better: {', '.join(where)}."
        for edge, where in places.items()
    ]
