"""The life of a worker process of `LocalExecutor`."""

from __future__ import annotations

import multiprocessing
import os
import queue
import threading
import traceback
from multiprocessing import connection
from typing import Any

from lossmith.execution.base import Server, Setup

Message = tuple[int, Any, str]  # a job's number, its result, and the text of its error ("": none)


def work(pipe: connection.Connection, setup: Setup) -> None:
    """Says over `pipe` that it is ready ("", or why it cannot start), then takes (job, payload), gives `Message`s."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        import torch  # noqa: PLC0415 - only a worker needs it here

        torch.set_num_threads(1)
        server = setup()
    except Exception as error:  # whatever it is, the parent must hear of it
        pipe.send(f"{type(error).__name__}: {error}")
        return
    pipe.send("")
    inbox = _Inbox(pipe)
    while True:
        _serve(pipe, inbox, server)


def _serve(pipe: connection.Connection, inbox: _Inbox, server: Server) -> None:
    """Let `server` work until it returns or raises; every job that it took is answered."""
    inbox.wait_for_one()
    fault = "the server ended without an answer"
    taken = inbox.taken
    try:
        for job, outcome in server(inbox):
            inbox.held.remove(job)
            if isinstance(outcome, BaseException):
                pipe.send((job, None, _text(outcome)))
            else:
                _give(pipe, job, outcome)
    except Exception as error:  # a bug in the server is told as the fault of the jobs that it held
        fault = _text(error)
    if inbox.taken == taken:
        inbox.take()  # one that takes nothing fails the job, or it would be called for ever
    for job in sorted(inbox.held):
        pipe.send((job, None, fault))
    inbox.held.clear()


def _give(pipe: connection.Connection, job: int, result: Any) -> None:
    try:
        pipe.send((job, result, ""))
    except OSError:
        raise  # the parent is gone
    except Exception as error:  # the result does not pickle
        pipe.send((job, None, _text(error)))


def _text(error: BaseException) -> str:
    return "".join(traceback.format_exception(error, limit=-6)) or repr(error)


class _Inbox:
    """What the parent sent and the server has not taken.

    A thread of its own empties the pipe, so that the parent never waits to hand over a job while this process trains or
    waits to hand over a result.
    """

    def __init__(self, pipe: connection.Connection) -> None:
        self.held: set[int] = set()  # jobs that were taken and not answered
        self.taken = 0
        self._arrived: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
        self._next: tuple[int, Any] | None = None
        threading.Thread(target=self._read, args=(pipe,), daemon=True).start()

    def _read(self, pipe: connection.Connection) -> None:
        while True:
            try:
                arrived = pipe.recv()
            except (EOFError, OSError):
                os._exit(1)  # nobody is left to work for
            except Exception:  # a payload that does not unpickle: the parent sees its worker lost
                traceback.print_exc()
                os._exit(1)
            self._arrived.put(arrived)

    def wait_for_one(self) -> None:
        """Return as soon as there is a job to take."""
        if self._next is None:
            self._next = self._arrived.get()

    def take(self) -> tuple[int, Any] | None:
        job, self._next = self._next, None
        if job is None:
            try:
                job = self._arrived.get_nowait()
            except queue.Empty:
                return None
        self.held.add(job[0])
        self.taken += 1
        return job

    def wait(self) -> tuple[int, Any]:
        if self.held:
            raise RuntimeError("a server waits for a job while it holds one")
        self.wait_for_one()
        job = self.take()
        if job is None:
            raise AssertionError("there is one")
        return job


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
