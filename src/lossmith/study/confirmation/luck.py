"""The luck floor: what a search gains where every candidate is cross-entropy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lossmith.ledger import Ledger
from lossmith.study.controls import KIND, reaching


def luck_floor(directory: str) -> dict[str, Any]:
    """The best fitness of a search against those of its null search, which a registration names.

    Returns:
        {"directory", "of": the search's directory, "evaluations": ids in the null search's ledger, "trained": null
        trainings with a score, "best": the best of them, null where there is none, "search_best", "as_good": how many
        of them reach the search's best, "beaten": whether none does}.

    Raises:
        RunError: the directory holds no null search that has ended.
    """
    with Ledger.read(Path(directory)) as ledger:
        content = ledger.results(KIND)[-1]
    values = [value for value in content["values"] if value is not None]
    best, search = max(values, default=None), content["search_best"]
    as_good = reaching(content)
    return {
        "directory": directory,
        "evaluations": content["evaluations"],
        "of": content["of"],
        "trained": len(values),
        "best": best,
        "search_best": search,
        "as_good": as_good,
        "beaten": bool(values) and as_good == 0,
    }


def luck_sentence(luck: dict[str, Any]) -> str:
    """What it says of the search; nothing of the losses, whose own scores on fresh seeds decide."""
    if luck["best"] is None:
        return f"Luck floor: no training of {luck['directory']} succeeded, so it says nothing."
    scores = (
        f"the search's best fitness is {100 * luck['search_best']:.2f}%, the best of {luck['trained']} trainings of"
        f" cross-entropy alone {100 * luck['best']:.2f}%"
    )
    if luck["beaten"]:
        return f"Luck floor: {scores}: the search's best is above what luck alone gave."
    return (
        f"Luck floor: {scores}, and {luck['as_good']} of them reach the search's best: luck alone can explain that"
        " score."
    )
