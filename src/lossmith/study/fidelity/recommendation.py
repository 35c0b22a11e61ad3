"""What a fidelity study says in words: which surrogate to take, or that it cannot tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Entry = Mapping[str, Any]  # of "surrogates" in the result


def chosen(surrogates: Sequence[Entry]) -> Entry | None:
    """The surrogate to take: the cheapest whose tau cannot be told from the best one's; None where the best one's own
    interval reaches 0, so that none is shown to rank at all."""
    best = max(surrogates, key=lambda entry: entry["tau"]["value"])
    if best["tau"]["low"] <= 0:
        return None
    return min((each for each in surrogates if each["behind"]["high"] >= 0), key=lambda each: each["cost"]["seconds"])


def recommendation(losses: int, expensive: Entry, surrogates: Sequence[Entry]) -> str:
    """A few sentences, each a statement that the figures of the result bear out."""
    best = max(surrogates, key=lambda entry: entry["tau"]["value"])
    own = expensive["reliability"]["tau"]
    seeds = len(expensive["seeds"])
    truth = f"Two halves of the expensive task's {seeds} seeds order the {losses} losses with a tau of {_interval(own)}"
    ideal = expensive["reliability"]["noiseless"]["value"]
    parts = [f"{truth}: that is how far the truth itself is known."]
    parts.append(f"Without noise of its own, a surrogate would reach about {ideal:.2f}.")
    if own["low"] <= 0:
        parts.append("So little that no surrogate can be judged: give the expensive task more seeds, or more losses.")
        return " ".join(parts)
    pick = chosen(surrogates)
    if pick is None:
        parts.append(
            f"No surrogate is shown to rank losses at all: the best, '{best['name']}', has a tau of"
            f" {_interval(best['tau'])}. Take more losses, or surrogates closer to the expensive task."
        )
        return " ".join(parts)
    alike = [each for each in surrogates if each["behind"]["high"] >= 0]
    worse = [each for each in surrogates if each["behind"]["high"] < 0]
    if len(surrogates) == 1:
        parts.append(f"The only surrogate, '{pick['name']}', has a tau of {_interval(pick['tau'])}.")
    elif not worse:
        parts.append(
            f"Nothing can be told apart: with {losses} losses, every surrogate may be as good as '{best['name']}', the"
            f" one with the highest tau ({_interval(best['tau'])}). So take the cheapest, '{pick['name']}'"
            f" ({_interval(pick['tau'])}){_risk(pick, best)}."
        )
    elif pick is best:
        parts.append(
            f"Take '{best['name']}', with a tau of {_interval(best['tau'])}: it is the best, and every cheaper"
            " surrogate is worse."
        )
    else:
        others = f"'{worse[0]['name']}' is" if len(worse) == 1 else f"{len(worse)} others are"
        parts.append(
            f"Take '{pick['name']}', with a tau of {_interval(pick['tau'])}: the cheapest of {len(alike)} that cannot"
            f" be told from the best, '{best['name']}' ({_interval(best['tau'])}){_risk(pick, best)}; {others} worse."
        )
    parts.append(
        f"It puts {_percent(pick['ordered_rightly']['value'])} of all pairs of losses in the right order, for"
        f" {_percent(pick['cost']['share'])} of what one training of the expensive task costs, which by itself orders"
        f" {_percent(expensive['single']['ordered_rightly']['value'])}."
    )
    half = pick["tau_better_half"]
    if half["low"] <= 0:
        parts.append(
            f"Among the better half of the losses its order is not shown to be better than chance (tau"
            f" {_interval(half)}): it finds the bad ones."
        )
    else:
        parts.append(f"Among the better half of the losses its tau is {_interval(half)}.")
    return " ".join(parts)


def _risk(pick: Entry, best: Entry) -> str:
    if pick is best:
        return ""
    return f"; its tau may be lower by up to {-pick['behind']['low']:.2f}"


def _interval(estimate: Mapping[str, float]) -> str:
    return f"{estimate['value']:.2f} ({estimate['low']:.2f} to {estimate['high']:.2f})"


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%" if share >= 0.1 else f"{100 * share:.1f}%"
