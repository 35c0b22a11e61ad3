"""`Ledger`: what is written and read."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lossmith.errors import RunError
from lossmith.ledger.opening import acquire, connect, require, translated
from lossmith.ledger.rows import (
    CandidateRow,
    EvaluationKey,
    EvaluationRow,
    LossRow,
    SessionRow,
    TaskRow,
    read_candidate,
    read_evaluation,
    read_task,
)
from lossmith.ledger.schema import FILE, LOCK, NEW, SCHEMA
from lossmith.verdict import Reason


class Ledger:
    """The ledger of one run directory. Use `create`, `open` (to write) or `read`, as context managers."""

    def __init__(self, directory: Path, connection: sqlite3.Connection, lock: int | None) -> None:
        self.directory = directory
        self._connection = connection
        self._lock = lock
        self._session: int | None = None
        self._began = 0.0
        (self._events,) = self._one(
            "SELECT max(coalesce(max(asked), 0), coalesce(max(told), 0),"
            " (SELECT coalesce(max(event), 0) FROM abandoned)) FROM candidates"
        )

    # -- opening ---------------------------------------------------------------------------------------------------

    @classmethod
    def create(cls, directory: Path, configuration: Mapping[str, Any]) -> Self:
        """A new ledger in `directory`, which is made if it is missing.

        Raises:
            RunError: the directory already holds a run or something else, is in use, or cannot be written.
        """
        try:
            directory.mkdir(parents=True, exist_ok=True)
            others = sorted(
                entry.name for entry in directory.iterdir() if entry.name not in (LOCK, NEW, NEW + "-journal")
            )
        except OSError as error:
            raise RunError(f"{directory}: cannot make the run directory: {error.strerror}") from error
        if FILE in others:
            raise RunError(
                f"{directory}: holds a run already; go on with 'lossmith resume {directory}', or use another --run"
            )
        if others:
            raise RunError(f"{directory}: is not empty ({others[0]}, ...); use another --run directory")
        lock = acquire(directory)
        new = directory / NEW
        try:
            if (directory / FILE).exists():  # made by another process between the look and the lock
                raise RunError(f"{directory}: holds a run already; use another --run")
            with translated(directory):
                new.unlink(missing_ok=True)
                new.with_name(new.name + "-journal").unlink(missing_ok=True)
                # built aside and renamed, so that a ledger is either whole or not there
                with contextlib.closing(sqlite3.connect(new, isolation_level=None)) as connection:
                    connection.executescript(f"BEGIN; {SCHEMA} COMMIT;")
                    text = json.dumps(configuration)
                    connection.execute("INSERT INTO run VALUES (?, ?)", (time.time(), text))
                new.rename(directory / FILE)
                return cls(directory, connect(directory, write=True), lock)
        except BaseException:
            os.close(lock)
            raise

    @classmethod
    def open(cls, directory: Path) -> Self:
        """The ledger in `directory`, to write.

        Raises:
            RunError: not a run, in use by another process, damaged, or written by a newer version.
        """
        require(directory)
        lock = acquire(directory)
        try:
            return cls(directory, connect(directory, write=True), lock)
        except BaseException:
            os.close(lock)
            raise

    @classmethod
    def read(cls, directory: Path) -> Self:
        """The ledger in `directory`, to read, also while another process writes it; errors as `open`."""
        require(directory)
        return cls(directory, connect(directory, write=False), None)

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

    def add_task(
        self,
        task_id: str,
        name: str,
        configuration: Mapping[str, Any],
        data_checksum: str,
        plan: Mapping[str, Any] | None = None,
    ) -> None:
        """Note a task, what its data holds, and how its losses are trained; of a task that is known, nothing changes.

        Raises:
            RunError: the task is known with other data: the data set changed since the run began.
        """
        known = self._one_or_none("SELECT data_checksum FROM tasks WHERE task_id = ?", task_id)
        if known is None:
            with self._write() as connection:
                row = (task_id, name, json.dumps(configuration), data_checksum, json.dumps(plan) if plan else None)
                connection.execute("INSERT INTO tasks VALUES (?, ?, ?, ?, ?)", row)
        elif known[0] != data_checksum:
            raise RunError(
                f"{self.directory}: the data of task '{name}' changed since this run began (checksum {known[0]}, now"
                f" {data_checksum}); restore the data, or start a new run"
            )

    def set_plan(self, task_id: str, plan: Mapping[str, Any]) -> None:
        """Note that the losses of a known task are trained in another way from now on."""
        with self._write() as connection:
            connection.execute("UPDATE tasks SET plan = ? WHERE task_id = ?", (json.dumps(plan), task_id))

    def add_candidate(self, loss: LossRow, candidate: CandidateRow) -> None:
        """Record that a candidate was asked; `asked` and `told` of the row are set here."""
        with self._write() as connection:
            _add_loss(connection, loss)
            self._events += 1
            connection.execute(
                "INSERT INTO candidates VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL, ?)",
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
                    json.dumps(candidate.rung_seconds),
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
            if error.sqlite_errorname != "SQLITE_CONSTRAINT_UNIQUE":
                raise
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

    def add_abandoned(self, iteration: int) -> None:
        """Record that an iteration ended because its failed child had no valid new replacement."""
        with self._write() as connection:
            self._events += 1
            connection.execute("INSERT INTO abandoned VALUES (?, ?)", (self._events, iteration))

    def add_comparison(self, content: Mapping[str, Any]) -> None:
        with self._write() as connection:
            connection.execute(
                "INSERT INTO comparisons (created, content) VALUES (?, ?)", (time.time(), json.dumps(content))
            )

    def add_result(self, kind: str, content: Mapping[str, Any]) -> None:
        """Record what a stage found; `kind` is the stage's name."""
        with self._write() as connection:
            row = (kind, time.time(), json.dumps(content))
            connection.execute("INSERT INTO results (kind, created, content) VALUES (?, ?, ?)", row)

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
        return read_evaluation(row) if row else None

    def evaluations(self) -> Iterator[EvaluationRow]:
        """All evaluations, in the order in which they finished."""
        return map(read_evaluation, self._all("SELECT * FROM evaluations ORDER BY id"))

    def candidates(self) -> Iterator[CandidateRow]:
        """All candidates, in the order in which they were asked."""
        return map(read_candidate, self._all("SELECT * FROM candidates ORDER BY number"))

    def abandoned(self) -> dict[int, int]:
        """The iterations that were abandoned, by their place in the order of events."""
        return dict(self._all("SELECT event, iteration FROM abandoned"))

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
        return [read_task(row) for row in self._all("SELECT * FROM tasks")]

    def sessions(self) -> list[SessionRow]:
        rows = self._all("SELECT id, command, started, seconds, workers, versions FROM sessions ORDER BY id")
        return [
            SessionRow(number, command, started, seconds, workers, json.loads(versions))
            for number, command, started, seconds, workers, versions in rows
        ]

    def comparisons(self) -> list[dict[str, Any]]:
        """All comparisons, the oldest first."""
        return [json.loads(text) for (text,) in self._all("SELECT content FROM comparisons ORDER BY id")]

    def results(self, kind: str) -> list[dict[str, Any]]:
        """What stages of this kind found, the oldest first; a ledger of an older version, opened to read, has none."""
        if self._one_or_none("SELECT 1 FROM sqlite_master WHERE name = 'results'") is None:
            return []
        rows = self._all("SELECT content FROM results WHERE kind = ? ORDER BY id", kind)
        return [json.loads(text) for (text,) in rows]

    # -- plumbing --------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it is in the file afterwards, or none of it."""
        with translated(self.directory):
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
        with translated(self.directory):
            yield from self._connection.execute(query, values)

    def _one_or_none(self, query: str, *values: Any) -> tuple[Any, ...] | None:
        return next(self._all(query, *values), None)

    def _one(self, query: str) -> tuple[Any, ...]:
        row = self._one_or_none(query)
        if row is None:
            raise RunError(f"{self.directory}: the ledger is incomplete; restore it from a copy")
        return row


def _add_loss(connection: sqlite3.Connection, loss: LossRow) -> None:
    connection.execute("INSERT OR IGNORE INTO losses VALUES (?, ?, ?)", (loss.key, loss.formula, loss.flip))
