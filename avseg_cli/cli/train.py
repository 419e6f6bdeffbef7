"""``avseg train``."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from avseg_cli.base.say import say
from avseg_cli.cli.completion import list_of
from avseg_cli.cli.data_options import DataRoot, SubsetName
from avseg_cli.cli.dry_run import DryRun, say_plan
from avseg_cli.cli.model_options import DeviceName, TrainingPrecisionName
from avseg_cli.cli.options import made_of
from avseg_cli.training.stages import STAGES, pretraining
from avseg_cli.training.train_options import LEARNING, TrainOptions


def register(app: typer.Typer) -> None:
    app.command("train")(train)


@made_of(given=TrainOptions)
def train(
    context: typer.Context,
    *,
    data: DataRoot = None,
    subset: SubsetName = "ms3",
    out: Annotated[Path | None, typer.Option("--out", help="Folder of the run; each stage gets one in it.")] = None,
    resume: Annotated[
        Path | None, typer.Option("--resume", help="Continue the run in this folder, with its own options.")
    ] = None,
    stage: Annotated[
        str,
        typer.Option(
            help=f"all, pretrain, or stages by name: {', '.join(STAGES)} (commas between).",
            autocompletion=list_of("all", "pretrain", *STAGES),
        ),
    ] = "all",
    given: dict[str, Any],
    unfreeze: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=LEARNING,
            help="Also train in stage 2: image, sound, image,sound or none. [default: by backbone]",
        ),
    ] = None,
    device: DeviceName = "auto",
    precision: TrainingPrecisionName = "auto",
    report: Annotated[
        bool,
        typer.Option("--report", help="At the end, OUT/report.html: tables, curves, best and worst val clips."),
    ] = False,
    dry_run: DryRun = False,
) -> None:
    """Train by the paper's recipe: ST-BAVA and decoder (1a), adapters and decoder (1b), then both (2).

    With --backbone small, --photos and --sounds: a model like the one that comes with avseg, from photographs and
    recordings; see docs/training-small.md.
    """
    from avseg_cli.base.errors import InputError
    from avseg_cli.training.train import plan, plan_resume
    from avseg_cli.training.train import resume as resume_run
    from avseg_cli.training.train import train as run_training

    if resume is not None and dry_run:
        say_plan(plan_resume(resume) or [f"do nothing: all stages of {resume} are done"])
        return
    if resume is not None:
        done = resume_run(resume)
        for best in done:
            say(f"best checkpoint: {best}")
        if not done:
            say(f"{resume}: all its stages are done")
        if report:
            _report(resume)
        return
    if (data is None and not given["photos"] and not given["sounds"]) or out is None:
        raise InputError(
            "training needs --data (or AVSEG_DATA) and --out, or --photos, --sounds and --out, or --resume with the "
            "folder of a run"
        )
    source = context.get_parameter_source("data")
    if given["photos"] and (source is None or source.name != "COMMANDLINE"):
        data = None  # a data root of the environment is no wish to learn from it as well
    options = TrainOptions(
        **given, data=str(data or ""), subset=subset, out=str(out), stages=_stages(stage),
        unfreeze=_parts(unfreeze), device=device, precision=precision, command=shlex.join(["avseg", *sys.argv[1:]]),
    )  # fmt: skip
    if dry_run:
        say_plan(plan(options))
        return
    best = run_training(options)
    say(f"best checkpoint: {best}")
    if report:
        _report(out)


def _report(run: Path) -> None:
    """Write the page of a run, in the first of its processes."""
    if int(os.environ.get("RANK", "0")) > 0:
        return
    from avseg_cli.training.run_page import write_run

    say(f"report: {write_run(run)}")


def _parts(listed: str | None) -> tuple[str, ...] | None:
    """None: left to the recipe; "none": nothing."""
    return None if listed is None else tuple(part for part in listed.split(",") if part not in ("", "none"))


def _stages(text: str) -> tuple[str, ...]:
    """all: left to the recipe; pretrain: the pretraining stages."""
    if text == "all":
        return ()
    return tuple(stage for name in text.split(",") for stage in (pretraining() if name == "pretrain" else (name,)))
