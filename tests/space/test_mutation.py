from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import Nothing, generators
from lossmith.space.config import MutationConfig, SpaceConfig
from lossmith.space.expression import Expression
from lossmith.space.genome import Genome, random_genome
from lossmith.space.integrity import check, examine
from lossmith.space.mutation import Individual, individual_of, mutate, perturb
from lossmith.space.operators import OPERATORS
from lossmith.verdict import Reason

SPACE = SpaceConfig()


class Remembered(Nothing):
    """A `Known` that holds some individuals."""

    def __init__(self, individuals: list[Individual]) -> None:
        self._individuals = individuals

    def has_formula(self, key: str) -> bool:
        return key in {individual.expression.key for individual in self._individuals}

    def has_phenotype(self, phenotype: np.ndarray) -> bool:
        return any(np.linalg.norm(individual.phenotype - phenotype) < 0.01 for individual in self._individuals)


def valid(rng: np.random.Generator) -> Individual:
    while isinstance(individual := individual_of(random_genome(rng, SPACE)), Reason):
        pass
    return individual


@given(generators())
def test_a_mutation_changes_one_active_node_as_it_says(rng: np.random.Generator) -> None:
    genome = random_genome(rng, SPACE)
    child, mutation = perturb(genome, rng, SPACE)
    assert mutation.node in genome.active()
    changed = [name for (name, old), (_, new) in zip(genome.named(), child.named(), strict=True) if old != new]
    assert changed == [mutation.node]
    before, after = genome.node(mutation.node), child.node(mutation.node)
    assert mutation.before == (before.operator, *before.inputs)
    assert mutation.after == (after.operator, *after.inputs)
    assert len(set(after.inputs)) == len(after.inputs)
    assert mutation.node not in after.inputs
    match mutation.kind:
        case "operator":
            assert before.inputs == after.inputs
            assert OPERATORS[before.operator].arity == OPERATORS[after.operator].arity
        case "input":
            assert before.operator == after.operator
            assert sum(a != b for a, b in zip(before.inputs, after.inputs, strict=True)) == 1
        case "swap":
            assert before.operator == after.operator
            assert before.inputs == after.inputs[::-1]
        case "arity":
            assert abs(len(before.inputs) - len(after.inputs)) == 1
            assert set(before.inputs) <= set(after.inputs) or set(after.inputs) <= set(before.inputs)
        case kind:
            pytest.fail(f"unknown kind {kind}")


def test_the_kinds_of_mutation_have_the_method_s_shares() -> None:
    rng = np.random.default_rng(1)
    genome = Genome.from_nodes({"h0": ["exp", "yhat"], "h1": ["sub", "y", "yhat"], "root": ["mul", "h0", "h1"]})
    kinds: Counter[tuple[str, bool]] = Counter()
    for _ in range(20_000):
        _, mutation = perturb(genome, rng, SPACE)
        kinds[mutation.kind, len(mutation.before) == 3] += 1
    total = sum(kinds.values())
    assert sum(count for (_, binary), count in kinds.items() if binary) / total == pytest.approx(2 / 3, abs=0.015)
    for kind, share in (("operator", 0.70), ("arity", 0.15)):
        assert (kinds[kind, True] + kinds[kind, False]) / total == pytest.approx(share, abs=0.01)
    assert kinds["swap", True] / (kinds["swap", True] + kinds["input", True]) == pytest.approx(0.2, abs=0.03)
    assert ("swap", False) not in kinds


def test_the_root_may_be_pointed_at_an_operand() -> None:
    rng = np.random.default_rng(2)
    genome = Genome.from_nodes({"h0": ["exp", "yhat"], "h1": ["neg", "y"], "root": ["mul", "h0", "h1"]})
    children = [perturb(genome, rng, SPACE)[0] for _ in range(500)]
    assert any(source in ("y", "yhat", "1", "-1") for child in children for source in child.root.inputs)


@given(generators(), st.integers(0, 5))
@settings(max_examples=60)
def test_mutate_never_gives_a_cyclic_duplicate_or_invalid_child(rng: np.random.Generator, living: int) -> None:
    parent = valid(rng)
    known = Remembered([parent, *(valid(rng) for _ in range(living))])
    refused: Counter[Reason] = Counter()
    found = mutate(parent.genome, rng, SPACE, known, refused)
    assert found is not None
    child, _ = found
    verdict = check(child.genome)  # a cyclic genome would be refused here, as would an invalid one
    assert verdict.ok
    assert verdict.flip == child.flip
    assert not known.has_formula(child.expression.key)
    assert not known.has_phenotype(child.phenotype)
    assert Reason.OK not in refused


def test_children_of_flipped_parents_are_oriented_by_their_own_curve() -> None:
    """Defect 1 of the published program: there the child inherited `flip` (418 of 1,200 were the wrong way round)."""
    rng = np.random.default_rng(3)
    children = unlike_parent = 0
    while children < 600:
        parent = valid(rng)
        if not parent.flip:
            continue
        found = mutate(parent.genome, rng, SPACE, Nothing(), Counter())
        assert found is not None
        child = found[0]
        fresh = examine(Expression.from_text(Expression.from_genome(Genome.from_nodes(child.genome.nodes())).text))
        assert fresh.verdict.flip == child.flip
        assert fresh.phenotype is not None
        np.testing.assert_array_equal(fresh.phenotype, child.phenotype)
        children += 1
        unlike_parent += not child.flip
    assert unlike_parent > 60  # the test would mean nothing if children always went their parent's way


def test_a_parent_without_valid_children_gives_none() -> None:
    """Defect 2 of the published program: after 2,500 failures it trained the last, invalid child."""

    class Everything(Nothing):
        def has_formula(self, key: str) -> bool:
            return True

    refused: Counter[Reason] = Counter()
    parent = valid(np.random.default_rng(4))
    assert mutate(parent.genome, np.random.default_rng(5), SPACE, Everything(), refused, max_tries=50) is None
    assert refused[Reason.NO_CHILD] == 1
    assert refused[Reason.DUPLICATE_FORMULA] + refused[Reason.CYCLIC] == 50


def test_a_kind_that_a_node_does_not_admit_is_drawn_again() -> None:
    config = SpaceConfig(unary=("neg",), binary=("sub",), mutation=MutationConfig(operator=0.9, input=0.05, arity=0.05))
    rng = np.random.default_rng(6)
    genome = Genome.from_nodes({"h0": ["neg", "yhat"], "h1": ["neg", "y"], "root": ["sub", "h0", "h1"]})
    assert all(perturb(genome, rng, config)[1].kind != "operator" for _ in range(200))
