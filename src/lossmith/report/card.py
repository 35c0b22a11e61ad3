"""The card of a loss that a user names, with what ledgers know of it; `card_terminal` and `card_page` show it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lossmith.errors import RunError
from lossmith.ledger import FILE
from lossmith.losses.build import loss as build_loss
from lossmith.losses.card import CLASSES, LossCard, card
from lossmith.losses.module import Loss
from lossmith.losses.zoo import ZOO
from lossmith.report import sentences
from lossmith.report.card_evidence import Evidence, gather
from lossmith.search.best import FILE as BEST
from lossmith.search.evaluation import expression_row

BASELINE_NAME = "cross-entropy"


@dataclass(frozen=True, slots=True)
class CardView:
    """What a page or a terminal shows."""

    card: LossCard
    python: str  # the Python that makes the loss; empty where that cannot be said
    evidence: tuple[Evidence, ...]
    sought: tuple[str, ...]  # the runs that were asked for evidence


def card_view(x: str | Loss, *, classes: Sequence[int] = CLASSES, evidence: Sequence[Path] = ()) -> CardView:
    """The card of a loss, and the evidence for it.

    Args:
        x: a loss; or a zoo name, a formula, the path of an exported loss, or the directory of a run: its best loss,
            for which that run's own ledger is evidence too.
        classes: as in `lossmith.losses.card.card`.
        evidence: directories of runs.

    Raises:
        LossmithError: there is no such loss, it cannot be read, or a number of classes is out of range.
        RunError: a run cannot be read, or has no best loss yet.
    """
    runs = list(evidence)
    provenance: Mapping[str, Any] = {}
    if isinstance(x, Loss):
        loss = x
    else:
        run = _run(x)
        if run is not None:
            if not (run / BEST).is_file():
                told = (
                    "let its search go on until a loss is trained" if (run / FILE).exists() else "name a loss, or a run"
                )
                raise RunError(f"{run}: holds no {BEST}; {told}")
            runs += [run] if (run / FILE).exists() and run not in runs else []
        file = run / BEST if run is not None else Path(x.strip()) if x.strip().endswith(".json") else None
        loss = build_loss(x if file is None else file)
        provenance = {} if file is None else _provenance(file)
    return CardView(
        card=card(loss, classes=classes, provenance=provenance),
        python=_python(loss),
        evidence=tuple(gather(loss, runs)),
        sought=tuple(map(str, runs)),
    )


def _run(text: str) -> Path | None:
    try:
        directory = Path(text.strip())
        return directory if text.strip() and directory.is_dir() else None
    except (OSError, ValueError):  # a formula may be longer than a file's name
        return None


def _provenance(file: Path) -> Mapping[str, Any]:
    """What an exported loss says of where it comes from, for people; it is a file of a loss already."""
    content = json.loads(file.read_text(encoding="utf-8"))
    found = content.get("provenance") if isinstance(content, dict) else None
    return {str(name): value for name, value in found.items()} if isinstance(found, dict) else {}


def _python(loss: Loss) -> str:
    arguments = f", label_smoothing={loss.label_smoothing:g}" if loss.label_smoothing else ""
    if is_published(loss):
        return f'lossmith.loss("{loss.name}"{arguments})'
    if loss.expression is None:
        return ""
    line = sentences.python_line(expression_row(loss.expression, loss.flip))
    return f"{line[:-1]}{arguments})" if line else ""


def is_published(loss: Loss) -> bool:
    """Whether `lossmith.loss(name)` makes this loss: one of the zoo with its default parameters."""
    return loss.name in ZOO and build_loss(loss.name).formula == loss.formula


# -- numbers as both show them -----------------------------------------------------------------------------------------


def drawn_scale(view: CardView, classes: int) -> float:
    """The factor that a figure's curves are multiplied by: with it the first steps are as large as cross-entropy's."""
    row = next(row for row in view.card.by_classes if row.classes == classes)
    return row.scale if math.isfinite(row.scale) else 1.0


def scaled(values: Sequence[float], factor: float) -> tuple[float, ...]:
    return tuple(value * factor for value in values)
