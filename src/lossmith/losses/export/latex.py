"""A loss as LaTeX: an equation, and what its letters mean."""

from __future__ import annotations

import re

from lossmith.losses.export.words import one_line, origin, title
from lossmith.losses.module import Loss
from lossmith.space.expression import number_text
from lossmith.version import __version__

_SPECIAL = {c: rf"\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"
}  # fmt: skip


def to_latex(loss: Loss) -> str:
    """A snippet for a document that loads amsmath."""
    loss_of_example = r"\ell(z, y)"
    if loss.expression is None:
        equation = rf"{loss_of_example} = {loss.to_latex()}"
    else:
        term = r"w_c \, f(y_c, \hat{y}_c)"
        curve = rf"f(y, \hat{{y}}) = {loss.to_latex()}"
        equation = rf"{loss_of_example} = \sum_{{c=1}}^{{K}} {term}, \qquad {curve}"
    said = [
        r"Here $z \in \mathbb{R}^K$ are the logits of an example, $K$ the number of classes,",
        r"$y_c$ is 1 at the label's class and 0 at the others, or holds probabilities",
    ]
    if r"\hat{y}" in equation:
        said.insert(1, r"$\hat{y} = \operatorname{softmax}(z)$;")
    if loss.expression is not None:
        said[-1] += ";"
        said.append(r"$w_c$ is the weight of class $c$, 1 by default")
    if r"\epsilon" in equation:
        said[-1] += ";"
        said.append(r"$\epsilon = 10^{-7}$")
    if loss.settings:
        said[-1] += ";"
        said.append(", ".join(f"{_printed(name)} $= {number_text(value)}$" for name, value in loss.settings.items()))
    said[-1] += "."
    said.append("Lower is better.")
    about = [f"{title(loss)}, exported by Lossmith {__version__}; needs amsmath", *origin(loss)]
    return "\n".join(
        [
            *(f"% {one_line(line)}" for line in about),
            r"\begin{equation}",
            f"  {equation}",
            r"\end{equation}",
            *said,
            *(_printed(line) + "." for line in origin(loss) if line.startswith("Source: ")),
            "",
        ]
    )


def _printed(text: str) -> str:
    """Plain text as LaTeX prints it."""
    return re.sub(r"[&%$#_{}\\~^]", lambda found: _SPECIAL[found[0]], one_line(text))
