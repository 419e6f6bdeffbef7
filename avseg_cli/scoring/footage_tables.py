"""The figures on real clips as a table, as JSON and as CSV."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.table import Table

from avseg_cli.base.text import counted
from avseg_cli.scoring.footage import FootageEvaluation
from avseg_cli.scoring.footage_scores import DEFINITIONS, FrameScore
from avseg_cli.scoring.tables import TableRow, write_lines

COLUMNS = ("in %", "mIoU", "F", "point", "empty", "mIoU+", "AVSB", "marked", "truth")
MEANINGS = dict(zip(COLUMNS[1:], DEFINITIONS.values(), strict=True))  # for people, who see the columns' names
NAMES = tuple(field.name for field in fields(FrameScore))


def rows(evaluation: FootageEvaluation) -> Iterator[TableRow]:
    """The means, each clip, the worst first, and what they are to be seen beside."""
    yield _row(f"{evaluation.subject}, all frames", evaluation.total, "strong")
    for clip in evaluation.worst_first:
        yield _row(f"  {clip.name}", clip.score)
    if evaluation.swapped:
        yield _row("with the next clip's sound", evaluation.swapped)
    for name, score in evaluation.baselines.items():
        yield _row(f"baseline: {name}", score)


def _row(name: str, score: FrameScore, kind: str = "") -> TableRow:
    cells = ("" if value is None else f"{100 * value:.1f}" for value in (getattr(score, name) for name in NAMES))
    return TableRow((name, *cells), kind)


def notes(evaluation: FootageEvaluation) -> list[str]:
    """What the figures are of, and what the control says, a sentence each."""
    frames = [second for clip in evaluation.clips for second in clip.seconds]
    sounding = sum(second.miou is not None for second in frames)
    said = [
        f"{counted(len(evaluation.clips), 'clip')}, {counted(sounding, 'frame')} in which something visible sounds, "
        f"{len(frames) - sounding} in which nothing does"
    ]
    own, other = evaluation.total.miou, evaluation.swapped and evaluation.swapped.miou
    if evaluation.fall is not None and own is not None and other is not None:
        moved = "falls" if evaluation.fall >= 0 else "rises"
        said.append(
            f"with the next clip's sound mIoU is {100 * other:.1f} % instead of {100 * own:.1f} %: "
            f"it {moved} by {100 * abs(evaluation.fall):.0f} %"
        )
    return [*said, f"model {evaluation.model}"] if evaluation.model else said


def table(evaluation: FootageEvaluation) -> Table:
    """The rows as a table for the terminal."""
    result = Table(title=f"clips of {evaluation.data}", box=SIMPLE, padding=0)
    result.add_column(COLUMNS[0], overflow="fold")  # a narrow terminal breaks names, never figures
    for heading in COLUMNS[1:]:
        result.add_column(heading, justify="right", min_width=max(5, len(heading)))
    for row in rows(evaluation):
        result.add_row(*row.cells, style="bold" if row.kind else "")
    return result


def to_dict(evaluation: FootageEvaluation) -> dict[str, Any]:
    """Every figure by name, with its definition; clips by name, each with its seconds."""
    swapped = {**asdict(evaluation.swapped), "fall": evaluation.fall} if evaluation.swapped else None
    return {
        "subject": evaluation.subject, "data": evaluation.data, "model": evaluation.model, **asdict(evaluation.total),
        "clips": {
            clip.name: {
                **asdict(clip.score),
                "seconds": [
                    {**asdict(second), "heard": heard} for second, heard in zip(clip.seconds, clip.heard, strict=True)
                ],
            }
            for clip in evaluation.clips
        },
        "swapped": swapped,
        "baselines": {name: asdict(score) for name, score in evaluation.baselines.items()},
        "definitions": DEFINITIONS,
        "notes": notes(evaluation),
    }  # fmt: skip


def write_csv(path: Path, evaluation: FootageEvaluation) -> None:
    """One line per clip: its name, its figures (empty where it has none), its number of frames."""
    lines: list[list[Any]] = [["name", *NAMES, "frames"]]
    for clip in evaluation.clips:
        figures = ("" if value is None else f"{value:.6f}" for value in asdict(clip.score).values())
        lines.append([clip.name, *figures, len(clip.seconds)])
    write_lines(path, lines)
