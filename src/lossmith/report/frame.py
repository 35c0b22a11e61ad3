"""The frame that all pages share: head, style, policy, sections. A page is one file and loads nothing."""

from __future__ import annotations

from importlib import resources
from string import Template

from lossmith.report.markup import Html, element, escaped, joined
from lossmith.version import __version__


def page(
    title: str,
    *,
    header: Html,
    sections: Html,
    footer: Html,
    style: str = "",
    navigation: Html = Html(""),  # noqa: B008 - a text
    scripts: str = "",
    hint: str = "",
) -> bytes:
    """The page, in UTF-8.

    Args:
        title: of the window.
        header, sections, footer, navigation: its parts.
        style: name of a style sheet beside `page.css`, or none.
        scripts: elements at the end of the body; without any, the page's policy forbids them.
        hint: to readers without scripts.
    """
    allowed = "script-src 'unsafe-inline'; img-src data: blob:; " if scripts else ""
    text = Template(asset("page.html")).substitute(
        version=escaped(__version__),
        policy=f"default-src 'none'; style-src 'unsafe-inline'; {allowed}base-uri 'none'; form-action 'none'",
        title=escaped(title),
        style="\n".join(asset(name) for name in ("page.css", style) if name),
        header=header,
        navigation=f'<nav aria-label="Sections"><div class="inner">\n{navigation}\n</div></nav>' if navigation else "",
        hint=element("noscript", element("p", hint, class_="note")) if hint else "",
        sections=sections,
        footer=footer,
        scripts=scripts,
    )
    return encoded(text)


def encoded(text: str) -> bytes:
    """UTF-8; a name may hold half a surrogate pair."""
    return text.encode("utf-8", errors="replace")


def section(place: str, title: str, content: Html) -> Html:
    """One section under its heading; `place` is its anchor."""
    heading = element("h2", title, id=f"{place}-title")
    return element("section", joined((heading, content)), id=place, aria_labelledby=f"{place}-title")


def asset(name: str) -> str:
    """The text of a file beside this one."""
    return (resources.files("lossmith.report") / name).read_text(encoding="utf-8")
