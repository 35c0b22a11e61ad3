"""What `lossmith bench engine` finds: plain records, which become tables and JSON."""

from __future__ import annotations

from dataclasses import dataclass

from lossmith.bench.engine.limits import Limits
from lossmith.train.plan import Plan


@dataclass(frozen=True, slots=True)
class Way:
    """One way of training, measured, in so many processes at the same time."""

    name: str  # without the number of processes
    plan: Plan | None  # None: plain PyTorch, without the engine
    processes: int
    threads: int  # of each process
    rate: float  # candidate-steps per second, of all processes together; the median of the rounds
    rounds: tuple[float, ...]  # of each round
    ratio: float  # of the rate to that of plain PyTorch with all threads
    # from the rate, the task's steps and the time that scoring takes, none ended early; None: it has stages
    evaluations_per_hour: float | None
    arithmetic: float  # share of the limit of as many threads
    bandwidth: float  # share of the limit of as many threads, by the estimate of the bytes moved


@dataclass(frozen=True, slots=True)
class Share:
    """Where the time of one candidate's step goes, on average over an evaluation; the shares sum to 1."""

    loss: str
    milliseconds: float  # of one core, scoring included
    parts: dict[str, float]  # "data", "network", "loss", "optimizer", "rest", "scoring"


@dataclass(frozen=True, slots=True)
class Memory:
    """Of a process that trains `plan.slots` losses at once."""

    plan: Plan
    base: float  # MiB after its imports, with the data loaded
    peak: float  # MiB above that, at most


@dataclass(frozen=True, slots=True)
class EngineResult:
    """Everything that was measured, in one run."""

    task: str
    data: str  # name and shape of the images
    synthetic: bool
    machine: str
    busy: float  # share of it that other programs used when the measurement began
    cores: int
    torch: str
    flops_per_step: int  # of one candidate, two for each multiply-add
    bytes_per_step: int  # of one candidate; an estimate
    limits: tuple[Limits, ...]  # of one thread, and of all
    ways: tuple[Way, ...]  # the first is plain PyTorch with all threads
    best: Way  # the fastest of the engine's that use all cores
    evaluation_steps: int
    scoring_seconds: float  # of one candidate at the end of an epoch, in all processes at once
    plain_evaluation: float | None  # seconds of one, as measured; None: too long
    best_evaluations_per_hour: float | None  # of the fastest way, whole evaluations measured; None: too long
    shares: tuple[Share, ...]  # of the fastest way
    search_seconds: dict[str, float]  # of a core, for a candidate, by stage
    memory: tuple[Memory, ...]
    compile_seconds: float | None  # before the first compiled step; None: not compiled
    notes: tuple[str, ...]  # what was left out, and why
