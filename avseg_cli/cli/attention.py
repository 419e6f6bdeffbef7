"""``avseg attention``: what the model's attention does with a video, to be looked at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from avseg_cli.attention.attention_options import HOW, WHAT, AttentionOptions, MapChoice
from avseg_cli.base.say import say
from avseg_cli.cli.model_options import checkpoint_option, device_option, precision_option
from avseg_cli.cli.options import made_of
from avseg_cli.cli.video_options import OUT, Overwrite, Quiet, audio_option, audio_track_option

if TYPE_CHECKING:
    from avseg_cli.attention.show import Shown


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("attention")(attention)


@made_of(choice=MapChoice, given=AttentionOptions)
def attention(
    *,
    video: Annotated[str, typer.Argument(metavar="VIDEO", help="A video, or - for one on stdin.")],
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="PATH",
            rich_help_panel=OUT,
            help=(
                "A folder, a .png (the picture alone) or a .mp4, .mov or .mkv (the video alone). Default: both,"
                " beside VIDEO."
            ),
        ),
    ] = None,
    choice: dict[str, Any],
    given: dict[str, Any],
    audio: Annotated[Path | None, audio_option(WHAT)] = None,
    audio_track: Annotated[int | None, audio_track_option(WHAT)] = None,
    checkpoint: Annotated[str, checkpoint_option(HOW)] = "default",
    device: Annotated[str, device_option(HOW)] = "auto",
    precision: Annotated[str, precision_option(HOW)] = "auto",
    overwrite: Overwrite = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", rich_help_panel=OUT, help="Look at the input and say what would be written.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", rich_help_panel=OUT, help="Print what was found, second by second, on stdout.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Show what the model's attention does: where and when each sound looks, and which sound each pixel hears.

    Writes clip.avseg.attention.png (the first five seconds from [bold]--start[/bold]; before, in every block of, and
    after ST-BAVA) and clip.avseg.attention.mp4 (all of it). The maps are the weights the model itself computes, in
    multiples of an even share: 1 means no preference.

    Three of a block's attentions can be seen. The fourth, pixels looking at the one sound of their own frame, is
    1 by construction. In a video of one second the two over time are even: there is only one second to choose.
    """
    from avseg_cli.attention.looks import check_ready
    from avseg_cli.attention.show import KINDS, show_attention
    from avseg_cli.cli.listener import progress_of
    from avseg_cli.media.container import spooled
    from avseg_cli.media.video import probe
    from avseg_cli.segment.inputs import check_outputs, find_source, plan_outputs
    from avseg_cli.segment.runner import check_span
    from avseg_cli.segment.segmenter import Segmenter

    options = AttentionOptions(**given, choice=MapChoice(**choice))
    source = find_source(video)
    outputs = plan_outputs([source], output, _formats(output), KINDS)[0]
    check_outputs(source, outputs, overwrite, "use --overwrite to replace it, or -o to write elsewhere", KINDS)
    with spooled(source.path) as path:
        facts = probe(path, audio, audio_track)
        check_span(facts, options.start)
        shown = None
        model = Segmenter.load(checkpoint, device, precision).model
        check_ready(model, options)
        if not dry_run:
            with progress_of(source.path, facts, quiet) as progress:
                shown = show_attention(facts, model, outputs, options, progress)
    _tell(source.path, outputs, shown, as_json, quiet)


def _formats(output: str | None) -> list[str]:
    """What ``output`` can take: both in a folder, else the one its suffix names."""
    from avseg_cli.attention.show import KINDS

    suffix = "" if output is None or Path(output).is_dir() else Path(output).suffix.lower()
    return [name for name, kind in KINDS.items() if suffix in kind.files] or list(KINDS)


def _tell(source: Path, outputs: dict[str, Path], shown: Shown | None, as_json: bool, quiet: bool) -> None:
    import json

    if as_json:
        facts = {"outputs": {name: str(path) for name, path in outputs.items()}} if shown is None else shown.to_dict()
        typer.echo(json.dumps({"input": str(source), "status": "done" if shown else "planned", **facts}))
    if quiet:
        return
    for warning in shown.warnings if shown else ():
        say(f"{source}: {warning}", "yellow")
    for path in outputs.values():
        say(f"{path}: {'written' if shown else 'would be written'}")
