"""An evaluation as a table for people, JSON for programs, and a CSV with a line per video."""

from __future__ import annotations

import csv
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from avseg_cli.data.write import write_whole
from avseg_cli.scoring.published import METHODS, PROMPTS
from avseg_cli.scoring.scores import SplitScore, by_category

if TYPE_CHECKING:
    from avseg_cli.evaluate import Evaluation

DEFINITIONS = {
    "miou": "AVSBench M_J: mean over a video's frames, then over videos; a frame with an empty truth scores the "
            "share of pixels left empty",
    "f": "AVSBench M_F, batch of one video (the authors' setting): beta^2 0.3, maximum over 255 thresholds of the "
         "mean curve of the video's non-empty frames; an all-empty video scores 0",
    "f_dataset": "maximum over 255 thresholds of the mean curve of all non-empty frames of the split",
    "foreground": "share of pixels predicted",
    "negatives": "foreground predicted under a sound that nothing in the picture makes; right is 0",
    "moved": "heard with the sound of another visible object and scored against that object",
}  # fmt: skip


def to_dict(evaluation: Evaluation) -> dict[str, Any]:
    """Every figure by name, with its definition."""
    return {
        "subject": evaluation.subject, "subset": evaluation.subset.name, "split": evaluation.split,
        **asdict(evaluation.total),
        "categories": {name: asdict(score) for name, score in by_category(evaluation.clips).items()},
        "negatives": {
            name: {"foreground": score.foreground, "matching_foreground": score.matching_foreground, "drop": score.drop}
            for name, score in evaluation.negatives.items()
        },
        "moved": asdict(evaluation.moved) if evaluation.moved else None,
        "baselines": {name: asdict(score) for name, score in evaluation.baselines.items()},
        "definitions": DEFINITIONS,
    }  # fmt: skip


def write_csv(path: Path, evaluation: Evaluation) -> None:
    """One line per video: name, category, mIoU, F (batch 1), foreground, frames scored by each."""

    def write(partial: Path) -> None:
        with open(partial, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["name", "category", "miou", "f", "foreground", "frames", "frames_with_truth"])
            for s in evaluation.clips:
                figures = (f"{s.iou:.6f}", f"{s.f:.6f}", f"{s.foreground:.6f}")
                writer.writerow([s.name, s.category, *figures, s.frames, s.scored_frames])

    write_whole(path, write)


def table(evaluation: Evaluation) -> Table:
    """Ours, its categories, what else was measured, and the published rows where the subset is theirs."""
    result = Table(
        "", "mIoU %", "F (per video)", "F (per data set)", "foreground %",
        title=f"{evaluation.subset.name} {evaluation.split}: {evaluation.total.clips} videos",
    )  # fmt: skip
    _add(result, evaluation.subject, evaluation.total, "bold")
    for name, score in by_category(evaluation.clips).items():
        _add(result, f"  {name} ({score.clips})", score)
    if evaluation.moved:
        _add(result, f"sound moved to another visible object ({evaluation.moved.clips})", evaluation.moved)
    for name, score in evaluation.baselines.items():
        _add(result, f"baseline: {name}", score)
    for name, negative in evaluation.negatives.items():
        result.add_row(f"{name}: should be empty", "", "", "", f"{100 * negative.foreground:.2f}")
    if evaluation.split == "test":
        _add_published(result, evaluation)
    return result


def _add(result: Table, name: str, score: SplitScore, style: str = "") -> None:
    result.add_row(
        name, f"{100 * score.miou:.2f}", f"{score.f:.3f}", f"{score.f_dataset:.3f}", f"{100 * score.foreground:.2f}",
        style=style,
    )  # fmt: skip


def _add_published(result: Table, evaluation: Evaluation) -> None:
    """On AVSBench's own clips only: the number of videos tells data laid out like it from the real one."""
    subset = evaluation.subset
    if evaluation.total.clips != subset.published[2]:
        return
    result.add_section()
    for row in (*METHODS, *PROMPTS.values()):
        miou, f = row.on(subset.name)
        if miou is not None:
            result.add_row(
                f"published: {row.name}", f"{miou:.2f}", "" if f is None else f"{f:.3f}", "", "", style="dim"
            )
