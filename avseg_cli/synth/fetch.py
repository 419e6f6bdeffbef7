"""``avseg synth fetch``: libre pictures, recordings and instruments from Debian packages, by category."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.signal import butter, sosfiltfilt

from avseg_cli.base.errors import DataError, named
from avseg_cli.base.whole_files import new_folder
from avseg_cli.synth import media_table as table
from avseg_cli.synth.licences import Licence
from avseg_cli.synth.midi import render_instrument
from avseg_cli.synth.packages import Packages
from avseg_cli.synth.sound_files import SAMPLE_RATE, decode_sound, wav_bytes

RENDERINGS = 32  # melodies per instrument
_BACKGROUND_SIDE = 640  # pixels, the longer side
_CUTOUT_SIDE = 512
_SEED = 20  # the melodies are part of the data set: the same fetch makes the same files

Say = Callable[[str], None]


def fetch_media(out: Path, debs: Path | None = None, say: Say = lambda message: None) -> dict[str, int]:
    """Fill ``out`` with objects/, sounds/, backgrounds/, distractors/, ambience/ and LICENCES.json.

    debs: a folder that holds the .deb files already; without it ``apt-get download`` gets them.
    Returns the number of files per folder. The folder appears whole or not at all.
    Raises OutputError when ``out`` exists, DownloadError when a package cannot be had, and DataError
    when a package is not what it should be.
    """
    with new_folder(out) as root, tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as scratch:
        packages = Packages(Path(scratch, "packages"))
        for package in table.PACKAGES:
            say(f"unpacking {package}")
            packages.add(package, debs, Path(scratch))
        media = _MediaFolder(root, packages)
        _add_pictures(media)
        _add_recordings(media)
        _add_backgrounds(media)
        _add_renderings(media, say)
        (media.root / "LICENCES.json").write_text(json.dumps(media.licences, indent=1, sort_keys=True))
    folders = [name.split("/")[0] for name in media.licences]
    return {folder: folders.count(folder) for folder in sorted(set(folders))}


class _MediaFolder:
    """The folder being filled, the packages it is filled from, and the licence of every file in it."""

    def __init__(self, root: Path, packages: Packages) -> None:
        self.root, self.packages = root, packages
        self.licences: dict[str, Licence] = {}

    def add(self, name: str, content: bytes, package: str, source: str, licence: Licence | None = None) -> None:
        """Write a file, and where it came from; the licence is looked up unless it is given."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        found = self.packages.licence(package, source) if licence is None else licence
        self.licences[name] = {"package": package, "source": source, **found}


def _add_pictures(media: _MediaFolder) -> None:
    wanted = {picture: f"objects/{category.name}" for category in table.CATEGORIES for picture in category.pictures}
    wanted |= dict.fromkeys(table.DISTRACTORS, "distractors")
    for picture, folder in wanted.items():
        source = f"{table.STAMPS_ROOT}/{picture}"
        content = _cutout(media.packages.read(table.STAMPS, source), source)
        media.add(f"{folder}/{Path(picture).stem}.png", content, table.STAMPS, source)


def _cutout(content: bytes, source: str) -> bytes:
    """A picture cropped to what its alpha shows, as RGBA PNG bytes."""
    with Image.open(io.BytesIO(content)) as opened:
        picture = opened.convert("RGBA")
    box = picture.getchannel("A").point([0] * 26 + [255] * 230).getbbox()
    if box is None:
        raise DataError(f"{source} is wholly transparent; use the package of Debian 12 by {named('debs')}")
    picture = picture.crop(box)
    picture.thumbnail((_CUTOUT_SIDE, _CUTOUT_SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def _add_recordings(media: _MediaFolder) -> None:
    for category in table.CATEGORIES:
        folder = f"sounds/{category.name}"
        for sound in category.stamp_sounds:
            _add_recording(media, folder, "stamps", table.STAMPS, f"{table.STAMPS_ROOT}/{sound}")
        for sound in category.gcompris_sounds:
            _add_recording(media, folder, "gcompris", table.GCOMPRIS, f"{table.ARCHIVES_ROOT}/{sound}")
    for sound in table.AMBIENCE_RECORDINGS:
        _add_recording(media, "ambience", "gcompris", table.GCOMPRIS, f"{table.ARCHIVES_ROOT}/{sound}")


def _add_recording(media: _MediaFolder, folder: str, origin: str, package: str, source: str) -> None:
    waveform = decode_sound(media.packages.read(package, source))
    high_pass = butter(2, 40, "highpass", fs=SAMPLE_RATE, output="sos")  # rumble and offset are nobody's voice
    media.add(
        f"{folder}/{origin}-{Path(source).stem}.wav",
        _levelled(sosfiltfilt(high_pass, waveform)),
        package,
        source,
    )


def _levelled(waveform: np.ndarray) -> bytes:
    """WAV bytes at -1 dB peak."""
    return wav_bytes(waveform * (0.9 / max(float(np.abs(waveform).max()), 1e-6)))


def _add_backgrounds(media: _MediaFolder) -> None:
    seen: list[np.ndarray] = []
    for package, source in _photographs(media.packages):
        with Image.open(io.BytesIO(media.packages.read(package, source))) as opened:
            opened.draft("RGB", (_BACKGROUND_SIDE, _BACKGROUND_SIDE))
            photo = opened.convert("RGB")
        photo.thumbnail((_BACKGROUND_SIDE, _BACKGROUND_SIDE), Image.Resampling.LANCZOS, reducing_gap=2.0)
        if _is_known(photo, seen):
            continue
        buffer = io.BytesIO()
        photo.save(buffer, "JPEG", quality=90)
        media.add(f"backgrounds/{_background_name(source)}.jpg", buffer.getvalue(), package, source)


def _background_name(source: str) -> str:
    parts = Path(source.split(":")[-1]).with_suffix("").parts
    return f"wallpaper-{parts[3]}" if "contents" in parts else f"{parts[-2]}-{parts[-1]}"


def _photographs(packages: Packages) -> Iterator[tuple[str, str]]:
    """(package, source) of every background photograph, in a fixed order."""
    for wanted in table.WALLPAPER_PHOTOS:
        for package in table.WALLPAPERS:
            path = packages.path(package, wanted)
            if path.exists():
                yield package, f"{wanted}{_least_large_enough(path)}" if path.is_dir() else wanted
    for archive, folder in table.PHOTO_FOLDERS:
        source = f"{table.ARCHIVES_ROOT}/{archive}"
        for path in sorted(packages.archive(table.GCOMPRIS, source)):
            stem = Path(path).stem.lower()
            is_part = archive == "details.rcc" and not stem.endswith("_background")
            is_other = is_part or any(word in stem for word in table.NOT_PHOTOS)
            if folder in path and path.endswith(".webp") and not is_other:
                yield table.GCOMPRIS, f"{source}:{path}"


def _least_large_enough(folder: Path) -> str:
    """Of one wallpaper in many sizes (``1280x1024.jpg`` …), the first from 1280 pixels up."""
    sizes = sorted(folder.glob("[0-9]*x[0-9]*.*"), key=lambda path: int(path.stem.split("x")[0]))
    if not sizes:
        raise DataError(f"{folder} has no picture; use the package of Debian 12 by {named('debs')}")
    return next((path for path in sizes if int(path.stem.split("x")[0]) >= 1280), sizes[-1]).name


def _is_known(photo: Image.Image, seen: list[np.ndarray]) -> bool:
    """Whether the photograph was met before, in another size: a split by file must not share pictures."""
    small = np.asarray(photo.convert("L").resize((16, 16), Image.Resampling.BOX), dtype=np.float64).ravel()
    small = (small - small.mean()) / (np.linalg.norm(small - small.mean()) + 1e-9)
    known = any(float(small @ other) > 0.97 for other in seen)
    seen.append(small)
    return known


def _add_renderings(media: _MediaFolder, say: Say) -> None:
    soundfont = media.packages.path(table.SOUNDFONT, table.SOUNDFONT_PATH)
    jobs = [(f"sounds/{each.name}", each.instrument) for each in table.CATEGORIES if each.instrument is not None]
    jobs.append(("ambience", table.Instrument(table.AMBIENCE_PROGRAMS, (40, 76))))
    for number, (folder, instrument) in enumerate(jobs):
        say(f"rendering {folder}")
        rng = np.random.default_rng((_SEED, number))
        for index, (program, melody) in enumerate(render_instrument(instrument, soundfont, RENDERINGS, rng)):
            source = f"{table.SOUNDFONT_PATH}, melody {_SEED}.{number}.{index}"
            called = f"{table.PROGRAMS[program]}-" if program in table.PROGRAMS else ""
            name = f"{folder}/rendering-{called}{index:02d}.wav"
            media.add(name, _levelled(melody), table.SOUNDFONT, source, table.SOUNDFONT_LICENCE)
