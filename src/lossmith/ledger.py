"""The ledger: the durable record of a run, one SQLite file that every stage reads and writes.

One process writes (it holds the lock of the run directory), any number read. Each method that writes is one
transaction, so a process that is killed at any moment leaves a whole ledger. The tables are described in
`docs/ledger.md`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lossmith.errors import RunError
from lossmith.verdict import Reason

FILE = "ledger.sqlite"
LOCK = "lock"
SCHEMA_VERSION = 1
_APPLICATION_ID = 0x4C6F5353  # "LoSS": tells a ledger from any other SQLite file

_SCHEMA = f"""
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
CREATE TABLE run (
    created REAL NOT NULL,              -- Unix time, as all times here
    configuration TEXT NOT NULL         -- JSON of RunConfig
) STRICT;
CREATE TABLE sessions (                 -- one row for each process that wrote
    id INTEGER PRIMARY KEY,
    command TEXT NOT NULL,
    started REAL NOT NULL,
    seconds REAL NOT NULL DEFAULT 0,    -- wall time, brought up to date with every evaluation
    workers INTEGER NOT NULL,
    versions TEXT NOT NULL              -- JSON: lossmith, torch, numpy, python, platform
) STRICT;
CREATE TABLE tasks (
    task_id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    configuration TEXT NOT NULL,        -- JSON of TaskConfig
    data_checksum TEXT NOT NULL
) STRICT;
CREATE TABLE losses (
    key TEXT PRIMARY KEY,               -- of the expression; 'zoo:...' for a loss of the zoo
    formula TEXT NOT NULL,
    flip INTEGER                        -- 1 where the loss is -1 times the formula; NULL for the zoo
) STRICT;
CREATE TABLE candidates (
    number INTEGER PRIMARY KEY,         -- in the order of asking
    stage TEXT NOT NULL,
    iteration INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    loss TEXT NOT NULL REFERENCES losses(key),
    genome TEXT NOT NULL,               -- JSON of Genome.nodes()
    parent INTEGER,                     -- candidate number
    mutation TEXT,                      -- JSON: kind, node, before, after
    refused TEXT NOT NULL,              -- JSON: drafts refused before this one, by reason
    asked INTEGER NOT NULL UNIQUE,      -- place in the order of events (asks and tells)
    told INTEGER UNIQUE,                -- likewise; NULL while the outcome is not known to the search
    evaluation INTEGER REFERENCES evaluations(id)
) STRICT;
CREATE TABLE evaluations (
    id INTEGER PRIMARY KEY,
    loss TEXT NOT NULL REFERENCES losses(key),
    task TEXT NOT NULL REFERENCES tasks(task_id),
    seed INTEGER NOT NULL,
    split TEXT NOT NULL,                -- the split that was scored: validation or test
    reason TEXT NOT NULL,               -- lossmith.verdict.Reason
    detail TEXT NOT NULL,
    score REAL,                         -- accuracy in [0, 1] after the last step; NULL unless reason is 'ok'
    nll REAL,
    ece REAL,
    steps INTEGER NOT NULL,
    seconds REAL NOT NULL,              -- of training
    curve TEXT NOT NULL,                -- JSON: one record per epoch
    worker INTEGER NOT NULL,
    session INTEGER NOT NULL REFERENCES sessions(id),
    finished REAL NOT NULL,
    UNIQUE (loss, task, seed, split)
) STRICT;
CREATE TABLE comparisons (
    id INTEGER PRIMARY KEY,
    created REAL NOT NULL,
    content TEXT NOT NULL               -- JSON: task, split, losses, seeds, statistics
) STRICT;
"""


@dataclass(frozen=True, slots=True)
class EvaluationKey:
    """What identifies an evaluation: it is never run twice in one ledger."""

    loss: str
    task: str
    seed: int
    split: str


@dataclass(frozen=True, slots=True)
class EvaluationRow:
    id: int
    key: EvaluationKey
    reason: Reason
    detail: str
    score: float | None
    nll: float | None
    ece: float | None
    steps: int
    seconds: float
    curve: list[dict[str, Any]]
    worker: int
    session: int
    finished: float


@dataclass(frozen=True, slots=True)
class CandidateRow:
    number: int
    stage: str
    iteration: int
    attempt: int
    loss: str
    genome: dict[str, list[str]]
    parent: int | None
    mutation: dict[str, Any] | None
    refused: dict[str, int]
    asked: int
    told: int | None
    evaluation: int | None


@dataclass(frozen=True, slots=True)
class LossRow:
    key: str
    formula: str
    flip: bool | None


@dataclass(frozen=True, slots=True)
class TaskRow:
    task_id: str
    name: str
    configuration: dict[str, Any]
    data_checksum: str


@dataclass(frozen=True, slots=True)
class SessionRow:
    id: int
    command: str
    started: float
    seconds: float
    workers: int
    versions: dict[str, str]


class Ledger:
    """The ledger of one run directory. Use `create`, `open` (to write) or `read`, as context managers."""

    def __init__(self, directory: Path, connection: sqlite3.Connection, lock: int | None) -> None:
        self.directory = directory
        self._connection = connection
        self._lock = lock
        self._session: int | None = None
        self._began = 0.0
        (self._events,) = self._one("SELECT max(coalesce(max(asked), 0), coalesce(max(told), 0)) FROM candidates")

    # -- opening ---------------------------------------------------------------------------------------------------

    @classmethod
    def create(cls, directory: Path, configuration: Mapping[str, Any]) -> Self:
        """A new ledger in `directory`, which is made if it is missing.

        Raises:
            RunError: the directory already holds a run or something else, is in use, or cannot be written.
        """
        try:
            directory.mkdir(parents=True, exist_ok=True)
            others = sorted(entry.name for entry in directory.iterdir() if entry.name not in (LOCK, FILE + ".new"))
        except OSError as error:
            raise RunError(f"{directory}: cannot make the run directory: {error.strerror}") from error
        if FILE in others:
            raise RunError(
                f"{directory}: holds a run already; go on with 'lossmith resume {directory}', or use another --run"
            )
        if others:
            raise RunError(f"{directory}: is not empty ({others[0]}, ...); use another --run directory")
        lock = _acquire(directory)
        new = directory / (FILE + ".new")
        try:
            with _translated(directory):
                new.unlink(missing_ok=True)
                # built aside and renamed, so that a ledger is either whole or not there
                with contextlib.closing(sqlite3.connect(new, isolation_level=None)) as connection:
                    connection.executescript(f"BEGIN; {_SCHEMA} COMMIT;")
                    text = json.dumps(configuration)
                    connection.execute("INSERT INTO run VALUES (?, ?)", (time.time(), text))
                new.rename(directory / FILE)
                return cls(directory, _connect(directory, write=True), lock)
        except BaseException:
            os.close(lock)
            raise

    @classmethod
    def open(cls, directory: Path) -> Self:
        """The ledger in `directory`, to write.

        Raises:
            RunError: not a run, in use by another process, damaged, or written by a newer version.
        """
        _require(directory)
        lock = _acquire(directory)
        try:
            return cls(directory, _connect(directory, write=True), lock)
        except BaseException:
            os.close(lock)
            raise

    @classmethod
    def read(cls, directory: Path) -> Self:
        """The ledger in `directory`, to read, also while another process writes it; errors as `open`."""
        _require(directory)
        return cls(directory, _connect(directory, write=False), None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and give back the lock. Safe to call twice."""
        with contextlib.suppress(sqlite3.Error):  # on a full disk even the time spent cannot be written
            self._touch()
        self._connection.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # -- writing ---------------------------------------------------------------------------------------------------

    def begin_session(self, command: str, workers: int, versions: Mapping[str, str], began: float) -> int:
        """Note that a process writes, since `time.monotonic()` was `began`; gives its number."""
        with self._write() as connection:
            row = (command, time.time(), workers, json.dumps(versions))
            cursor = connection.execute(
                "INSERT INTO sessions (command, started, workers, versions) VALUES (?, ?, ?, ?)", row
            )
            self._session = cursor.lastrowid
        self._began = began
        return self._session or 0

    def add_task(self, task_id: str, name: str, configuration: Mapping[str, Any], data_checksum: str) -> None:
        """Note a task and what its data holds.

        Raises:
            RunError: the task is known with other data: the data set changed since the run began.
        """
        known = self._one_or_none("SELECT data_checksum FROM tasks WHERE task_id = ?", task_id)
        if known is None:
            with self._write() as connection:
                row = (task_id, name, json.dumps(configuration), data_checksum)
                connection.execute("INSERT INTO tasks VALUES (?, ?, ?, ?)", row)
        elif known[0] != data_checksum:
            raise RunError(
                f"{self.directory}: the data of task '{name}' changed since this run began (checksum {known[0]}, now"
                f" {data_checksum}); restore the data, or start a new run"
            )

    def add_candidate(self, loss: LossRow, candidate: CandidateRow) -> None:
        """Record that a candidate was asked; `asked` and `told` of the row are set here."""
        with self._write() as connection:
            _add_loss(connection, loss)
            self._events += 1
            connection.execute(
                "INSERT INTO candidates VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL)",
                (
                    candidate.number,
                    candidate.stage,
                    candidate.iteration,
                    candidate.attempt,
                    candidate.loss,
                    json.dumps(candidate.genome),
                    candidate.parent,
                    None if candidate.mutation is None else json.dumps(candidate.mutation),
                    json.dumps(candidate.refused),
                    self._events,
                ),
            )

    def add_evaluation(
        self,
        loss: LossRow,
        key: EvaluationKey,
        *,
        reason: Reason,
        detail: str = "",
        score: float | None = None,
        nll: float | None = None,
        ece: float | None = None,
        steps: int = 0,
        seconds: float = 0.0,
        curve: list[dict[str, Any]] | None = None,
        worker: int = 0,
    ) -> EvaluationRow:
        """Record a finished evaluation, and give it back as a row.

        Raises:
            RunError: the ledger already holds this evaluation.
        """
        if self._session is None:
            raise RuntimeError("add_evaluation() before begin_session()")
        finished, epochs = time.time(), curve or []
        values = (reason.value, detail, score, nll, ece, steps, seconds, json.dumps(epochs), worker, self._session)
        try:
            with self._write() as connection:
                _add_loss(connection, loss)
                cursor = connection.execute(
                    "INSERT INTO evaluations (loss, task, seed, split, reason, detail, score, nll, ece, steps, seconds,"
                    " curve, worker, session, finished) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (key.loss, key.task, key.seed, key.split, *values, finished),
                )
                self._touch()
        except sqlite3.IntegrityError as error:
            raise RunError(f"{self.directory}: evaluation {key} is in the ledger already") from error
        return EvaluationRow(
            cursor.lastrowid or 0,
            key,
            reason,
            detail,
            score,
            nll,
            ece,
            steps,
            seconds,
            epochs,
            worker,
            self._session,
            finished,
        )

    def tell(self, number: int, evaluation: int) -> None:
        """Record that the search was told candidate `number`'s evaluation."""
        with self._write() as connection:
            self._events += 1
            connection.execute(
                "UPDATE candidates SET told = ?, evaluation = ? WHERE number = ?", (self._events, evaluation, number)
            )

    def add_comparison(self, content: Mapping[str, Any]) -> None:
        with self._write() as connection:
            connection.execute(
                "INSERT INTO comparisons (created, content) VALUES (?, ?)", (time.time(), json.dumps(content))
            )

    # -- reading ---------------------------------------------------------------------------------------------------

    def configuration(self) -> dict[str, Any]:
        """The stored configuration, as JSON data; see `lossmith.config.from_stored`."""
        return json.loads(self._one("SELECT configuration FROM run")[0])

    def created(self) -> float:
        return self._one("SELECT created FROM run")[0]

    def find(self, key: EvaluationKey) -> EvaluationRow | None:
        """The evaluation that `key` names, if it was run."""
        row = self._one_or_none(
            "SELECT * FROM evaluations WHERE loss = ? AND task = ? AND seed = ? AND split = ?",
            key.loss,
            key.task,
            key.seed,
            key.split,
        )
        return _evaluation(row) if row else None

    def evaluations(self) -> Iterator[EvaluationRow]:
        """All evaluations, in the order in which they finished."""
        return map(_evaluation, self._all("SELECT * FROM evaluations ORDER BY id"))

    def candidates(self) -> Iterator[CandidateRow]:
        """All candidates, in the order in which they were asked."""
        return map(_candidate, self._all("SELECT * FROM candidates ORDER BY number"))

    def losses(self) -> dict[str, LossRow]:
        """All losses by key."""
        rows = self._all("SELECT key, formula, flip FROM losses")
        return {key: LossRow(key, formula, None if flip is None else bool(flip)) for key, formula, flip in rows}

    def loss(self, key: str) -> LossRow:
        """The loss that `key` names.

        Raises:
            RunError: the ledger does not hold it.
        """
        row = self._one_or_none("SELECT formula, flip FROM losses WHERE key = ?", key)
        if row is None:
            raise RunError(f"{self.directory}: the ledger holds no loss with the key '{key}'")
        return LossRow(key, row[0], None if row[1] is None else bool(row[1]))

    def tasks(self) -> list[TaskRow]:
        return [TaskRow(i, name, json.loads(text), c) for i, name, text, c in self._all("SELECT * FROM tasks")]

    def sessions(self) -> list[SessionRow]:
        rows = self._all("SELECT id, command, started, seconds, workers, versions FROM sessions ORDER BY id")
        return [
            SessionRow(number, command, started, seconds, workers, json.loads(versions))
            for number, command, started, seconds, workers, versions in rows
        ]

    def comparisons(self) -> list[dict[str, Any]]:
        """All comparisons, the oldest first."""
        return [json.loads(text) for (text,) in self._all("SELECT content FROM comparisons ORDER BY id")]

    # -- plumbing --------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it is in the file afterwards, or none of it."""
        with _translated(self.directory):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):  # SQLite may have rolled back by itself
                    self._connection.execute("ROLLBACK")
                raise

    def _touch(self) -> None:
        if self._session is not None and self._lock is not None:
            seconds = time.monotonic() - self._began
            self._connection.execute("UPDATE sessions SET seconds = ? WHERE id = ?", (seconds, self._session))

    def _all(self, query: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        with _translated(self.directory):
            yield from self._connection.execute(query, values)

    def _one_or_none(self, query: str, *values: Any) -> tuple[Any, ...] | None:
        return next(self._all(query, *values), None)

    def _one(self, query: str) -> tuple[Any, ...]:
        row = self._one_or_none(query)
        if row is None:
            raise RunError(f"{self.directory}: the ledger is incomplete; restore it from a copy")
        return row


def _require(directory: Path) -> None:
    if not directory.is_dir():
        raise RunError(f"{directory}: no such directory; 'lossmith search --run {directory}' starts a run there")
    if not (directory / FILE).is_file():
        raise RunError(f"{directory}: is not a run (it holds no {FILE}); give the directory of a 'lossmith search'")


def _acquire(directory: Path) -> int:
    """The lock of a run directory; the kernel gives it back when the process ends, however it ends."""
    try:
        lock = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise RunError(f"{directory}: cannot write in the run directory: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(lock, 20, 0).decode(errors="replace").strip()
        os.close(lock)
        who = f" (process {holder})" if holder else ""
        raise RunError(
            f"{directory}: is in use by another lossmith{who}; wait for it, or stop it with Ctrl-C"
        ) from error
    with contextlib.suppress(OSError):  # the process number only helps people; on a full disk it is left out
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
    return lock


def _connect(directory: Path, *, write: bool) -> sqlite3.Connection:
    path = directory / FILE
    with _translated(directory):
        # reading needs the write-ahead log's shared memory too, so the file is opened to write where it can be
        mode = "rw" if write or os.access(directory, os.W_OK) else "ro"
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, timeout=30
        )
        try:
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if application != _APPLICATION_ID:
                raise RunError(f"{path}: is a database, but not a Lossmith ledger")
            if version > SCHEMA_VERSION:
                raise RunError(
                    f"{path}: was written by a newer Lossmith (schema {version}, this one knows {SCHEMA_VERSION});"
                    " update Lossmith"
                )
            (fault,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if fault != "ok":
                raise RunError(f"{path}: is damaged ({fault}); restore it from a copy")
            connection.execute("PRAGMA foreign_keys = ON")
            if write:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute(
                    "PRAGMA synchronous = NORMAL"
                )  # whole after a crash; a power cut may undo the last row
            else:
                connection.execute("PRAGMA query_only = ON")
        except BaseException:
            connection.close()
            raise
        return connection


@contextlib.contextmanager
def _translated(directory: Path) -> Iterator[None]:
    """SQLite's and the file system's errors as `RunError`s that say what to do."""
    try:
        yield
    except sqlite3.IntegrityError:
        raise
    except (sqlite3.Error, OSError) as error:
        text = str(error)
        if "full" in text or isinstance(error, OSError) or "I/O" in text:
            advice = f"nothing recorded so far is lost: make room, then 'lossmith resume {directory}'"
        elif "locked" in text:
            advice = "another program holds it open; close that"
        else:
            advice = "if it persists, restore the ledger from a copy"
        raise RunError(f"{directory / FILE}: cannot use the ledger: {text}; {advice}") from error


def _add_loss(connection: sqlite3.Connection, loss: LossRow) -> None:
    connection.execute("INSERT OR IGNORE INTO losses VALUES (?, ?, ?)", (loss.key, loss.formula, loss.flip))


def _evaluation(row: tuple[Any, ...]) -> EvaluationRow:
    number, loss, task, seed, split, reason, detail, score, nll, ece, steps, seconds, curve, worker, session, end = row
    key = EvaluationKey(loss, task, seed, split)
    try:
        verdict = Reason(reason)
    except ValueError as error:
        raise RunError(
            f"evaluation {number} of the ledger has the unknown verdict {reason!r}; update Lossmith"
        ) from error
    return EvaluationRow(
        number, key, verdict, detail, score, nll, ece, steps, seconds, json.loads(curve), worker, session, end
    )


def _candidate(row: tuple[Any, ...]) -> CandidateRow:
    number, stage, iteration, attempt, loss, genome, parent, mutation, refused, asked, told, evaluation = row
    return CandidateRow(
        number,
        stage,
        iteration,
        attempt,
        loss,
        json.loads(genome),
        parent,
        json.loads(mutation) if mutation else None,
        json.loads(refused),
        asked,
        told,
        evaluation,
    )
