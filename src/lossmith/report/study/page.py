"""The page of a study, or of one of its stages, and the tables beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lossmith.errors import RunError
from lossmith.files import write_atomically
from lossmith.report import frame, words
from lossmith.report.markup import Html, element, escaped, joined, paragraph
from lossmith.report.study import sections
from lossmith.report.study.stages import StageRecord, read_stages
from lossmith.report.study.tables import files
from lossmith.version import __version__

FOLDER, PAGE = "report", "index.html"


def write_study_report(directory: Path, out: Path | None = None) -> Path:
    """Write the report of the study, or of the one stage, in `directory`, from the ledgers alone.

    Args:
        directory: of a study, finished or not, or of an elimination, a transfer or a confirmation.
        out: the directory to write to; `<directory>/report` where it is None.

    Returns:
        The page, `index.html`.

    Raises:
        RunError: a ledger cannot be read, or the report cannot be written.
    """
    stages = read_stages(directory)
    place = out or directory / FOLDER
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{place}: cannot make the report's directory: {error.strerror or error}") from error
    written = files(stages)
    for name, content in written.items():
        write_atomically(place / name, frame.encoded(content))
    return write_atomically(place / PAGE, _page(directory.name, stages, list(written)))


def _page(name: str, stages: Mapping[str, StageRecord], names: list[str]) -> bytes:
    alone = len(stages) == 1 and "search" not in stages
    parts: list[tuple[str, str, Html]] = []
    if not alone or "confirmation" in stages:
        confirmation = stages.get("confirmation")
        parts += [
            ("verdict", "The verdict", sections.verdict(confirmation)),
            ("registration", "What was asked and registered", sections.registration(confirmation)),
            ("confirmation", "Confirmation on the test images", sections.comparison(confirmation)),
            ("curves", "Training curves", sections.training_curves(confirmation)),
        ]
    if not alone or "null" in stages:
        parts.append(("controls", "Controls", sections.controls(stages)))
    if not alone or "elimination" in stages:
        parts.append(("elimination", "Elimination", sections.elimination(stages)))
    if not alone or "transfer" in stages:
        parts.append(("transfer", "Transfer", sections.comparison(stages.get("transfer"))))
    if not alone:
        parts.append(("search", "The search", sections.search(stages.get("search"))))
    parts.append(("cost", "Compute spent", sections.cost(stages)))
    began = min((stage.snapshot.created for stage in stages.values()), default=None)
    when = "" if began is None else f"begun {words.moment(began)}"
    links = Html(", ".join(element("a", each, href=each) for each in names))
    made = escaped(
        f"Made by Lossmith {__version__}. Every figure names its evaluations when pointed at, and in trace.csv. Beside"
        " this page: "
    )
    items = (element("li", element("a", title, href=f"#{place}")) for place, title, _ in parts)
    return frame.page(
        f"{name} - Lossmith",
        style="study.css",
        header=joined(
            [paragraph("Study" if not alone else "Stage", "kind"), element("h1", name), paragraph(when, "soft")]
        ),
        navigation=element("ul", joined(items)),
        sections=joined(frame.section(*part) for part in parts),
        footer=element("p", Html(f"{made}{links}. Nothing on this page is loaded from a network.")),
    )
