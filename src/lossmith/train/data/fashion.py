"""Fashion-MNIST: 28x28 grey images of 10 kinds of clothing, from its four IDX files; and their download."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from lossmith.errors import DataError
from lossmith.files import cache_directory
from lossmith.train.data.idx import read_idx
from lossmith.train.data.source import Origin, Part, Source, array_part, files_key

FASHION_MNIST_URL = "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion"
DEBIAN_DIRECTORY = Path("/usr/share/datasets/fashion-mnist")  # of the package dataset-fashion-mnist

# As published in the README of the data set's repository. Debian compresses anew, so these hold for downloads only.
PUBLISHED_MD5: Mapping[str, str] = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}
_CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_REMEDY = "install the package dataset-fashion-mnist (Debian, Ubuntu), run 'lossmith data fetch', or set data.path"
_CHUNK = 1 << 16
_TIMEOUT_S = 30.0


def download_directory() -> Path:
    """Where `lossmith data fetch` puts the files."""
    return cache_directory() / "fashion-mnist"


def find_fashion_mnist(path: str | None) -> Origin:
    """The data set in the directory `path`, or in the first of the usual places that has one.

    Raises:
        DataError: no directory, or a file is missing. Reading it: a file is damaged, or a label is not in 0..9.
    """
    directory = _find() if path is None else Path(path).expanduser()
    if not directory.is_dir():
        raise DataError(f"{directory}: no such directory for Fashion-MNIST; {_REMEDY}")
    prefixes = ("train", "t10k")
    images, labels = (
        [_file(directory, f"{prefix}-{kind}") for prefix in prefixes]
        for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")
    )

    def read() -> Source:
        train, test = (_part(*found) for found in zip(images, labels, prefixes, strict=True))
        return Source(_CLASSES, {"train": train, "test": test})

    return Origin("fashion-mnist", files_key("fashion-mnist", [*images, *labels]), read)


def _find() -> Path:
    places = (download_directory(), DEBIAN_DIRECTORY)
    for place in places:
        if all((place / name).is_file() for name in PUBLISHED_MD5):  # a download may have been broken off
            return place
    raise DataError(f"Fashion-MNIST is in neither {places[0]} nor {places[1]}; {_REMEDY}")


def _part(images_file: Path, labels_file: Path, prefix: str) -> Part:
    images = read_idx(images_file, dimensions=3)
    labels = read_idx(labels_file, dimensions=1)
    if labels.size and labels.max() >= len(_CLASSES):
        raise DataError(f"{labels_file}: label {labels.max()} is outside 0..9; replace the file with an intact copy")
    where = str(labels_file.parent / f"{prefix}-*")
    return array_part(images[..., np.newaxis], labels.astype(np.int64), where)


def _file(directory: Path, name: str) -> Path:
    for candidate in (directory / f"{name}.gz", directory / name):
        if candidate.is_file():
            return candidate
    raise DataError(f"{directory}: neither {name}.gz nor {name} is there; {_REMEDY}")


def fetch_fashion_mnist(
    directory: Path,
    *,
    progress: Callable[[str, int, int | None], None] | None = None,
    base_url: str = FASHION_MNIST_URL,
    checksums: Mapping[str, str] = PUBLISHED_MD5,
) -> Path:
    """Downloads the four files into `directory`, made if need be; a file that is there and intact is kept.

    Each file appears under its name only when it is complete and its checksum is right.

    Args:
        directory: where to put the files; `download_directory()` is a place that loading searches by itself.
        progress: called with the file's name, the bytes so far, and the bytes in all (None where the server keeps
            silent), for every piece received and once for a file that is kept.
        base_url: the address of the directory of the files.
        checksums: the MD5 sum, as 32 hexadecimal digits, of every file to fetch.

    Returns:
        `directory`.

    Raises:
        DataError: no network, no such file, a wrong checksum, or a directory that cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{directory}: cannot make the directory: {error.strerror or error}") from error
    for name, expected in checksums.items():
        target = directory / name
        if target.is_file() and _md5(target) == expected:
            if progress is not None:
                progress(name, target.stat().st_size, target.stat().st_size)
            continue
        try:
            _download(f"{base_url.rstrip('/')}/{name}", target, expected, progress)
        except BaseException:
            with contextlib.suppress(OSError):  # not empty: what is there is whole, and kept
                directory.rmdir()
            raise
    return directory


def _download(url: str, target: Path, expected: str, progress: Callable[[str, int, int | None], None] | None) -> None:
    """Writes to a temporary file beside the target, checks the sum, and only then gives it the target's name."""
    temporary: Path | None = None
    try:
        with (
            urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response,  # noqa: S310 - the address is ours or a caller's
            tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as file,
        ):
            temporary = Path(file.name)
            length = response.headers.get("Content-Length")
            total = int(length) if length and length.isdigit() else None
            digest = hashlib.md5(usedforsecurity=False)
            received = 0
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                digest.update(chunk)
                received += len(chunk)
                if progress is not None:
                    progress(target.name, received, total)
        if digest.hexdigest() != expected:
            problem = f"MD5 sum {digest.hexdigest()}, expected {expected}"
            raise DataError(f"{url}: the download is damaged ({problem}); try again")
        temporary.chmod(0o644)  # a temporary file is private; a cached data set needn't be
        temporary.replace(target)
        temporary = None
    except urllib.error.URLError as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it holds the connection
        reason = getattr(error, "reason", error)
        raise DataError(f"{url}: cannot download ({reason}); check the network, or {_REMEDY}") from error
    except (OSError, http.client.HTTPException) as error:
        raise DataError(f"{url}: download to {target} failed ({error}); check the network and the disk") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
