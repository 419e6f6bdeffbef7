"""``train --report``: the curves of a run's stages, and how its last model does on the val split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from avseg_cli.base.errors import OutputError, named
from avseg_cli.pages.html import page, stamp, write_page
from avseg_cli.pages.plots import curve
from avseg_cli.scoring.evaluate import EvaluateOptions, evaluate
from avseg_cli.scoring.scores_page import scores
from avseg_cli.training.run_folder import StageFolder
from avseg_cli.training.stages import STAGES, in_order
from avseg_cli.training.train_options import TrainOptions

NAME = "report.html"
EXAMPLES = 4  # best clips, and as many worst


def write_run(run: Path) -> Path:
    """Write ``run/report.html`` and return its path; raises ``OutputError`` when there is no run to report."""
    stages = {name: StageFolder(run / name) for name in in_order() if StageFolder(run / name).records()}
    if not stages:
        raise OutputError(
            f"{run}: no stage of a run has finished an epoch here; {named('report')} comes after training"
        )
    with_masks = (stages[name] for name in reversed(stages) if not STAGES[name].pretrains)
    last = next((folder for folder in with_masks if folder.best.is_file()), None)
    told = [_stage(name, folder) for name, folder in stages.items()]
    judged = scores(_evaluated(last)) if last and last.options.data else None
    path = run / NAME
    write_page(path, page("train.html", title=f"Training run {run.name}", stages=told, judged=judged, **stamp()))
    return path


def _stage(name: str, folder: StageFolder) -> dict[str, Any]:
    """One stage: what it was told, its best epoch, and its curves."""
    records = folder.records()
    scored = [record for record in records if "score" in record]
    best = max(scored, key=lambda record: record["score"], default=None)
    lasted = records[-1]["time"] - records[0]["time"]
    plots = [
        curve([(record["epoch"], record[key]) for record in rows], title, "epoch", "")
        for key, title, rows in (("loss", "training loss", records), ("score", "validation score", scored))
        if rows
    ]
    return {
        "name": name, "command": (folder.path / "command.txt").read_text().strip(), "epochs": records[-1]["epoch"],
        "loss": records[-1]["loss"], "best": best, "hours": lasted / 3600, "plots": plots, "done": folder.done,
    }  # fmt: skip


def _evaluated(stage: StageFolder) -> Any:
    """The stage's best checkpoint on the val split."""
    options: TrainOptions = stage.options
    return evaluate(EvaluateOptions(
        data=options.data, subset=options.subset, split="val", checkpoint=str(stage.best),
        limit_clips=options.limit_clips, device=options.device, precision=options.scoring_precision, examples=EXAMPLES,
    ))  # fmt: skip
