"""The CSV files beside the page of a fidelity study: fractions as fractions, numbers in full, empty for none."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def surrogates_csv(contents: Sequence[Mapping[str, Any]]) -> str:
    """A row for each surrogate, for one training of the expensive task, and for its seeds halved."""
    tops = sorted({k for content in contents for k in content["top"]})
    measured = ["tau", "tau_better_half", "spearman", "ordered_rightly"]
    ends = ("value", "low", "high")
    columns = ["dataset", "expensive", "losses", "kind", "name", "task", "task_id", "step", "steps", "seeds", "failed"]
    columns += ["seconds", "share", "flops"]
    columns += [f"{name}_{end}" for name in [*measured, *(f"recall_{k}" for k in tops), "behind"] for end in ends]

    def row(content: Mapping[str, Any], kind: str, entry: Mapping[str, Any], measures: Mapping[str, Any]) -> list[Any]:
        expensive = content["expensive"]
        cost = entry["cost"] if kind != "halves" else {}
        head = [expensive["dataset"], expensive["name"], len(content["losses"]), kind, entry["name"], entry["task"]]
        head += [entry["task_id"], entry["step"], entry["steps"], len(entry["seeds"]), entry["failed"]]
        head += [cost.get(name) for name in ("seconds", "share", "flops")]
        found = [measures.get(name) for name in measured]
        found += [measures["recall"].get(str(k)) for k in tops]
        found.append(measures.get("behind"))
        return head + [None if each is None else each[end] for each in found for end in ends]

    def rows() -> Iterable[list[Any]]:
        for content in contents:
            expensive = content["expensive"]
            for entry in content["surrogates"]:
                yield row(content, "early" if entry["early"] else "task", entry, entry)
            yield row(content, "itself", expensive, expensive["single"])
            yield row(content, "halves", expensive, expensive["reliability"])

    return _text(columns, rows())


def losses_csv(contents: Sequence[Mapping[str, Any]]) -> str:
    """A row for each loss that takes part in any of the studies."""
    columns = ("loss", "label", "formula", "flip", "source")
    losses = {loss["key"]: loss for content in contents for loss in content["losses"]}
    return _text(
        columns,
        (
            (
                loss["key"],
                loss["label"],
                loss["formula"],
                None if loss["flip"] is None else int(loss["flip"]),
                loss["source"],
            )
            for loss in losses.values()
        ),
    )


def scores_csv(contents: Sequence[Mapping[str, Any]]) -> str:
    """A row for each loss, task, step and seed: what all figures are made of."""
    columns = ("dataset", "loss", "name", "step", "seed", "accuracy", "evaluation")

    def rows() -> Iterable[Sequence[Any]]:
        for content in contents:
            dataset = content["expensive"]["dataset"]
            for entry in (content["expensive"], *content["surrogates"]):
                for key, score in entry["scores"].items():
                    found = zip(entry["seeds"], score["values"], score["evaluations"], strict=True)
                    for seed, value, evaluation in found:
                        yield dataset, key, entry["name"], entry["step"], seed, value, evaluation

    return _text(columns, rows())


def _text(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return stream.getvalue()
