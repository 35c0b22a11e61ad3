"""`finalists.json`: the losses that an elimination left, best first, each in the JSON form of a loss."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lossmith.errors import LossmithError, RunError
from lossmith.files import write_atomically
from lossmith.ledger import LossRow
from lossmith.search.evaluation import expression_row
from lossmith.space.expression import Expression

FILE = "finalists.json"


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


def read_finalists(path: Path) -> list[LossRow]:
    """The losses in a file of `write_finalists`, the best first, as ledgers name them.

    Raises:
        RunError: the file cannot be read, or does not hold such a list.
    """
    wrong = f"{path}: not a list of finalists, as 'lossmith eliminate' writes it"
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"{path}: cannot read the finalists: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise RunError(wrong) from error
    if not isinstance(entries, list) or not entries:
        raise RunError(wrong)
    found: list[LossRow] = []
    for number, entry in enumerate(entries, start=1):
        if not isinstance(entry, dict) or not isinstance(entry.get("flip"), bool):
            raise RunError(f"{wrong}; entry {number} has no orientation")
        try:
            expression = Expression.from_json(json.dumps(entry), f"{path}, entry {number}")
        except LossmithError as error:
            raise RunError(str(error)) from error
        found.append(expression_row(expression, entry["flip"]))
    return found
