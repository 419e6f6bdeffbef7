"""``avseg ablate``."""

from __future__ import annotations

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


def register(app: typer.Typer) -> None:
    app.command("ablate")(ablate)


def ablate(
    data: DataRoot = None,
    subset: SubsetName = "ms3",
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder of all the runs; what is done in it is not done again."),
    ] = None,
    variants: Annotated[
        str,
        typer.Option(
            help="table-6.2, table-6.3, depth, all, or variants by name (comma separated).",
            autocompletion=list_of("table-6.2", "table-6.3", "depth", "all"),
        ),
    ] = "table-6.3",
    frozen: Annotated[
        bool,
        typer.Option(
            "--frozen",
            help="Only stage 1a, encoder frozen and without adapters: cheap, compares fusion alone.",
        ),
    ] = False,
    split: Annotated[str, typer.Option(help="The split that is reported.")] = "test",
    backbone: Annotated[str, typer.Option(help=either(BACKBONES), autocompletion=one_of(*BACKBONES))] = "vit_h",
    init: Annotated[str | None, typer.Option(help="Checkpoint every variant starts from.")] = None,
    pretrained: Annotated[Path | None, typer.Option(help="Run whose pretraining stages are used (tiny).")] = None,
    epochs: Annotated[int | None, typer.Option(help="Of every stage. [default: the recipe's]")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Clips per step.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate.")] = None,
    image_size: Annotated[
        int | None, typer.Option(help="Side of the model's input in pixels (backbones from nothing only).")
    ] = None,
    limit_clips: Annotated[int | None, typer.Option(help="Use only so many clips of each split.")] = None,
    seed: Annotated[int, typer.Option()] = 0,
    workers: Annotated[int, typer.Option(help="Processes that read ahead.")] = 0,
    device: DeviceName = "auto",
    precision: TrainingPrecisionName = "auto",
    cache: Annotated[Path | None, typer.Option(help="Folder of the embeddings. [default: OUT/embeddings]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON on stdout.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Train and evaluate the variants of the paper's Tables 6.2 and 6.3 and Fig. 6.3, published figures beside ours."""
    import json
    from dataclasses import asdict

    from rich.markdown import Markdown

    from avseg_cli.ablation.ablate import ablate as run_ablation
    from avseg_cli.ablation.ablate import choose, plan, to_markdown
    from avseg_cli.base.errors import InputError
    from avseg_cli.base.progress import console
    from avseg_cli.training.options import TrainOptions

    if data is None or out is None:
        raise InputError("an ablation needs --data (or AVSEG_DATA) and --out")
    base = TrainOptions(
        data=str(data), subset=subset, out=str(out), backbone=backbone, init=init,
        pretrained=str(pretrained) if pretrained else None, epochs=epochs, batch_size=batch_size, learning_rate=lr,
        image_size=image_size, limit_clips=limit_clips, seed=seed, workers=workers, device=device, precision=precision,
        cache=str(cache) if cache else None, command=shlex.join(["avseg", *sys.argv[1:]]),
    )  # fmt: skip
    chosen = choose([name for name in variants.split(",") if name])
    if dry_run:
        say_plan(plan(base, chosen, split, frozen))
        return
    rows = run_ablation(base, chosen, split, frozen)
    console().print(Markdown(to_markdown(rows, subset)))
    if as_json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
