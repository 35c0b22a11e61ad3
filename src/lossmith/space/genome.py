"""The genome: what evolution mutates. Free wiring of a fixed number of hidden nodes and a root.

Source: arXiv 2403.08793, search space. Hidden nodes float freely: each may read any operand or any *other* hidden
node, so nodes that the root does not reach are inactive, and may even form cycles among themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from lossmith.errors import GraphError, nearest
from lossmith.space.config import SpaceConfig
from lossmith.space.operators import OPERATORS

OPERANDS: tuple[str, ...] = ("y", "yhat", "1", "-1")  # target, softmax output, and the two constants
ROOT = "root"


@dataclass(frozen=True, slots=True)
class GenomeNode:
    """An operator and the names of its inputs: operands, or `h0`, `h1`, ..."""

    operator: str
    inputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Genome:
    """A graph as evolution sees it; hashable, compared by wiring (not by meaning: see `Expression` for that)."""

    hidden: tuple[GenomeNode, ...]  # h0, h1, ...
    root: GenomeNode

    def __post_init__(self) -> None:
        names = {*OPERANDS, *(f"h{i}" for i in range(len(self.hidden)))}
        for name, node in self.named():
            operator = OPERATORS.get(node.operator)
            if operator is None:
                raise GraphError(
                    f"node '{name}': unknown operator '{node.operator}'{nearest(node.operator, OPERATORS)}"
                )
            if len(node.inputs) != operator.arity:
                raise GraphError(
                    f"node '{name}': '{node.operator}' takes {operator.arity} input(s), found {len(node.inputs)}"
                )
            for source in node.inputs:
                if source not in names:
                    raise GraphError(
                        f"node '{name}': unknown input '{source}'{nearest(source, names)};"
                        f" inputs are {', '.join(OPERANDS)} and hidden nodes"
                    )

    @classmethod
    def from_nodes(cls, nodes: Mapping[str, Sequence[str]]) -> Self:
        """The genome written as `{"h0": ["square", "h2"], ..., "root": ["mul", "h0", "h1"]}`.

        Raises:
            GraphError: no root, a gap in the hidden nodes' numbers, an unknown operator or input, a wrong arity.
        """
        if ROOT not in nodes:
            raise GraphError(f"the graph has no '{ROOT}' node; its nodes are {', '.join(map(str, nodes)) or 'none'}")
        hidden = [f"h{i}" for i in range(len(nodes) - 1)]
        for name in nodes:
            if name != ROOT and name not in hidden:
                raise GraphError(f"unknown node '{name}': hidden nodes are named h0, h1, ... without gaps")
        return cls(tuple(_node(name, nodes[name]) for name in hidden), _node(ROOT, nodes[ROOT]))

    def nodes(self) -> dict[str, list[str]]:
        """The shape that `from_nodes` reads; JSON-ready."""
        return {name: [node.operator, *node.inputs] for name, node in self.named()}

    def named(self) -> list[tuple[str, GenomeNode]]:
        """Every node with its name, the root last."""
        return [*((f"h{i}", node) for i, node in enumerate(self.hidden)), (ROOT, self.root)]

    def node(self, name: str) -> GenomeNode:
        return self.root if name == ROOT else self.hidden[int(name[1:])]

    def replace(self, name: str, node: GenomeNode) -> Genome:
        """This genome with one node exchanged."""
        if name == ROOT:
            return Genome(self.hidden, node)
        index = int(name[1:])
        return Genome((*self.hidden[:index], node, *self.hidden[index + 1 :]), self.root)

    def active(self) -> tuple[str, ...]:
        """The names of the nodes that the root reaches, the root included, in the order of `named`."""
        reached: set[str] = set()
        waiting = [ROOT]
        while waiting:
            name = waiting.pop()
            if name not in reached:
                reached.add(name)
                waiting += [source for source in self.node(name).inputs if source not in OPERANDS]
        return tuple(name for name, _ in self.named() if name in reached)


def _node(name: str, entry: object) -> GenomeNode:
    parts = tuple(part for part in entry if isinstance(part, str)) if isinstance(entry, list | tuple) else ()
    if not isinstance(entry, list | tuple) or not parts or len(parts) < len(entry):
        raise GraphError(f"node '{name}': expected a list of texts, [operator, input, ...], found {entry!r:.80}")
    return GenomeNode(parts[0], parts[1:])


def random_genome(rng: np.random.Generator, config: SpaceConfig | None = None) -> Genome:
    """A random genome, valid or not (arXiv 2403.08793, initialisation).

    P(unary) is `unary_hidden` for a hidden node and `unary_root` for the root; the operator is uniform within its
    arity; a binary node's two inputs differ; hidden nodes read operands and other hidden nodes, the root hidden nodes
    only.
    """
    config = config or SpaceConfig()
    names = [f"h{i}" for i in range(config.hidden_nodes)]

    def draw(unary_probability: float, sources: Sequence[str]) -> GenomeNode:
        unary = rng.random() < unary_probability
        operators = config.unary if unary else config.binary
        inputs = [int(rng.integers(len(sources)))]
        if not unary:  # another one: the draw skips the first
            second = int(rng.integers(len(sources) - 1))
            inputs.append(second + (second >= inputs[0]))
        return GenomeNode(operators[int(rng.integers(len(operators)))], tuple(sources[i] for i in inputs))

    hidden = tuple(
        draw(config.unary_hidden, [*OPERANDS, *(other for other in names if other != name)]) for name in names
    )
    return Genome(hidden, draw(config.unary_root, names))
