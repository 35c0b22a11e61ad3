from __future__ import annotations

import json
import pickle
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import generators
from lossmith.errors import CyclicGraphError, GraphError
from lossmith.space.config import SpaceConfig
from lossmith.space.expression import Expression
from lossmith.space.genome import OPERANDS, Genome, GenomeNode, random_genome
from lossmith.space.operators import OPERATORS

BASE = {"h0": ["square", "yhat"], "h1": ["neg", "y"], "root": ["add", "h0", "h1"]}


def acyclic(rng: np.random.Generator, config: SpaceConfig) -> Expression:
    """A random expression, drawn until one has no cycle."""
    while True:
        try:
            return Expression.from_genome(random_genome(rng, config))
        except CyclicGraphError:
            continue


@given(generators(), st.randoms(use_true_random=False))
def test_renaming_and_swapping_change_nothing(rng: np.random.Generator, shuffler: random.Random) -> None:
    genome = random_genome(rng, SpaceConfig())
    try:
        expression = Expression.from_genome(genome)
    except CyclicGraphError:
        return
    places = list(range(len(genome.hidden)))
    shuffler.shuffle(places)
    renamed = {f"h{old}": f"h{new}" for old, new in enumerate(places)}

    def moved(node: GenomeNode) -> GenomeNode:
        inputs = [renamed.get(source, source) for source in node.inputs]
        if OPERATORS[node.operator].commutative and shuffler.random() < 0.5:
            inputs.reverse()
        return GenomeNode(node.operator, tuple(inputs))

    hidden = [moved(genome.hidden[places.index(i)]) for i in range(len(places))]
    other = Expression.from_genome(Genome(tuple(hidden), moved(genome.root)))
    assert other == expression
    assert other.key == expression.key


@given(generators(), st.integers(2, 12))
@settings(max_examples=200)
def test_text_json_and_pickle_read_back_to_the_same_key(rng: np.random.Generator, hidden_nodes: int) -> None:
    expression = acyclic(rng, SpaceConfig(hidden_nodes=hidden_nodes, unary_hidden=float(rng.random())))
    for again in (
        Expression.from_text(expression.text),
        Expression.from_json(expression.to_json(note="x")),
        Expression.from_nodes(expression.to_nodes()),
        pickle.loads(pickle.dumps(expression)),  # noqa: S301 - made here
    ):
        assert again == expression
        assert again.key == expression.key


def test_equal_sub_expressions_are_one_node() -> None:
    shared = Expression.from_nodes({"h0": ["exp", "yhat"], "root": ["mul", "h0", "h0"]})
    twice = Expression.from_nodes({"h0": ["exp", "yhat"], "h1": ["exp", "yhat"], "root": ["mul", "h0", "h1"]})
    assert shared == twice
    assert len(shared.nodes) == 3


@pytest.mark.parametrize(
    "change",
    [
        {"root": ["sub", "h0", "h1"]},
        {"h0": ["exp", "yhat"]},
        {"h1": ["neg", "1"]},
        {"h0": ["square", "0.5"]},
    ],
)
def test_different_graphs_have_different_keys(change: dict[str, list[str]]) -> None:
    assert Expression.from_nodes({**BASE, **change}).key != Expression.from_nodes(BASE).key


def test_swapping_the_inputs_of_sub_is_another_expression() -> None:
    a, b = (Expression.from_text(text) for text in ("y - yhat", "yhat - y"))
    assert a.key != b.key


def test_keys_never_change() -> None:
    """Ledgers hold these keys: a change here breaks every run that users have."""
    assert Expression.from_text("-y*log(yhat)").key == "a737b1144e42eafd"
    assert Expression.from_text("div_sqrt1p_sq(max(y, 0.5), i1e(yhat)) / 1e-7").key == "cca7f8e119384c14"


def test_keys_are_equal_in_another_process() -> None:
    program = "from lossmith.space.expression import Expression; print(Expression.from_text('y / (yhat + 2)').key)"
    # another hash seed, so that nothing rests on the order of a set
    run = subprocess.run([sys.executable, "-c", program], env={"PYTHONHASHSEED": "7"}, capture_output=True, check=True)
    assert run.stdout.decode().strip() == Expression.from_text("y / (yhat + 2)").key


def test_evaluate_is_elementwise_and_unflipped() -> None:
    expression = Expression.from_text("-y*yhat^2 + 3")
    y, yhat = torch.tensor([[0.0, 1.0]]), torch.tensor([[0.25, 0.5]])
    torch.testing.assert_close(expression.evaluate(y, yhat), torch.tensor([[3.0, 2.75]]))
    assert expression.evaluate(y.double(), yhat.double()).dtype == torch.float64


def test_evaluate_broadcasts_an_expression_that_reads_one_operand() -> None:
    y, yhat = torch.zeros(4, 1), torch.rand(1, 3)
    assert Expression.from_text("y").evaluate(y, yhat).shape == (4, 3)
    assert Expression.from_text("2").evaluate(y, yhat).shape == (4, 3)


def test_log_of_the_prediction_is_taken_where_it_is_known() -> None:
    expression = Expression.from_text("log(yhat)")
    underflowed, known = torch.zeros(1), torch.tensor([-2e4])
    assert expression.evaluate(underflowed, underflowed, known).item() == -2e4
    assert expression.evaluate(underflowed, underflowed).item() == -float("inf")


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ({"h0": ["neg", "h1"], "h1": ["neg", "h0"], "root": ["add", "h0", "y"]}, CyclicGraphError, "h0 -> h1 -> h0"),
        ({"h0": ["neg", "h0"], "root": ["neg", "h0"]}, CyclicGraphError, "h0 -> h0"),
        ({"root": ["neg", "z"]}, GraphError, "unknown input 'z'"),
        ({"root": ["add", "y"]}, GraphError, "takes 2 input(s), found 1"),
        ({"root": ["ad", "y", "yhat"]}, GraphError, "unknown operator 'ad' (did you mean 'add'?)"),
        ({"root": ["neg", "nan"]}, GraphError, "not a finite number"),
        ({"root": [[], "y"]}, GraphError, "expected [operator, input, ...]"),
        ({"root": "y"}, GraphError, "expected [operator, input, ...]"),
        ({"h0": ["neg", "y"]}, GraphError, "'root'"),
        (["root"], GraphError, "expected a mapping"),
        ({"format": "other", "nodes": {}}, GraphError, "expected format"),
        ({"format": "lossmith-expression", "version": 99, "nodes": {}}, GraphError, "newer"),
        ({"format": "lossmith-expression", "version": 1}, GraphError, "expected a mapping"),
    ],
)
def test_bad_json_is_refused(content: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        Expression.from_json(json.dumps(content), where="loss.json")
    assert str(caught.value).startswith("loss.json: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "nul", '"x"'])
def test_what_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(GraphError):
        Expression.from_json(text)


def test_an_inactive_cycle_does_not_matter() -> None:
    nodes = {"h0": ["neg", "h1"], "h1": ["neg", "h0"], "h2": ["sub", "y", "yhat"], "root": ["abs", "h2"]}
    assert Expression.from_nodes(nodes).text == "abs(y - yhat)"


def test_a_graph_that_explodes_when_written_out_is_refused() -> None:
    nodes = {"h0": ["add", "y", "yhat"], **{f"h{i}": ["mul", f"h{i - 1}", f"h{i - 1}"] for i in range(1, 50)}}
    with pytest.raises(GraphError, match="written out"):
        Expression.from_nodes({**nodes, "root": ["neg", "h49"]})


def test_a_deep_graph_is_refused() -> None:
    nodes = {f"h{i}": ["neg", f"h{i + 1}"] for i in range(500)}
    with pytest.raises(GraphError, match="levels"):
        Expression.from_nodes({**nodes, "h500": ["neg", "y"], "root": ["neg", "h0"]})


def test_operands_of_genomes_are_operands_of_expressions() -> None:
    for operand in OPERANDS:
        assert len(Expression.from_nodes({"root": ["neg", operand]}).nodes) == 2


@given(generators())
def test_latex_has_matching_braces(rng: np.random.Generator) -> None:
    latex = acyclic(rng, SpaceConfig()).to_latex()
    assert latex.count("{") == latex.count("}")
    assert latex.count(r"\left") == latex.count(r"\right")


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("-y*log(yhat)", r"\left(-y\right) \cdot \ln\left(\hat{y}\right)"),
        ("(y - yhat)^2", r"\left(y-\hat{y}\right)^2"),
        ("y - (1 - yhat)", r"y-\left(1-\hat{y}\right)"),
        ("y*(-2)", r"\left(-2\right) \cdot y"),
        ("y / 1e-7", r"\frac{y}{1 \cdot 10^{-7}+\epsilon}"),
    ],
)
def test_latex(text: str, latex: str) -> None:
    expected = Expression.from_text(text).to_latex()
    assert expected == latex
