"""The runs whose results led to a confirmation's losses: what they trained on, with which seeds, for how long."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lossmith.errors import RunError
from lossmith.ledger import Ledger, TaskRow
from lossmith.settings import validate
from lossmith.study.elimination.finalists import KIND as ELIMINATION
from lossmith.train.task import TaskConfig

_KINDS = ("search", ELIMINATION, "null", "fidelity", "transfer", "confirmation")  # keys of ledgers' configurations


@dataclass(frozen=True, slots=True)
class UsedTask:
    """A task on which a run trained."""

    task: TaskConfig
    scored_test: bool  # whether a loss was scored on its test images
    step_seconds: float  # of one process, for one step of one loss, on average; 0 where none was measured


@dataclass(frozen=True, slots=True)
class SourceRun:
    """What the ledger of a run says."""

    directory: str
    kind: str  # one of _KINDS, or "comparison"
    name: str
    seeds: frozenset[int]  # of all its trainings
    tasks: tuple[UsedTask, ...]


def read_source(directory: str) -> SourceRun:
    """What a run used.

    Raises:
        RunError: it is no run, or cannot be read.
    """
    with Ledger.read(Path(directory)) as ledger:
        stored = ledger.configuration()
        rows = {row.task_id: row for row in ledger.tasks()}
        seeds: set[int] = set()
        splits: dict[str, set[str]] = defaultdict(set)
        seconds: dict[str, float] = defaultdict(float)
        steps: dict[str, int] = defaultdict(int)
        for row in ledger.evaluations():
            seeds.add(row.key.seed)
            splits[row.key.task].add(row.key.split)
            seconds[row.key.task] += row.seconds
            steps[row.key.task] += row.steps
        used = tuple(
            UsedTask(
                validate(TaskConfig, rows[key].configuration, f"{directory}: task '{rows[key].name}'"),
                "test" in splits[key],
                seconds[key] / steps[key] / _at_once(rows[key]) if steps[key] else 0.0,
            )
            for key in splits
        )
    return SourceRun(directory, _kind(stored), str(stored.get("name", Path(directory).name)), frozenset(seeds), used)


def all_sources(directories: Iterable[str]) -> list[SourceRun]:
    """The runs in these directories, and the ones that they, in their turn, took their losses from; each once.

    Raises:
        RunError: one of them is no run, or was moved.
    """
    found: dict[Path, SourceRun] = {}
    wanted = list(directories)
    while wanted:
        directory = wanted.pop(0)
        place = Path(directory).resolve()
        if place not in found:
            found[place] = read_source(directory)
            wanted += _earlier(directory)
    return list(found.values())


def _earlier(directory: str) -> list[str]:
    """The directories of the runs from which a run took its losses."""
    with Ledger.read(Path(directory)) as ledger:
        results = ledger.results(ELIMINATION)
    named = [str(source["directory"]) for source in results[-1]["sources"]] if results else []
    return [located(name, Path(directory)) for name in named]


def located(name: str, run: Path) -> str:
    """Where the directory `name` is that the run in `run` names: there, or, moved with its neighbours, beside it.

    Raises:
        RunError: it is in neither place.
    """
    for place in (Path(name), run.absolute().parent / Path(name).name):
        if place.is_dir():
            return str(place)
    raise RunError(f"{run}: its losses come from {name}, which is not there; bring it back, so that it can be checked")


def _kind(stored: dict[str, object]) -> str:
    """What a run is, from its ledger's configuration."""
    return next((kind for kind in _KINDS if kind in stored), "comparison")


def _at_once(row: TaskRow) -> int:
    """The number of losses that shared a process when a task's losses were trained."""
    return int((row.plan or {}).get("slots", 1))
