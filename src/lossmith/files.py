"""Where files go that can be made again, and writing so that a reader sees the old content or the new, never a part."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from lossmith.errors import RunError


def cache_directory() -> Path:
    """Lossmith's directory for what can be made or fetched again: lossmith in $XDG_CACHE_HOME, or in ~/.cache."""
    root = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(root) if root else Path.home() / ".cache").absolute() / "lossmith"


def write_atomically(path: Path, content: str | bytes) -> Path:
    """Write `content` (text as UTF-8) to `path`, through a file beside it that is renamed; gives `path`.

    Raises:
        RunError: the file cannot be written, for want of room or permission.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(content.encode() if isinstance(content, str) else content)
        beside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise RunError(
            f"{path}: cannot write: {error.strerror or error}; make room, or choose another place"
        ) from error
    return path
