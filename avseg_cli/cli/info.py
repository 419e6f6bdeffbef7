"""``avseg info``: what the tool sees in a video."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from avseg_cli.base.say import say
from avseg_cli.base.text import counted, printable
from avseg_cli.cli.options import made_of, said
from avseg_cli.segment.info_options import InfoOptions

if TYPE_CHECKING:
    from rich.console import Console


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("info")(info)


@made_of(given=InfoOptions)
def info(
    *,
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUTS…", help="Videos, folders of videos, patterns, or - for a video on stdin."),
    ],
    output: Annotated[
        str | None, typer.Option("-o", "--output", metavar="PATH", help="Where segment would be told to write.")
    ] = None,
    given: dict[str, Any],
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Look into subfolders too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for each input on stdout.")] = False,
) -> None:
    """Tell what is in a video and what segmenting it would do: tracks, times, rotation, colours, names, warnings.

    A file that is no video is an error; a video that cannot be segmented as it is, for want of sound, is not.
    """
    from rich.console import Console

    from avseg_cli.base.errors import AvsegError
    from avseg_cli.media.container import spooled
    from avseg_cli.segment.info import describe_video
    from avseg_cli.segment.inputs import find_sources, formats_at, plan_outputs, refuse_addresses

    options = InfoOptions(**given)
    refuse_addresses(inputs)
    sources = find_sources(inputs, recursive)
    outputs = plan_outputs(sources, output, formats_at(output))
    console = Console(stderr=True, highlight=False)
    failed: list[AvsegError] = []
    for source, planned in zip(sources, outputs, strict=True):
        try:
            with spooled(source.path) as path:
                told = {
                    "input": str(source.path),
                    **describe_video(path, source.path, planned, options, said),
                }
        except AvsegError as error:
            failed.append(error)
            told = {"input": str(source.path), "error": said(error), "exit_code": error.exit_code}
            if len(sources) > 1:
                say(f"avseg: {said(error)}")
        if as_json:
            print(json.dumps(told), flush=True)
        elif "error" not in told:
            _show(told, console)
    if failed and len(sources) == 1:
        raise failed[0]
    if failed:
        raise typer.Exit(failed[0].exit_code)


def _show(told: dict[str, Any], console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    title = Text(printable(told["input"]))
    table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")  # names are never cut
    for name, value in _lines(told):
        table.add_row(Text(name, "bold"), Text(printable(value)))  # Text: what a file says is not markup
    console.print(table)
    for warning in told["segment"]["warnings"]:
        say(f"note: {warning}", "yellow", console)
    if problem := told["segment"].get("problem"):
        say(f"cannot be segmented as it is: {problem}", "red", console)


def _lines(told: dict[str, Any]) -> list[tuple[str, str]]:
    """The facts as people read them."""
    colours, times, would = told["colours"], told["timing"], told["segment"]
    length = "unknown length" if told["duration"] is None else f"{told['duration']:.2f} s"
    turned = f", turned by {told['rotation']} degrees" if told["rotation"] else ""
    aspect = f", pixels {told['pixel_aspect']}" if told["pixel_aspect"] not in ("1", "0") else ""
    lines = [
        ("file", f"{told['container']}, {told['bytes']:,} bytes, {length}"),
        ("picture", f"{told['codec']}, {told['size'][0]} x {told['size'][1]} upright{turned}{aspect}"),
        ("frames", _frames(told, times)),
        ("colours", f"{colours['pixel_format']}, matrix {colours['matrix']}, primaries {colours['primaries']}, "
                    f"transfer {colours['transfer']}, {colours['range']} range"),
    ]  # fmt: skip
    lines += [(f"track {track['index']}", _track(track)) for track in told["tracks"]]
    if would["possible"]:
        masks = "masks to the end" if would["masks"] is None else f"about {counted(would['masks'], 'mask')}"
        lines.append(
            ("segment would", f"hear track number {would['sound']['track']} of {would['sound']['file']}, make {masks}")
        )
        lines += [
            (f"  {name}", out["path"] + (" (exists)" if out["exists"] else ""))
            for name, out in would["outputs"].items()
        ]
    return lines


def _frames(told: dict[str, Any], times: dict[str, Any]) -> str:
    about = "" if told["frames"] is None else f"about {told['frames']}, "
    kind = {True: "variable rate, on average", False: "constant rate of", None: "rate said to be"}[times["variable"]]
    steps = f" ({times['shortest']:g} to {times['longest']:g} s apart)" if times["variable"] else ""
    return f"{about}{kind} {told['rate']:g} a second{steps}, {'interlaced' if told['interlaced'] else 'progressive'}"


def _track(track: dict[str, Any]) -> str:
    parts = [track["kind"], track["codec"] or "a codec not known here"]
    if track["kind"] == "audio" and "number" in track:
        parts.append(f"number {track['number']}, {track['sample_rate']} Hz, {track['layout']}")
    parts += [str(track[name]) for name in ("language", "title") if name in track]
    if "start" in track:
        parts.append(f"starts at {track['start']:g} s")
    if "duration" in track:
        parts.append(f"lasts {track['duration']:g} s")
    if track.get("cover"):
        parts.append("a cover picture, left out")
    return ", ".join(parts)
