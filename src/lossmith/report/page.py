"""The report of a run: one HTML page that needs no network, and CSV files beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from plotly.offline import get_plotlyjs

from lossmith.errors import RunError
from lossmith.files import write_atomically
from lossmith.ledger import Ledger
from lossmith.report import frame, sections
from lossmith.report.comparison import ComparisonView
from lossmith.report.csvfiles import csv_files
from lossmith.report.markup import Html, element, escaped, joined
from lossmith.report.record import SearchRecord
from lossmith.report.sections import Section
from lossmith.report.snapshot import Snapshot
from lossmith.version import __version__

FOLDER, PAGE = "report", "index.html"


def write_report(run_directory: Path, out: Path | None = None) -> Path:
    """Write the report of the run in `run_directory`, from its ledger alone, also while the run goes on.

    Args:
        run_directory: of a search or a comparison.
        out: the directory to write to; `<run_directory>/report` where it is None.

    Returns:
        The page, `index.html`.

    Raises:
        RunError: the run cannot be read, or the report cannot be written.
        ConfigError: the run's stored configuration is not one that this version knows.
    """
    with Ledger.read(run_directory) as ledger:
        snapshot = Snapshot.of(ledger)
    record = SearchRecord.of(snapshot)
    comparisons = [ComparisonView.of(content) for content in snapshot.comparisons]
    directory = out or run_directory / FOLDER
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{directory}: cannot make the report's directory: {error.strerror or error}") from error
    files = csv_files(snapshot, record, comparisons)
    for name, content in files.items():
        write_atomically(directory / name, frame.encoded(content))
    return write_atomically(directory / PAGE, _page(snapshot, record, comparisons, list(files)))


def _page(
    snapshot: Snapshot, record: SearchRecord | None, comparisons: Sequence[ComparisonView], files: Sequence[str]
) -> bytes:
    parts: list[Section] = []
    if record is not None:
        parts += [
            sections.progress(record),
            sections.best(record),
            sections.curves(record),
            sections.lineage(record),
            sections.verdicts(record),
        ]
    if comparisons:
        parts.append(sections.comparisons(comparisons))
    parts.append(sections.cost(snapshot))
    figures = ",".join(f'"{place}":{text}' for part in parts for place, text in part.figures.items())
    library = f"<script>{get_plotlyjs()}</script>\n" if figures else ""
    data = f'<script type="application/json" id="figures">{{{figures}}}</script>\n'
    return frame.page(
        f"{snapshot.name} - Lossmith",
        header=sections.header(snapshot, record),
        navigation=_navigation(parts),
        hint="The figures need JavaScript; every number in them is also in the CSV files beside this page.",
        sections=joined(frame.section(part.place, part.title, part.content) for part in parts),
        footer=_footer(files),
        scripts=f"{data}{library}<script>\n{frame.asset('page.js')}\n</script>",
    )


def _navigation(parts: Sequence[Section]) -> Html:
    items = (element("li", element("a", part.short, href=f"#{part.place}")) for part in parts)
    return element("ul", joined(items))


def _footer(files: Sequence[str]) -> Html:
    links = Html(", ".join(element("a", name, href=name) for name in files))
    made = f"Made by Lossmith {__version__}. Everything behind this page, beside it: "
    return element("p", Html(f"{escaped(made)}{links}. {escaped(_HINT)}"))


_HINT = "Accuracies there are fractions of 1; nothing on this page is loaded from a network."
