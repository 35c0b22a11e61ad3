"""What each stage took."""

from __future__ import annotations

from lossmith.report import words
from lossmith.report.cost import Cost, cost_of
from lossmith.report.markup import Column, Html, joined, paragraph, table
from lossmith.report.study.parts import Context, Part
from lossmith.report.study.reading import Stage, StudyRecord
from lossmith.report.study.trace import Rows


def costs(record: StudyRecord) -> list[tuple[Stage, Cost, int]]:
    """(stage, cost, failed trainings) of the stages that have begun."""
    return [
        (stage, cost_of(stage.snapshot), sum(row.score is None for row in stage.snapshot.evaluations))
        for stage in record.stages.values()
        if stage.snapshot is not None
    ]


def compute_part(context: Context) -> Part:
    columns = [
        Column("Stage"),
        Column("State"),
        *(
            Column(name, numeric=True)
            for name in ("Trainings", "Failed", "Training steps", "Training, all workers", "Wall time", "Sessions")
        ),
    ]
    found = costs(context.record)
    rows: list[list[object]] = []
    for stage, cost, failed in found:
        every = stage.traced(())

        def shown(text: str, value: float, measure: str, every: Rows = every) -> Html:
            return context.trace.show(text, value, measure, every)

        rows.append(
            [
                stage.name,
                "done" if stage.done else "not finished",
                shown(f"{cost.evaluations:,}", cost.evaluations, "trainings in the ledger"),
                shown(f"{failed:,}", failed, "failed trainings in the ledger"),
                shown(f"{cost.steps:,}", cost.steps, "training steps in the ledger"),
                shown(words.duration(cost.training_seconds), cost.training_seconds, "training seconds in the ledger"),
                shown(words.duration(cost.wall_seconds), cost.wall_seconds, "wall seconds of the sessions"),
                len(cost.sessions),
            ]
        )
    begun = {stage.name for stage, _, _ in found}
    rows.extend([name, "not begun", *[words.NONE] * 6] for name in context.record.stages if name not in begun)
    if len(found) > 1:
        whole = [cost for _, cost, _ in found]
        rows.append(
            [
                "together",
                "",
                f"{sum(cost.evaluations for cost in whole):,}",
                f"{sum(failed for _, _, failed in found):,}",
                f"{sum(cost.steps for cost in whole):,}",
                words.duration(sum(cost.training_seconds for cost in whole)),
                words.duration(sum(cost.wall_seconds for cost in whole)),
                sum(len(cost.sessions) for cost in whole),
            ]
        )
    classes = ["reference" if row[0] == "together" else "" for row in rows]
    note = "Training time is summed over all workers; wall time over the sessions, which are the processes that wrote."
    content = joined((paragraph(note, "soft"), table("Compute spent by stage", columns, rows, classes)))
    return Part("compute", "Compute", "Compute spent", content)
