"""A loss as JSON, and back: an expression in `Expression.to_json` form, a zoo loss as its name and parameters."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lossmith.errors import GraphError, LossmithError, nearest
from lossmith.losses.module import Loss
from lossmith.losses.zoo import ZOO
from lossmith.space.expression import Expression
from lossmith.version import __version__

ZOO_FORMAT, ZOO_VERSION = "lossmith-zoo", 1


@dataclass(frozen=True, slots=True)
class StoredLoss:
    """What a file says of a loss: a zoo name and its parameters, or an expression."""

    name: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)  # not checked yet
    expression: Expression | None = None
    flip: bool | None = None  # of the expression; None where the file does not say it
    provenance: Mapping[str, Any] = field(default_factory=dict)


def to_json(loss: Loss) -> str:
    """The text of a file that `lossmith.loss` reads back; of the loss alone, no argument of `nn.CrossEntropyLoss`.

    Raises:
        LossmithError: label smoothing, an `ignore_index` or a reduction that is not the default; or no such form.
    """
    if (loss.label_smoothing, loss.ignore_index, loss.reduction) != (0.0, -100, "mean"):
        raise LossmithError(
            f"loss '{loss.name:.80}': JSON holds the loss alone; give label_smoothing, ignore_index and reduction to"
            " lossmith.loss when it is read back"
        )
    if loss.name in ZOO:
        content: dict[str, Any] = {"format": ZOO_FORMAT, "version": ZOO_VERSION, "name": loss.name}
        content |= {"parameters": dict(loss.settings), "formula": loss.formula, "reference": ZOO[loss.name].reference}
        return json.dumps(content | {"lossmith": __version__}, indent=2) + "\n"
    if loss.expression is None:
        raise GraphError(f"loss '{loss.name:.80}' is neither of the zoo nor an expression: it cannot be stored")
    extra: dict[str, Any] = {"flip": loss.flip}
    if loss.name != loss.formula:
        extra["name"] = loss.name
    if loss.provenance:
        extra["provenance"] = dict(loss.provenance)
    return loss.expression.to_json(**extra, lossmith=__version__) + "\n"


def read_stored(path: Path) -> StoredLoss:
    """The loss in a file of `to_json`, or in anything else that `Expression.from_file` reads.

    Raises:
        GraphError: the file cannot be read, is not JSON, of a newer version, or does not hold a loss; names the file.
        CyclicGraphError: its graph has a cycle.
    """
    expression: Expression | None = None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        content = None  # `from_file` says what is wrong
    if not isinstance(content, dict):
        return StoredLoss(expression=Expression.from_file(path))
    provenance = content.get("provenance")
    provenance = provenance if isinstance(provenance, dict) else {}
    if content.get("format") != ZOO_FORMAT:
        expression = Expression.from_file(path)
        flip = content.get("flip")
        return StoredLoss(expression=expression, flip=flip if isinstance(flip, bool) else None, provenance=provenance)
    name, version, settings = content.get("name"), content.get("version"), content.get("parameters", {})
    if not isinstance(version, int) or not isinstance(settings, dict):
        raise GraphError(f"{path}: expected a version and parameters, as 'lossmith export --to json' writes them")
    if version > ZOO_VERSION:
        raise GraphError(f"{path}: version {version} is newer than this program; update Lossmith")
    if not isinstance(name, str) or name not in ZOO:
        raise GraphError(f"{path}: unknown zoo loss '{name!s:.80}'{nearest(str(name), ZOO)}")
    return StoredLoss(name=name, settings=settings, provenance=provenance)
