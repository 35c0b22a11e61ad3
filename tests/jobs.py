"""Jobs for executors, in a module that worker processes can import."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from lossmith.errors import LossmithError
from lossmith.execution.base import Inbox, Server, one_at_a_time


def work(payload: Any) -> Any:
    match payload:
        case ("raise", text):
            raise ValueError(text)
        case ("die", _):
            os.kill(os.getpid(), signal.SIGKILL)
        case ("exit", code):
            os._exit(code)
        case ("sleep", seconds):
            time.sleep(seconds)
        case ("threads", _):
            return torch.get_num_threads()
        case ("unpicklable", _):
            return lambda: None
    return payload


class Setup:
    def __call__(self) -> Server:
        return one_at_a_time(work)


class BrokenSetup:
    def __call__(self) -> Server:
        raise LossmithError("no data here")


class DyingSetup:
    def __call__(self) -> Server:
        os._exit(3)


class Together:
    """Workers that hold several jobs, each a (what, value, tag), and give (value, tags, most) of each.

    `tags` are those of all the jobs that were held at some time beside it, its own included, and `most` is their
    number at the worst. What a job does: "end" ends at once, "sleep" after `value` seconds, "hold" never, "free" ends
    together with all that are held, "again" never where it makes the file `value`, and at once where that is there,
    "pid" ends with the worker's process number, "raise" with an exception of its own, "kill" kills the worker, "crash"
    makes the server raise, "leave" makes it return.
    """

    def __call__(self) -> Server:
        return _together


@dataclass(slots=True)
class _Held:
    value: Any
    tag: str
    until: float | None = None  # None: for ever
    tags: set[str] = field(default_factory=set)
    most: int = 0

    @property
    def result(self) -> tuple[Any, list[str], int]:
        return self.value, sorted(self.tags), self.most


def _together(inbox: Inbox) -> Iterator[tuple[int, Any]]:
    held: dict[int, _Held] = {}
    while True:
        arrived = inbox.take() if held else inbox.wait()
        if arrived is not None:
            number, (what, value, tag) = arrived
            held[number] = _Held(value, tag)
            for each in held.values():
                each.tags |= {one.tag for one in held.values()}
                each.most = max(each.most, len(held))
            match what:
                case "raise":
                    del held[number]
                    yield number, ValueError(value)
                case "crash":
                    raise ValueError(value)
                case "leave":
                    return
                case _:
                    _begin(what, held[number], held)
        now = time.monotonic()
        ended = [number for number, job in held.items() if job.until is not None and job.until <= now]
        for number in ended:
            yield number, held.pop(number).result
        if arrived is None and not ended:
            time.sleep(0.002)  # a step of those that are held


def _begin(what: str, job: _Held, held: dict[int, _Held]) -> None:
    now = time.monotonic()
    match what:
        case "end":
            job.until = now
        case "sleep":
            job.until = now + job.value
        case "free":
            for each in held.values():
                each.until = now
        case "again":
            job.until = now if Path(job.value).exists() else None
            Path(job.value).touch()
        case "pid":
            job.value, job.until = os.getpid(), now
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
