"""What an exported file says of its loss: what it is called, its formula, where it comes from."""

from __future__ import annotations

import re
import textwrap
import unicodedata
from dataclasses import dataclass

from lossmith.losses.module import Loss
from lossmith.losses.zoo import ZOO
from lossmith.version import __version__

_WIDTH = 116
_LONGEST_NAME = 40
_LONGEST_PROVENANCE = 400
_KEY = 8  # characters of a key that stand for a loss without a name


@dataclass(frozen=True, slots=True)
class Names:
    """What the exported function and class are called."""

    function: str  # focal_loss
    module: str  # FocalLoss


def names(loss: Loss) -> Names:
    """Identifiers made of a loss's name, which may be any text; of its key where it has none but its formula."""
    if key := _nameless_key(loss):
        return Names(f"loss_{key}", f"Loss{key.capitalize()}")
    plain = unicodedata.normalize("NFKD", loss.name).encode("ascii", "ignore").decode()[:_LONGEST_NAME]
    words = re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", plain).lower())
    words = [word for word in words if word != "loss"] or ["unnamed"]
    if words[0][0].isdigit():
        words.insert(0, "a")
    words.append("loss")  # so it can be no keyword, and nothing else that the file defines
    return Names("_".join(words), "".join(map(str.capitalize, words)))


def title(loss: Loss) -> str:
    """'Loss focal', or of a loss without a name 'Loss 1f2e3d4c'."""
    return f"Loss {_nameless_key(loss) or one_line(loss.name)}"


def _nameless_key(loss: Loss) -> str:
    expression = loss.expression
    return expression.key[:_KEY] if expression is not None and loss.name == loss.formula else ""


def one_line(text: str) -> str:
    """Any text without line breaks and control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def docstring(loss: Loss, framework: str) -> str:
    """The docstring of an exported file, not escaped; `framework` as people write it."""
    paragraphs = [
        f"{title(loss)} for {framework}, exported by Lossmith {__version__}.",
        "\n".join(_formula_lines(loss)),
        "\n".join(textwrap.fill(line, _WIDTH) for line in notation(loss)),
        "\n".join(textwrap.fill(line, _WIDTH, subsequent_indent="    ") for line in origin(loss)),
    ]
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def _formula_lines(loss: Loss) -> list[str]:
    def indented(text: str) -> str:
        return textwrap.fill(one_line(text), _WIDTH, initial_indent="    ", subsequent_indent=" " * 8)

    if loss.expression is None:
        return [indented(f"loss of an example = {loss.formula}")]
    example = "loss of an example = sum over the classes c of weight[c] * f(y[c], yhat[c])"
    return [indented(example), indented(f"f(y, yhat) = {loss.formula}")]


def notation(loss: Loss) -> list[str]:
    """Lines that say what the formula's letters mean, and which way is better."""
    softmax = "yhat = softmax(logits); " if "yhat" in loss.formula else ""
    classes = " K is the number of classes." if re.search(r"\bK\b", loss.formula) else ""
    said = [f"{softmax}y is 1 at the label's class and 0 at the others, or holds probabilities.{classes}"]
    if loss.name not in ZOO and loss.expression is not None and loss.expression.reads("div"):
        said.append("a / b stands for a / (b + EPS), EPS = 1e-7.")
    said.append("Lower is better" + (": the minus in front turns the formula the right way." if loss.flip else "."))
    return said


def origin(loss: Loss) -> list[str]:
    """Lines that say where the loss comes from: its paper, key and run."""
    lines: list[str] = []
    if loss.name in ZOO:
        lines.append(f"Source: {ZOO[loss.name].reference}")
    if loss.expression is not None:
        lines.append(f"Key: {loss.expression.key}")
    if loss.provenance:
        found = ", ".join(f"{name} = {value}" for name, value in loss.provenance.items())
        lines.append(f"Provenance: {one_line(found)[:_LONGEST_PROVENANCE]}")
    return lines
