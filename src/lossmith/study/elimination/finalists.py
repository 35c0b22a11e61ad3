"""The losses that an elimination left, best first: in its ledger, and in `finalists.json` for other programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lossmith.errors import RunError
from lossmith.files import write_atomically
from lossmith.ledger import Ledger, LossRow
from lossmith.space.expression import Expression

FILE = "finalists.json"
KIND = "elimination"  # of the result, and the key of the configuration in the ledger


def write_finalists(directory: Path, content: Mapping[str, Any]) -> Path:
    """Write the finalists of an elimination's result into its directory.

    The file holds a list; each entry is what `Expression.to_json` writes, with the loss's orientation, and where it
    came from as `provenance`.

    Raises:
        RunError: the file cannot be written.
    """
    losses = {loss["key"]: loss for loss in content["losses"]}
    last = content["phases"][-1]
    entries: list[dict[str, Any]] = []
    for key in content["finalists"]:
        loss = losses[key]
        source = content["sources"][loss["source"]]
        provenance = {
            "elimination": str(directory),
            "search": source["directory"],
            "task": last["task"],
            "validation_accuracy": last["scores"][key]["mean"],
            "seeds": len(last["scores"][key]["values"]),
        }
        text = Expression.from_text(loss["formula"]).to_json(flip=loss["flip"], provenance=provenance)
        entries.append(json.loads(text))
    return write_atomically(directory / FILE, json.dumps(entries, indent=2) + "\n")


@dataclass(frozen=True, slots=True)
class Finalist:
    """A loss that an elimination kept."""

    label: str
    loss: LossRow


def finalists(directory: str) -> list[Finalist] | None:
    """The finalists of an elimination, the best first; None where the directory holds another kind of run.

    Raises:
        RunError: the directory holds no run, or the elimination has not come to its end.
    """
    with Ledger.read(Path(directory)) as ledger:
        if KIND not in ledger.configuration():
            return None
        results = ledger.results(KIND)
        if not results:
            raise RunError(f"{directory}: the elimination has no finalists yet; 'lossmith resume {directory}' goes on")
        labels = {entry["key"]: entry["label"] for entry in results[-1]["losses"]}
        return [Finalist(labels[key], ledger.loss(key)) for key in results[-1]["finalists"]]
