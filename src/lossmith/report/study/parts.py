"""What the sections of a study's page are put together from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lossmith.report import words
from lossmith.report.markup import Html, element, escaped, joined, paragraph
from lossmith.report.study.forms import Loss
from lossmith.report.study.reading import Stage, StudyRecord
from lossmith.report.study.trace import Trace

_LONGEST = 20  # characters of a label that is a loss's name in tables and pictures
COLOURS = 8  # classes k0 to k7 of the style sheet


@dataclass(frozen=True, slots=True)
class Part:
    """One section of the page."""

    place: str  # its id
    short: str  # its name in the navigation
    title: str
    content: Html


@dataclass(frozen=True, slots=True)
class Name:
    """What a loss is called on the page."""

    text: str  # its label where that is short, else L1, L2, ...
    loss: Loss
    style: str  # CSS class of its lines

    def __str__(self) -> str:
        return self.text

    @property
    def html(self) -> Html:
        if self.text == self.loss.label:
            return escaped(self.text)
        return element("a", self.text, href="#losses", title=self.loss.label)


class Names:
    """The losses of a report by key: those that were confirmed come first, then the others as the stages name them."""

    def __init__(self, losses: Iterable[Loss], baseline: str) -> None:
        self._by_key: dict[str, Name] = {}
        taken: set[str] = set()
        number = 0
        for loss in losses:
            if loss.key in self._by_key:
                continue
            text = loss.label
            if len(text) > _LONGEST or text in taken:
                number += 1
                text = f"L{number}"
            taken.add(text)
            style = "base" if loss.key == baseline else f"k{len(self._by_key) % COLOURS}"
            self._by_key[loss.key] = Name(text, loss, style)

    def __getitem__(self, key: str) -> Name:
        return self._by_key[key]

    @property
    def all(self) -> Mapping[str, Name]:
        return self._by_key

    def within(self, text: str) -> str:
        """A sentence with the names in place of the long labels."""
        renamed = [name for name in self._by_key.values() if len(name.loss.label) > _LONGEST]
        for name in sorted(renamed, key=lambda name: -len(name.loss.label)):
            text = text.replace(name.loss.label, name.text)
        return text


def state_of(stage: Stage | None, record: StudyRecord) -> Html:
    """In the place of what a stage has not found yet: plainly that, and how to go on."""
    if stage is None:
        return paragraph("This study has no such stage.", "note")
    where = record.directory if record.config is not None else stage.directory
    if stage.snapshot is None:
        what = f"This stage has not been run. Nothing is known of '{stage.name}'."
    else:
        there = words.count(len(stage.snapshot.evaluations), "training")
        what = f"This stage is not finished: '{stage.name}' has {there} so far, and no result."
    command = element("code", f"lossmith resume {where}")
    return paragraph(Html(f"{escaped(what)} {command} goes on."), "note")


def folded(summary: str, content: Html) -> Html:
    return element("details", joined((element("summary", summary), content)))


def panels(figures: Sequence[tuple[str, Html]]) -> Html:
    """Pictures beside each other where there is room, each under its name."""
    drawn = (
        element("figure", joined((element("figcaption", element("strong", name)), picture)))
        for name, picture in figures
    )
    return element("div", joined(drawn), class_="panels study-panels")


def swatches(entries: Iterable[tuple[str, object]]) -> Html:
    """A legend: (CSS class of the line, name)."""

    def item(style: str, name: object) -> Html:
        path = element("path", d="M1 4H33", class_=f"curve {style}")
        line = element("svg", path, viewBox="0 0 34 8", aria_hidden="true")
        return element("li", Html(f"{line}{escaped(name)}"))

    return element("ul", joined(item(style, name) for style, name in entries), class_="legend")


def verdict_html(verdict: str) -> Html:
    """A verdict; every one in the same size."""
    return element("span", verdict, class_=f"verdict {verdict.replace(' ', '-')}")


@dataclass(frozen=True)
class Context:
    """What every section is written from, and where its numbers are noted."""

    record: StudyRecord
    names: Names
    trace: Trace
