"""``avseg segment``: any video in, its sounding objects out."""

from __future__ import annotations

import inspect
import os
from collections import deque
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from avseg_cli.base.errors import InputError, OutputError
from avseg_cli.cli.completion import list_of
from avseg_cli.cli.model_options import checkpoint_option, device_option, precision_option
from avseg_cli.cli.options import made_of
from avseg_cli.cli.video_options import Quiet, audio_option, audio_track_option
from avseg_cli.outputs.cleanup import Cleanup
from avseg_cli.outputs.formats import FORMATS
from avseg_cli.outputs.style import Style
from avseg_cli.segment.many_options import ManyOptions
from avseg_cli.segment.segment_options import HOW, OUT, WHAT, SegmentOptions

if TYPE_CHECKING:
    from avseg_cli.cli.listener import Announcer
    from avseg_cli.segment.batch import Batch

FLAGGED = tuple(name for name in FORMATS if FORMATS.constant(name, "FLAG"))  # formats with a flag of their own


def _named(name: str) -> str:
    return f"{name} (clip{FORMATS.constant(name, 'SUFFIX')}: {_lower(FORMATS.summary(name))})"


def _lower(text: str) -> str:
    """The sentence as part of another: names such as COCO and YouTube-VIS keep their capitals."""
    first = text.split(maxsplit=1)[0]
    return (text[:1].lower() if first == first.capitalize() else text[:1]) + text[1:].removesuffix(".")


def _flag(name: str) -> inspect.Parameter:
    """The option of a format that has a flag."""
    about = f"Also clip{FORMATS.constant(name, 'SUFFIX')}: {_lower(FORMATS.summary(name))}."
    flag = typer.Option(f"--{name}", rich_help_panel=OUT, help=about)
    return inspect.Parameter(
        name.replace("-", "_"), inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Annotated[bool, flag]
    )


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("segment")(segment)


@made_of(given=SegmentOptions, clean=Cleanup, look=Style, many=ManyOptions, flags=[_flag(name) for name in FLAGGED])
def segment(
    *,
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUTS…",
            help=(
                "Videos, folders of videos, patterns, https://, s3:// or gs:// addresses, or - for a video on stdin."
            ),
        ),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="PATH",
            rich_help_panel=OUT,
            help=(
                "A folder (the tree of the inputs is kept), or, for one input and one format, a file. "
                "Default: beside each input."
            ),
        ),
    ] = None,
    formats: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="LIST",
            rich_help_panel=OUT,
            autocompletion=list_of(*FORMATS),
            help=f"One or more of: {', '.join(_named(name) for name in FORMATS if name not in FLAGGED)}, and those of "
            "the flags below. Several, with commas, cost one pass of the model. Default: what -o says, or overlay.",
        ),
    ] = None,
    flags: dict[str, bool],
    checkpoint: Annotated[str, checkpoint_option(HOW)] = "default",
    given: dict[str, Any],
    device: Annotated[str, device_option(HOW)] = "auto",
    precision: Annotated[str, precision_option(HOW)] = "auto",
    many: dict[str, Any],
    audio: Annotated[Path | None, audio_option(WHAT)] = None,
    audio_track: Annotated[int | None, audio_track_option(WHAT)] = None,
    look: dict[str, Any],
    clean: dict[str, Any],
    as_json: Annotated[
        bool, typer.Option("--json", rich_help_panel=OUT, help="Print one JSON object for each input on stdout.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Highlight, cut out or mask what is making the sound in videos.

    Outputs appear when they are finished, never half-written. Existing ones are kept unless you say
    [bold]--overwrite[/bold] or [bold]--skip-existing[/bold]. The exit code is 0 unless an input failed; videos
    without a sound track are left out, see [bold]--no-sound[/bold].

    [dim]avseg segment clip.mp4[/dim]                        writes clip.avseg.mp4
    [dim]avseg segment talks/ -r -o out --format masks,json[/dim]
    [dim]avseg segment incoming/ -r -o out --watch[/dim]
    [dim]cat clip.mp4 | avseg segment - -o clip.avseg.mp4[/dim]
    """
    # drawing multiplies small matrices beside busy encoder threads: more threads of its own only get in their way
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("OPENCV_FOR_THREADS_NUM", "1")
    from avseg_cli.cli.listener import Announcer
    from avseg_cli.media.encoders import chosen_codecs
    from avseg_cli.segment.batch import Batch
    from avseg_cli.segment.cluster import everywhere, run_ray
    from avseg_cli.segment.inputs import find_sources, format_of, names_one, plan_outputs
    from avseg_cli.segment.processes import run_jobs
    from avseg_cli.segment.runner import check_stride

    how = ManyOptions(**many)
    options = SegmentOptions(**given, cleanup=Cleanup(**clean), style=Style(**look))
    chosen_codecs(options.encoder)
    wanted = _formats(formats or format_of(output), [name for name in FLAGGED if flags[name.replace("-", "_")]])
    if how.ray is not None:
        checkpoint = everywhere(checkpoint) if os.path.exists(checkpoint) else checkpoint
        audio = audio and Path(everywhere(audio))
    batch = Batch(
        partial(_load, checkpoint, device, precision, options.compiled),
        options,
        checkpoint,
        audio,
        audio_track,
        how.overwrite,
        how.skip_existing,
        how.dry_run,
        how.no_sound != "fail",
    )
    if how.watch:
        _watch(batch, inputs, how, output, wanted, Announcer(None, quiet, as_json))
        return
    sources = find_sources(inputs, how.recursive)
    outputs = plan_outputs(sources, output, wanted)
    work = list(zip(sources, outputs, strict=True))
    pages = [(source.path, paths[name]) for source, paths in work for name in paths if FORMATS[name].indexed]
    index = _index([page for _, page in pages], output, how.overwrite or how.skip_existing)
    batch.skip_silent &= how.no_sound == "skip" or not names_one(inputs, sources)
    if how.dry_run and how.ray is None:
        # raises for a checkpoint, a device or a precision that is not there
        check_stride(options.stride, batch.load().model.config)
    with Announcer(len(sources), quiet, as_json) as report:
        outcomes = (
            run_jobs(batch, work, report, how.jobs)
            if how.ray is None
            else run_ray(batch, work, report, how.ray, how.ray_cpus, how.ray_gpus)
        )
        deque(outcomes, 0)  # the report heard of each
    if report.tally.total == 1 and (error := report.tally.few[0].error):
        raise error
    if index:
        report.index(index, pages, how.dry_run)
    report.previews()
    report.summary({source.path: place for place, source in enumerate(sources)})
    report.model()
    if code := report.tally.exit_code:
        raise typer.Exit(code)


def _watch(
    batch: Batch, folders: list[str], how: ManyOptions, output: str | None, formats: list[str], report: Announcer
) -> None:
    """Segment what comes into folders until Ctrl-C, which is how a watch ends well."""
    from avseg_cli.segment.processes import run_feed
    from avseg_cli.segment.watch import Watch, deciding

    watch = Watch(folders, how.recursive, output, formats, how.watch_every, deciding(batch), tell=report.remark)
    model = batch.load()  # raises for a checkpoint, a device or a precision that is not there
    batch.overwrite = True  # the watch asks for what is missing, and again for a video that changed
    if how.jobs == 1:
        batch.load = lambda model=model: model
    del model  # each process loads its own
    with report, suppress(KeyboardInterrupt):
        report.watching(watch)
        for outcome in run_feed(batch, watch, report, how.jobs):
            watch.note(outcome)
    report.summary()
    report.model()


def _formats(listed: str, flagged: list[str]) -> list[str]:
    """The formats of ``--format`` and those that have flags of their own, each once."""
    named = [name.strip() for name in listed.split(",") if name.strip()]
    names = list(dict.fromkeys(named + flagged))
    unknown = [name for name in names if name not in FORMATS]
    if unknown or not names:
        raise InputError(f"--format {listed}: not a list of {', '.join(FORMATS)}")
    return names


def _index(pages: list[Path], output: str | None, replace: bool) -> Path | None:
    """Where the index of several reports goes; raises ``OutputError`` if it is there and may not be replaced."""
    from avseg_cli.segment.index_page import index_path
    from avseg_cli.segment.inputs import KEEP_OR_REPLACE

    if len(pages) < 2:
        return None
    path = index_path(pages, output)
    if path.exists() and not replace:
        raise OutputError(f"{path}: exists; {KEEP_OR_REPLACE}")
    return path


def _load(checkpoint: str, device: str, precision: str, compiled: bool):
    from avseg_cli.segment.segmenter import Segmenter

    return Segmenter.load(checkpoint, device, precision, compiled)
