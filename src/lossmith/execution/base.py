"""Executors run jobs of plain data somewhere else; what a job means is the business of whoever submits it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from lossmith.verdict import Reason


@dataclass(frozen=True, slots=True)
class Completed:
    """One job that ended."""

    job: int  # the number it was submitted under
    result: Any  # what the worker's function returned; None where `reason` is not OK
    reason: Reason  # OK, WORKER_LOST, TIME_LIMIT, or ERROR
    detail: str  # the error's text, for ERROR
    worker: int  # which worker ran it
    seconds: float  # from handing the job to the worker to its end


# Called once in each worker, gives the function that every job's payload is passed to. It must pickle.
Setup = Callable[[], Callable[[Any], Any]]


class Executor(Protocol):
    """Runs submitted payloads, in any order, each exactly once; a job whose worker is lost is reported, not rerun."""

    @property
    def workers(self) -> int:
        """How many jobs run at once."""
        ...

    def begin(self, setup: Setup, time_limit: float | None = None) -> None:
        """Say, once, what the workers do, and how many seconds a job may take before its worker is replaced."""
        ...

    def submit(self, job: int, payload: Any) -> None:
        """Queue a payload of plain data under a number that is not in use."""
        ...

    def wait(self, timeout: float | None = None) -> list[Completed]:
        """The jobs that ended since the last call; waits for at least one, up to `timeout` seconds if given."""
        ...

    def close(self) -> None:
        """End the workers, at once, and forget what is queued. Safe to call twice."""
        ...
