"""What was asked, and what was registered before any test image was read."""

from __future__ import annotations

from lossmith.report import sentences, words
from lossmith.report.markup import Column, Html, element, escaped, facts, joined, paragraph, table
from lossmith.report.mathml import loss_of, mathml
from lossmith.report.study.contents import Confirmation, Elimination, Transfer
from lossmith.report.study.parts import Context, Name, Part, folded, state_of
from lossmith.report.study.reading import Registered


def asked_part(context: Context) -> Part:
    """The question, its settings, and the names of the losses."""
    record = context.record
    parts: list[Html] = []
    registered = record.registered
    if registered is not None:
        question = _short(context, registered.registration.primary.statement)
        parts.append(paragraph(f"The registered question: {question}", "big"))
    pairs = _stages(context)
    if pairs:
        parts.append(facts(pairs))
    if registered is not None:
        parts += [element("h3", "Registration"), _registration(context, registered)]
    elif record.config is not None:
        stage = next(iter(record.of_kind("confirmation")), None)
        parts += [element("h3", "Registration"), paragraph("Nothing is registered yet."), state_of(stage, record)]
    parts += [element("h3", "The losses by name", id="losses"), _losses(context)]
    return Part("asked", "Asked", "What was asked and registered", joined(parts))


def _stages(context: Context) -> list[tuple[object, object]]:
    """What the stages before the confirmation were to do."""
    config, transfer = context.record.config, context.record.transfer
    found: list[tuple[object, object]] = []
    if config is not None:
        search = config.search
        found += [
            ("searched on", sentences.task_words(search.task)),
            ("screened on", sentences.task_words(search.screening)),
            ("random losses", f"{search.search.initial:,}"),
            ("population", f"{search.search.population:,}"),
            ("iterations", f"{search.search.iterations:,}"),
            ("controls", ", ".join(_controls(config)) or "none"),
            (
                "elimination",
                "; ".join(
                    f"{phase.task.name} x {words.count(phase.seeds, 'seed')}, {phase.keep} remain"
                    for phase in config.elimination.phases
                ),
            ),
        ]
    if isinstance(transfer, Transfer):
        seeds = max((len(cell.seeds) for cell in transfer.cells), default=0)
        grid = f"{words.count(len(transfer.cells), 'cell')} x {words.count(len(transfer.losses), 'loss')}"
        found.append(("transfer", f"{grid} x {words.count(seeds, 'seed')}"))
    return found


def _controls(config: object) -> list[str]:
    names = {"random_search": "random search at equal compute", "null_search": "null search"}
    return [text for name, text in names.items() if getattr(config, name)]


def _registration(context: Context, registered: Registered) -> Html:
    asked = registered.registration
    tuning = asked.tuning
    settings = len(tuning.learning_rates) * len(tuning.weight_decays)
    grid = (
        f"learning rate x {_numbers(tuning.learning_rates)}, weight decay {_numbers(tuning.weight_decays)}:"
        f" {words.count(settings, 'setting')} x {words.count(len(tuning.seeds), 'seed')} for every loss in every cell"
    )
    file = "the file still has this hash" if registered.unchanged else "the file is missing or no longer has this hash"
    pairs = [
        ("written", words.moment(registered.written)),
        ("test seeds", f"{len(asked.seeds)}, the same for all losses"),
        ("comparisons, over which Holm corrects", asked.comparisons),
        ("margin of equivalence", f"{100 * asked.margin:g} points"),
        ("confidence of the intervals", f"{100 * asked.confidence:g}%"),
        ("tuning", grid),
        ("trainings", f"{asked.trainings.tuning:,} to tune, {asked.trainings.testing:,} on the test images"),
        ("registered by Lossmith", asked.version),
    ]
    digest = Html(f"SHA-256 of registration.json: {element('code', registered.sha256)} ({escaped(file)}).")
    roles = [[context.names[loss.key].html, loss.role, context.record.shown(loss.origin)] for loss in asked.losses]
    cells = [
        [
            cell.name,
            cell.dataset,
            cell.model,
            cell.augmentation,
            f"{cell.task.get('steps', 0):,}",
            cell.task.get("optimizer", {}).get("learning_rate", words.NONE),
        ]
        for cell in asked.cells
    ]
    columns = [
        Column("Cell"),
        Column("Data set"),
        Column("Network"),
        Column("Augmentation"),
        Column("Steps", numeric=True),
        Column("Own learning rate", numeric=True),
    ]
    parts = [
        paragraph(digest, "" if registered.unchanged else "note"),
        facts(pairs),
        table("Losses that were registered", [Column("Loss"), Column("Role"), Column("From", wide=True)], roles),
        table("Cells", columns, cells),
    ]
    for one in asked.left_out:
        label, origin, why = _short(context, one.label), context.record.shown(one.origin), _short(context, one.why)
        parts.append(paragraph(f"Left out: {label}, from {origin}: {why}.", "soft"))
    parts.append(_sources(context, registered))
    seeds = f"Test: {', '.join(map(str, asked.seeds))}. Tuning: {', '.join(map(str, tuning.seeds))}."
    parts.append(folded("Every seed", paragraph(seeds)))
    return joined(parts)


def _sources(context: Context, registered: Registered) -> Html:
    """The runs that led to the losses, and how many test images were seen there."""
    sources = registered.registration.sources
    names = ", ".join(context.record.shown(each.directory) for each in sources) or "none"
    text = f"Runs that led to the losses, none of which used a test seed: {names}."
    confirmation = context.record.confirmation
    if isinstance(confirmation, Confirmation) and confirmation.overlaps:
        counts = []
        for one in confirmation.overlaps:
            seen = max([one.train, one.validation, *(int(each.get("shared", 0)) for each in one.sources)])
            counts.append(f"{seen} of {one.test:,} on {one.cell}")
        text += (
            f" Test images that were seen before, found by their pixels (most by any run): {'; '.join(counts)}."
            f" {100 * registered.registration.overlap:g}% or more would have been refused."
        )
    return paragraph(text)


def _losses(context: Context) -> Html:
    def listed(names: list[Name], caption: str) -> Html:
        rows = [[element("strong", name.text), _formula(name), element("code", name.loss.key)] for name in names]
        return table(caption, [Column("Name"), Column("Loss", wide=True), Column("Key in the ledgers")], rows)

    names = list(context.names.all.values())
    if not names:
        return paragraph("No loss has a name yet: none has been selected.")
    far = _carried_on(context)
    first = [name for name in names if name.loss.key in far]
    others = [name for name in names if name.loss.key not in far]
    caption = "What is minimised, summed over the classes. A long formula is called L1, L2, ... on this page."
    parts = [listed(first, caption)] if first else []
    if others:
        title = f"{words.count(len(others), 'loss')} that took part in an elimination and were left out there"
        parts.append(folded(title, listed(others, title)))
    return joined(parts)


def _carried_on(context: Context) -> set[str]:
    """The keys of the losses that came through an elimination, or are compared with those."""
    found: set[str] = set()
    for stage in context.record.stages.values():
        result = stage.result
        if isinstance(result, Elimination):
            found.update(result.finalists)
        elif isinstance(result, Transfer | Confirmation):
            found.update(loss.key for loss in result.losses)
    if context.record.registered is not None:
        found.update(loss.key for loss in context.record.registered.registration.losses)
    return found


def _formula(name: Name) -> Html:
    drawn = mathml(loss_of(name.loss.row))
    text = element("code", name.loss.row.minimised)
    return joined((element("div", drawn, class_="formula", tabindex=0), text)) if drawn else text


def _short(context: Context, text: str) -> str:
    return context.names.within(text)


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)
