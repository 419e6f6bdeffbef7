"""``evaluate --report``: the figures of an evaluation, and the clips behind them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from avseg_cli.pages.html import page, stamp, write_page
from avseg_cli.scoring.evaluate import Evaluation
from avseg_cli.scoring.examples import Example
from avseg_cli.scoring.score_plots import score_plots
from avseg_cli.scoring.strips import strips
from avseg_cli.scoring.tables import COLUMNS, MEANINGS, rows


def write_evaluation(path: Path, evaluation: Evaluation) -> None:
    """Write the page of an evaluation; raises ``OutputError`` when it cannot be written."""
    write_page(
        path,
        page("evaluate.html", title=f"{evaluation.subset.name} {evaluation.split}", **stamp(), **scores(evaluation)),
        "report",
    )


def scores(evaluation: Evaluation) -> dict[str, Any]:
    """What the templates need of an evaluation."""
    return {
        "subject": evaluation.subject, "clips": len(evaluation.clips), "columns": COLUMNS,
        "rows": list(rows(evaluation)), "plots": score_plots(evaluation),
        "definitions": MEANINGS,
        "notes": evaluation.notes,
        "examples": [("Best clips", [_strips(example) for example in evaluation.best]),
                     ("Worst clips", [_strips(example) for example in evaluation.worst])],
    }  # fmt: skip


def _strips(example: Example) -> dict[str, Any]:
    """A clip with its figures and its rows of pictures."""
    score = example.score
    about = f"{score.category} IoU {score.iou:.3f}, F {score.f:.3f}".strip()
    pictures = strips(example.frames, example.truth, example.prediction)
    return {"name": score.name, "about": about, "strips": pictures}
