"""The page of a study, or of one of its stages, with the CSV and LaTeX tables beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lossmith.errors import RunError
from lossmith.files import write_atomically
from lossmith.report import frame, words
from lossmith.report.markup import Html, element, escaped, facts, joined, paragraph
from lossmith.report.study.asked import asked_part
from lossmith.report.study.compute import compute_part
from lossmith.report.study.confirmed import confirmation_part
from lossmith.report.study.contents import Elimination
from lossmith.report.study.controls import controls_part
from lossmith.report.study.forms import Loss
from lossmith.report.study.latex import latex_files
from lossmith.report.study.parts import Context, Names, Part
from lossmith.report.study.reading import SEARCH, StudyRecord
from lossmith.report.study.searched import search_part
from lossmith.report.study.selected import elimination_part, transfer_part
from lossmith.report.study.tables import csv_files
from lossmith.report.study.trace import Trace
from lossmith.report.study.verdict import verdict_part
from lossmith.version import __version__

FOLDER, PAGE = "report", "index.html"
_KINDS = {
    "elimination": "Elimination of loss functions",
    "transfer": "Transfer of loss functions",
    "confirmation": "Confirmation of loss functions",
    "null": "Null search: the luck floor of a search",
}


def write_study_report(directory: Path, out: Path | None = None) -> Path:
    """Write the report of what `directory` holds, from its ledgers alone, also while it goes on.

    Args:
        directory: of a study, or of an elimination, a transfer, a confirmation or a null search by itself.
        out: the directory to write to; `<directory>/report` where it is None.

    Returns:
        The page, `index.html`.

    Raises:
        RunError: a ledger cannot be read, a result is not of a form that this version knows, a result and its ledger
            do not go together, or the report cannot be written.
        ConfigError: settings are stored that this version does not know.
    """
    record = StudyRecord.of(directory)
    context = Context(record, _names(record), Trace())
    place = out or directory / FOLDER
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{place}: cannot make the report's directory: {error.strerror or error}") from error
    parts = _parts(context, place)
    files = {**csv_files(context), **latex_files(context)}
    for name, content in files.items():
        write_atomically(place / name, frame.encoded(content))
    return write_atomically(place / PAGE, _page(context, parts, list(files)))


def _names(record: StudyRecord) -> Names:
    """What was registered first, then what was carried on, then everything else that a stage names."""
    losses: list[Loss] = []
    baseline = "zoo:cross_entropy"
    if record.registered is not None:
        losses += record.registered.registration.losses
        baseline = record.registered.registration.baseline
    if record.confirmation is not None:
        losses += record.confirmation.losses
    if record.transfer is not None:
        losses += record.transfer.losses
        baseline = baseline if record.registered is not None else record.transfer.baseline
    eliminations = [s.result for s in record.of_kind("elimination") if isinstance(s.result, Elimination)]
    for result in eliminations:
        by_key = {loss.key: loss for loss in result.losses}
        losses += [by_key[key] for key in result.finalists]
    for result in eliminations:
        losses += result.losses
    return Names(losses, baseline)


def _parts(context: Context, out: Path) -> list[Part]:
    record = context.record
    kinds = {stage.kind for stage in record.stages.values()}
    whole = record.config is not None
    parts = [verdict_part(context)]
    if whole or kinds & {"confirmation", "transfer", "elimination"}:
        parts.append(asked_part(context))
    if whole or "confirmation" in kinds:
        parts.append(confirmation_part(context, next(iter(record.of_kind("confirmation")), None)))
    if whole or "null" in kinds:
        parts.append(controls_part(context))
    if whole or "elimination" in kinds:
        parts.append(elimination_part(context))
    if whole or "transfer" in kinds:
        parts.append(transfer_part(context, next(iter(record.of_kind("transfer")), None)))
    if SEARCH in record.stages:
        parts.append(search_part(context, out))
    return [*parts, compute_part(context)]


def _page(context: Context, parts: Sequence[Part], files: Sequence[str]) -> bytes:
    links = Html(", ".join(element("a", name, href=name) for name in files))
    made = escaped(f"Made by Lossmith {__version__}. Beside this page: ")
    tracing = (
        f"trace.csv has a line for each of the {len(context.trace.figures):,} numbers that name their evaluations when"
        " pointed at, with the ledger and the ids. Accuracies in the files are fractions of 1. Nothing on this page is"
        " loaded from a network, and it has no scripts."
    )
    navigation = (element("li", element("a", part.short, href=f"#{part.place}")) for part in parts)
    return frame.page(
        f"{context.record.name} - Lossmith",
        style="study.css",
        header=_header(context),
        navigation=element("ul", joined(navigation)),
        sections=joined(frame.section(part.place, part.title, part.content) for part in parts),
        footer=element("p", Html(f"{made}{links}. {escaped(tracing)}")),
    )


def _header(context: Context) -> Html:
    record = context.record
    kind = "Study of loss functions"
    if record.config is None:
        kind = _KINDS[next(iter(record.stages.values())).kind]
    snapshots = [stage.snapshot for stage in record.stages.values() if stage.snapshot is not None]
    versions = next((each.sessions[-1].versions for each in reversed(snapshots) if each.sessions), {})
    pairs: list[tuple[object, object]] = []
    if snapshots:
        pairs.append(("started", words.moment(min(each.created for each in snapshots))))
    ended = [each.evaluations[-1].finished for each in snapshots if each.evaluations]
    if ended:
        pairs.append(("newest training", words.moment(max(ended))))
    pairs += [("Lossmith", versions.get("lossmith", words.NONE)), ("PyTorch", versions.get("torch", words.NONE))]
    return joined(
        (
            paragraph(kind, "kind"),
            element("h1", record.name),
            paragraph(_state(record), "state"),
            facts(pairs),
        )
    )


def _state(record: StudyRecord) -> str:
    """Which stages are there."""
    states = {
        name: "done" if stage.done else "not begun" if stage.snapshot is None else "not finished"
        for name, stage in record.stages.items()
    }
    open_ones = [f"{name} {state}" for name, state in states.items() if state != "done"]
    if not open_ones:
        return "Finished." if len(states) == 1 else f"Finished: all {len(states)} stages are done."
    if len(states) == 1:
        return f"Not finished. 'lossmith resume {record.directory}' goes on with it."
    done = sum(state == "done" for state in states.values())
    return (
        f"Not finished: {done} of {len(states)} stages are done; {', '.join(open_ones)}."
        f" 'lossmith resume {record.directory}' goes on with it."
    )
