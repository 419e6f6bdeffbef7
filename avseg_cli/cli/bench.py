"""``avseg bench``: how fast the model is here, beside the straightforward pipeline, and how well they agree."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    app.command()(bench)


def bench(
    backbone: Annotated[str, typer.Option(help="vit_b, vit_l, vit_h or tiny, with random weights.")] = "vit_b",
    checkpoint: Annotated[
        str | None, typer.Option(help="Use these weights instead of random ones, e.g. default.")
    ] = None,
    blocks: Annotated[
        int | None, typer.Option(help="Only this many of the encoder's blocks, where the whole takes too long.")
    ] = None,
    parts: Annotated[
        str, typer.Option(help="Components, with commas between.")
    ] = "log_mel,vggish,encoder,fusion,decoder,clip",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1.")] = "auto",
    precision: Annotated[str, typer.Option(help="Ours: auto, fp32 or bf16.")] = "auto",
    reference_precision: Annotated[str, typer.Option(help="The reference's: fp32 or bf16.")] = "fp32",
    clips: Annotated[int, typer.Option(help="Clips of 5 frames.")] = 1,
    batch: Annotated[int, typer.Option(help="Frames per pass of our encoder (the reference takes one).")] = 1,
    repeats: Annotated[int, typer.Option(help="The best of this many counts; the two take turns.")] = 3,
    threads: Annotated[int | None, typer.Option(help="CPU threads; without it torch's choice.")] = None,
    compiled: Annotated[bool, typer.Option("--compile", help="Compile our encoder (for GPUs).")] = False,
    seed: Annotated[int, typer.Option(help="Of the random weights and inputs.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON on stdout.")] = False,
) -> None:
    """Compare speed, memory and results with the straightforward pipeline, component by component."""
    from rich.console import Console

    from avseg_cli.bench import BenchOptions, run_bench
    from avseg_cli.bench.report import WIDTH, print_report

    options = BenchOptions(
        backbone=backbone, checkpoint=checkpoint, blocks=blocks, parts=tuple(parts.split(",")), device=device,
        precision=precision, reference_precision=reference_precision, clips=clips, batch=batch, repeats=repeats,
        threads=threads, compiled=compiled, seed=seed,
    )  # fmt: skip
    messages = Console(stderr=True)
    report = run_bench(options, lambda part: messages.print(f"measuring {part}"))
    if json:
        import json as encoder

        typer.echo(encoder.dumps(report, indent=2))
    else:
        print_report(report, Console(width=max(WIDTH, Console().width)))
