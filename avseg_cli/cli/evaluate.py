"""``avseg evaluate``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import typer

from avseg_cli.base.errors import InputError, OutputError
from avseg_cli.base.say import say
from avseg_cli.base.version import __version__
from avseg_cli.cli.data_options import DATA_NEEDED, DataRoot
from avseg_cli.cli.dry_run import DryRun, say_plan
from avseg_cli.cli.model_options import DeviceName, PrecisionName
from avseg_cli.cli.options import made_of
from avseg_cli.scoring.evaluate_options import CLIPS, EvaluateOptions, FootageOptions

EXAMPLES = 6  # best clips on the page of --report, and as many worst
SHOWN = 60  # real clips on that page, at most: the worst


def register(app: typer.Typer) -> None:
    app.command("evaluate")(evaluate)


@dataclass(frozen=True)
class _Told:
    """Where the figures go besides the table: files, and JSON on stdout. masks: where predictions go."""

    csv: Path | None
    report: Path | None
    as_json: bool
    masks: Path | None

    def check(self) -> None:
        """Raise ``OutputError`` for a place that cannot take its output, before anything is scored."""
        from avseg_cli.base.whole_files import check_file, check_folder

        if self.csv:
            check_file(self.csv, "csv", (".csv",))
        if self.report:
            check_file(self.report, "report", (".html", ".htm"))
        if self.masks:
            check_folder(self.masks, "masks")

    def plan(self, what: str) -> None:
        say_plan([what, *(f"write {path}" for path in (self.csv, self.report, self.masks) if path)])


@made_of(given=EvaluateOptions, of_clips=(FootageOptions, ("swap_sound",)))
def evaluate(
    *,
    data: DataRoot = None,
    given: dict[str, Any],
    of_clips: dict[str, Any],
    csv: Annotated[Path | None, typer.Option(help="Write a line per video here.")] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="Write a page here: tables, curves, best and worst clips."),
    ] = None,
    device: DeviceName = "auto",
    precision: PrecisionName = "fp32",
    as_json: Annotated[bool, typer.Option("--json", help="Print every figure as JSON on stdout.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Score a model on AVSBench or data laid out like it: mIoU and F exactly as AVSBench defines them."""
    given |= {"device": device, "precision": precision}
    told = _Told(csv, report, as_json, Path(given["masks"]) if given["masks"] else None)
    told.check()
    if given["subset"] == CLIPS:
        _refuse_of_avsbench(given)
        if data is None:
            raise InputError("--subset clips needs --data: the folder that holds clips/ and masks/")
        shared = {field.name: given[field.name] for field in fields(FootageOptions) if field.name in given}
        pictures = SHOWN if report else 0
        _clips(FootageOptions(data=str(data), **shared, **of_clips, pictures=pictures), told, dry_run)
        return
    if of_clips["swap_sound"]:
        raise InputError("--swap-sound is for --subset clips; for AVSBench's there is --negatives swap")
    if data is None:
        raise InputError(DATA_NEEDED.format("evaluation"))
    _split(EvaluateOptions(data=str(data), **given, examples=EXAMPLES if report else 0), told, dry_run)


def _refuse_of_avsbench(given: dict[str, Any]) -> None:
    """What was asked for that real clips do not have."""
    theirs = {field.name for field in fields(FootageOptions)} | {"subset"}
    for field in fields(EvaluateOptions):
        if field.name not in theirs and given.get(field.name, field.default) != field.default:
            flag = f"--{field.name.replace('_', '-')}"
            raise InputError(f"{flag} is for AVSBench's subsets, not for --subset clips, which has --swap-sound")


def _split(options: EvaluateOptions, told: _Told, dry_run: bool) -> None:
    """A split of AVSBench, or of data laid out like it."""
    from avseg_cli.scoring.evaluate import evaluate, plan
    from avseg_cli.scoring.scores_page import write_evaluation
    from avseg_cli.scoring.tables import MEANINGS, table, to_dict, write_csv

    if dry_run:
        told.plan(plan(options))
        return
    made_by = _made_by(options, options.checkpoint)
    result = evaluate(options)
    _tell(result, told, write_csv, write_evaluation, table, MEANINGS, result.notes, to_dict, made_by)


def _clips(options: FootageOptions, told: _Told, dry_run: bool) -> None:
    """One's own real clips."""
    from avseg_cli.base.extras import extra

    with extra("evaluate", "scoring real clips"):
        from avseg_cli.scoring.footage import evaluate_footage, plan
        from avseg_cli.scoring.footage_page import write_footage
        from avseg_cli.scoring.footage_tables import MEANINGS, notes, table, to_dict, write_csv

    if dry_run:
        told.plan(plan(options))
        return
    made_by = _made_by(options, None if options.predictions else options.subject)
    result = evaluate_footage(options)
    _tell(result, told, write_csv, write_footage, table, MEANINGS, notes(result), to_dict, made_by)


def _made_by(options: EvaluateOptions | FootageOptions, checkpoint: str | None) -> dict[str, Any]:
    """What made the figures, for the record: avseg's version and, of a model, its file and what it ran on."""
    from avseg_cli.checkpoints.checkpoint import choose_device, find_checkpoint, read_info
    from avseg_cli.checkpoints.manifest import hash_file
    from avseg_cli.checkpoints.precision import choose_precision, precision_name

    if checkpoint is None:
        return {"avseg": __version__}
    path = find_checkpoint(checkpoint)
    read_info(path)  # raises for what is no checkpoint
    device = choose_device(options.device)
    precision = precision_name(choose_precision(options.precision, device))
    file = {"checkpoint": checkpoint, "sha256": hash_file(path)}
    return {"avseg": __version__, **file, "device": str(device), "precision": precision}


def _tell(
    result: Any,
    told: _Told,
    write_csv: Callable[[Path, Any], None],
    write_page: Callable[[Path, Any], None],
    table: Callable[[Any], Any],
    meanings: dict[str, str],
    notes: Iterable[str],
    to_dict: Callable[[Any], Any],
    made_by: dict[str, Any],
) -> None:
    """The table with what its columns mean, then JSON, then files: one that cannot be written loses no figure."""
    from avseg_cli.base.progress import console

    console().print(table(result))
    for name, meaning in meanings.items():
        say(f"{name}: {meaning}", "dim")
    for note in notes:
        say(note)
    if told.as_json:
        print(json.dumps({"made_by": made_by, **to_dict(result)}, indent=1))
    refused: list[str] = []
    for path, write in ((told.csv, write_csv), (told.report, write_page)):
        try:
            if path:
                write(path, result)
        except OutputError as error:
            refused.append(error.args[0])
    if refused:
        raise OutputError("; ".join(refused))
