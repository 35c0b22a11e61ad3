"""What the stages of a study left in their ledgers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lossmith.errors import RunError
from lossmith.ledger import FILE, Ledger
from lossmith.report.snapshot import Snapshot

FORMAT = 1  # of the results that this version reads
# the directories of a study, in order, and the kind of result that each holds (a search has none)
KINDS: dict[str, str | None] = {
    "search": None,
    "random": None,
    "null": "null",
    "elimination": "elimination",
    "elimination-random": "elimination",
    "transfer": "transfer",
    "confirmation": "confirmation",
}


@dataclass(frozen=True, slots=True)
class StageRecord:
    """One stage as it stands."""

    name: str  # of its directory, or its kind where it stands alone
    directory: Path
    snapshot: Snapshot
    result: Mapping[str, Any] | None  # None: not finished, or a search

    @property
    def trainings(self) -> int:
        return len(self.snapshot.evaluations)

    @property
    def training_seconds(self) -> float:
        """Of all workers."""
        return sum(row.seconds for row in self.snapshot.evaluations)

    @property
    def wall_seconds(self) -> float:
        return sum(session.seconds for session in self.snapshot.sessions)


def read_stages(directory: Path) -> dict[str, StageRecord]:
    """The stages in the directory of a study, or the one stage that is there itself; those not begun are left out.

    Raises:
        RunError: a ledger cannot be read, or has a result of another version.
    """
    if (directory / FILE).is_file():
        return {each.name: each for each in [_read(None, directory)] if each is not None}
    found = (_read(name, directory / name) for name in KINDS if (directory / name / FILE).is_file())
    return {each.name: each for each in found if each is not None}


def has_stage(directory: Path) -> bool:
    """Whether the ledger in a directory is of a stage after the search, for which this report is."""
    with Ledger.read(directory) as ledger:
        configuration = ledger.configuration()
    return any(kind in configuration for kind in KINDS.values() if kind)


def _read(name: str | None, directory: Path) -> StageRecord | None:
    with Ledger.read(directory) as ledger:
        snapshot = Snapshot.of(ledger)
        kind = KINDS[name] if name else next(kind for kind in KINDS.values() if kind in snapshot.configuration)
        results = ledger.results(kind) if kind else []
    result = results[-1] if results else None
    if result is not None and result.get("format") != FORMAT:
        raise RunError(f"{directory}: its result has a form that this version does not know; update Lossmith")
    return StageRecord(name or str(kind), directory, snapshot, result)
