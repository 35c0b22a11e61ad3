"""The expression: the active graph of a genome in canonical form. What is computed, keyed, printed, differentiated.

Canonical means: equal sub-expressions are one node, the inputs of a commutative operator are in a fixed order, and
nodes are numbered in the order in which they are computed. So renaming or reordering a genome's nodes, or swapping the
inputs of `add`, `mul`, `max` or `min`, gives an equal expression with the same `key`.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lossmith.errors import CyclicGraphError, GraphError, LossmithError, nearest
from lossmith.space.genome import ROOT, Genome
from lossmith.space.operators import OPERATORS

TARGET, PREDICTION, CONSTANT = "y", "yhat", "constant"
CLASSES = "K"  # the number of classes; for formulas only, the search never draws it
JSON_FORMAT, JSON_VERSION = "lossmith-expression", 1
# Bounds on what is read from text or JSON; every genome that `SpaceConfig` allows stays far below them.
MAX_NODES = 1_000  # distinct nodes
MAX_SIZE = 5_000  # nodes when shared ones are written out, which is what a formula's length grows with
MAX_DEPTH = 100


@dataclass(frozen=True, slots=True)
class Node:
    """One step of the computation: a leaf (`y`, `yhat`, `K`, `constant`) or an operator over earlier nodes."""

    operator: str
    inputs: tuple[int, ...] = ()  # indices of earlier nodes
    value: float = 0.0  # of a constant


@dataclass(frozen=True)
class Expression:
    """An acyclic graph in (y, yhat). Build it with `from_genome`, `from_text`, `from_json`, or `ExpressionBuilder`.

    A formula may also read `K`, the number of classes. `bind` puts a number there, before anything is computed.
    """

    nodes: tuple[Node, ...]  # in the order of computation, the root last

    # -- construction ----------------------------------------------------------------------------------------------

    @staticmethod
    def from_genome(genome: Genome) -> Expression:
        """The expression that a genome computes.

        Raises:
            CyclicGraphError: the active part of the genome has a cycle.
        """
        return _from_graph({name: (node.operator, node.inputs) for name, node in genome.named()})

    @staticmethod
    def from_nodes(nodes: Any) -> Expression:
        """The expression of a graph written as in `Genome.from_nodes`, with any number as a constant.

        Inputs are `y`, `yhat`, `K`, numbers (or their text), and other nodes, under any names; `{"root": ["y"]}` is a
        bare operand.

        Raises:
            GraphError: no root, an unknown operator or input, a wrong number of inputs, or past a `MAX_...` bound.
            CyclicGraphError: the part that the root reaches has a cycle.
        """
        if not isinstance(nodes, Mapping) or ROOT not in nodes:
            raise GraphError(f"expected a mapping of nodes with one named '{ROOT}'")
        if len(nodes) > MAX_NODES:
            raise GraphError(f"the graph has {len(nodes)} nodes; at most {MAX_NODES} are allowed")
        graph: dict[str, tuple[str, tuple[str, ...]]] = {}
        for name, entry in nodes.items():
            parts = entry if isinstance(entry, list | tuple) else [None]
            if not parts or not all(isinstance(p, str | int | float) and not isinstance(p, bool) for p in parts):
                raise GraphError(f"node '{name}': expected [operator, input, ...], found {entry!r:.80}")
            graph[str(name)] = (str(parts[0]), tuple(map(str, parts[1:])))
        return _from_graph(graph)

    @staticmethod
    def from_text(text: str) -> Expression:
        """The expression of a formula such as `-y*log(yhat)`; the grammar is in `lossmith.space.formula`.

        Raises:
            FormulaError: the formula cannot be read; it points at the character that is wrong.
        """
        from lossmith.space.formula import parse  # noqa: PLC0415 - the parser builds expressions

        return parse(text)

    @staticmethod
    def from_json(text: str, where: str = "JSON") -> Expression:
        """The expression in `to_json` form, or a bare mapping of nodes as in the golden files.

        Raises:
            GraphError: not JSON, of a newer version, or not a well-formed graph; starts with `where`.
            CyclicGraphError: the graph has a cycle.
        """
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise GraphError(f"{where}: not valid JSON: {error}") from error
        if isinstance(content, dict) and "format" in content:
            if content["format"] != JSON_FORMAT or not isinstance(content.get("version"), int):
                raise GraphError(f"{where}: expected format '{JSON_FORMAT}', found {content['format']!r:.80}")
            if content["version"] > JSON_VERSION:
                raise GraphError(f"{where}: version {content['version']} is newer than this program; update Lossmith")
            content = content.get("nodes")
        try:
            return Expression.from_nodes(content)
        except CyclicGraphError as error:
            raise CyclicGraphError(f"{where}: {error}") from error
        except GraphError as error:
            raise GraphError(f"{where}: {error}") from error

    @staticmethod
    def from_file(path: Path) -> Expression:
        """The expression in a JSON file; errors as `from_json`, also where the file cannot be read."""
        try:
            return Expression.from_json(path.read_text(encoding="utf-8"), where=str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise GraphError(f"{path}: cannot read the loss: {getattr(error, 'strerror', None) or error}") from error

    # -- identity and forms ----------------------------------------------------------------------------------------

    @functools.cached_property
    def text(self) -> str:
        """The formula, which `from_text` reads back to an equal expression."""
        from lossmith.space.formula import write  # noqa: PLC0415 - the writer reads expressions

        return write(self)

    @functools.cached_property
    def key(self) -> str:
        """16 hexadecimal digits that identify the expression in every process and version: SHA-256 of its formula."""
        return hashlib.sha256(f"{JSON_FORMAT}/1:{self.text}".encode()).hexdigest()[:16]

    def to_nodes(self) -> dict[str, list[str]]:
        """The graph in the shape that `from_nodes` reads, nodes named in the order of computation."""
        names: list[str] = []
        entries: dict[str, list[str]] = {}
        for index, node in enumerate(self.nodes):
            root = index == len(self.nodes) - 1
            if node.inputs:
                names.append(ROOT if root else f"h{len(entries)}")
                entries[names[-1]] = [node.operator, *(names[i] for i in node.inputs)]
            else:
                names.append(number_text(node.value) if node.operator == CONSTANT else node.operator)
                if root:
                    entries[ROOT] = [names[-1]]
        return entries

    def to_json(self, **extra: Any) -> str:
        """The JSON form, which `from_json` reads back to an equal expression; `extra` adds keys for people."""
        content = {"format": JSON_FORMAT, "version": JSON_VERSION, "formula": self.text, "key": self.key}
        return json.dumps({**content, **extra, "nodes": self.to_nodes()}, indent=2)

    def to_latex(self) -> str:
        """The formula in LaTeX, for people; not read back."""
        from lossmith.space.formula import write_latex  # noqa: PLC0415 - the writer reads expressions

        return write_latex(self)

    def reads(self, leaf: str) -> bool:
        """Whether the graph reaches `leaf`: 'y', 'yhat' or 'K'."""
        return any(node.operator == leaf for node in self.nodes)

    def bind(self, classes: int) -> Expression:
        """This expression for a problem of `classes` classes: `K` is that number. Itself where it does not read `K`.

        Raises:
            LossmithError: it reads `K`, and `classes` is below 2.
        """
        if not self._reads_classes:
            return self
        bound = self._bound.get(classes)
        if bound is None:
            if classes < 2:
                raise LossmithError(f"the loss reads K, the number of classes: at least 2, found {classes}")
            bound = self._bound[classes] = self._rebuilt(classes)
        return bound

    @functools.cached_property
    def _reads_classes(self) -> bool:
        return self.reads(CLASSES)

    @functools.cached_property
    def _bound(self) -> dict[int, Expression]:
        return {}

    def _rebuilt(self, classes: int) -> Expression:
        """With a constant for `K`; in canonical order again, which a constant may change."""
        builder = ExpressionBuilder()
        new: list[int] = []
        for node in self.nodes:
            if node.inputs:
                new.append(builder.apply(node.operator, *(new[i] for i in node.inputs)))
            elif node.operator in (CLASSES, CONSTANT):
                new.append(builder.constant(classes if node.operator == CLASSES else node.value))
            else:
                new.append(builder.leaf(node.operator))
        return builder.build(new[-1])

    def __str__(self) -> str:
        return self.text

    # -- computation -----------------------------------------------------------------------------------------------

    def evaluate(self, y: Tensor, yhat: Tensor, log_yhat: Tensor | None = None) -> Tensor:
        """The value at each element, unflipped.

        Args:
            y: target probabilities in [0, 1], any shape, float32 or float64.
            yhat: softmax outputs in [0, 1], shape and dtype of `y` or broadcastable to it.
            log_yhat: log-softmax where it is known: `log(yhat)` then takes it, exact where `yhat` underflows to 0.

        Returns:
            The broadcast shape, dtype of `yhat`. May hold NaN or infinities where the formula does.

        Raises:
            LossmithError: the expression reads `K`; `bind` it first.
        """
        value = self.values(y, yhat, log_yhat)[-1]
        if value.shape == y.shape == yhat.shape:  # broadcast_shapes costs more than many an expression
            return value
        return value.expand(torch.broadcast_shapes(y.shape, yhat.shape))

    def values(self, y: Tensor, yhat: Tensor, log_yhat: Tensor | None = None) -> list[Tensor]:
        """The value of every node, in order; arguments as `evaluate`."""
        values: list[Tensor] = []
        for node in self.nodes:
            match node.operator:
                case "y":
                    value = y
                case "yhat":
                    value = yhat
                case "K":
                    raise LossmithError("the formula reads K, the number of classes: give it one with bind(10)")
                case "constant":
                    value = torch.full((), node.value, dtype=yhat.dtype, device=yhat.device)
                case "log" if log_yhat is not None and self.nodes[node.inputs[0]].operator == PREDICTION:
                    value = log_yhat
                case name:
                    value = OPERATORS[name].function(*(values[i] for i in node.inputs))
            values.append(value)
        return values


_RANK = {CONSTANT: "0", CLASSES: "0K", TARGET: "1"}


class ExpressionBuilder:
    """Collects nodes into canonical form; equal sub-expressions become one node."""

    def __init__(self) -> None:
        self._nodes: list[Node] = []
        self._order: list[
            tuple[int, str, str]
        ] = []  # (size, leaves, digest): sorts the inputs of a commutative operator
        self._depth: list[int] = []
        self._known: dict[Node, int] = {}

    def leaf(self, name: str) -> int:
        return self._add(Node(name), 1)

    def constant(self, value: float) -> int:
        if not math.isfinite(value):
            raise GraphError(f"constant {value} is not a finite number")
        return self._add(Node(CONSTANT, (), value + 0.0), 1)  # + 0.0 turns -0.0 into 0.0

    def apply(self, operator: str, *inputs: int) -> int:
        """The node of `operator` over earlier nodes.

        Raises:
            GraphError: the operator is unknown, takes another number of inputs, or a bound (`MAX_...`) is exceeded.
        """
        known = OPERATORS.get(operator)
        if known is None:
            raise GraphError(f"unknown operator '{operator}'{nearest(operator, OPERATORS)}")
        if len(inputs) != known.arity:
            raise GraphError(f"operator '{operator}' takes {known.arity} input(s), found {len(inputs)}")
        ordered = tuple(sorted(inputs, key=lambda i: self._order[i])) if known.commutative else inputs
        return self._add(Node(operator, ordered), 1 + sum(self._order[i][0] for i in ordered))

    def build(self, root: int) -> Expression:
        """The expression of the node `root`: only what it reaches, renumbered in depth-first order."""
        new: dict[int, int] = {}
        nodes: list[Node] = []
        waiting = [root]
        while waiting:
            index = waiting[-1]
            node = self._nodes[index]
            missing = [i for i in node.inputs if i not in new]
            if index not in new and missing:
                waiting.extend(reversed(missing))
                continue
            waiting.pop()
            if index not in new:
                new[index] = len(nodes)
                nodes.append(Node(node.operator, tuple(new[i] for i in node.inputs), node.value))
        return Expression(tuple(nodes))

    def _add(self, node: Node, size: int) -> int:
        if node in self._known:
            return self._known[node]
        depth = 1 + max((self._depth[i] for i in node.inputs), default=0)
        for what, amount, bound in (
            ("distinct nodes", len(self._nodes) + 1, MAX_NODES),
            ("nodes when written out", size, MAX_SIZE),
            ("levels", depth, MAX_DEPTH),
        ):
            if amount > bound:
                raise GraphError(f"the expression has more than {bound} {what}")
        # smaller trees first, then constants before K before y before yhat, as a person would write it; then by
        # structure: a digest of the meaning, not of this builder's numbering
        leaves = "".join(self._order[i][1] for i in node.inputs) or _RANK.get(node.operator, "2")
        parts = [node.operator, repr(node.value), *(self._order[i][2] for i in node.inputs)]
        digest = hashlib.sha256(" ".join(parts).encode()).hexdigest()
        self._known[node] = len(self._nodes)
        self._nodes.append(node)
        self._order.append((size, leaves, digest))
        self._depth.append(depth)
        return self._known[node]


def number_text(value: float) -> str:
    """The shortest text that reads back to the same number."""
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def _from_graph(graph: Mapping[str, tuple[str, tuple[str, ...]]]) -> Expression:
    builder = ExpressionBuilder()
    done: dict[str, int] = {}

    def operand(name: str) -> int | None:
        if name in (TARGET, PREDICTION, CLASSES):
            return builder.leaf(name)
        try:
            value = float(name)
        except ValueError:
            return None
        return builder.constant(value)

    def resolve(name: str, path: tuple[str, ...]) -> int:
        if name in done:
            return done[name]
        if name in path:
            cycle = (*path[path.index(name) :], name)
            raise CyclicGraphError(f"the graph has a cycle: {' -> '.join(cycle)}; point one of these nodes elsewhere")
        if len(path) > MAX_DEPTH:
            raise GraphError(f"the expression has more than {MAX_DEPTH} levels")
        if name not in graph:
            leaf = operand(name)
            if leaf is None:
                known = [TARGET, PREDICTION, CLASSES, *graph]
                raise GraphError(f"node '{path[-1]}': unknown input '{name}'{nearest(name, known)}")
            return leaf
        operator, inputs = graph[name]
        if not inputs and (leaf := operand(operator)) is not None:
            return leaf
        resolved = [resolve(source, (*path, name)) for source in inputs]
        try:
            done[name] = builder.apply(operator, *resolved)
        except GraphError as error:
            raise GraphError(f"node '{name}': {error}") from error
        return done[name]

    return builder.build(resolve(ROOT, ()))
