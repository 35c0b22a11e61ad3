"""Decoding many images: in this process, and in helpers on the other cores where there is much to do.

Threads would not do: of a small image's time the most is Python's, in Pillow (CIFAR-10's PNG files: two threads are no
faster than one). A helper is `decoding.py` as a program; the bytes of the pixels come back through a pipe, in order.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np

from lossmith.errors import DataError
from lossmith.train.data import decoding
from lossmith.train.data.decoding import Answer, Item
from lossmith.train.data.source import Decoded, rows_at_once

_AT_ONCE = 256  # images decoded between two looks at the clock, or sent to a helper
_TRIAL_S = 0.5  # seconds of decoding here before helpers are thought of
_PAYS_S = 1.0  # seconds of decoding left for which they are started
_MOST_HELPERS = 32


@dataclass(frozen=True, slots=True)
class Listing:
    """The images of a part, found but not decoded."""

    count: int
    items: Callable[[int, int], list[Item]]  # those from a place to before another


class ImageDecoder:
    """Decodes the parts of one source alike: grey where all images are, else RGB; all of one shape."""

    def __init__(self, listings: Sequence[Listing], image_size: int | None) -> None:
        """`image_size`: resize each image to a square of this side (bilinear); None: they must all have one size."""
        self._listings = listings
        self._size = image_size
        self._mode = ""
        self._first: tuple[str, tuple[int, ...]] | None = None  # name and shape of the first readable image

    def decode(self, listing: Listing) -> Iterator[Decoded]:
        """All images of a part, in order.

        Raises:
            DataError: an image has another size than the first, or its file changed or went since it was listed.
        """
        if not self._mode:
            self._mode = "L" if all(map(decoding.is_grey, self._every_item())) else "RGB"
        if self._first is None:
            self._first = self._first_readable()
        shape = (0, 0) if self._first is None else self._first[1]  # (0, 0): none is readable, as decoding will say
        step = min(_AT_ONCE, rows_at_once(shape)) if all(shape) else _AT_ONCE
        for start, items, answer in self._answers(listing, shape, step):
            failures = tuple(filter(None, (self._failure(items[place], *what) for place, *what in answer.failures)))
            images = np.stack(answer.pixels) if answer.pixels else np.empty((0, *shape), np.uint8)
            if images.ndim == 3:
                images = images[..., np.newaxis]
            yield Decoded(start + np.array(answer.kept, np.int64), images, failures)

    def _every_item(self) -> Iterator[Item]:
        for listing in self._listings:
            for start in range(0, listing.count, _AT_ONCE):
                yield from listing.items(start, min(start + _AT_ONCE, listing.count))

    def _first_readable(self) -> tuple[str, tuple[int, ...]] | None:
        for item in self._every_item():
            if pixels := decoding.decode([item], self._mode, self._size).pixels:
                return item.name, pixels[0].shape
        return None

    def _answers(self, listing: Listing, shape: tuple[int, ...], step: int) -> Iterator[tuple[int, list[Item], Answer]]:
        """What each `step` images gave, in order: where they start, and what they were."""
        starts = iter(range(0, listing.count, step))
        began = time.perf_counter()
        for start in starts:
            items = listing.items(start, min(start + step, listing.count))
            yield start, items, decoding.decode(items, self._mode, self._size, shape)
            spent, done = time.perf_counter() - began, start + len(items)
            if spent > _TRIAL_S:
                if _helpers() > 1 and spent / done * (listing.count - done) > _PAYS_S:
                    break
                began, spent = time.perf_counter(), 0.0
        rest = list(starts)
        if not rest:
            return
        with _Helpers(_helpers()) as helpers:
            running: deque[tuple[int, list[Item], Future[Answer]]] = deque()
            waiting = iter(rest)
            while True:
                for start in itertools.islice(waiting, 2 * _helpers() - len(running)):
                    items = listing.items(start, min(start + step, listing.count))
                    running.append((start, items, helpers.submit(items, self._mode, self._size, shape)))
                if not running:
                    return
                start, items, answer = running.popleft()
                yield start, items, answer.result()

    def _failure(self, item: Item, kind: str, text: str) -> str | None:
        match kind:
            case decoding.DAMAGED:
                return f"{item.name}: not a readable image ({text})"
            case decoding.ABSENT:
                raise DataError(f"{item.name}: cannot read the file: {text}; it was there when the data were listed")
            case decoding.CHANGED:
                raise DataError(f"{item.name}: changed while the data were read; run again when nothing writes there")
            case _:
                name, (height, width, *_) = self._first or ("", (0, 0))
                problem = f"{text} pixels, but {name} has {width}x{height}"
                raise DataError(f"{item.name}: {problem}; set data.image_size to resize all images to one size")


def _helpers() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, _MOST_HELPERS) if sys.executable else 1


class _Helpers:
    """Processes that decode. One that ends before its time is an error: no image is left out without a word."""

    def __init__(self, count: int) -> None:
        command = [sys.executable, "-P", decoding.__file__]
        self._processes: list[subprocess.Popen[bytes]] = []
        self._free: queue.SimpleQueue[subprocess.Popen[bytes]] = queue.SimpleQueue()
        self._threads = ThreadPoolExecutor(count)  # each waits for a helper
        try:
            for _ in range(count):
                process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603 - ours
                self._processes.append(process)
                self._free.put(process)
        except OSError as error:
            self.__exit__(None, None, None)
            raise DataError(f"cannot start a process that decodes images: {error.strerror or error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        if kind is not None:
            for process in self._processes:
                process.kill()
        self._threads.shutdown(cancel_futures=True)
        for process in self._processes:
            with contextlib.suppress(OSError):  # a helper that is dead already breaks its pipe
                process.__exit__(None, None, None)  # closes the pipes, at which it ends, and waits for that

    def submit(self, items: list[Item], mode: str, size: int | None, shape: tuple[int, ...]) -> Future[Answer]:
        return self._threads.submit(self._run, items, mode, size, shape)

    def _run(self, items: list[Item], mode: str, size: int | None, shape: tuple[int, ...]) -> Answer:
        process = self._free.get()
        if process.stdin is None or process.stdout is None:
            raise AssertionError("a helper has two pipes")
        answer = None
        with contextlib.suppress(BrokenPipeError):
            decoding.send_request(process.stdin, items, mode, size, shape)
            answer = decoding.receive_answer(process.stdout, shape)
        self._free.put(process)
        if answer is None:
            raise DataError(
                f"{items[0].name}: the process that decoded this or one of the next {len(items) - 1} images was"
                " killed or failed; make room in memory, and run again"
            )
        return answer
