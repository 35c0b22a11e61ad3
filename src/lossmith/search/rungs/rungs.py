"""The rungs as a search uses them: one question after the other, the answers kept, the time taken."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice

import numpy as np

from lossmith.config import RungsConfig
from lossmith.search.rungs.classes import leads_to_the_true_class
from lossmith.search.rungs.microtask import SLOTS, Microtask
from lossmith.space.expression import Expression
from lossmith.space.fingerprint import Fingerprints, fingerprint
from lossmith.space.mutation import Individual
from lossmith.verdict import Reason

RUNGS = (Reason.DUPLICATE_FUNCTION, Reason.LEADS_AWAY, Reason.UNTRAINABLE)  # what each rung refuses with, in order

_Loss = tuple[Expression, bool]


class Rungs:
    """What is asked of a draft that is valid, and new to the method's own checks.

    The answers of the last two rungs depend on the draft alone. That of the first depends on what was remembered.
    """

    def __init__(self, config: RungsConfig, classes: int) -> None:
        """`classes` is the number of classes of the search's task."""
        self._classes = classes if config.classes else None
        # Alone, a loss trains in a batch of one; the two sizes may differ in the last bit, so they are kept apart.
        self._single = Microtask(config.microtask, classes, 1) if config.microtask else None
        self._batched = Microtask(config.microtask, classes, SLOTS) if config.microtask else None
        self._seen = Fingerprints() if config.duplicates else None
        self._fingerprint: tuple[_Loss, np.ndarray] | None = None  # of the last draft, which is mostly the next one
        self._leads: dict[_Loss, bool] = {}
        self._trains: dict[_Loss, bool] = {}  # in a batch
        self._seconds: dict[Reason, float] = defaultdict(float)

    def refuses(self, individual: Individual, ahead: Iterable[Individual] | None = None) -> Reason | None:
        """Why a draft is not worth training, or None.

        Args:
            individual: the draft.
            ahead: drafts that will be asked about later, the soonest first: they fill up the micro-task's batch. With
                None the draft trains alone.
        """
        loss = individual.expression, individual.flip
        if self._seen is not None:
            with self._timed(Reason.DUPLICATE_FUNCTION):
                if self._fingerprint_of(loss) in self._seen:
                    return Reason.DUPLICATE_FUNCTION
        if not self._leads_right(loss):
            return Reason.LEADS_AWAY
        if self._single is None or self._batched is None:
            return None
        if ahead is None:
            with self._timed(Reason.UNTRAINABLE):
                return None if self._single.passes([loss])[0] else Reason.UNTRAINABLE
        if loss not in self._trains:
            others = ((other.expression, other.flip) for other in ahead)
            batch = list(islice(dict.fromkeys(chain([loss], others)), SLOTS))
            with self._timed(Reason.UNTRAINABLE):
                self._trains |= zip(batch, self._batched.passes(batch), strict=True)
        return None if self._trains[loss] else Reason.UNTRAINABLE

    def undecided(self, individual: Individual) -> bool | None:
        """For `RandomDrafts.ahead`: whether only the micro-task can tell; None where it has said yes."""
        loss = individual.expression, individual.flip
        if not self._leads_right(loss):
            return False
        if self._batched is None:
            return None
        trains = self._trains.get(loss)
        return True if trains is None else (None if trains else False)

    def remember(self, individual: Individual) -> None:
        """The draft was asked for; the same function is refused from now on."""
        if self._seen is not None:
            self._seen.add(self._fingerprint_of((individual.expression, individual.flip)))

    def take_seconds(self) -> dict[Reason, float]:
        """What each rung has taken since the last call."""
        taken, self._seconds = dict(self._seconds), defaultdict(float)
        return taken

    def forget_batches(self) -> None:
        """Let go of the answers for drafts of the screening stage, which is over."""
        self._trains.clear()
        self._leads.clear()

    def _fingerprint_of(self, loss: _Loss) -> np.ndarray:
        if self._fingerprint is None or self._fingerprint[0] != loss:
            self._fingerprint = loss, fingerprint(*loss)
        return self._fingerprint[1]

    def _leads_right(self, loss: _Loss) -> bool:
        if self._classes is None:
            return True
        if loss not in self._leads:
            with self._timed(Reason.LEADS_AWAY):
                self._leads[loss] = leads_to_the_true_class(*loss, self._classes)
        return self._leads[loss]

    @contextmanager
    def _timed(self, rung: Reason) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[rung] += time.perf_counter() - began
