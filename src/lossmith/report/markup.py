"""HTML from untrusted text: whatever is not `Html` already is escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def escaped(content: object) -> Html:
    """`content` as HTML; names, formulas and messages come from files, and are never trusted."""
    return content if isinstance(content, Html) else Html(html.escape(str(content)))


def joined(parts: Iterable[object]) -> Html:
    return Html("\n".join(escaped(part) for part in parts))


def element(name: str, content: object = "", /, **attributes: object) -> Html:
    """`<name attributes>content</name>`; `class_` is written `class`, `aria_label` `aria-label`."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"' for key, value in attributes.items()
    )
    return Html(f"<{name}{written}>{escaped(content)}</{name}>")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    name: object
    numeric: bool = False  # aligned right, digits of one width
    wide: bool = False  # takes the room that the others leave


def table(
    caption: str, columns: Sequence[Column], rows: Iterable[Sequence[object]], row_classes: Sequence[str] = ()
) -> Html:
    """A table whose first column heads its rows, in a region that scrolls sideways (by keyboard too) where it must."""
    classes = ["num" if column.numeric else "wide" if column.wide else "" for column in columns]
    head = "".join(
        element("th", column.name, scope="col", class_=kind) for column, kind in zip(columns, classes, strict=True)
    )
    body: list[str] = []
    for number, row in enumerate(rows):
        first, *others = (
            (element("th", cell, scope="row", class_=kind) if place == 0 else element("td", cell, class_=kind))
            for place, (cell, kind) in enumerate(zip(row, classes, strict=True))
        )
        cells = Html("".join((first, *others)))
        body.append(
            element("tr", cells, class_=row_classes[number]) if number < len(row_classes) else element("tr", cells)
        )
    content = Html(
        f"{element('caption', caption)}<thead><tr>{head}</tr></thead>\n<tbody>\n{joined(map(Html, body))}\n</tbody>"
    )
    return element("div", element("table", content), class_="scroll", role="region", tabindex=0, aria_label=caption)


def facts(pairs: Iterable[tuple[object, object]]) -> Html:
    """A list of names and values."""
    return element(
        "dl",
        Html("\n".join(f"<div>{element('dt', name)}{element('dd', value)}</div>" for name, value in pairs)),
        class_="facts",
    )


def paragraph(content: object, class_: str = "") -> Html:
    return element("p", content, class_=class_) if class_ else element("p", content)
