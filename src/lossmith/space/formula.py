"""Formulas: the text form of an expression, read and written, and its LaTeX.

    sum     := product (("+" | "-") product)*
    product := factor (("*" | "/") factor)*
    factor  := "-" factor | atom ["^" "2"]
    atom    := number | "y" | "yhat" | "K" | operator "(" sum ["," sum] ")" | "(" sum ")"

`+ - * /` are the operators `add`, `sub`, `mul` and `div`; so `a/b` is the method's protected a / (b + 1e-7). A `-`
before a number makes a negative constant, before anything else it is `neg`. `x^2` is `square(x)`. Every operator of the
table can be called by name; `ln` is another name of `log`, `sqrt` of `sqrt_abs`. `K` is the number of classes.

`log` is the exact natural logarithm, and `log(yhat)` is computed from log-softmax, so it is right even where `yhat`
underflows to 0. The search draws the method's `log_abs(x)`, ln(|x| + 1e-7), instead.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from lossmith.errors import FormulaError, GraphError, nearest
from lossmith.space.expression import (
    CLASSES,
    CONSTANT,
    MAX_DEPTH,
    PREDICTION,
    TARGET,
    Expression,
    ExpressionBuilder,
    Node,
    number_text,
)
from lossmith.space.operators import OPERATORS

MAX_TEXT = 200_000  # characters; an expression within `MAX_SIZE` is written in fewer
ALIASES = {"ln": "log", "sqrt": "sqrt_abs"}
_SYMBOLS = {operator.symbol: operator.name for operator in OPERATORS.values() if operator.symbol}
_PRECEDENCE = {"add": 1, "sub": 1, "mul": 2, "div": 2}
_ATOM = 3
_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[A-Za-z_]\w*)|(?P<symbol>[-+*/^(),]))"
)


class _Token(NamedTuple):
    kind: str  # number, name, symbol, end
    text: str
    position: int


def parse(text: str) -> Expression:
    """The expression of a formula.

    Raises:
        FormulaError: the formula is empty, too long, nested too deeply, or wrong at the character it points at.
    """
    if len(text) > MAX_TEXT:
        raise FormulaError(
            f"the formula is {len(text)} characters long; at most {MAX_TEXT} are allowed", text, MAX_TEXT
        )
    return _Parser(text).parse()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _tokenise(text)
        self._next = 0
        self._depth = 0
        self._builder = ExpressionBuilder()

    def parse(self) -> Expression:
        root = self._sum()
        token = self._peek()
        if token.kind != "end":
            raise self._error("expected an operator (+ - * /) or the end", token)
        return self._builder.build(root)

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        self._next += 1
        return self._tokens[self._next - 1]

    def _accept(self, *symbols: str) -> _Token | None:
        return self._take() if self._peek().kind == "symbol" and self._peek().text in symbols else None

    def _expect(self, symbol: str, problem: str) -> None:
        if not self._accept(symbol):
            raise self._error(problem, self._peek())

    def _error(self, problem: str, token: _Token) -> FormulaError:
        found = "the formula ends" if token.kind == "end" else f"found '{token.text:.40}'"
        return FormulaError(f"{problem}, {found}", self._text, token.position)

    def _apply(self, operator: str, token: _Token, *inputs: int) -> int:
        try:
            return self._builder.apply(operator, *inputs)
        except GraphError as error:
            raise FormulaError(str(error), self._text, token.position) from error

    def _sum(self) -> int:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise FormulaError(f"brackets are nested more than {MAX_DEPTH} deep", self._text, self._peek().position)
        left = self._product()
        while token := self._accept("+", "-"):
            left = self._apply(_SYMBOLS[token.text], token, left, self._product())
        self._depth -= 1
        return left

    def _product(self) -> int:
        left = self._factor()
        while token := self._accept("*", "/"):
            left = self._apply(_SYMBOLS[token.text], token, left, self._factor())
        return left

    def _factor(self) -> int:
        signs: list[_Token] = []
        while token := self._accept("-"):
            signs.append(token)
        number = self._peek()
        base = self._atom()
        squared = self._accept("^")
        if signs and number.kind == "number" and not squared:
            base = self._builder.constant(-float(number.text))
            signs.pop()
        if squared:
            power = self._take()
            if power.text != "2":
                raise self._error("only the power 2 is known (write products, or exp and log, for others)", power)
            base = self._apply("square", squared, base)
        for token in reversed(signs):
            base = self._apply("neg", token, base)
        return base

    def _atom(self) -> int:
        token = self._take()
        if token.kind == "number":
            try:
                return self._builder.constant(float(token.text))
            except GraphError as error:
                raise FormulaError(str(error), self._text, token.position) from error
        if token.text == "(":
            inner = self._sum()
            self._expect(")", "expected ')'")
            return inner
        if token.text == "*" and self._tokens[self._next - 2].text == "*":
            raise FormulaError("a power is written x^2, found '**'", self._text, token.position)
        if token.kind != "name":
            raise self._error("expected a number, y, yhat, K, an operator or '('", token)
        if token.text in (TARGET, PREDICTION, CLASSES):
            return self._builder.leaf(token.text)
        return self._call(token)

    def _call(self, token: _Token) -> int:
        operator = OPERATORS.get(ALIASES.get(token.text, token.text))
        if operator is None:
            hint = nearest(token.text.lower(), [*OPERATORS, *ALIASES, TARGET, PREDICTION, CLASSES])
            raise FormulaError(f"unknown name '{token.text:.40}'{hint}", self._text, token.position)
        self._expect("(", f"expected '(' after '{token.text}'")
        inputs = [self._sum()]
        while self._accept(","):
            inputs.append(self._sum())
        if len(inputs) != operator.arity:
            problem = f"'{token.text}' takes {operator.arity} input(s), found {len(inputs)}"
            raise FormulaError(problem, self._text, token.position)
        self._expect(")", "expected ')'")
        return self._apply(operator.name, token, *inputs)


def _tokenise(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    position, end = 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            position += len(text[position:]) - len(text[position:].lstrip())
            raise FormulaError(f"unexpected character {text[position]!r}", text, position)
        kind = match.lastgroup or ""
        tokens.append(_Token(kind, match[kind], match.start(kind)))
        position = match.end()
    return [*tokens, _Token("end", "", end)]


def write(expression: Expression) -> str:
    """The formula of an expression, which `parse` reads back to an equal one."""
    texts: list[str] = []
    levels: list[int] = []

    def bracketed(index: int, least: int) -> str:
        return texts[index] if levels[index] >= least else f"({texts[index]})"

    for node in expression.nodes:
        level = _PRECEDENCE.get(node.operator, _ATOM)
        if not node.inputs:
            text = _leaf_text(node)
            level = 0 if text.startswith("-") else _ATOM  # a negative constant is bracketed beside any symbol
        elif node.operator in _PRECEDENCE:
            left, right = node.inputs
            text = f"{bracketed(left, level)} {OPERATORS[node.operator].symbol} {bracketed(right, level + 1)}"
        else:
            text = f"{node.operator}({', '.join(texts[i] for i in node.inputs)})"
        texts.append(text)
        levels.append(level)
    return texts[-1]


def write_latex(expression: Expression) -> str:
    """The formula of an expression in LaTeX."""
    texts: list[str] = []
    for node in expression.nodes:
        operator = OPERATORS.get(node.operator)
        if operator is None:
            leaves = {TARGET: "y", PREDICTION: r"\hat{y}", CLASSES: "K"}
            texts.append(leaves.get(node.operator) or _latex_number(node.value))
            continue
        inputs = [
            rf"\left({texts[i]}\right)"
            if str(place) in operator.brackets and _loose(expression.nodes[i], operator.name)
            else texts[i]
            for place, i in enumerate(node.inputs)
        ]
        texts.append(operator.latex.format(*inputs))
    return texts[-1]


def _loose(node: Node, outer: str) -> bool:
    """Whether a node's LaTeX wants brackets inside `outer`."""
    if outer == "square":
        return bool(node.inputs) or node.value < 0
    return node.operator in ("neg", "add", "sub") or node.value < 0 or (outer == "neg" and node.operator == "mul")


def _leaf_text(node: Node) -> str:
    return number_text(node.value) if node.operator == CONSTANT else node.operator


def _latex_number(value: float) -> str:
    mantissa, _, exponent = number_text(value).partition("e")
    return rf"{mantissa} \cdot 10^{{{int(exponent)}}}" if exponent else mantissa
