"""Numbers, times and changes in the words that the page and the terminal share: every number with its unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from statistics import NormalDist
from typing import Any

from lossmith.verdict import Reason

NONE = "-"  # where there is no value; ASCII, as all here that a terminal shows


def percent(fraction: float | None, digits: int = 2) -> str:
    """0.9733 as '97.33%'."""
    return NONE if fraction is None else f"{100 * fraction:.{digits}f}%"


def points(difference: float | None) -> str:
    """A difference of two fractions in percentage points, with its sign."""
    return NONE if difference is None else f"{100 * difference:+.2f}"


def number(value: float | None, digits: int = 4) -> str:
    return NONE if value is None else f"{value:.{digits}f}"


def p_value(p: float | None) -> str:
    if p is None:
        return NONE
    return f"{p:.1e}" if 0 < p < 0.001 else f"{p:.3f}"


def count(amount: int, noun: str) -> str:
    """'1 loss', '12,000 losses': `noun` is the singular."""
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{amount:,} {noun if amount == 1 else plural}"


def duration(seconds: float) -> str:
    """A time span to about three digits."""
    if seconds < 59.95:
        return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes:02d} min"


def moment(timestamp: float) -> str:
    """A Unix time as a date and a time of day, in UTC so that a page reads the same everywhere."""
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def truncated(text: str, length: int) -> str:
    """At most `length` characters of a text, the last three dots where some are left out."""
    return text if len(text) <= length else text[: max(0, length - 3)] + "..."


def reason_message(reason: str) -> str:
    """The message of a verdict by its stored name; a ledger may hold one that this version does not know."""
    try:
        return Reason(reason).message
    except ValueError:
        return "a verdict that this version of Lossmith does not know"


def mutation_words(mutation: Mapping[str, Any]) -> str:
    """A stored mutation as a phrase."""
    node, before, after = mutation["node"], mutation["before"], mutation["after"]
    change = f"{_call(before)} → {_call(after)}"
    match mutation["kind"]:
        case "operator":
            return f"another operator in {node}: {change}"
        case "input":
            return f"another input of {node}: {change}"
        case "swap":
            return f"the inputs of {node} exchanged: {change}"
        case "arity":
            return f"{node} now reads {count(len(after) - 1, 'input')}: {change}"
        case kind:
            return f"{kind} of {node}: {change}"


def _call(entry: Sequence[str]) -> str:
    return f"{entry[0]}({', '.join(entry[1:])})"


def luck(draws: int) -> float:
    """The mean of the highest of `draws` standard normal values (Blom's approximation): what picking the best gains
    where all are equally good."""
    return NormalDist().inv_cdf((draws - 0.375) / (draws + 0.25)) if draws > 1 else 0.0
