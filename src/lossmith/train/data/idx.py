"""A strict reader of IDX files, the format of MNIST and its successors.

An IDX file is, big-endian: two zero bytes, a type code (8 = unsigned byte), the number of dimensions, each dimension
as an unsigned 32-bit integer, then the values in C order. Compression by gzip is recognised by its magic number.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lossmith.errors import DataError

_GZIP_MAGIC = b"\x1f\x8b"
_REMEDY = "replace the file with an intact copy"


def read_idx(path: Path, dimensions: int) -> npt.NDArray[np.uint8]:
    """The array of unsigned bytes in an IDX file, which must have this number of dimensions.

    Raises:
        DataError: the file cannot be read, is not such an IDX file, is truncated, or has bytes after its end.
    """
    content = _content(path)
    header_size = 4 + 4 * dimensions
    magic = bytes((0, 0, 8, dimensions))
    if content[:4] != magic:
        found = content[:4].hex() or "nothing"
        raise DataError(f"{path}: not an IDX file of {dimensions} dimensions (magic {magic.hex()}, found {found})")
    if len(content) < header_size:
        raise DataError(f"{path}: truncated inside its header; {_REMEDY}")
    shape = struct.unpack(f">{dimensions}I", content[4:header_size])
    expected, found = math.prod(shape), len(content) - header_size
    if found != expected:
        problem = "truncated" if found < expected else "longer than its header says"
        raise DataError(f"{path}: {problem}: {found} values where the header says {expected}; {_REMEDY}")
    return np.frombuffer(content, dtype=np.uint8, offset=header_size).reshape(shape)


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content[:2] == _GZIP_MAGIC else content
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: damaged or truncated gzip file ({error}); {_REMEDY}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot read the file: {error.strerror or error}") from error
