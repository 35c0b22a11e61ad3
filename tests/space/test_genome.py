from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given

from helpers import generators
from lossmith.errors import ConfigError, GraphError
from lossmith.settings import validate
from lossmith.space.config import SpaceConfig
from lossmith.space.genome import OPERANDS, Genome, random_genome
from lossmith.space.operators import BINARY, UNARY

NODES = {
    "h0": ["square", "h2"],
    "h1": ["add", "y", "-1"],
    "h2": ["exp", "yhat"],
    "h3": ["sin", "h3x"],
    "root": ["mul", "h0", "h1"],
}


def test_from_nodes_and_nodes_are_inverse() -> None:
    nodes = {**NODES, "h3": ["sin", "1"]}
    assert Genome.from_nodes(nodes).nodes() == nodes
    assert hash(Genome.from_nodes(nodes)) == hash(Genome.from_nodes(dict(nodes)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"h3": ["sinn", "y"]}, "unknown operator 'sinn' (did you mean 'sin'?)"),
        ({"h3": ["sin", "h9"]}, "unknown input 'h9'"),
        ({"h3": ["sin", "y", "y"]}, "takes 1 input(s), found 2"),
        ({"h3": ["add", "y"]}, "takes 2 input(s), found 1"),
        ({"h3": []}, "expected a list of texts"),
        ({"h3": "sin"}, "expected a list of texts"),
        ({"h3": ["sin", "1"], "h7": ["sin", "1"]}, "unknown node 'h7'"),
    ],
)
def test_a_malformed_graph_is_refused_by_name(change: dict[str, list[str]], message: str) -> None:
    with pytest.raises(GraphError) as caught:
        Genome.from_nodes({**NODES, **change})
    assert message in str(caught.value)


def test_a_graph_without_a_root_is_refused() -> None:
    with pytest.raises(GraphError, match="has no 'root'"):
        Genome.from_nodes({"h0": ["sin", "y"]})


@given(generators())
def test_random_genomes_are_wired_as_the_method_says(rng: np.random.Generator) -> None:
    genome = random_genome(rng, SpaceConfig())
    assert len(genome.hidden) == 4
    for name, node in genome.named():
        assert len(set(node.inputs)) == len(node.inputs)  # a binary node's inputs differ
        assert name not in node.inputs  # hidden nodes read *other* hidden nodes
    assert not set(genome.root.inputs) & set(OPERANDS)  # at initialisation the root reads hidden nodes only


def test_random_genomes_follow_the_method_s_probabilities() -> None:
    rng = np.random.default_rng(0)
    genomes = [random_genome(rng, SpaceConfig()) for _ in range(4_000)]
    hidden = [node for genome in genomes for node in genome.hidden]
    assert np.mean([len(node.inputs) == 1 for node in hidden]) == pytest.approx(0.7, abs=0.015)
    assert np.mean([len(genome.root.inputs) == 1 for genome in genomes]) == pytest.approx(0.2, abs=0.025)
    counts = Counter(node.operator for node in hidden)
    for operators, share in ((UNARY, 0.7), (BINARY, 0.3)):
        for operator in operators:
            expected = share * len(hidden) / len(operators)
            assert abs(counts[operator] - expected) < 5 * np.sqrt(expected)
    sources = Counter(source for genome in genomes for source in genome.hidden[0].inputs)
    assert set(sources) == {*OPERANDS, "h1", "h2", "h3"}
    assert max(sources.values()) / min(sources.values()) < 1.2  # uniform


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"unary": ["sinn"]}, "unknown operator 'sinn' (did you mean 'sin'?)"),
        ({"binary": ["sin"]}, "unknown operator 'sin'"),
        ({"unary": ["sin", "sin"]}, "listed twice"),
        ({"hidden_nodes": 1}, "use hidden_nodes >= 2"),
        ({"mutation": {"operator": 0.9}}, "must be 1"),
        ({"unary": ["neg"], "mutation": {"operator": 1, "input": 0, "arity": 0}}, "at least two unary"),
        ({"hiden_nodes": 4}, "unknown setting 'hiden_nodes' (did you mean 'hidden_nodes'?)"),
    ],
)
def test_a_wrong_space_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(SpaceConfig, values, "space")
    assert message in str(caught.value)
