"""``avseg prepare``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from avseg_cli.base.say import say
from avseg_cli.base.text import counted, counted_by
from avseg_cli.cli.data_options import DATA_NEEDED, DataRoot, SubsetName
from avseg_cli.cli.dry_run import DryRun, say_plan
from avseg_cli.cli.options import made_of
from avseg_cli.data.prepare_options import PrepareOptions


def register(app: typer.Typer) -> None:
    app.command("prepare")(prepare)


@made_of(given=PrepareOptions)
def prepare(
    *,
    data: DataRoot = None,
    subset: SubsetName = "ms3",
    check: Annotated[bool, typer.Option("--check", help="Only say what is missing or malformed, and count.")] = False,
    given: dict[str, Any],
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON on stdout.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Make frames and sound from AVSBench's raw videos by the official rule, or check a data root."""
    import json
    from collections import Counter
    from dataclasses import asdict

    from avseg_cli.base.errors import DataError, InputError
    from avseg_cli.base.progress import progress_bar
    from avseg_cli.base.sharing import Sharing
    from avseg_cli.data.check import check_root
    from avseg_cli.data.prepare import plan
    from avseg_cli.data.prepare import prepare as run_prepare
    from avseg_cli.data.subsets import find_subset

    if data is None:
        raise InputError(DATA_NEEDED.format("prepare"))
    options = PrepareOptions(data, subset, **given)
    if dry_run and not check:  # a check writes nothing anyway
        say_plan(f"{what} {counted(count, 'clip')}" for what, count in plan(options).items() if count)
        return
    with progress_bar(Sharing()) as progress:
        if check:
            report = check_root(data, find_subset(subset), lambda clips: progress.track(clips, description="checking"))
        else:
            made = run_prepare(
                options, lambda items, count: progress.track(items, total=count, description="preparing")
            )
    if check:
        for title, lines in (
            ("missing", report.missing),
            ("malformed", report.malformed),
            ("note", report.notes),
        ):
            for line in lines:
                say(f"{title}: {line}")
        if as_json:
            print(json.dumps(asdict(report), indent=1))
        clips = counted_by(report.counts, "clip")
        if not report.sound:
            raise DataError(
                f"{data}: {subset} has {clips}, but {counted(len(report.missing), 'place')} with missing files and "
                f"{counted(len(report.malformed), 'malformed file')} (listed above)"
            )
        say(f"{subset}: {clips}, nothing missing, nothing malformed")
        return
    outcomes = Counter(item.outcome for item in made)
    for item in made:
        if item.error:
            say(item.error)
    if as_json:
        print(json.dumps([asdict(item) for item in made], indent=1))
    say(", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items())))
    if outcomes["failed"]:
        raise DataError(
            f"{data}: {outcomes['failed']} of {counted(len(made), 'clip')} could not be prepared (listed above)"
        )
