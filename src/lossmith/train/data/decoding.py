"""From the bytes of image files to pixels; also the program of a process that does only that.

Run as a program (`python decoding.py`), it answers requests on standard input until that is closed. It imports nothing
of Lossmith, so that a process starts in a tenth of a second: torch alone would take longer than ten thousand images.

A request is one line of JSON, {"mode", "size", "shape", "items"}, and then the bytes of the items that are sent. An
answer is one line of JSON, {"kept", "failures", "shape"}, and then the pixels of all that are kept.
"""

from __future__ import annotations

import io
import json
import signal
import sys
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

GREY_MODES = frozenset({"1", "L", "LA"})
# what Pillow raises on damaged files
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)

DAMAGED, ABSENT, CHANGED, SIZE = "damaged", "absent", "changed", "size"


@dataclass(frozen=True, slots=True)
class Item:
    """One image to decode: a file as it was listed, or its bytes."""

    name: str  # for messages; the path where it is a file
    content: bytes | None = None  # None: read the file
    stamp: tuple[int, int] | None = None  # size in bytes and time of change in ns, when the file was listed


@dataclass(slots=True)
class Answer:
    """What became of some items."""

    kept: list[int] = field(default_factory=list)  # places of those that are decoded
    pixels: list[npt.NDArray[np.uint8]] = field(default_factory=list)  # of those, uint8 [H, W] or [H, W, 3]
    failures: list[tuple[int, str, str]] = field(default_factory=list)  # place, kind, what is wrong


def decode(items: list[Item], mode: str, size: int | None, shape: tuple[int, ...] | None = None) -> Answer:
    """Decodes each item into `mode` ("L" or "RGB"), resized to `size` pixels square (bilinear) where that is given.

    An image of another shape than `shape` is a failure of the kind SIZE.
    """
    answer = Answer()
    for place, item in enumerate(items):
        try:
            content = item.content if item.content is not None else _listed(item)
        except OSError as error:
            answer.failures.append((place, ABSENT, error.strerror or str(error)))
            continue
        if content is None:
            answer.failures.append((place, CHANGED, "changed"))
            continue
        try:
            with Image.open(io.BytesIO(content)) as image:
                converted = image.convert(mode)
        except UNREADABLE as error:
            answer.failures.append((place, DAMAGED, _reason(error, item)))
            continue
        if size is not None and converted.size != (size, size):
            converted = converted.resize((size, size), Image.Resampling.BILINEAR)
        pixels = np.asarray(converted)
        if shape is not None and pixels.shape != shape:
            answer.failures.append((place, SIZE, f"{pixels.shape[1]}x{pixels.shape[0]}"))
            continue
        answer.kept.append(place)
        answer.pixels.append(pixels)
    return answer


def is_grey(item: Item) -> bool:
    """Whether the image's header says grey; a damaged image, which decoding finds, counts as grey."""
    try:
        with Image.open(io.BytesIO(item.content) if item.content is not None else item.name) as image:
            return image.mode in GREY_MODES
    except UNREADABLE:
        return True


def _listed(item: Item) -> bytes | None:
    """The content of a file; None where it is not the one that was listed."""
    path = Path(item.name)
    content = path.read_bytes()
    found = path.stat()
    return content if item.stamp in (None, (found.st_size, found.st_mtime_ns)) else None


def _reason(error: BaseException, item: Item) -> str:
    """One line without the address of the buffer that Pillow names where it cannot tell the format."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return f"cannot identify image file {item.name!r}" if "<_io.BytesIO" in text else text


# -- the protocol ------------------------------------------------------------------------------------------------------


def send_request(stream: IO[bytes], items: list[Item], mode: str, size: int | None, shape: tuple[int, ...]) -> None:
    listed = [[item.name, None if item.content is None else len(item.content), item.stamp] for item in items]
    stream.write(json.dumps({"mode": mode, "size": size, "shape": shape, "items": listed}).encode() + b"\n")
    for item in items:
        if item.content is not None:
            stream.write(item.content)
    stream.flush()


def receive_answer(stream: IO[bytes], shape: tuple[int, ...]) -> Answer | None:
    """None where the other end is gone."""
    line = stream.readline()
    if not line.endswith(b"\n"):
        return None
    header = json.loads(line)
    kept = header["kept"]
    count = len(kept) * int(np.prod(shape))
    content = stream.read(count)
    if len(content) < count:
        return None
    pixels = np.frombuffer(content, np.uint8).reshape(len(kept), *shape)
    return Answer(kept, list(pixels), [(place, kind, text) for place, kind, text in header["failures"]])


def main(requests: IO[bytes], answers: IO[bytes]) -> None:
    while line := requests.readline():
        request: dict[str, Any] = json.loads(line)
        items: list[Item] = []
        for name, length, stamp in request["items"]:
            content = None if length is None else requests.read(length)
            items.append(Item(name, content, None if stamp is None else (stamp[0], stamp[1])))
        answer = decode(items, request["mode"], request["size"], tuple(request["shape"]))
        answers.write(json.dumps({"kept": answer.kept, "failures": answer.failures}).encode() + b"\n")
        for pixels in answer.pixels:
            answers.write(np.ascontiguousarray(pixels).data)
        answers.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks; it then closes the pipe
    warnings.simplefilter("ignore")  # its standard error is the user's terminal
    main(sys.stdin.buffer, sys.stdout.buffer)
