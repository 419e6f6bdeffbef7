"""``avseg synth`` makes training clips from cut-outs, sounds and backgrounds; ``synth fetch`` gets some."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from avseg_cli.base.say import say
from avseg_cli.base.text import counted, counted_by
from avseg_cli.cli.dry_run import DryRun, say_plan
from avseg_cli.cli.options import made_of
from avseg_cli.synth.synth_options import SynthOptions

SPARED = ("distractors", "ambience")  # folders that clips can do without
FOLDERS = ("objects", "sounds", "backgrounds", *SPARED)

Composed = Annotated[
    Path | None, typer.Option(help="A folder that avseg synth made; its clips of the train split are taken in as well.")
]

synth_app = typer.Typer(invoke_without_command=True, no_args_is_help=True)


def register(app: typer.Typer) -> None:
    app.add_typer(synth_app, name="synth")


@synth_app.callback()
@made_of(
    folders=(SynthOptions, FOLDERS),
    given=(SynthOptions, ("out", "clips", "seed", "layout", "elsewhere", "size", "shares")),
    films=(SynthOptions, ("video", "every_frame")),
)
def synth(
    *,
    context: typer.Context,
    media: Annotated[
        Path | None, typer.Option(help="A folder filled by avseg synth fetch; stands for the five below.")
    ] = None,
    folders: dict[str, Path | None],
    given: dict[str, Any],
    workers: Annotated[int, typer.Option(help="Processes; 0: one per core.")] = 0,
    mp4: Annotated[bool, typer.Option("--mp4", help="Also make real videos, and take the frames from them.")] = False,
    films: dict[str, Any],
    dry_run: DryRun = False,
) -> None:
    """Make 5-second clips with known masks in AVSBench's layout, from objects, sounds and backgrounds."""
    if context.invoked_subcommand is not None:
        return
    from rich.console import Console
    from rich.progress import Progress

    from avseg_cli.base.extras import extra
    from avseg_cli.base.threads import cores

    with extra("synth", "composing clips"):
        from avseg_cli.synth.write import plan, synthesise

    found = _folders(media, folders)
    out = given["out"]
    if out is None:
        raise typer.BadParameter("name the folder to make", param_hint="--out")
    options = SynthOptions(
        **found, **given, workers=workers or cores(), **{**films, "video": films["video"] if mp4 else None}
    )
    if dry_run:
        say_plan([f"make {counted_by(plan(options), 'clip')} in {out}"])
        return
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("making clips", total=None)
        counts = synthesise(options, lambda done, total: progress.update(bar, completed=done, total=total))
    say(f"{out}: {counted_by(counts, 'clip')}; look at {out / 'contact_sheet.png'}")


def _folders(media: Path | None, named: dict[str, Path | None]) -> dict[str, Path | None]:
    """Each folder as named, or else its place under ``media``."""
    found = dict(named)
    for name, folder in named.items():
        is_needed = name not in SPARED
        if folder is None and media is not None and (is_needed or (media / name).is_dir()):
            found[name] = media / name
        elif folder is None and is_needed:
            raise typer.BadParameter("name this folder, or a whole one by --media", param_hint=f"--{name}")
    return found


def _say_packages(packages: Iterable[str], debs: Path | None, out: Path, more: Iterable[str] = ()) -> None:
    """The plan of a command that fills a folder from Debian packages; raises ``OutputError`` for one that is there."""
    from avseg_cli.base.whole_files import refuse_existing

    refuse_existing(out)
    source = f"the folder {debs}" if debs else "Debian, by apt-get"
    say_plan([f"get {package} from {source}" for package in packages] + [*more, f"fill {out}"])


@synth_app.command()
def fetch(
    out: Annotated[Path, typer.Option(help="Folder to make; it must not exist.")],
    debs: Annotated[
        Path | None, typer.Option(help="Folder with the .deb files; without it apt-get downloads them.")
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Get libre pictures, recordings and instruments from Debian packages (520 MB; needs fluidsynth)."""

    from avseg_cli.base.extras import extra
    from avseg_cli.synth.media_table import PACKAGES

    with extra("synth", "fetching media"):
        from avseg_cli.synth.fetch import fetch_media

    if dry_run:
        _say_packages(PACKAGES, debs, out)
        return
    counts = fetch_media(out, debs, say)
    say(f"{out}: " + ", ".join(f"{count} {folder}" for folder, count in counts.items()))


@synth_app.command()
def sounds(
    out: Annotated[Path, typer.Option(help="Folder to make; it must not exist.")],
    debs: Annotated[
        Path | None, typer.Option(help="Folder with the .deb files; without it apt-get downloads them.")
    ] = None,
    clips: Composed = None,
    dry_run: DryRun = False,
) -> None:
    """Get libre recordings by kind from Debian packages, for avseg train --sounds (some 5 GB to download)."""

    from avseg_cli.base.extras import extra

    with extra("synth", "gathering sounds"):
        from avseg_cli.synth.clip_material import read_composed
        from avseg_cli.synth.sound_folder import gather_sounds, wanted_packages

    if dry_run:
        found = [f"take {counted(len(read_composed(clips)), 'composed clip')} in"] if clips else []
        _say_packages(wanted_packages(), debs, out, found)
        return
    counts = gather_sounds(out, debs, clips, say)
    say(f"{out}: {counted(sum(counts.values()), 'recording')} of {counted(len(counts), 'kind')}")


@synth_app.command()
def photos(
    out: Annotated[Path, typer.Option(help="Folder to make; it must not exist.")],
    coco: Annotated[
        list[Path] | None,
        typer.Option(
            help="COCO's pictures with annotations/instances_*.json, or with panoptic masks/ and classes.yaml; "
            "several times for several folders."
        ),
    ] = None,
    voc: Annotated[
        list[Path] | None,
        typer.Option(help="PASCAL VOC's JPEGImages/ and SegmentationClass/; several times for several folders."),
    ] = None,
    clips: Composed = None,
    dry_run: DryRun = False,
) -> None:
    """Turn photographs with masks, or composed clips, into what avseg train --photos reads."""

    from avseg_cli.base.whole_files import refuse_existing
    from avseg_cli.synth.clip_material import read_composed
    from avseg_cli.synth.photo_folder import gather_photographs, photographs

    if not (coco or voc or clips):
        hint = "--coco, --voc, --clips"
        raise typer.BadParameter("name a folder of photographs, or of composed clips", param_hint=hint)
    if dry_run:
        refuse_existing(out)
        found = sum(1 for _ in photographs(coco or (), voc or (), say))
        found += len(read_composed(clips)) if clips else 0
        say_plan([f"fill {out} with {counted(found, 'photograph')} and masks"])
        return
    count = gather_photographs(out, coco or (), voc or (), clips, say)
    say(f"{out}: {counted(count, 'photograph')} with masks")
