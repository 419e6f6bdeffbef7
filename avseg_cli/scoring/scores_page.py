"""``evaluate --report``: the figures of an evaluation, and the clips behind them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from avseg_cli.pages.html import page, picture_uri, stamp, write_page
from avseg_cli.scoring.evaluate import Evaluation
from avseg_cli.scoring.examples import Example
from avseg_cli.scoring.score_plots import score_plots
from avseg_cli.scoring.tables import COLUMNS, DEFINITIONS, rows

SIDE = 160  # pixels of a picture
TRUE, FOUND = (60, 200, 120), (255, 45, 120)  # RGB of what is true and what was predicted


def write_evaluation(path: Path, evaluation: Evaluation) -> None:
    """Write the page of an evaluation; raises ``OutputError`` when it cannot be written."""
    write_page(
        path,
        page("evaluate.html", title=f"{evaluation.subset.name} {evaluation.split}", **stamp(), **scores(evaluation)),
    )


def scores(evaluation: Evaluation) -> dict[str, Any]:
    """What the templates need of an evaluation."""
    return {
        "subject": evaluation.subject, "clips": len(evaluation.clips), "columns": COLUMNS,
        "rows": list(rows(evaluation)), "plots": score_plots(evaluation),
        "definitions": {name: DEFINITIONS[name] for name in ("miou", "f", "f_dataset")},
        "notes": evaluation.notes,
        "examples": [("Best clips", [_strips(example) for example in evaluation.best]),
                     ("Worst clips", [_strips(example) for example in evaluation.worst])],
    }  # fmt: skip


def _strips(example: Example) -> dict[str, Any]:
    """A clip as three rows of pictures: its frames, the truth in them, the prediction in them."""
    pictures = {
        "frame": example.frames,
        "truth": _marked(example.frames, example.truth, TRUE),
        "prediction": _marked(example.frames, example.prediction, FOUND),
    }
    score = example.score
    return {
        "name": score.name, "category": score.category, "iou": score.iou, "f": score.f,
        "strips": [(name, picture_uri(_strip(frames), quality=80)) for name, frames in pictures.items()],
    }  # fmt: skip


def _marked(frames: np.ndarray, masks: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """Frames (A, H, W, 3) with what the masks hold in colour, and the rest darker."""
    inside = masks[..., None]
    return np.where(inside, 0.35 * frames + 0.65 * np.array(color), 0.4 * frames).astype(np.uint8)


def _strip(frames: np.ndarray) -> Image.Image:
    """Pictures (A, H, W, 3) beside each other."""
    strip = Image.new("RGB", (len(frames) * (SIDE + 2) - 2, SIDE))
    for place, frame in enumerate(frames):
        strip.paste(Image.fromarray(frame).resize((SIDE, SIDE), Image.Resampling.LANCZOS), (place * (SIDE + 2), 0))
    return strip
