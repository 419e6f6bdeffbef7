"""``avseg train``."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from avseg_cli.cli.completion import either, list_of, one_of
from avseg_cli.cli.data_options import DataRoot, SubsetName
from avseg_cli.cli.dry_run import DryRun, say_plan
from avseg_cli.cli.model_options import DeviceName, TrainingPrecisionName
from avseg_cli.model.backbones import BACKBONES
from avseg_cli.model.fusion import FUSIONS


def register(app: typer.Typer) -> None:
    app.command("train")(train)


def train(
    data: DataRoot = None,
    subset: SubsetName = "ms3",
    out: Annotated[Path | None, typer.Option("--out", help="Folder of the run; each stage gets one in it.")] = None,
    resume: Annotated[
        Path | None, typer.Option("--resume", help="Continue the run in this folder, with its own options.")
    ] = None,
    stage: Annotated[
        str,
        typer.Option(
            help="all, pretrain, or stages by name: pretrain-sound, pretrain-image, 1a, 1b, 2 (commas between).",
            autocompletion=list_of("all", "pretrain", "pretrain-sound", "pretrain-image", "1a", "1b", "2"),
        ),
    ] = "all",
    backbone: Annotated[str, typer.Option(help=either(BACKBONES), autocompletion=one_of(*BACKBONES))] = "vit_h",
    init: Annotated[
        str | None,
        typer.Option(help="Checkpoint to start from (a warm start from another subset, or an earlier stage)."),
    ] = None,
    init_adapters: Annotated[str | None, typer.Option(help="Checkpoint whose adapters stage 2 starts from.")] = None,
    pretrained: Annotated[Path | None, typer.Option(help="Another run whose pretraining stages are used.")] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Default: 250, 250 and 15 (paper) for stages 1a, 1b and 2.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Clips per step and process.")] = None,
    accumulate: Annotated[int, typer.Option(help="Batches whose gradients make one step.")] = 1,
    lr: Annotated[float | None, typer.Option(help="Learning rate (paper: 1e-4).")] = None,
    optimizer: Annotated[
        str | None, typer.Option(help="adam (paper) or adamw.", autocompletion=one_of("adam", "adamw"))
    ] = None,
    weight_decay: Annotated[float | None, typer.Option()] = None,
    schedule: Annotated[
        str | None,
        typer.Option(help="constant (paper) or cosine.", autocompletion=one_of("constant", "cosine")),
    ] = None,
    warmup: Annotated[float | None, typer.Option(help="Share of the steps with a rising learning rate.")] = None,
    loss: Annotated[
        str | None,
        typer.Option(help="bce (paper) or bce+iou (SAMA-AVS).", autocompletion=one_of("bce", "bce+iou")),
    ] = None,
    augment: Annotated[bool | None, typer.Option("--augment/--no-augment", help="Crop, flip and colour.")] = None,
    patience: Annotated[
        int | None, typer.Option(help="Stop after this many validations without a better score.")
    ] = None,
    dropout: Annotated[float, typer.Option(help="On ST-BAVA's attention weights.")] = 0.1,
    unfreeze: Annotated[
        str | None,
        typer.Option(help="Also train in stage 2: image, sound, image,sound or none. [default: by backbone]"),
    ] = None,
    depth: Annotated[int | None, typer.Option(help="ST-BAVA blocks (paper: 5 for S4, 7 for MS3).")] = None,
    fusion: Annotated[
        str | None,
        typer.Option(
            help=either(FUSIONS),
            autocompletion=one_of(*FUSIONS),
        ),
    ] = None,
    temporal: Annotated[bool, typer.Option("--temporal/--no-temporal", help="Attention over time.")] = True,
    bidirectional: Annotated[
        bool, typer.Option("--bidirectional/--no-bidirectional", help="Sound updated by vision.")
    ] = True,
    adapters: Annotated[bool, typer.Option("--adapters/--no-adapters", help="Audio adapters in the encoder.")] = True,
    image_size: Annotated[
        int | None, typer.Option(help="Side of the model's input in pixels (backbones from nothing only).")
    ] = None,
    limit_clips: Annotated[int | None, typer.Option(help="Use only so many clips of each split.")] = None,
    seed: Annotated[int, typer.Option()] = 0,
    workers: Annotated[int, typer.Option(help="Processes that read ahead.")] = 0,
    device: DeviceName = "auto",
    precision: TrainingPrecisionName = "auto",
    validate_every: Annotated[int, typer.Option(help="Epochs between validations.")] = 1,
    save_minutes: Annotated[float, typer.Option(help="Minutes between saved states, besides one an epoch.")] = 5.0,
    cache: Annotated[
        Path | None, typer.Option(help="Folder of stage 1a's embeddings. [default: OUT/embeddings]")
    ] = None,
    report: Annotated[
        bool,
        typer.Option("--report", help="At the end, OUT/report.html: tables, curves, best and worst val clips."),
    ] = False,
    dry_run: DryRun = False,
) -> None:
    """Train by the paper's recipe: ST-BAVA and decoder (1a), adapters and decoder (1b), then both (2)."""
    from avseg_cli.base.errors import InputError
    from avseg_cli.base.progress import console
    from avseg_cli.training.options import TrainOptions
    from avseg_cli.training.train import plan, plan_resume
    from avseg_cli.training.train import resume as resume_run
    from avseg_cli.training.train import train as run_training

    if resume is not None and dry_run:
        say_plan(plan_resume(resume) or [f"do nothing: all stages of {resume} are done"])
        return
    if resume is not None:
        done = resume_run(resume)
        for best in done:
            console().print(f"best checkpoint: {best}", soft_wrap=True)
        if not done:
            console().print(f"{resume}: all its stages are done", soft_wrap=True)
        if report:
            _report(resume)
        return
    if data is None or out is None:
        raise InputError("training needs --data (or AVSEG_DATA) and --out, or --resume with the folder of a run")
    options = TrainOptions(
        data=str(data), subset=subset, out=str(out), stages=_stages(stage), backbone=backbone, init=init,
        init_adapters=init_adapters,
        pretrained=str(pretrained) if pretrained else None, epochs=epochs, batch_size=batch_size,
        learning_rate=lr, optimizer=optimizer, weight_decay=weight_decay, schedule=schedule, warmup=warmup,
        loss=loss, augment=augment, patience=patience, accumulate=accumulate, dropout=dropout,
        unfreeze=_parts(unfreeze), depth=depth, fusion=fusion,
        temporal=temporal, bidirectional=bidirectional, adapters=adapters, image_size=image_size,
        limit_clips=limit_clips, seed=seed, workers=workers, device=device, precision=precision,
        validate_every=validate_every, save_minutes=save_minutes, cache=str(cache) if cache else None,
        command=shlex.join(["avseg", *sys.argv[1:]]),
    )  # fmt: skip
    if dry_run:
        say_plan(plan(options))
        return
    best = run_training(options)
    console().print(f"best checkpoint: {best}", soft_wrap=True)
    if report:
        _report(out)


def _report(run: Path) -> None:
    """Write the page of a run, in the first of its processes."""
    if int(os.environ.get("RANK", "0")) > 0:
        return
    from avseg_cli.base.progress import console
    from avseg_cli.training.run_page import write_run

    console().print(f"report: {write_run(run)}", soft_wrap=True)


def _parts(listed: str | None) -> tuple[str, ...] | None:
    """None: left to the recipe; "none": nothing."""
    return None if listed is None else tuple(part for part in listed.split(",") if part not in ("", "none"))


def _stages(text: str) -> tuple[str, ...]:
    """all: left to the recipe; pretrain: both pretraining stages."""
    if text == "all":
        return ()
    return tuple(text.replace("pretrain,", "pretrain-sound,pretrain-image,").split(",")) if text != "pretrain" else (
        "pretrain-sound", "pretrain-image",
    )  # fmt: skip
