"""`export`: a loss as one readable file for PyTorch, Keras or JAX, as LaTeX, or as JSON that Lossmith reads back."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from lossmith.errors import LossmithError, nearest
from lossmith.losses.export.assembly import assemble
from lossmith.losses.export.code import number, terms
from lossmith.losses.export.latex import to_latex
from lossmith.losses.export.words import docstring, names
from lossmith.losses.module import Loss
from lossmith.losses.stored import to_json
from lossmith.losses.zoo import ZOO


@dataclass(frozen=True, slots=True)
class _Framework:
    """How the files of a framework are put together."""

    title: str
    roots: tuple[str, ...]  # of the parts, what a file must have; 'function' and 'module' stand for their names
    tensor: str  # the type of logits and y
    # an attribute of the loss -> its default in the parts, with {} in its place, and how a value is written there
    defaults: Mapping[str, tuple[str, Callable[[object], str]]]


_DEFAULTS = {
    "ignore_index": ("ignore_index: int = {}", repr),
    "label_smoothing": ("label_smoothing: float = {}", repr),
    "reduction": ("reduction: str = {}", lambda value: f'"{value}"'),
}
_KERAS_REDUCTIONS = {"mean": '"sum_over_batch_size"', "sum": '"sum"', "none": "None"}
_KERAS_DEFAULTS = {
    "ignore_index": ("ignore_class: int | None = {}", repr),
    "label_smoothing": ("label_smoothing: float = {}", repr),
    "reduction": ("reduction: str | None = {}", lambda value: _KERAS_REDUCTIONS[str(value)]),
}
_AS_WRITTEN = {"ignore_index": -100, "label_smoothing": 0.0, "reduction": "mean"}  # in the parts

_FRAMEWORKS: Mapping[str, _Framework] = MappingProxyType(
    {
        "torch": _Framework("PyTorch", ("function", "module"), "Tensor", _DEFAULTS),
        "keras": _Framework("Keras 3", ("module",), "Any", _KERAS_DEFAULTS),
        "jax": _Framework("JAX", ("function",), "Array", _DEFAULTS),
    }
)
FORMATS = (*_FRAMEWORKS, "latex", "json")
_INDENT = "    "
_DIGITS = 12


def export(loss: Loss, *, to: str) -> str:
    """The text of one file.

    The files for frameworks take the arguments that a `Loss` takes, with the loss's own values as defaults; in LaTeX
    and JSON they have no place.

    Args:
        loss: from `lossmith.loss`, without class weights: these are an argument of what is exported.
        to: one of `FORMATS`: "torch" (a function and a module), "keras" (a keras.losses.Loss), "jax" (a pure function),
            "latex" (an equation and what its letters mean) or "json" (`lossmith.loss` reads the file back).

    Raises:
        LossmithError: another `to`, a loss with class weights, or one that no source is known of.
    """
    if to not in FORMATS:
        raise LossmithError(f"export: unknown format '{to:.80}'{nearest(to, FORMATS)}; use {', '.join(FORMATS)}")
    if loss.weight is not None:
        raise LossmithError("export: class weights belong to the data; build the loss without, and give them later")
    if to == "json":
        return to_json(loss)
    return to_latex(loss) if to == "latex" else _source(loss, to)


def _source(loss: Loss, to: str) -> str:
    framework, called = _FRAMEWORKS[to], names(loss)
    # in Keras's registry, where two losses of one name may meet, with other parameters
    registered = f"{called.module}_{hashlib.sha256(loss.formula.encode()).hexdigest()[:_DIGITS]}"
    words = {"loss_function": called.function, "LossModule": called.module, "REGISTERED_NAME": registered}
    if loss.expression is not None:
        body = terms(loss.expression, flip=loss.flip, framework=to)
        name, about = "class_terms", "f(y, yhat) of every class"
    else:
        body = [f"return {_call(loss)}"]
        name, about = "whole_example", "The loss of every example"
    lines = [
        f"def {name}(logits: {framework.tensor}, y: {framework.tensor}) -> {framework.tensor}:",
        f'{_INDENT}"""{about}; the classes are the last axis of logits and y."""',
        *(_INDENT + line for line in body),
    ]
    return assemble(
        to,
        roots=[getattr(called, root) for root in framework.roots],
        renamed=words,
        settings=_changed_defaults(loss, framework),
        instead={} if loss.expression is not None else {"whole_example_losses": "example_losses"},
        replaced={name: "\n".join(lines)},
        docstring=docstring(loss, framework.title),
    )


def _call(loss: Loss) -> str:
    """The call of the function that a whole-example loss is in the parts."""
    entry = ZOO.get(loss.name)
    if entry is None or entry.function is None:
        raise LossmithError(f"export: no source is known of loss '{loss.name:.80}'")
    settings = "".join(f", {name}={number(value)}" for name, value in loss.settings.items())
    return f"{entry.function.__name__}(logits, y{settings})"


def _changed_defaults(loss: Loss, framework: _Framework) -> dict[str, str]:
    """Text of the parts -> its new text, where the loss's own arguments are not the usual ones."""
    changed: dict[str, str] = {}
    for name, (template, shown) in framework.defaults.items():
        usual, own = _AS_WRITTEN[name], getattr(loss, name)
        if own != usual:
            changed[template.format(shown(usual))] = template.format(shown(own))
    return changed
