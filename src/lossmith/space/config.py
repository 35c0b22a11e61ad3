"""Settings of the search space; the defaults are the method's (arXiv 2403.08793, section on the search space)."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from lossmith.errors import nearest
from lossmith.settings import Settings
from lossmith.space.operators import BINARY, OPERATORS, UNARY

Probability = Annotated[float, Field(ge=0, le=1)]


class MutationConfig(Settings):
    """What one mutation does to one active node; the three kinds must sum to 1."""

    operator: Probability = 0.70  # another operator of the same arity
    input: Probability = 0.15  # another input, or (binary, with probability `swap`) the two inputs exchanged
    arity: Probability = 0.15  # unary to binary or back, adding or dropping an input
    swap: Probability = 0.20

    @model_validator(mode="after")
    def _sums_to_one(self) -> Self:
        if abs(self.operator + self.input + self.arity - 1) > 1e-9:
            raise ValueError("operator + input + arity must be 1")
        return self


class SpaceConfig(Settings):
    """Which graphs exist and how they are drawn and mutated."""

    # 12 keeps the longest possible formula text below the parser's bound, since shared nodes are written out
    hidden_nodes: Annotated[int, Field(ge=1, le=12)] = 4
    unary: Annotated[tuple[str, ...], Field(min_length=1)] = UNARY
    binary: Annotated[tuple[str, ...], Field(min_length=1)] = BINARY
    unary_hidden: Probability = 0.7  # P(a hidden node is unary) at initialisation
    unary_root: Probability = 0.2  # P(the root is unary) at initialisation
    mutation: MutationConfig = MutationConfig()

    @field_validator("unary", "binary")
    @classmethod
    def _known(cls, names: tuple[str, ...], info: object) -> tuple[str, ...]:
        arity = 1 if getattr(info, "field_name", "") == "unary" else 2
        known = [name for name, operator in OPERATORS.items() if operator.arity == arity]
        for name in names:
            if name not in known:
                raise ValueError(f"unknown operator '{name}'{nearest(name, known)}")
        if len(set(names)) != len(names):
            raise ValueError("an operator is listed twice")
        return names

    @model_validator(mode="after")
    def _can_mutate(self) -> Self:
        if self.mutation.operator == 1 and min(len(self.unary), len(self.binary)) < 2:
            raise ValueError("mutation.operator = 1 needs at least two unary and two binary operators to choose from")
        return self

    @model_validator(mode="after")
    def _root_has_inputs(self) -> Self:
        if self.hidden_nodes == 1 and self.unary_root < 1:
            raise ValueError("a binary root reads two different hidden nodes: use hidden_nodes >= 2 or unary_root = 1")
        return self
