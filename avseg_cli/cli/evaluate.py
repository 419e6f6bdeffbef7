"""``avseg evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from avseg_cli.cli.completion import checkpoints, list_of, one_of
from avseg_cli.cli.data_options import DATA_NEEDED, DataRoot
from avseg_cli.cli.dry_run import DryRun, say_plan
from avseg_cli.cli.model_options import DeviceName, PrecisionName
from avseg_cli.model.backbones import BACKBONES

EXAMPLES = 6  # best clips on the page of --report, and as many worst
SHOWN = 60  # real clips on that page, at most: the worst
CLIPS = "clips"  # the subset that is a folder of the user's own


def register(app: typer.Typer) -> None:
    app.command("evaluate")(evaluate)


def evaluate(
    data: DataRoot = None,
    subset: Annotated[
        str,
        typer.Option(
            help="s4, ms3, v1s, v1m or v2, or data in that layout; clips: your own videos (--data/clips/NAME.mp4) with "
            "masks you drew (--data/masks/NAME/0.png, 1.png, … for each second).",
            autocompletion=one_of("s4", "ms3", "v1s", "v1m", "v2", CLIPS),
        ),
    ] = "ms3",
    split: Annotated[str, typer.Option(help="A split that the subset's csv has.")] = "test",
    checkpoint: Annotated[
        str | None,
        typer.Option(
            "--checkpoint", "-c", autocompletion=checkpoints, help="A checkpoint file, or default for the embedded one."
        ),
    ] = None,
    predictions: Annotated[
        Path | None, typer.Option(help="Score the mask PNGs in this folder instead of a model.")
    ] = None,
    prompts: Annotated[
        str | None,
        typer.Option(
            help="Score SAM prompted with the truth: points:1, points:3, box:1, box:3.",
            autocompletion=one_of("points:1", "points:3", "box:1", "box:3"),
        ),
    ] = None,
    backbone: Annotated[
        str, typer.Option(help="Of the prompted SAM: vit_h, vit_l, vit_b.", autocompletion=one_of(*BACKBONES))
    ] = "vit_h",
    negatives: Annotated[
        str,
        typer.Option(
            help="Also with wrong sound: silence, noise, swap (comma separated).",
            autocompletion=list_of("silence", "noise", "swap"),
        ),
    ] = "",
    move_sound: Annotated[
        bool,
        typer.Option("--move-sound", help="Also with another visible object's sound (avseg synth's data)."),
    ] = False,
    swap_sound: Annotated[
        bool, typer.Option("--swap-sound", help="Of --subset clips: each clip also with the next clip's sound.")
    ] = False,
    baselines: Annotated[
        bool, typer.Option("--baselines", help="Also what can be reached without sound (avseg synth's data).")
    ] = False,
    csv: Annotated[Path | None, typer.Option(help="Write a line per video here.")] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="Write a page here: tables, curves, best and worst clips."),
    ] = None,
    masks: Annotated[Path | None, typer.Option(help="Write predicted masks here, in the authors' naming.")] = None,
    limit_clips: Annotated[int | None, typer.Option(help="Only the first so many clips.")] = None,
    seed: Annotated[int, typer.Option(help="Of noise, swaps and random points.")] = 0,
    device: DeviceName = "auto",
    precision: PrecisionName = "fp32",
    as_json: Annotated[bool, typer.Option("--json", help="Print every figure as JSON on stdout.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Score a model on AVSBench or data laid out like it: mIoU and F exactly as AVSBench defines them."""
    import json

    from avseg_cli.base.errors import InputError
    from avseg_cli.base.progress import console
    from avseg_cli.scoring.evaluate import EvaluateOptions, plan
    from avseg_cli.scoring.evaluate import evaluate as run_evaluation
    from avseg_cli.scoring.tables import DEFINITIONS, table, to_dict, write_csv

    if subset == CLIPS:
        for name, given in (("--prompts", prompts), ("--negatives", negatives), ("--move-sound", move_sound)):
            if given:
                raise InputError(f"{name} is for AVSBench's subsets; --subset clips has --swap-sound")
        _evaluate_footage(data, checkpoint, predictions, swap_sound, csv, report, masks, limit_clips, device, precision,
                          as_json, dry_run)  # fmt: skip
        return
    if swap_sound:
        raise InputError("--swap-sound is for --subset clips; for AVSBench's there is --negatives swap")
    if data is None:
        raise InputError(DATA_NEEDED.format("evaluation"))
    options = EvaluateOptions(
        data=str(data), subset=subset, split=split, checkpoint=checkpoint,
        predictions=str(predictions) if predictions else None, prompts=prompts, backbone=backbone,
        negatives=tuple(name for name in negatives.split(",") if name), move_sound=move_sound,
        baselines=baselines, masks=str(masks) if masks else None, limit_clips=limit_clips, seed=seed,
        device=device, precision=precision, examples=EXAMPLES if report else 0,
    )  # fmt: skip
    if dry_run:
        say_plan([plan(options), *(f"write {path}" for path in (csv, report, masks) if path)])
        return
    result = run_evaluation(options)
    if csv:
        write_csv(csv, result)
    if report:
        from avseg_cli.scoring.scores_page import write_evaluation

        write_evaluation(report, result)
    console().print(table(result))
    for name in ("miou", "f", "f_dataset"):
        console().print(f"{name}: {DEFINITIONS[name]}", style="dim", highlight=False)
    for note in result.notes:
        console().print(note, highlight=False)
    if as_json:
        print(json.dumps(to_dict(result), indent=1))


def _evaluate_footage(
    data: Path | None, checkpoint: str | None, predictions: Path | None, swap_sound: bool, csv: Path | None,
    report: Path | None, masks: Path | None, limit_clips: int | None, device: str, precision: str, as_json: bool,
    dry_run: bool,
) -> None:  # fmt: skip
    import json

    from avseg_cli.base.errors import InputError
    from avseg_cli.base.extras import extra
    from avseg_cli.base.progress import console

    with extra("evaluate", "scoring real clips"):
        from avseg_cli.scoring.footage import FootageOptions, evaluate_footage, plan
        from avseg_cli.scoring.footage_tables import MEANINGS, notes, table, to_dict, write_csv

    if data is None:
        raise InputError("--subset clips needs --data: the folder that holds clips/ and masks/")
    options = FootageOptions(
        data=str(data), checkpoint=checkpoint, predictions=str(predictions) if predictions else None,
        swap_sound=swap_sound, masks=str(masks) if masks else None, limit_clips=limit_clips, device=device,
        precision=precision, pictures=SHOWN if report else 0,
    )  # fmt: skip
    if dry_run:
        say_plan([plan(options), *(f"write {path}" for path in (csv, report, masks) if path)])
        return
    result = evaluate_footage(options)
    if csv:
        write_csv(csv, result)
    if report:
        from avseg_cli.scoring.footage_page import write_footage

        write_footage(report, result)
    console().print(table(result))
    for meaning in (f"{name}: {meaning}" for name, meaning in MEANINGS.items()):
        console().print(meaning, style="dim", highlight=False)
    for note in notes(result):
        console().print(note, highlight=False)
    if as_json:
        print(json.dumps(to_dict(result), indent=1))
