"""Opening a ledger: its directory, the lock, the connection, and SQLite's errors in our words."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from lossmith.errors import RunError
from lossmith.ledger.schema import APPLICATION_ID, FILE, LOCK, MIGRATIONS, SCHEMA_VERSION


def require(directory: Path) -> None:
    if not directory.exists():
        raise RunError(f"{directory}: no such directory; 'lossmith search --run {directory}' starts a run there")
    if not (directory / FILE).is_file():
        raise RunError(f"{directory}: is not a run (it holds no {FILE}); give the directory of a 'lossmith search'")


def acquire(directory: Path) -> int:
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


def connect(directory: Path, *, write: bool) -> sqlite3.Connection:
    path = directory / FILE
    with translated(directory):
        # reading needs the write-ahead log's shared memory too, so the file is opened to write where it can be
        mode = "rw" if write or os.access(directory, os.W_OK) else "ro"
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, timeout=30
        )
        try:
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if application != APPLICATION_ID:
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
                if version < SCHEMA_VERSION:
                    _migrate(connection, path, version)
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


def _migrate(connection: sqlite3.Connection, path: Path, version: int) -> None:
    """Bring a ledger of an older version up to date; the file as it was stays beside it."""
    backup = path.with_name(f"{path.name}.v{version}")
    new = backup.with_name(backup.name + ".new")
    new.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(new)) as copy:
        connection.backup(copy)
    new.rename(backup)
    steps = "".join(f"{MIGRATIONS[step]};" for step in range(version, SCHEMA_VERSION))
    connection.executescript(f"BEGIN IMMEDIATE; {steps} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")


@contextlib.contextmanager
def translated(directory: Path) -> Iterator[None]:
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
