"""``avseg bench``: how fast the model is here, beside the straightforward pipeline, and how well they agree."""

from __future__ import annotations

from collections.abc import Callable
from json import dumps as json_text
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from avseg_cli.base.say import say
from avseg_cli.bench.bench_options import SCALING, BenchOptions, ScalingOptions
from avseg_cli.cli.dry_run import DryRun, say_plan
from avseg_cli.cli.model_options import DeviceName
from avseg_cli.cli.options import made_of

if TYPE_CHECKING:
    from rich.console import Console


def register(app: typer.Typer) -> None:
    app.command()(bench)


@made_of(given=BenchOptions, scaled=ScalingOptions)
def bench(
    *,
    given: dict[str, Any],
    device: DeviceName = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON on stdout.")] = False,
    scaling: Annotated[
        bool,
        typer.Option("--scaling", rich_help_panel=SCALING, help="Time avseg segment on videos made for it instead."),
    ] = False,
    scaled: dict[str, Any],
    dry_run: DryRun = False,
) -> None:
    """Compare speed, memory and results with the straightforward pipeline, component by component.

    With --scaling: what segmenting costs as videos get longer and masks more frequent, and what starting costs.
    """
    if scaling:
        _scaling(ScalingOptions(**scaled, checkpoint=given["checkpoint"] or "default", device=device), as_json, dry_run)
    else:
        _comparison(BenchOptions(**given, device=device), as_json, dry_run)


def _scaling(options: ScalingOptions, as_json: bool, dry_run: bool) -> None:
    from avseg_cli.bench.printing import print_scaling
    from avseg_cli.bench.scaling import check_plot, check_ready, draw, run_scaling

    if dry_run:
        check_ready(options)
        lengths, rates = (",".join(f"{value:g}" for value in values) for values in (options.lengths, options.rates))
        written = [f"write {options.plot}"] if options.plot else []
        say_plan([f"time avseg segment on videos of {lengths} s at --fps {rates}", *written])
        return
    if options.plot:
        check_plot(Path(options.plot))
    told = run_scaling(options, _measuring)
    if options.plot:
        draw(told, Path(options.plot))
    _show(told, print_scaling, as_json)


def _comparison(options: BenchOptions, as_json: bool, dry_run: bool) -> None:
    from avseg_cli.base.extras import extra
    from avseg_cli.bench.printing import print_report

    with extra("reference", "comparing with the straightforward pipeline"):
        from avseg_cli.bench.run import check_ready, run_bench

    if dry_run:
        check_ready(options)
        subject = options.checkpoint or options.backbone
        say_plan([f"compare {','.join(options.parts)} of {subject}, the best of {options.repeats} runs each"])
        return
    _show(run_bench(options, _measuring), print_report, as_json)


def _measuring(run: str) -> None:
    say(f"measuring {run}")


def _show(report: dict[str, Any], printed: Callable[[dict[str, Any], Console], None], as_json: bool) -> None:
    """On stdout, for a program or for a person."""
    from rich.console import Console

    from avseg_cli.bench.printing import WIDTH

    if as_json:
        typer.echo(json_text(report, indent=2))
    else:
        printed(report, Console(width=max(WIDTH, Console().width)))
