"""The source text of every operator in PyTorch, JAX and Keras 3, as one table beside `lossmith.space.operators`.

A text is a template: `{0}` and `{1}` stand for the operands. `{0:2}` puts brackets round an operand that binds less
tightly than level 2, `{0:r2}` also round one that begins with a minus, and `{0:t}` asks for a tensor where the operand
is a number. Automatic differentiation of a text
must give the slopes of the operator table, also at its kinks; so a text may name a function of
`lossmith.losses.export.parts`, which then travels with the exported file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from lossmith.space.operators import OPERATORS

# How tightly Python binds a text; a higher level needs fewer brackets.
ANY, SUM, PRODUCT, SIGN, ATOM = range(5)


@dataclass(frozen=True, slots=True)
class Source:
    """One operator's templates."""

    torch: str
    jax: str
    keras: str
    level: int = ATOM


def _same(template: str, level: int) -> Source:
    """Plain Python operators, which every framework shares."""
    return Source(template, template, template, level)


def _call(torch: str, jax: str, keras: str) -> Source:
    """Functions of one argument."""
    return Source(f"{torch}({{0}})", f"{jax}({{0}})", f"{keras}({{0}})")


_TABLE: dict[str, Source] = {
    # unary
    "neg": _same("-{0:4}", SIGN),
    "log_abs": Source(
        "torch.log(torch.abs({0}) + EPS)", "jnp.log(absolute({0}) + EPS)", "ops.log(absolute({0}) + EPS)"
    ),
    "log10_abs": Source(
        "torch.log10(torch.abs({0}) + EPS)", "jnp.log10(absolute({0}) + EPS)", "ops.log10(absolute({0}) + EPS)"
    ),
    "exp": _call("torch.exp", "jnp.exp", "ops.exp"),
    "abs": _call("torch.abs", "absolute", "absolute"),
    "sigmoid": _call("torch.sigmoid", "jax.nn.sigmoid", "ops.sigmoid"),
    "inv_one_plus_abs": Source(
        "1 / (1 + torch.abs({0}))", "1 / (1 + absolute({0}))", "1 / (1 + absolute({0}))", PRODUCT
    ),
    "softplus": Source(
        "torch.log(1 + torch.exp({0}) + EPS)", "jnp.log(1 + jnp.exp({0}) + EPS)", "ops.log(1 + ops.exp({0}) + EPS)"
    ),
    "erf": _call("torch.erf", "special.erf", "ops.erf"),
    "erfc": _call("torch.erfc", "special.erfc", "ops.erfc"),
    "sin": _call("torch.sin", "jnp.sin", "ops.sin"),
    "sinh": _call("torch.sinh", "jnp.sinh", "ops.sinh"),
    "asinh": _call("torch.asinh", "jnp.arcsinh", "ops.arcsinh"),
    "tanh": _call("torch.tanh", "jnp.tanh", "ops.tanh"),
    "atan": _call("torch.atan", "jnp.arctan", "ops.arctan"),
    "reciprocal": _same("1 / ({0:1} + EPS)", PRODUCT),
    "i0": _call("torch.special.i0", "special.i0", "i0"),
    "i0e": _call("torch.special.i0e", "special.i0e", "i0e"),
    "i1": _call("torch.special.i1", "special.i1", "i1"),
    "i1e": _call("torch.special.i1e", "special.i1e", "i1e"),
    "max0": _call("torch.relu", "jax.nn.relu", "ops.relu"),
    # through relu, whose slope at 0 is 0; a minimum shares it
    "min0": Source("-torch.relu(-{0:4})", "-jax.nn.relu(-{0:4})", "-ops.relu(-{0:4})", SIGN),
    "square": _call("torch.square", "jnp.square", "ops.square"),
    "sqrt_abs": _call("sqrt_abs", "sqrt_abs", "sqrt_abs"),
    "softsign": _call("F.softsign", "jax.nn.soft_sign", "ops.softsign"),
    "tanh_deriv": Source(
        "1 - torch.square(torch.tanh({0}))", "1 - jnp.square(jnp.tanh({0}))", "1 - ops.square(ops.tanh({0}))", SUM
    ),
    "sigmoid_deriv": _call("sigmoid_slope", "sigmoid_slope", "sigmoid_slope"),
    "log": _call("torch.log", "jnp.log", "ops.log"),
    # binary
    "add": _same("{0:1} + {1:r2}", SUM),
    "sub": _same("{0:1} - {1:r2}", SUM),
    "mul": _same("{0:2} * {1:r3}", PRODUCT),
    "max": Source("torch.maximum({0:t}, {1:t})", "jnp.maximum({0:t}, {1:t})", "ops.maximum({0:t}, {1:t})"),
    "min": Source("torch.minimum({0:t}, {1:t})", "jnp.minimum({0:t}, {1:t})", "ops.minimum({0:t}, {1:t})"),
    "div": _same("{0:2} / ({1:1} + EPS)", PRODUCT),
    "div_sqrt1p_sq": Source(
        "{0:2} / torch.sqrt(1 + torch.square({1:t}))",
        "{0:2} / jnp.sqrt(1 + jnp.square({1:t}))",
        "{0:2} / ops.sqrt(1 + ops.square({1:t}))",
        PRODUCT,
    ),
}

# What a formula can only say by a way round: a / (b - 1e-7) is a division by b, and sin(x + pi / 2) a cosine.
EXACT_DIVISION = _same("{0:2} / {1:r3}", PRODUCT)
COSINE = _call("torch.cos", "jnp.cos", "ops.cos")
# Of what is never negative, y and yhat.
UNSIGNED = MappingProxyType(
    {
        "log_abs": Source("torch.log({0} + EPS)", "jnp.log({0} + EPS)", "ops.log({0} + EPS)"),
        "log10_abs": Source("torch.log10({0} + EPS)", "jnp.log10({0} + EPS)", "ops.log10({0} + EPS)"),
        "inv_one_plus_abs": _same("1 / (1 + {0})", PRODUCT),
        "abs": _same("{0}", ATOM),
    }
)


def _checked(table: dict[str, Source]) -> Mapping[str, Source]:
    """The table, after checking that it has every operator and no other."""
    if differing := table.keys() ^ OPERATORS.keys():
        raise AssertionError(f"export: operators without source text, or source text without operator: {differing}")
    return MappingProxyType(table)


SOURCES: Mapping[str, Source] = _checked(_TABLE)
