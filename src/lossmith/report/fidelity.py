"""The page of a fidelity study: one HTML file without scripts, and the picture and the figures beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lossmith.errors import RunError
from lossmith.files import write_atomically
from lossmith.report import frame, words
from lossmith.report.fidelity_csv import losses_csv, scores_csv, surrogates_csv
from lossmith.report.fidelity_svg import panel, picture
from lossmith.report.fidelity_text import by_cost, interval
from lossmith.report.markup import Column, Html, element, escaped, facts, joined, paragraph, table
from lossmith.version import __version__

FOLDER, PAGE = "report", "index.html"
PICTURE, SURROGATES, LOSSES, SCORES = "fidelity.svg", "surrogates.csv", "losses.csv", "scores.csv"


def write_fidelity(directory: Path, contents: Sequence[Mapping[str, Any]], out: Path | None = None) -> Path:
    """Write the page, the picture and three CSV files.

    Args:
        directory: of the run.
        contents: results of fidelity studies, a panel and a table for each.
        out: the directory to write to; `<directory>/report` where it is None.

    Returns:
        The page, `index.html`.

    Raises:
        RunError: they cannot be written.
    """
    place = out or directory / FOLDER
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{place}: cannot make the report's directory: {error.strerror or error}") from error
    files = {
        PICTURE: picture(contents),
        SURROGATES: surrogates_csv(contents),
        LOSSES: losses_csv(contents),
        SCORES: scores_csv(contents),
    }
    for name, text in files.items():
        write_atomically(place / name, frame.encoded(text))
    return write_atomically(place / PAGE, page(contents))


def page(contents: Sequence[Mapping[str, Any]]) -> bytes:
    """The page's HTML, in UTF-8."""
    names = ", ".join(content["expensive"]["dataset"] for content in contents)
    sections = [frame.section("picture", "Agreement over cost", _pictures(contents))]
    for number, content in enumerate(contents, start=1):
        sections.append(frame.section(f"data-{number}", content["expensive"]["dataset"], _study(content)))
    sections.append(frame.section("reading", "How to read it", _reading()))
    links = Html(", ".join(element("a", name, href=name) for name in (PICTURE, SURROGATES, LOSSES, SCORES)))
    made = escaped(f"Made by Lossmith {__version__}. Beside this page: ")
    return frame.page(
        "Surrogates - Lossmith",
        style="fidelity.css",
        header=joined([paragraph("Fidelity study", "kind"), element("h1", f"Which cheap task ranks losses? {names}")]),
        sections=joined(sections),
        footer=element("p", Html(f"{made}{links}. Nothing on this page is loaded from a network.")),
    )


def _pictures(contents: Sequence[Mapping[str, Any]]) -> Html:
    parts: list[Html] = []
    for content in contents:
        parts.append(element("figure", panel(content)))
        parts.append(paragraph(content["recommendation"], "finding"))
    return joined(parts)


def _study(content: Mapping[str, Any]) -> Html:
    expensive, top = content["expensive"], content["top"]
    sources: dict[str, int] = {}
    for loss in content["losses"]:
        sources[loss["source"]] = sources.get(loss["source"], 0) + 1
    where = ", ".join(f"{count} {source}" for source, count in sources.items())
    pairs = [
        ("losses", f"{len(content['losses'])} ({where})"),
        ("expensive task", f"{expensive['name']}, {expensive['steps']:,} steps"),
        ("its seeds", len(expensive["seeds"])),
        ("trainings", f"{content['evaluations']:,}"),
        ("time in training", words.duration(content["seconds"])),
        ("losses that failed the expensive task", expensive["failed"]),
    ]
    columns = [
        Column("surrogate", wide=True),
        *(Column(name, numeric=True) for name in ("seconds", "of the expensive", "steps", "GFLOP", "tau", "interval")),
        *(Column(name, numeric=True) for name in ("behind the best", "tau, better half", "rho", "pairs right")),
        *(Column(f"top {k}", numeric=True) for k in top),
        Column("failed", numeric=True),
    ]
    rows = [_row(each["name"], each, each, top) for each in by_cost(content["surrogates"])]
    rows.append(_row(f"{expensive['name']}, one training", expensive, expensive["single"], top))
    rows.append(_row("its seeds halved, half against half", None, expensive["reliability"], top))
    classes = ["", *[""] * (len(rows) - 3), "reference", "reference"]
    caption = f"Every surrogate, the cheapest first; {100 * content['confidence']:.0f}% intervals"
    return joined([facts(pairs), table(caption, columns, rows, classes), *_failures(content)])


def _row(name: str, entry: Mapping[str, Any] | None, measures: Mapping[str, Any], top: Sequence[int]) -> list[object]:
    cost = None if entry is None else entry["cost"]
    behind, right = measures.get("behind"), measures.get("ordered_rightly")
    half = measures["tau_better_half"]
    return [
        name,
        words.NONE if cost is None else f"{cost['seconds']:.3g}",
        words.NONE if cost is None else words.percent(cost["share"], 1),
        words.NONE if cost is None else f"{cost['steps']:,}",
        words.NONE if cost is None else f"{cost['flops'] / 1e9:,.3g}",
        f"{measures['tau']['value']:.2f}",
        interval(measures["tau"]),
        words.NONE if behind is None else f"{behind['value']:.2f} ({interval(behind)})",
        f"{half['value']:.2f} ({interval(half)})",
        f"{measures['spearman']['value']:.2f} ({interval(measures['spearman'])})",
        words.NONE if right is None else words.percent(right["value"], 0),
        *(_recall(measures["recall"][str(k)]) for k in top),
        words.NONE if entry is None else entry["failed"],
    ]


def _recall(estimate: Mapping[str, float]) -> str:
    return f"{estimate['value']:.2f} ({interval(estimate)})"


def _failures(content: Mapping[str, Any]) -> list[Html]:
    """Which trainings failed, and why."""
    entries = [content["expensive"], *by_cost(content["surrogates"])]
    told = [
        f"{entry['name']}: "
        + ", ".join(f"{count} {words.reason_message(reason)}" for reason, count in entry["failures"].items())
        for entry in entries
        if entry["failures"]
    ]
    if not told:
        return [paragraph("No training failed.", "soft")]
    lines = joined(element("li", line) for line in told)
    return [element("details", joined([element("summary", "Trainings that failed"), element("ul", lines)]))]


def _reading() -> Html:
    return joined(paragraph(" ".join(text.split())) for text in _READING.strip().split("\n\n"))


_READING = """
A surrogate's training with one seed is compared with the mean of the expensive task over its other seeds, so no
training is compared with itself. The expensive task's own single training is judged alike.

Tau is Kendall's tau-b: 1 is the same order, 0 none in common. Intervals are bootstrap intervals over losses: they say
what another set of such losses might have shown, not another data set.

Half against half is how far the expensive task agrees with itself; a surrogate at this height ranks losses as well as
half of its trainings do. A surrogate without noise of its own would lie above it: where, is estimated (the dotted line)
from how far single trainings agree.

The better half are the losses that rank higher with the expensive task over all its seeds; what a search has to tell
apart late are these.

Losses of which a training failed (not finite, or below the task's threshold) rank last, tied. A name that ends in
'at N' is the same training read after N steps: stopping early.

Seconds were measured on the machine as busy as it was; steps and GFLOP (of convolutions and matrix products, forward
and backward) don't depend on it.
"""
