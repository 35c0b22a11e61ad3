"""Executors run jobs of plain data somewhere else; what a job means is the business of whoever submits it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from lossmith.verdict import Reason


@dataclass(frozen=True, slots=True)
class Completed:
    """One job that ended."""

    job: int  # the number it was submitted under
    result: Any  # what the worker's server gave; None where `reason` is not OK
    reason: Reason  # OK, WORKER_LOST, TIME_LIMIT, or ERROR
    detail: str  # the error's text, for ERROR
    worker: int  # which worker ran it
    seconds: float  # from handing the job to the worker to its end
    beside: int = 0  # WORKER_LOST: jobs that the worker held besides; 0 means that this one alone can be to blame
    exit_code: int | None = None  # WORKER_LOST: of the worker; -9 is SIGKILL, as by a kernel that runs out of memory


class Inbox(Protocol):
    """Where a server finds its jobs: the number and the payload of each."""

    def take(self) -> tuple[int, Any] | None:
        """The next job, or None where there is none right now."""
        ...

    def wait(self) -> tuple[int, Any]:
        """The next job, however long it takes to come. Only for a server that holds no job."""
        ...


# What a worker does: takes jobs, as many at once as it likes, and gives each one's number with its result, or with the
# exception that it ended with, as soon as it ends. It may return where it holds no job, and is called again for the
# next. Where it raises, or returns too early, the jobs that it holds end with that error.
Server = Callable[[Inbox], Iterator[tuple[int, Any]]]

Setup = Callable[[], Server]  # called once in each worker; must pickle


def one_at_a_time(function: Callable[[Any], Any]) -> Server:
    """A server that calls `function` with one payload after the other."""

    def serve(inbox: Inbox) -> Iterator[tuple[int, Any]]:
        while True:
            job, payload = inbox.wait()
            try:
                outcome = function(payload)
            except Exception as error:  # a bug in one job must not end the others; its text is reported
                outcome = error
            yield job, outcome

    return serve


class Executor(Protocol):
    """Runs submitted payloads in the order of submission, each once; a job whose worker is lost is reported, not rerun.

    A worker holds jobs of one group at a time. No job overtakes another, so none waits for ever for a worker that is
    kept busy with another group: such a worker is given nothing until it has ended what it holds.
    """

    @property
    def workers(self) -> int:
        """How many workers there are."""
        ...

    @property
    def capacity(self) -> int:
        """How many jobs can be in workers' hands at once: `workers` times the slots given to `begin`."""
        ...

    def begin(self, setup: Setup, time_limit: float | None = None, slots: int = 1) -> None:
        """Say, once, what the workers do.

        Args:
            setup: makes each worker's server.
            time_limit: wall seconds from handing a job to a worker to its end, after which its worker is replaced. A
                job that shares its worker takes longer than alone, so the limit must allow for `slots` of them. The
                other jobs of that worker are run again, as if they had not been handed over.
            slots: jobs that a worker may hold at once.
        """
        ...

    def submit(self, job: int, payload: Any, group: Hashable = None, together: int | None = None) -> None:
        """Queue a job.

        Args:
            job: a number that is not in use.
            payload: plain data.
            group: a worker holds jobs of one group (and one `together`) at a time.
            together: jobs of the group that one worker may hold at once, at most `slots` (None: `slots`). 1 means that
                the job has a worker for itself.
        """
        ...

    def recall(self) -> list[int]:
        """Take back the jobs that no worker was given yet: their numbers, in the order of submission."""
        ...

    def wait(self, timeout: float | None = None) -> list[Completed]:
        """The jobs that ended since the last call; waits for at least one, up to `timeout` seconds if given."""
        ...

    def close(self) -> None:
        """End the workers, at once, and forget what is queued. Safe to call twice."""
        ...
