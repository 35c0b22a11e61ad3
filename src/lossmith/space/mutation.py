"""Mutation: a valid, new child of a genome.

Source: arXiv 2403.08793, mutation of one active node; the numbers are in `MutationConfig`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lossmith.errors import CyclicGraphError
from lossmith.space.config import SpaceConfig
from lossmith.space.expression import Expression
from lossmith.space.genome import OPERANDS, Genome, GenomeNode
from lossmith.space.integrity import examine
from lossmith.verdict import Reason

MAX_TRIES = 2_500  # mutations of one parent before it is given up


@dataclass(frozen=True, slots=True)
class Mutation:
    """What changed: one node, before and after, as [operator, input, ...]."""

    kind: str  # operator, input, swap, arity
    node: str  # root, h0, h1, ...
    before: tuple[str, ...]
    after: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.kind} of {self.node}: {_call(self.before)} -> {_call(self.after)}"


def _call(entry: tuple[str, ...]) -> str:
    return f"{entry[0]}({', '.join(entry[1:])})"


@dataclass(frozen=True, slots=True)
class Individual:
    """A valid genome with what is known of it before any training."""

    genome: Genome
    expression: Expression
    flip: bool  # from its own curve, never from a parent (defect 1 of the published program)
    phenotype: np.ndarray  # float64 [1000], the oriented two-class curve scaled to [0, 1]


class Known(Protocol):
    """What a new individual must differ from."""

    def has_formula(self, key: str) -> bool: ...
    def has_phenotype(self, phenotype: np.ndarray) -> bool: ...


def perturb(genome: Genome, rng: np.random.Generator, config: SpaceConfig) -> tuple[Genome, Mutation]:
    """One mutation of one active node, uniformly drawn; the result may be invalid, cyclic, or a duplicate.

    With the defaults: 70% another operator of the same arity; 15% another input (of a binary node, 20% of these swap
    its inputs); 15% unary to binary or back, adding or dropping an input. The two inputs of a binary node always
    differ. Here the root, too, may be pointed at an operand.
    """
    name = (active := genome.active())[rng.integers(len(active))]
    node = genome.node(name)
    sources = [*OPERANDS, *(f"h{i}" for i in range(len(genome.hidden)) if f"h{i}" != name)]
    unary = len(node.inputs) == 1
    chances = config.mutation
    while True:  # a kind that this node does not admit (its arity has one operator only) is drawn again
        draw = rng.random()
        if draw < chances.operator:
            kind = "operator"
            operators = [o for o in (config.unary if unary else config.binary) if o != node.operator]
            changed = GenomeNode(_pick(operators, rng), node.inputs) if operators else node
        elif draw < chances.operator + chances.input:
            swapped = not unary and rng.random() < chances.swap
            kind = "swap" if swapped else "input"
            changed = GenomeNode(node.operator, node.inputs[::-1] if swapped else _repoint(node.inputs, sources, rng))
        else:
            kind = "arity"
            inputs = list(node.inputs)
            if unary:
                inputs.insert(int(rng.integers(2)), _pick([s for s in sources if s not in inputs], rng))
            else:
                inputs.pop(int(rng.integers(2)))
            changed = GenomeNode(_pick(config.binary if unary else config.unary, rng), tuple(inputs))
        if changed != node:
            break
    mutation = Mutation(kind, name, (node.operator, *node.inputs), (changed.operator, *changed.inputs))
    return genome.replace(name, changed), mutation


def _pick(options: Sequence[str], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]


def _repoint(inputs: tuple[str, ...], sources: Sequence[str], rng: np.random.Generator) -> tuple[str, ...]:
    """One of the inputs, uniformly drawn, pointed at a source that the node does not read."""
    place = int(rng.integers(len(inputs)))
    return (*inputs[:place], _pick([s for s in sources if s not in inputs], rng), *inputs[place + 1 :])


def mutate(
    parent: Genome,
    rng: np.random.Generator,
    config: SpaceConfig,
    known: Known,
    refused: Counter[Reason],
    max_tries: int = MAX_TRIES,
    refuses: Callable[[Individual], Reason | None] = lambda individual: None,
) -> tuple[Individual, Mutation] | None:
    """A valid child of `parent` that `known` does not hold: `perturb` is repeated on the parent until one is found.

    `refused` counts, by reason, the mutants that were not. None where `max_tries` mutants were all refused: an invalid
    child is never returned (defect 2 of the published program). `refuses` is asked last, of what is valid and new.
    """
    for _ in range(max_tries):
        genome, mutation = perturb(parent, rng, config)
        found = _consider(genome, known)
        if isinstance(found, Individual):
            reason = refuses(found)
            if reason is None:
                return found, mutation
            found = reason
        refused[found] += 1
    refused[Reason.NO_CHILD] += 1
    return None


def _consider(genome: Genome, known: Known) -> Individual | Reason:
    """The individual of a genome, or why it is refused; the cheap checks come first."""
    try:
        expression = Expression.from_genome(genome)
    except CyclicGraphError:
        return Reason.CYCLIC
    if known.has_formula(expression.key):
        return Reason.DUPLICATE_FORMULA
    individual = _examined(genome, expression)
    if isinstance(individual, Individual) and known.has_phenotype(individual.phenotype):
        return Reason.DUPLICATE_PHENOTYPE
    return individual


def individual_of(genome: Genome) -> Individual | Reason:
    """The individual of a genome, or why it is none; what is known already plays no part."""
    try:
        return _examined(genome, Expression.from_genome(genome))
    except CyclicGraphError:
        return Reason.CYCLIC


def duplicate(individual: Individual, known: Known) -> Reason | None:
    """Why `known` holds an individual already; None where it is new."""
    if known.has_formula(individual.expression.key):
        return Reason.DUPLICATE_FORMULA
    return Reason.DUPLICATE_PHENOTYPE if known.has_phenotype(individual.phenotype) else None


def _examined(genome: Genome, expression: Expression) -> Individual | Reason:
    examined = examine(expression)
    if examined.phenotype is None or examined.verdict.flip is None:
        return examined.verdict.reason
    if examined.backwards:
        return Reason.BACKWARDS
    return Individual(genome, expression, examined.verdict.flip, examined.phenotype)
