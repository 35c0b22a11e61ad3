"""From every number of a report back to the rows of a ledger that it was made of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from lossmith.report.markup import Html, element


@dataclass(frozen=True, slots=True)
class Rows:
    """Evaluations of one ledger."""

    ledger: str  # its file, from the report's run directory
    ids: tuple[int, ...]

    def __str__(self) -> str:
        return ranges(self.ids)


@dataclass(frozen=True, slots=True)
class Figure:
    """A number of the page: a line of `trace.csv`."""

    number: int  # f<number> is its name in the page
    shown: str
    value: float | int | None
    measure: str  # what it is; docs/report.md says how each is made of the rows
    place: str  # a cell or a phase
    loss: str  # key
    rows: Rows
    against: str  # key of the loss that is subtracted
    less: Rows | None  # its evaluations


@dataclass
class Trace:
    """Collects the figures of a page, in the order in which they are made."""

    figures: list[Figure] = field(default_factory=list)

    def show(
        self,
        shown: str,
        value: float | int | None,
        measure: str,
        rows: Rows,
        *,
        place: str = "",
        loss: str = "",
        against: str = "",
        less: Rows | None = None,
    ) -> Html:
        """`shown` as HTML that names its rows to whoever points at it, noted in the trace."""
        figure = Figure(len(self.figures) + 1, shown, value, measure, place, loss, rows, against, less)
        self.figures.append(figure)
        what = f" of evaluations {rows}" if rows.ids else ""
        minus = f" against {less}" if less is not None else ""
        title = f"{measure}{what}{minus} in {rows.ledger} (f{figure.number} in trace.csv)"
        return element("span", shown, title=title, data_figure=f"f{figure.number}")


def ranges(ids: Iterable[int]) -> str:
    """Ids as ranges, in their order: '3-6 9 12-10'."""
    found: list[tuple[int, int]] = []
    for each in ids:
        if found and abs(each - found[-1][1]) == 1 and (found[-1][0] == found[-1][1] or _on(found[-1], each)):
            found[-1] = (found[-1][0], each)
        else:
            found.append((each, each))
    return " ".join(str(first) if first == last else f"{first}-{last}" for first, last in found)


def _on(span: tuple[int, int], following: int) -> bool:
    """Whether an id goes on in the direction of a range."""
    return (following > span[1]) == (span[1] > span[0])
