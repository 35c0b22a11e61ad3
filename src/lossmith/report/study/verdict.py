"""The answer, in words: as plain where there is no evidence or a loss is worse as where one is better."""

from __future__ import annotations

from collections import Counter

from lossmith.report import words
from lossmith.report.markup import Html, element, escaped, joined, paragraph
from lossmith.report.study.contents import Confirmation, Elimination, Null, Transfer
from lossmith.report.study.forms import VERDICTS, Analysis, Verdict
from lossmith.report.study.parts import Context, Part, state_of, verdict_html


def verdict_part(context: Context) -> Part:
    record = context.record
    if record.confirmation is not None:
        content = _confirmed(context, record.confirmation)
    elif record.config is not None or record.of_kind("confirmation"):
        stage = next(iter(record.of_kind("confirmation")), None)
        content = joined((_answer("There is no verdict: nothing is confirmed yet.", "", ""), state_of(stage, record)))
    else:
        return Part("verdict", "Found", "What was found", _of_one_stage(context))
    return Part("verdict", "Verdict", "The verdict", content)


def _answer(headline: str, body: str, style: str) -> Html:
    parts = [paragraph(headline, "headline")]
    if body:
        parts.append(paragraph(body))
    return element("div", joined(parts), class_=f"answer {style}".strip())


def headline(verdict: Verdict, loss: str, baseline: str, cell: str) -> str:
    """What was found of the registered question, in one line."""
    match verdict:
        case "better":
            return f"Better: there is evidence that {loss} beats {baseline} on {cell}."
        case "worse":
            return f"Worse: there is evidence that {loss} falls short of {baseline} on {cell}."
        case "equivalent":
            return f"Equivalent: {loss} and {baseline} do not differ by more than the margin on {cell}."
        case "no evidence":
            return f"No evidence: it was not shown that {loss} differs from {baseline} on {cell}."
        case _:
            return f"Not comparable: trainings with {loss} or {baseline} failed on {cell}."


def _confirmed(context: Context, result: Confirmation) -> Html:
    primary = result.registration.primary
    found = result.analysis.of(primary.cell)[primary.loss].verdict
    loss, baseline = context.names[primary.loss].text, context.names[result.registration.baseline].text
    first, *others = (plain(context, text) for text in result.sentences)
    roles = {each.key: each.role for each in result.losses}
    parts = [
        _answer(headline(found, loss, baseline, primary.cell), first, found.replace(" ", "-")),
        paragraph(_any_better(context, result), "big"),
        *(
            _counts(f"{role}s against {baseline}", result.analysis, {key for key, one in roles.items() if one == role})
            for role in ("candidate", "control", "baseline")
            if role in roles.values()
        ),
        _sure(result),
        element("h3", "Everything that was compared, in words"),
        element("ul", joined(element("li", text) for text in others), class_="sentences"),
    ]
    return joined(parts)


def _any_better(context: Context, result: Confirmation) -> str:
    """Whether any candidate is better anywhere, and where candidates are worse."""
    candidates = {loss.key for loss in result.losses if loss.role == "candidate"}

    def where(verdict: Verdict) -> str:
        found = [each for each in result.analysis.differences if each.loss in candidates and each.verdict == verdict]
        return ", ".join(f"{context.names[each.loss]} on {each.cell}" for each in found)

    better, worse = where("better"), where("worse")
    baseline = context.names[result.analysis.baseline]
    text = f"No evidence that a found loss is better than {baseline}."
    if better:
        text = f"Evidence that a found loss is better than {baseline}: {better}."
    return f"{text} Evidence that one is worse: {worse}." if worse else text


def plain(context: Context, text: str) -> str:
    """A sentence with short names of losses and directories."""
    confirmation = context.record.confirmation
    if confirmation is not None:
        for source in confirmation.registration.sources:
            text = text.replace(source.directory, context.record.shown(source.directory))
    return context.names.within(text)


def _counts(title: str, analysis: Analysis, losses: set[str]) -> Html:
    """How many comparisons ended how; all five verdicts, those of which there are none too."""
    verdicts = Counter(each.verdict for each in analysis.differences if each.loss in losses)
    if not verdicts:
        return Html("")
    counts = ", ".join(f"{verdicts[name]} {verdict_html(name)}" for name in VERDICTS)
    head = f"{title[0].upper()}{title[1:]}, {words.count(sum(verdicts.values()), 'comparison')}"
    return paragraph(Html(f"{escaped(head)}: {counts}."))


def _sure(result: Confirmation) -> Html:
    registration = result.registration
    return paragraph(
        f"How sure: {words.count(len(registration.seeds), 'seed')} that nothing had used before, on test images that"
        " were scored once. All p values are corrected together, so the probability that any of the"
        f" {registration.comparisons} comparisons is wrongly called better or worse is at most 5%. A verdict is of its"
        " cell, and covers the luck of the seeds, not the choice of the images: another data set may answer otherwise."
    )


def _of_one_stage(context: Context) -> Html:
    stage = next(iter(context.record.stages.values()))
    result = stage.result
    if isinstance(result, Transfer):
        compared = [cell for cell in result.cells if cell.error is None]
        baseline = context.names[result.baseline].text
        verdicts = Counter(each.verdict for each in result.analysis.differences)
        counts = ", ".join(f"{verdicts[name]} {name}" for name in VERDICTS if verdicts[name])
        body = (
            "Scores are of validation images, on which these losses may have been chosen: what stands out here is to be"
            " confirmed on others."
        )
        top = f"In {words.count(len(compared), 'cell')}, against {baseline}: {counts}."
        return joined(
            (_answer(top, body, ""), _counts(f"losses against {baseline}", result.analysis, set(context.names.all)))
        )
    if isinstance(result, Elimination):
        left = words.count(len(result.finalists), "loss")
        top = f"{left} of {len(result.losses)} remain after {words.count(len(result.phases), 'phase')}."
        names = ", ".join(context.names[key].text for key in result.finalists)
        body = (
            f"The best first: {names}. They were chosen by these scores, which therefore are too high: whether one of"
            " them beats cross-entropy, a confirmation shows."
        )
        return _answer(top, body, "")
    if isinstance(result, Null):
        reached = sum(value is not None and value >= result.search_best for value in result.values)
        top = (
            f"{reached} of {words.count(len(result.values), 'training')} of cross-entropy alone reach the best fitness"
            f" of the search, {words.percent(result.search_best)}."
        )
        return _answer(top, "", "")
    return joined((_answer("No result yet.", "", ""), state_of(stage, context.record)))
