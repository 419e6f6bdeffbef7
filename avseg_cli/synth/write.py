"""``avseg synth``: clips in the AVSBench layouts, object maps, a manifest and a contact sheet."""

from __future__ import annotations

import csv
import io
import json
import multiprocessing
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from avseg_cli.base.errors import DataError, OutputError
from avseg_cli.base.pool import killed_is_told
from avseg_cli.base.text import counted
from avseg_cli.base.whole_files import new_folder, refuse_existing
from avseg_cli.data.layouts import Places
from avseg_cli.data.subsets import SUBSETS
from avseg_cli.synth.compose import SynthClip, compose_clip
from avseg_cli.synth.contact_sheet import contact_sheet
from avseg_cli.synth.library import Library, file_of
from avseg_cli.synth.sound_files import wav_bytes
from avseg_cli.synth.synth_options import SPLITS, SynthOptions

_SHEET_CLIPS = 12

Report = Callable[[int, int], None]


def synthesise(options: SynthOptions, report: Report = lambda done, total: None) -> dict[str, int]:
    """Make the whole data set under ``options.out``, which appears complete or not at all.

    report: called with (clips done, clips in all). Returns the number of clips per split.
    Raises OutputError when ``out`` exists, DataError when the media do not suffice, and DeviceError when one of several
    processes is killed.
    """
    tasks, library = _ready(options)
    with new_folder(options.out) as root:
        rows = []
        for row in _made(options, library, root, tasks):
            rows.append(row)
            report(len(rows), len(tasks))
        _write_record(options, library, root, rows)
        _write_sheet(options, library, root, tasks)
    return _counts(tasks, library)


def plan(options: SynthOptions) -> dict[str, int]:
    """The number of clips per split that ``synthesise`` would make; raises as it would, and writes nothing."""
    return _counts(*_ready(options))


def _ready(options: SynthOptions) -> tuple[list[tuple[str, int]], Library]:
    """What is to be made, and from what, once it is sure that it can be."""
    refuse_existing(options.out)
    _refuse_full_disk(options)
    tasks = _tasks(options)
    library = _load(options, tuple(split for split in SPLITS if any(task[0] == split for task in tasks)))
    _check(library)
    return tasks, library


def _tasks(options: SynthOptions) -> list[tuple[str, int]]:
    """(split, index within the split) of every clip."""
    bounds = np.rint(np.cumsum((0, *options.shares)) / sum(options.shares) * options.clips).astype(int)
    counts = np.diff(bounds)
    return [(split, index) for split, count in zip(SPLITS, counts, strict=False) for index in range(count)]


def _load(options: SynthOptions, splits: tuple[str, ...]) -> Library:
    folders = (options.objects, options.sounds, options.backgrounds, options.distractors, options.ambience)
    return Library.load(*folders, options.seed, splits)


def _refuse_full_disk(options: SynthOptions) -> None:
    """Frames are about two bytes a pixel, sound is 160 kB; an hour's work is not to end at a full disk."""
    there = next(path for path in options.out.absolute().parents if path.is_dir())
    needed = options.clips * (5 * options.size**2 * 2 + 160_000)
    free = shutil.disk_usage(there).free
    if needed > free:
        raise OutputError(
            f"{options.out}: making {counted(options.clips, 'clip')} takes about {needed / 1e9:.1f} GB and there are "
            f"{free / 1e9:.1f} GB left; make fewer, or name a folder on another disk"
        )


def _counts(tasks: list[tuple[str, int]], library: Library) -> dict[str, int]:
    return {split: sum(task[0] == split for task in tasks) for split in library.splits}


def _check(library: Library) -> None:
    for split, media in library.splits.items():
        if not media.objects:
            raise DataError(
                f"no category has the three cut-outs it takes to keep one out for {split}; add cut-outs or "
                "set that share to 0"
            )


_worker: tuple[SynthOptions, Library, Path]


def _start_worker(options: SynthOptions, splits: tuple[str, ...], root: Path) -> None:
    global _worker
    _worker = (options, _load(options, splits), root)


def _work(task: tuple[str, int]) -> dict[str, object]:
    options, library, root = _worker
    return _make_clip(options, library, root, *task)


def _made(
    options: SynthOptions, library: Library, root: Path, tasks: list[tuple[str, int]]
) -> Iterator[dict[str, object]]:
    """Make every clip, over the processes asked for, and yield the manifest's rows in the tasks' order."""
    if options.workers == 1:
        for task in tasks:
            yield _make_clip(options, library, root, *task)
        return
    context = multiprocessing.get_context("spawn")
    arguments = (options, tuple(library.splits), root)
    pool = ProcessPoolExecutor(options.workers, context, _start_worker, arguments)
    with killed_is_told(options.out, "clips"), pool:
        yield from pool.map(_work, tasks, chunksize=4)


def _make_clip(options: SynthOptions, library: Library, root: Path, split: str, index: int) -> dict[str, object]:
    clip = _compose(options, library, split, index)
    places = _places(options, root, split, _clip_name(options.layout, split, index, clip), clip)
    if options.video:
        clip = _filmed(options, clip, places.video)
    _write_clip(options, root, split, places, clip)
    used = [source["file"] for kind in ("objects", "sources") for source in clip.parameters[kind]]
    used += [clip.parameters["background"], clip.parameters["ambience"] or ""]
    licences = {name: library.licences[name] for name in map(file_of, used) if name in library.licences}
    return {
        "name": places.name,
        "split": split,
        "sounding": clip.sounding,
        "off_screen": clip.off_screen,
        **clip.parameters,
        "licences": licences,
    }


def _compose(options: SynthOptions, library: Library, split: str, index: int) -> SynthClip:
    size = options.video[::-1] if options.video else (options.size, options.size)
    return compose_clip(library, split, options.seed, index, size, options.layout, options.elsewhere)


def _filmed(options: SynthOptions, clip: SynthClip, path: Path) -> SynthClip:
    """Write the clip's video and return the clip as AVSBench would cut it from that file."""
    from avseg_cli.synth.video_file import read_frames, squashed, write_video

    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(clip, path, options.every_frame)
    return replace(
        clip,
        frames=read_frames(path, options.size),
        masks=squashed(clip.masks, options.size),
        object_map=squashed(clip.object_map, options.size),
    )


def _clip_name(layout: str, split: str, index: int, clip: SynthClip) -> str:
    if "category" in SUBSETS[layout].layout.needed:
        return f"{clip.parameters['category']}_{split}_{index:05d}"
    return f"synth_{split}_{index:05d}"


def _places(options: SynthOptions, root: Path, split: str, name: str, clip: SynthClip) -> Places:
    """Where the parts of one clip go."""
    subset = SUBSETS[options.layout]
    row = {"name": name, "split": split, "category": clip.parameters.get("category") or ""}
    return subset.layout.places(root / subset.folder / subset.files, row, subset.frames)


def _write_clip(options: SynthOptions, root: Path, split: str, places: Places, clip: SynthClip) -> None:
    """Write frames, sound, masks and object maps of a clip."""
    maps = [root / path for path in places.object_maps]
    for folder in (places.frames[0].parent, places.masks[0].parent, maps[0].parent, places.wav.parent):
        folder.mkdir(parents=True, exist_ok=True)
    places.wav.write_bytes(wav_bytes(clip.waveform))
    for path, frame in zip(places.frames, clip.frames, strict=True):
        _save(path, frame)
    for path, labels in zip(maps, clip.object_map, strict=True):
        _save(path, labels)
    annotated = SUBSETS[options.layout].annotated(split)
    for path, mask in zip(places.masks[:annotated], clip.masks[:annotated], strict=True):
        _save(path, mask.astype(np.uint8) * 255)


def _save(path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(path, "PNG", compress_level=1)


def _write_record(options: SynthOptions, library: Library, root: Path, rows: list[dict[str, object]]) -> None:
    subset = SUBSETS[options.layout]
    columns = subset.layout.columns
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(
        [columns, *([row.get(name, 0) for name in columns] for row in rows)]
    )
    (root / subset.folder / subset.metadata).write_text(text.getvalue())
    recipe = {
        "clips": options.clips,
        "seed": options.seed,
        "layout": options.layout,
        "elsewhere": options.elsewhere,
        "shares": options.shares,
        "size": options.size,
        "video": options.video,
    }
    (root / "recipe.json").write_text(json.dumps(recipe, indent=1))
    (root / "categories.json").write_text(json.dumps(list(library.categories), indent=1))
    (root / "splits.json").write_text(json.dumps(library.record(), indent=1))
    (root / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def _write_sheet(options: SynthOptions, library: Library, root: Path, tasks: list[tuple[str, int]]) -> None:
    chosen = [tasks[i] for i in np.linspace(0, len(tasks) - 1, min(_SHEET_CLIPS, len(tasks))).astype(int)]
    clips = [_compose(options, library, split, index) for split, index in chosen]
    names = [_clip_name(options.layout, *task, clip) for task, clip in zip(chosen, clips, strict=True)]
    contact_sheet(clips, names).save(root / "contact_sheet.png")
