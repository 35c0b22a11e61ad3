"""What a search asks for and is told, as records."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from lossmith.errors import LossmithError
from lossmith.space.mutation import Individual, Mutation
from lossmith.verdict import Reason


class Stage(enum.StrEnum):
    """A search has three: the last is `RANDOM` where `search.method` is "random"."""

    SCREENING = "screening"
    SELECTION = "selection"
    EVOLUTION = "evolution"
    RANDOM = "random"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One loss to be evaluated."""

    number: int  # from 0, in the order of asking
    stage: Stage
    iteration: int  # from 0 within the stage
    attempt: int  # 0, or 1..retries for a replacement of one of the last stage whose training failed
    individual: Individual
    parent: int | None = None  # number of the candidate it was mutated from, or (selection) screened as
    mutation: Mutation | None = None
    refused: dict[Reason, int] = field(default_factory=dict)  # drafts that were refused before it, by reason
    # what the rungs took to find it, by the reason that each refuses with
    rung_seconds: dict[Reason, float] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What training a candidate gave."""

    reason: Reason
    fitness: float | None = None  # validation score, higher is better; None unless `reason` is OK


@dataclass(frozen=True, slots=True)
class Abandoned:
    """A failed candidate was to be replaced, and nothing valid and new was found: the iteration ended."""

    iteration: int


Event = Candidate | tuple[int, Outcome] | Abandoned  # an ask, a tell (number and outcome), or a retry given up


@dataclass(frozen=True, slots=True)
class Member:
    """One living member of the population."""

    number: int
    individual: Individual
    fitness: float


class SearchError(LossmithError):
    """A search that cannot go on, or a call of ask/tell out of order."""
