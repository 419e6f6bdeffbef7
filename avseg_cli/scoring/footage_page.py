"""``evaluate --subset clips --report``: the figures on real clips, and the clips, the worst first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from avseg_cli.pages.html import page, stamp, write_page
from avseg_cli.scoring.footage import ClipResult, FootageEvaluation
from avseg_cli.scoring.footage_tables import COLUMNS, MEANINGS, notes, rows
from avseg_cli.scoring.strips import strips


def write_footage(path: Path, evaluation: FootageEvaluation) -> None:
    """Write the page of an evaluation on real clips; raises ``OutputError`` when it cannot be written."""
    shown = [_clip(clip) for clip in evaluation.worst_first if clip.shown]
    write_page(
        path,
        page(
            "evaluate.html", title=evaluation.data, **stamp(), subject=evaluation.subject,
            clips=len(evaluation.clips), columns=COLUMNS, rows=list(rows(evaluation)), plots=[],
            definitions=MEANINGS, notes=notes(evaluation), examples=[("Clips, the worst first", shown)],
        ),
        "report",
    )  # fmt: skip


def _clip(clip: ClipResult) -> dict[str, Any]:
    score = clip.score
    figures = {"mIoU": score.miou, "F": score.f, "empty frames kept empty": score.empty}
    about = [f"{name} {100 * value:.1f} %" for name, value in figures.items() if value is not None]
    heard = [f"heard: {', '.join(clip.heard)}"] if any(clip.heard) else []
    assert clip.shown is not None, "only such are on the page"
    pictures = strips(clip.shown.frames, clip.shown.truth, clip.shown.prediction)
    return {"name": clip.name, "about": "; ".join([*about, *heard]), "strips": pictures}
