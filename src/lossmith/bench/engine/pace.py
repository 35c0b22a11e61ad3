"""When steps began, in one process or in several that are to run at the same time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext

_POLL = 0.001  # seconds between looks at the others


class Meeting:
    """Numbers that processes share: how many are ready, and how many have measured enough."""

    def __init__(self, context: ForkServerContext) -> None:
        self._ready = context.Value("i", 0)
        self._enough = context.Value("i", 0)

    def reset(self) -> None:
        """Begin anew; while no process measures."""
        self._ready.value = self._enough.value = 0

    def wait_for(self, members: int) -> None:
        """Say that this process is ready, and wait until all are."""
        with self._ready.get_lock():
            self._ready.value += 1
        while self._ready.get_obj().value < members:
            time.sleep(_POLL)

    def say_enough(self) -> None:
        with self._enough.get_lock():
            self._enough.value += 1

    def all_have(self, members: int) -> bool:
        return self._enough.get_obj().value >= members


@dataclass(frozen=True, slots=True)
class Window:
    """How long to measure."""

    seconds: float  # at least
    warm: int = 2  # iterations before, which load code and fill caches
    least: int = 3  # iterations to be timed, at least
    until_all: bool = True  # go on until every member has seen enough


class Pace:
    """Called before every iteration; says when enough have been seen.

    Several members begin together, and none stops before all have seen enough, unless the window says otherwise.
    `times` are the seconds, of one clock for all processes of a machine, at which timed iterations began and the last
    one ended.
    """

    def __init__(self, window: Window, members: int = 1, meeting: Meeting | None = None) -> None:
        self._window, self._members, self._meeting = window, members, meeting
        self._calls: list[float] = []
        self._said = False
        self.times: list[float] = []

    def __call__(self) -> bool:
        if len(self._calls) < self._window.warm:
            self._calls.append(time.perf_counter())
            return False
        if not self.times and self._meeting is not None:
            self._meeting.wait_for(self._members)
        now = time.perf_counter()
        if not self.times:
            self._calls.append(now)
        self.times.append(now)
        if not self._said:
            if len(self.times) <= self._window.least or now - self.times[0] < self._window.seconds:
                return False
            self._said = True
            if self._meeting is not None:
                self._meeting.say_enough()
        return not self._window.until_all or self._meeting is None or self._meeting.all_have(self._members)

    @property
    def first(self) -> float:
        """Seconds of the first iteration of all, which prepares the most; 0 without warm ones."""
        return self._calls[1] - self._calls[0] if len(self._calls) > 1 else 0.0


def joint_rate(members: Sequence[Sequence[float]]) -> float:
    """Iterations per second of all members together, over the time in which all of them ran.

    Args:
        members: the `Pace.times` of each, two or more.
    """
    begin, end = max(times[0] for times in members), min(times[-1] for times in members)
    total = 0.0
    for times in members:
        inside = [moment for moment in times if begin <= moment <= end]
        if len(inside) < 2:  # its iterations are longer than that time: its own must do
            inside = list(times)
        total += (len(inside) - 1) / (inside[-1] - inside[0])
    return total
