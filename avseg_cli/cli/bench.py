"""``avseg bench``: how fast the model is here, beside the straightforward pipeline, and how well they agree."""

from __future__ import annotations

from collections.abc import Callable
from json import dumps as json_text
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from avseg_cli.cli.completion import PRECISIONS, checkpoints, either
from avseg_cli.cli.dry_run import DryRun, say_plan
from avseg_cli.cli.model_options import DeviceName
from avseg_cli.model.backbones import BACKBONES

if TYPE_CHECKING:
    from rich.console import Console

SCALING = "With length"


def register(app: typer.Typer) -> None:
    app.command()(bench)


def bench(
    backbone: Annotated[str, typer.Option(help=f"{either(BACKBONES, '')}, with random weights.")] = "vit_b",
    checkpoint: Annotated[
        str | None,
        typer.Option(help="Use these weights instead of random ones, e.g. default.", autocompletion=checkpoints),
    ] = None,
    blocks: Annotated[
        int | None, typer.Option(help="Only this many of the encoder's blocks, where the whole takes too long.")
    ] = None,
    parts: Annotated[
        str,
        typer.Option(
            show_default="log_mel, vggish, encoder, fusion, decoder, clip",  # with places to break the line at
            help=(
                "Components, with commas between: of a clip's way through the model, train_1a (an epoch of stage 1a), "
                "train_2 (a step of stage 2), startup; all for all."
            ),
        ),
    ] = "log_mel,vggish,encoder,fusion,decoder,clip",
    device: DeviceName = "auto",
    precision: Annotated[str, typer.Option(help="Ours: auto, fp32 or bf16.", autocompletion=PRECISIONS)] = "auto",
    reference_precision: Annotated[str, typer.Option(help="The reference's: fp32 or bf16.")] = "fp32",
    all_precisions: Annotated[
        bool,
        typer.Option("--all-precisions", help="Each row in fp32, ours in bf16, and both in bf16, where there is bf16."),
    ] = False,
    clips: Annotated[int, typer.Option(help="Clips of 5 frames.")] = 1,
    batch: Annotated[int, typer.Option(help="Frames per pass of our encoder (the reference takes one).")] = 1,
    repeats: Annotated[int, typer.Option(help="The best of this many counts; the two take turns.")] = 3,
    threads: Annotated[int | None, typer.Option(help="CPU threads; without it torch's choice.")] = None,
    compiled: Annotated[bool, typer.Option("--compile", help="Compile our encoder (for GPUs).")] = False,
    seed: Annotated[int, typer.Option(help="Of the random weights and inputs.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON on stdout.")] = False,
    scaling: Annotated[
        bool,
        typer.Option("--scaling", rich_help_panel=SCALING, help="Time avseg segment on videos made for it instead."),
    ] = False,
    lengths: Annotated[
        str, typer.Option(rich_help_panel=SCALING, help="Lengths of the videos in seconds.")
    ] = "10,20,40,80",
    rates: Annotated[str, typer.Option(rich_help_panel=SCALING, help="Values of --fps to try.")] = "1,2,4",
    plot: Annotated[
        Path | None, typer.Option(rich_help_panel=SCALING, help="Draw time and memory over length into this file.")
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Compare speed, memory and results with the straightforward pipeline, component by component.

    With --scaling: what segmenting costs as videos get longer and masks more frequent, and what starting costs.
    """
    from rich.console import Console

    messages = Console(stderr=True)
    if scaling:
        from avseg_cli.bench.printing import print_scaling
        from avseg_cli.bench.scaling import check_plot, draw, run_scaling

        if plot:
            check_plot(plot)
        if dry_run:
            say_plan(
                [f"time avseg segment on videos of {lengths} s at {rates} masks a second"]
                + ([f"write {plot}"] if plot else [])
            )
            return
        told = run_scaling(
            _numbers(lengths, "--lengths"), _numbers(rates, "--rates"), checkpoint or "default", device,
            lambda run: messages.print(f"measuring {run}"),
        )  # fmt: skip
        if plot:
            draw(told, plot)
        _show(told, print_scaling, json)
        return

    from avseg_cli.base.extras import extra
    from avseg_cli.bench.printing import print_report

    with extra("reference", "comparing with the straightforward pipeline"):
        from avseg_cli.bench.run import ALL_PARTS, BenchOptions, check_ready, run_bench

    options = BenchOptions(
        backbone=backbone, checkpoint=checkpoint, blocks=blocks, device=device,
        parts=ALL_PARTS if parts == "all" else tuple(part.strip() for part in parts.split(",")), precision=precision,
        reference_precision=reference_precision, all_precisions=all_precisions, clips=clips, batch=batch,
        repeats=repeats, threads=threads, compiled=compiled, seed=seed,
    )  # fmt: skip
    if dry_run:
        check_ready(options)
        say_plan([f"compare {parts} of {checkpoint or backbone}, the best of {repeats} runs each"])
        return
    _show(run_bench(options, lambda part: messages.print(f"measuring {part}")), print_report, json)


def _show(report: dict[str, Any], printed: Callable[[dict[str, Any], Console], None], as_json: bool) -> None:
    """On stdout, for a program or for a person."""
    from rich.console import Console

    from avseg_cli.bench.printing import WIDTH

    if as_json:
        typer.echo(json_text(report, indent=2))
    else:
        printed(report, Console(width=max(WIDTH, Console().width)))


def _numbers(text: str, option: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not numbers with commas between", param_hint=option) from error
