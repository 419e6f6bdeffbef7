"""``avseg ablate``."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from avseg_cli.ablation.ablate_options import AblateOptions
from avseg_cli.cli.data_options import DataRoot, SubsetName
from avseg_cli.cli.dry_run import DryRun, say_plan
from avseg_cli.cli.model_options import DeviceName, TrainingPrecisionName
from avseg_cli.cli.options import made_of
from avseg_cli.training.train_options import TrainOptions

FIELDS = (  # of a training run, that all variants share
    "backbone", "init", "pretrained", "epochs", "batch_size", "learning_rate", "image_size", "limit_clips", "seed",
    "workers", "cache", "recipes", "adapter_start",
)  # fmt: skip


def register(app: typer.Typer) -> None:
    app.command("ablate")(ablate)


@made_of(given=(TrainOptions, FIELDS), chosen=AblateOptions)
def ablate(
    *,
    data: DataRoot = None,
    subset: SubsetName = "ms3",
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder of all the runs; what is done in it is not done again."),
    ] = None,
    chosen: dict[str, Any],
    given: dict[str, Any],
    device: DeviceName = "auto",
    precision: TrainingPrecisionName = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON on stdout.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Train and score variants of the model, parts left out or exchanged: the thesis' Tables 6.2 and 6.3, Fig. 6.3."""
    import json
    from dataclasses import asdict

    from rich.markdown import Markdown

    from avseg_cli.ablation.ablate import ablate as run_ablation
    from avseg_cli.ablation.ablate import plan, to_markdown
    from avseg_cli.base.errors import InputError
    from avseg_cli.base.progress import console
    from avseg_cli.data.composed_lines import is_composed
    from avseg_cli.data.subsets import find_subset

    if data is None or out is None:
        raise InputError("an ablation needs --data (or AVSEG_DATA) and --out")
    base = TrainOptions(
        **given, data=str(data), subset=subset, out=str(out), device=device, precision=precision,
        command=shlex.join(["avseg", *sys.argv[1:]]),
    )  # fmt: skip
    options = AblateOptions(**chosen)
    if dry_run:
        say_plan(plan(base, options))
        return
    rows = run_ablation(base, options)
    console().print(Markdown(to_markdown(rows, subset, is_composed(data, find_subset(subset)))))
    if as_json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
