"""The cache of decoded images: each source is decoded once, and then mapped by every process that needs it.

An entry is a folder (`stored.py`) whose name tells what identifies the source: each file's path, size and time of
change, and how it is read. It is built beside its place and renamed, so it is whole or not there. One that was damaged
since is found, since every byte is checked once in each process, and built anew.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import fcntl
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from lossmith import files
from lossmith.errors import DataError
from lossmith.train.data.source import Origin, Progress, Source
from lossmith.train.data.stored import DamagedError, Stored, read_stored
from lossmith.train.data.writing import gather, write
from lossmith.train.task import CorruptImages

Notice = Callable[[str], None]

_READER = 1  # raise it when the same files are decoded to other pixels or labels than before
_FULL = (errno.ENOSPC, errno.EDQUOT)
_temporary: dict[str, Path] = {}  # entries of this process alone, where the cache cannot be written


def cache_directory() -> Path:
    """$LOSSMITH_CACHE; or lossmith/data in $XDG_CACHE_HOME, or in ~/.cache."""
    if own := os.environ.get("LOSSMITH_CACHE", ""):
        return Path(own).expanduser().absolute()
    return files.cache_directory() / "data"


def open_source(
    origin: Origin,
    image_size: int | None,
    corrupt: CorruptImages,
    check: Callable[[Source], None],
    progress: Progress | None,
    notice: Notice,
) -> Stored:
    """The decoded images of a source: from the cache, or decoded now.

    Args:
        origin: the source.
        image_size: side in pixels of a square that images are resized to, or None.
        corrupt: what becomes of damaged images.
        check: raises what is wrong with the source before anything is decoded.
        progress: told while images are decoded.
        notice: told in a sentence what a user may want to know.

    Raises:
        DataError: what reading the source raises; or the disk is full.
    """
    if origin.key is None:
        source = origin.read()
        check(source)
        return gather(source, image_size)

    def build(folder: Path) -> None:
        source = origin.read()
        check(source)
        write(source, folder, image_size, corrupt, progress)

    identity = repr((_READER, origin.key, image_size, corrupt))
    key = hashlib.sha256(identity.encode()).hexdigest()[:24]
    entry = cache_directory() / f"{re.sub(r'[^A-Za-z0-9._-]', '_', origin.name)[:40]}-{key}"
    try:
        return read_stored(entry)
    except (FileNotFoundError, DamagedError):
        pass
    try:
        with _building(entry, notice) as folder:
            try:  # another process may have built it meanwhile
                return read_stored(entry)
            except FileNotFoundError:
                pass
            except DamagedError as error:
                notice(f"{entry}: the cache of decoded images is damaged ({error}); the images are decoded anew")
            build(folder)
            _put(folder, entry)
            return read_stored(entry)
    except _UnwritableError as error:
        return _in_temporary(key, build, entry.parent, error, notice)


class _UnwritableError(Exception):
    """The cache's directory takes no new entry; the message says why."""


@contextlib.contextmanager
def _building(entry: Path, notice: Notice) -> Iterator[Path]:
    """An empty folder to build an entry in, held by this process; waits while another one builds the same.

    The kernel gives the lock back when a process ends, however it ends; what it left is then cleared away.
    """
    folder = entry.with_name(f"{entry.name}.building")
    handle = _locked(folder, notice)
    try:
        for left in folder.iterdir():
            left.unlink()
        yield folder
    finally:
        if _is_at(handle, folder):  # not renamed
            shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def _locked(folder: Path, notice: Notice) -> int:
    """The folder, made and locked."""
    while True:
        handle = -1
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                notice(f"another process decodes the same images into {folder}; waiting for it")
                fcntl.flock(handle, fcntl.LOCK_EX)
            if _is_at(handle, folder):  # else another process renamed it, or cleared it away
                if not os.access(folder, os.W_OK):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
                return handle
        except FileNotFoundError:  # another process finished between two of the lines above
            pass
        except OSError as error:
            if handle >= 0:
                os.close(handle)
            if error.errno in _FULL:
                remedy = "make room, or set LOSSMITH_CACHE to a folder on another disk"
                raise DataError(f"{folder.parent}: no room for the decoded images; {remedy}") from error
            raise _UnwritableError(error.strerror or str(error)) from error
        if handle >= 0:
            os.close(handle)


def _is_at(handle: int, folder: Path) -> bool:
    """Whether an open folder is still the one of that name."""
    try:
        found, opened = folder.stat(), os.fstat(handle)
    except OSError:
        return False
    return (found.st_ino, found.st_dev) == (opened.st_ino, opened.st_dev)


def _put(folder: Path, entry: Path) -> None:
    """Gives a whole entry its name, in place of a damaged one."""
    try:
        if entry.exists():  # who has it mapped keeps what is mapped
            shutil.rmtree(entry)
        folder.rename(entry)
        handle = os.open(entry.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        problem = f"cannot put the decoded images there: {error.strerror or error}"
        raise DataError(f"{entry}: {problem}; remove it, or set LOSSMITH_CACHE to another folder") from error


def _in_temporary(key: str, build: Callable[[Path], None], cache: Path, error: Exception, notice: Notice) -> Stored:
    """An entry that goes when this process ends."""
    folder = _temporary.get(key)
    if folder is None or not folder.exists():
        notice(
            f"{cache}: cannot write the cache ({error}); the images are decoded into {tempfile.gettempdir()} at every"
            " start: set LOSSMITH_CACHE to a folder that can be written"
        )
        folder = Path(tempfile.mkdtemp(prefix="lossmith-data-"))
        atexit.register(_remove, folder, os.getpid())
        build(folder)
        _temporary[key] = folder
    return read_stored(folder)


def _remove(folder: Path, process: int) -> None:
    if os.getpid() == process:  # a forked child ends earlier
        shutil.rmtree(folder, ignore_errors=True)
