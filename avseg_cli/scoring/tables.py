"""An evaluation as a table for people, JSON for programs, and a CSV with a line per video."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.table import Table

from avseg_cli.base.text import counted
from avseg_cli.base.whole_files import write_whole
from avseg_cli.base.writing import writing
from avseg_cli.scoring.confidence import TOLD
from avseg_cli.scoring.published import AVSS, METHODS, PROMPTS
from avseg_cli.scoring.scores import SIZES, SplitScore, by_category, by_size

if TYPE_CHECKING:
    from avseg_cli.scoring.evaluate import Evaluation

DEFINITIONS = {
    "miou": "AVSBench M_J: mean over a video's frames, then over videos; a frame with an empty truth scores the "
            "share of pixels left empty",
    "f": "AVSBench M_F, batch of one video (the authors' setting): beta^2 0.3, maximum over 255 thresholds of the "
         "mean curve of the video's non-empty frames; an all-empty video scores 0",
    "f_dataset": "maximum over 255 thresholds of the mean curve of all non-empty frames of the split",
    "intervals": TOLD,
    "sizes": "frames by the size of their truth: mean IoU over frames, and the maximum of their mean curve",
    "foreground": "share of pixels predicted",
    "negatives": "foreground predicted under a sound that nothing in the picture makes; right is 0",
    "sources": "objects found with an IoU of 0.5 or more, a frame each; of those found again, how many have another "
               "number; sources with two objects in them; objects in several sources; names right of those given",
    "moved": "heard with the sound of another visible object and scored against that object",
}  # fmt: skip


def to_dict(evaluation: Evaluation) -> dict[str, Any]:
    """Every figure by name, with its definition."""
    return {
        "subject": evaluation.subject, "subset": evaluation.subset.name, "split": evaluation.split,
        **asdict(evaluation.total),
        "categories": {name: asdict(score) for name, score in by_category(evaluation.clips).items()},
        "intervals": {name: list(ends) for name, ends in evaluation.intervals.items()},
        "sizes": {name: asdict(score) for name, score in by_size(evaluation.clips).items()},
        "negatives": {
            name: {"foreground": score.foreground, "matching_foreground": score.matching_foreground, "drop": score.drop}
            for name, score in evaluation.negatives.items()
        },
        "moved": asdict(evaluation.moved) if evaluation.moved else None,
        "baselines": {name: asdict(score) for name, score in evaluation.baselines.items()},
        "sources": {name: asdict(score) for name, score in evaluation.sources.items()},
        "definitions": DEFINITIONS,
        "notes": evaluation.notes,
    }  # fmt: skip


def write_csv(path: Path, evaluation: Evaluation) -> None:
    """One line per video: name, category, mIoU, F (batch 1), foreground, frames scored by each."""

    lines: list[list[Any]] = [["name", "category", "miou", "f", "foreground", "frames", "frames_with_truth"]]
    for s in evaluation.clips:
        figures = (f"{s.iou:.6f}", f"{s.f:.6f}", f"{s.foreground:.6f}")
        lines.append([s.name, s.category, *figures, s.frames, s.scored_frames])
    write_lines(path, lines)


def write_lines(path: Path, lines: Iterable[Sequence[Any]]) -> None:
    """A csv, whole or not at all, in a folder that is made for it; raises ``OutputError`` when the system refuses."""

    def write(partial: Path) -> None:
        with open(partial, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(lines)

    with writing(path, "csv"):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, write)


COLUMNS = ("", "mIoU %", "F (per video)", "F (per data set)", "foreground %")
MEANINGS = {column: DEFINITIONS[name] for column, name in zip(COLUMNS[1:], ("miou", "f", "f_dataset"), strict=False)}


class TableRow(NamedTuple):
    """A line of the table. kind: strong (the subject itself), published (others' figures), or nothing."""

    cells: tuple[str, ...]
    kind: str = ""


def rows(evaluation: Evaluation) -> Iterator[TableRow]:
    """Ours, its categories, what else was measured, and the published rows where the subset is theirs."""
    yield _row(evaluation.subject, evaluation.total, "strong")
    ends = evaluation.intervals
    spread = [f"{100 * low:.2f}–{100 * high:.2f}" for low, high in (ends["miou"], ends["foreground"])]
    spread[1:1] = [f"{low:.3f}–{high:.3f}" for low, high in (ends["f"], ends["f_dataset"])]
    yield TableRow((f"  {TOLD}", *spread))
    for name, score in by_size(evaluation.clips).items():
        f = "" if name == "empty" else f"{score.f_dataset:.3f}"
        yield TableRow(
            (f"  {name}: {SIZES[name]} ({counted(score.frames, 'frame')})", f"{100 * score.miou:.2f}", "", f, "")
        )
    for name, score in by_category(evaluation.clips).items():
        yield _row(f"  {name} ({score.clips})", score)
    if evaluation.moved:
        yield _row(f"sound moved to another visible object ({evaluation.moved.clips})", evaluation.moved)
    for name, score in evaluation.baselines.items():
        yield _row(f"baseline: {name}", score)
    for name, negative in evaluation.negatives.items():
        yield TableRow((f"{name}: should be empty", "", "", "", f"{100 * negative.foreground:.2f}"))
    # on AVSBench's own clips only: of data laid out like it, also by others, the number of videos is another
    whole = evaluation.total.clips == evaluation.subset.published[2]
    if evaluation.split == "test" and whole and not evaluation.composed:
        yield from _published(evaluation)


def table(evaluation: Evaluation) -> Table:
    """The rows as a table for the terminal."""
    videos = counted(evaluation.total.clips, "video")
    result = Table(title=f"{evaluation.subset.name} {evaluation.split}: {videos}")
    result.add_column(COLUMNS[0], overflow="fold")  # a narrow terminal breaks names, never cuts them
    for heading in COLUMNS[1:]:
        result.add_column(heading)
    before = ""
    for row in rows(evaluation):
        if row.kind == "published" != before:
            result.add_section()
        result.add_row(*row.cells, style={"strong": "bold", "published": "dim"}.get(row.kind, ""))
        before = row.kind
    return result


def _row(name: str, score: SplitScore, kind: str = "") -> TableRow:
    return TableRow((
        name, f"{100 * score.miou:.2f}", f"{score.f:.3f}", f"{score.f_dataset:.3f}", f"{100 * score.foreground:.2f}",
    ), kind)  # fmt: skip


def _published(evaluation: Evaluation) -> Iterator[TableRow]:
    for row in (*METHODS, *PROMPTS.values()):
        miou, f = row.on(evaluation.subset.name)
        if miou is not None:
            figures = f"{miou:.2f}", "" if f is None else f"{f:.3f}", "", ""
            yield TableRow((f"published: {row.name}", *figures), "published")
    if evaluation.subset.name == "v2":
        for row in AVSS:
            figures = f"{row.miou:.1f}", "" if row.f is None else f"{row.f:.3f}", "", ""
            yield TableRow(
                (f"published on AVSS, means over classes, not of this figure: {row.name}", *figures), "published"
            )
