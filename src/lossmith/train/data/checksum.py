"""The checksum of a data set's content, remembered beside its files: they need not be read in a random order again."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

from lossmith.errors import RunError
from lossmith.files import write_atomically
from lossmith.train.data.dataset import Split, content_checksum
from lossmith.train.data.stored import Stored


def remembered_checksum(stored: Stored, splits: tuple[Split, ...]) -> str:
    """`content_checksum` of the splits, which are of `stored`.

    It follows from the manifest's digest, which stands for every byte of the files, and from the rows of the splits.
    """
    if stored.folder is None:
        return content_checksum(stored.classes, splits)
    digest = hashlib.sha256(stored.digest.encode())
    for split in splits:
        digest.update(f"{split.part} {len(split)}\n".encode())
        if split.index is not None:
            digest.update(split.index.numpy().astype("<i8").data)
    key = digest.hexdigest()
    path = stored.folder / f"checksum-{key[:24]}"
    if (known := _read(path, key)) is not None:
        return known
    checksum = content_checksum(stored.classes, splits)
    with contextlib.suppress(RunError):  # a cache that cannot be written only costs time
        write_atomically(path, _line(key, checksum))
    return checksum


def _read(path: Path, key: str) -> str | None:
    """What was remembered; None where there is nothing, or not as it was written."""
    try:
        content = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return None
    checksum = content.partition(" ")[0]
    return checksum if content == _line(key, checksum) else None


def _line(key: str, checksum: str) -> str:
    return f"{checksum} {hashlib.sha256(f'{key} {checksum}'.encode()).hexdigest()}\n"
