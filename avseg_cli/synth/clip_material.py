"""What composed clips teach a model that knows kinds: frames as photographs with masks, seconds as recordings.

Only clips of the train split are taken. Their categories are called by the kinds that they are of; one that the table
lacks is left out of the recordings, and unknown in the masks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path

import numpy as np
from PIL import Image

from avseg_cli.base.errors import DataError
from avseg_cli.data.clips import read_categories
from avseg_cli.data.composed_lines import AGAIN, composed_lines
from avseg_cli.data.files import read_image, read_waveform
from avseg_cli.data.layouts import Places
from avseg_cli.data.subsets import SUBSETS
from avseg_cli.synth.library import file_of
from avseg_cli.synth.sound_files import SAMPLE_RATE, wav_bytes
from avseg_cli.synth.sounds import SECONDS

KINDS = {  # category of `avseg synth fetch` -> kind, of the thing and of its sound
    "acoustic_guitar": "acoustic_guitar", "bassoon": "clarinet", "big_cat": "lion", "bowed_strings": "violin",
    "car": "car", "chicken": "rooster", "chimp": "monkey", "cow": "cow", "cymbal": "cymbal", "dog": "dog",
    "donkey": "horse", "drum": "drums", "duck": "duck", "electric_guitar": "electric_guitar", "elephant": "elephant",
    "fire_engine": "siren", "frog": "frog", "gull": "bird", "horse": "horse", "insect": "insect", "owl": "owl",
    "penguin": "bird", "pig": "pig", "sheep": "sheep", "songbird": "bird", "trumpet": "trumpet",
}  # fmt: skip
DISTRACTOR, UNKNOWN = 255, 255  # of an object map; of a mask
SECONDS_A_KIND = 350  # of recordings: half of what the head learns from, so that those of the packages count as much
GroupOf = Callable[[str, str, str], str | None]
NEEDED = ("index", "layout", "objects", "sources", "licences")  # of a line of the manifest


@dataclass(frozen=True)
class ComposedClip:
    """A clip of the train split, by its line of the manifest. categories: by number in an object map, from 1 on."""

    root: Path
    categories: list[str]
    line: dict

    @cached_property
    def places(self) -> Places:
        subset = SUBSETS[self.line["layout"]]
        row = {name: self.line.get(name) or "" for name in ("name", "split", "category")}
        return subset.layout.places(self.root / subset.folder / subset.files, row, subset.frames)

    @property
    def licence(self) -> str:
        """Of all that is in it."""
        return ", ".join(sorted({str(found.get("licence", "")) for found in self.line["licences"].values()} - {""}))

    def origin(self, file: str) -> tuple[str, str]:
        """The package that a file of the media is of, and its name in there; empty where nothing says it."""
        found = self.line["licences"].get(file, {})
        return str(found.get("package", "")), str(found.get("source", ""))


def read_composed(folder: Path) -> list[ComposedClip]:
    """The clips of the train split of a folder that ``avseg synth`` made. Raises ``DataError`` for another folder."""
    lines = composed_lines(folder, NEEDED)
    if any(str(line["layout"]) not in SUBSETS for line in lines):
        raise DataError(f"{folder}: has clips of a layout that is not known here; {AGAIN}")
    lines = [line for line in lines if line["split"] == "train"]
    if not lines:
        raise DataError(f"{folder}: has no clips for training; give that split a share")
    categories = read_categories(folder, SUBSETS[lines[0]["layout"]])
    return [ComposedClip(folder, categories, line) for line in lines]


def photographs_of(clips: list[ComposedClip], folder: Path) -> Iterator[tuple[str, ...]]:
    """Write a frame of each clip and its mask into ``folder``/composed; their lines of manifest.tsv."""
    (folder / "composed").mkdir()
    for clip in clips:
        number = clip.line["index"] % len(clip.places.frames)
        frame = read_image(clip.places.frames[number], "RGB", AGAIN)
        mask, kinds = _mask(clip, read_image(clip.root / clip.places.object_maps[number], cure=AGAIN))
        files = [f"composed/{clip.line['name']}{end}.png" for end in ("", "-mask")]
        for name, pixels in zip(files, (frame, mask), strict=True):
            Image.fromarray(pixels).save(folder / name, optimize=True)
        yield *files, ",".join(kinds), "1", "composed", clip.licence, f"avseg synth, {clip.line['name']}"


def _mask(clip: ComposedClip, numbers: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """The mask of an object map (H, W) by kind, and the kinds in it."""
    table, kinds = np.zeros(256, np.uint8), []
    for number in np.unique(numbers[numbers > 0]).tolist():
        kind = "other" if number == DISTRACTOR else _kind(clip.categories[number - 1], _drawn(clip, number))
        if kind is None:
            table[number] = UNKNOWN
            continue
        kinds += [kind] * (kind not in kinds)
        table[number] = 1 + kinds.index(kind)
    return table[numbers], kinds


def _drawn(clip: ComposedClip, number: int) -> str:
    """The cut-out that an object map calls ``number``."""
    return next((thing["file"] for thing in clip.line["objects"] if thing["label"] == number), "")


def _kind(category: str, file: str) -> str | None:
    """What a category is of; violins and cellos, which are one, are told apart by their files, where these say it."""
    if category != "bowed_strings" or "violin" in file:
        return KINDS.get(category)
    return "cello" if "cello" in file else None


def recordings_of(clips: list[ComposedClip], folder: Path, group_of: GroupOf) -> Iterator[tuple[str, ...]]:
    """Write the seconds in which one thing is heard alone into ``folder``/composed; their lines of manifest.tsv.

    group_of: the source of a file of a package, whose recordings may be in the folder too, by package, file and kind;
    None for one that has none.
    """
    (folder / "composed").mkdir()
    seconds: dict[str, int] = {}
    for clip in clips:
        wave = None
        for source, first, last in _alone(clip):
            kind = _kind(source["category"], source["file"])
            if kind is None or seconds.get(kind, 0) >= SECONDS_A_KIND:
                continue
            wave = read_waveform(clip.places.wav, AGAIN) if wave is None else wave
            path = f"composed/{kind}-{clip.line['name']}-{first}.wav"
            (folder / path).write_bytes(wav_bytes(wave[first * SAMPLE_RATE : last * SAMPLE_RATE]))
            seconds[kind] = seconds.get(kind, 0) + last - first
            recording = file_of(source["file"])
            group = group_of(*clip.origin(recording), kind) or recording
            yield path, kind, group, clip.licence, f"avseg synth, {clip.line['name']}: {recording}"


def _alone(clip: ComposedClip) -> Iterator[tuple[dict, int, int]]:
    """The sources that are heard alone, each from a second to another."""
    heard = [[i for i, source in enumerate(clip.line["sources"]) if source["sounding"][t]] for t in range(SECONDS)]
    start = 0
    for sources, run in groupby(heard):
        stop = start + len(list(run))
        if len(sources) == 1:
            yield clip.line["sources"][sources[0]], start, stop
        start = stop
