"""``avseg synth fetch``: libre pictures, recordings and instruments from Debian packages, by category."""

from __future__ import annotations

import fnmatch
import io
import json
import os
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from avseg_cli.errors import DataError, DownloadError, OutputError
from avseg_cli.synth import media_table as table
from avseg_cli.synth.midi import render_instrument
from avseg_cli.synth.rcc import read_rcc
from avseg_cli.synth.sound_files import SAMPLE_RATE, decode_sound, wav_bytes

RENDERINGS = 32  # melodies per instrument
_BACKGROUND_SIDE = 640  # pixels, the longer side
_CUTOUT_SIDE = 512
_SEED = 20  # the melodies are part of the data set: the same fetch makes the same files

Say = Callable[[str], None]


@dataclass
class MediaFolder:
    """The folder being filled, and the licence of every file put into it."""

    root: Path
    licences: dict[str, dict[str, str]]

    def add(self, name: str, content: bytes, package: str, source: str, licence: dict[str, str]) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self.licences[name] = {"package": package, "source": source, **licence}


def fetch_media(out: Path, debs: Path | None = None, say: Say = lambda message: None) -> dict[str, int]:
    """Fill ``out`` with objects/, sounds/, backgrounds/, distractors/, ambience/ and LICENCES.json.

    debs: a folder that holds the .deb files already; without it ``apt-get download`` gets them.
    Returns the number of files per folder. The folder appears whole or not at all.
    Raises OutputError when ``out`` exists, DownloadError when a package cannot be had, and DataError
    when a package is not what it should be.
    """
    if out.exists():
        raise OutputError(f"{out} already exists; name a new folder or remove it")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as scratch:
        packages = Path(scratch, "packages")
        for package in table.PACKAGES:
            say(f"unpacking {package}")
            _unpack(_deb(package, debs, Path(scratch)), packages / package)
        media = MediaFolder(Path(scratch, "media"), {})
        media.root.mkdir()
        archives = Archives(packages / table.GCOMPRIS / table.ARCHIVES_ROOT)
        _add_pictures(media, packages)
        _add_recordings(media, packages, archives)
        _add_backgrounds(media, packages, archives)
        _add_renderings(media, packages, say)
        (media.root / "LICENCES.json").write_text(json.dumps(media.licences, indent=1, sort_keys=True))
        os.replace(media.root, out)
    return _counts(media.licences)


def _counts(names: dict[str, dict[str, str]]) -> dict[str, int]:
    folders = [name.split("/")[0] for name in names]
    return {folder: folders.count(folder) for folder in sorted(set(folders))}


class Archives:
    """The gcompris archives, each read once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[str, dict[str, bytes]] = {}

    def files(self, archive: str) -> dict[str, bytes]:
        if archive not in self._read:
            self._read[archive] = read_rcc(self.folder / archive)
        return self._read[archive]

    def file(self, reference: str) -> bytes:
        """The bytes of ``archive.rcc:path``."""
        archive, path = reference.split(":")
        return self.files(archive)[path]


def _deb(package: str, debs: Path | None, scratch: Path) -> Path:
    if debs is not None:
        found = sorted(debs.glob(f"{package}_*.deb"))
        if not found:
            raise DataError(f"{debs} has no {package}_*.deb; put it there or leave --debs out to download it")
        return found[-1]
    try:
        subprocess.run(
            ["apt-get", "download", package], cwd=scratch, check=True, capture_output=True, text=True
        )
    except FileNotFoundError as error:
        raise DownloadError("apt-get is not here; name a folder with the .deb files by --debs") from error
    except subprocess.CalledProcessError as error:
        cause = error.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise DownloadError(
            f"apt-get download {package} failed ({cause[0]}); run apt-get update first"
        ) from error
    return next(scratch.glob(f"{package}_*.deb"))


def _unpack(deb: Path, folder: Path) -> None:
    folder.mkdir(parents=True)
    try:
        subprocess.run(["dpkg-deb", "-x", str(deb), str(folder)], check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise DataError("dpkg-deb is not here; install dpkg to unpack Debian packages") from error
    except subprocess.CalledProcessError as error:
        raise DataError(f"{deb} cannot be unpacked ({error.stderr.strip()}); download it again") from error


def _licence(packages: Path, package: str, path: str) -> dict[str, str]:
    """Author and licence of a file by the package's machine-readable copyright: the last match counts."""
    text = (packages / package / "usr/share/doc" / package / "copyright").read_text(errors="replace")
    found = {"licence": f"see the copyright file of {package}", "copyright": ""}
    for paragraph in text.split("\n\n"):
        fields: dict[str, str] = {}
        key = ""
        for line in paragraph.splitlines():
            if line[:1].isspace():
                fields[key] = f"{fields.get(key, '')} {line.strip()}".strip()
            elif ":" in line:
                key, value = line.split(":", 1)
                fields[key] = value.strip()
        patterns = fields.get("Files", "").split()
        if any(pattern == "*" or fnmatch.fnmatch(path, f"*{pattern}") for pattern in patterns):
            found = {"licence": fields.get("License", ""), "copyright": fields.get("Copyright", "")}
    return found


def _add_pictures(media: MediaFolder, packages: Path) -> None:
    wanted = {
        picture: f"objects/{category.name}" for category in table.CATEGORIES for picture in category.pictures
    }
    wanted |= dict.fromkeys(table.DISTRACTORS, "distractors")
    for picture, folder in wanted.items():
        source = f"{table.STAMPS_ROOT}/{picture}"
        content = _cutout(packages / table.STAMPS / source)
        name = f"{folder}/{Path(picture).stem}.png"
        media.add(name, content, table.STAMPS, source, _licence(packages, table.STAMPS, picture))


def _cutout(path: Path) -> bytes:
    """A picture cropped to what its alpha shows, as RGBA PNG bytes."""
    with Image.open(path) as opened:
        picture = opened.convert("RGBA")
    box = picture.getchannel("A").point(lambda alpha: 255 * (alpha > 25)).getbbox()
    if box is None:
        raise DataError(f"{path} is wholly transparent; the media table should not name it")
    picture = picture.crop(box)
    picture.thumbnail((_CUTOUT_SIDE, _CUTOUT_SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def _add_recordings(media: MediaFolder, packages: Path, archives: Archives) -> None:
    for category in table.CATEGORIES:
        folder = f"sounds/{category.name}"
        for sound in category.stamp_sounds:
            source = f"{table.STAMPS_ROOT}/{sound}"
            content = (packages / table.STAMPS / source).read_bytes()
            name = f"{folder}/stamps-{Path(sound).stem}.wav"
            media.add(name, _clean(content), table.STAMPS, source, _licence(packages, table.STAMPS, sound))
        for reference in category.gcompris_sounds:
            _add_archived_sound(media, packages, archives, reference, folder)
    for reference in table.AMBIENCE_RECORDINGS:
        _add_archived_sound(media, packages, archives, reference, "ambience")


def _add_archived_sound(
    media: MediaFolder, packages: Path, archives: Archives, reference: str, folder: str
) -> None:
    content = _clean(archives.file(reference))
    path = reference.split(":")[1].removeprefix("gcompris/")
    name = f"{folder}/gcompris-{Path(path).stem}.wav"
    media.add(name, content, table.GCOMPRIS, reference, _licence(packages, table.GCOMPRIS, path))


def _clean(content: bytes) -> bytes:
    """A recording without rumble and offset, at -1 dB peak, as WAV bytes."""
    return _levelled(_high_pass(decode_sound(content)))


def _high_pass(waveform: np.ndarray) -> np.ndarray:
    from scipy.signal import butter, sosfiltfilt

    return sosfiltfilt(butter(2, 40, "highpass", fs=SAMPLE_RATE, output="sos"), waveform)


def _levelled(waveform: np.ndarray) -> bytes:
    return wav_bytes(waveform * (0.9 / max(float(np.abs(waveform).max()), 1e-6)))


def _add_backgrounds(media: MediaFolder, packages: Path, archives: Archives) -> None:
    seen: list[np.ndarray] = []
    for package, source, content in _photographs(packages, archives):
        with Image.open(io.BytesIO(content)) as opened:
            opened.draft("RGB", (_BACKGROUND_SIDE, _BACKGROUND_SIDE))
            photo = opened.convert("RGB")
        photo.thumbnail((_BACKGROUND_SIDE, _BACKGROUND_SIDE), Image.Resampling.LANCZOS, reducing_gap=2.0)
        if _is_known(photo, seen):
            continue
        buffer = io.BytesIO()
        photo.save(buffer, "JPEG", quality=90)
        path = source.split(":")[-1].removeprefix("gcompris/")
        name = f"backgrounds/{_background_name(source)}.jpg"
        media.add(name, buffer.getvalue(), package, source, _licence(packages, package, path))


def _background_name(source: str) -> str:
    parts = Path(source.split(":")[-1]).with_suffix("").parts
    return f"wallpaper-{parts[3]}" if "contents" in parts else f"{parts[-2]}-{parts[-1]}"


def _photographs(packages: Path, archives: Archives) -> list[tuple[str, str, bytes]]:
    """(package, source, bytes) of every background photograph, in a fixed order."""
    found = []
    for wanted in table.WALLPAPER_PHOTOS:
        for package in table.WALLPAPERS:
            source = packages / package / wanted
            if source.is_dir():  # one picture in many sizes: the least that is large enough
                sizes = sorted(source.glob("[0-9]*x[0-9]*.*"), key=lambda path: int(path.stem.split("x")[0]))
                source = next((path for path in sizes if int(path.stem.split("x")[0]) >= 1280), sizes[-1])
            if source.is_file():
                found.append((package, str(source.relative_to(packages / package)), source.read_bytes()))
    for archive, folder in table.PHOTO_FOLDERS:
        for path, content in sorted(archives.files(archive).items()):
            stem = Path(path).stem.lower()
            is_part = archive == "details.rcc" and not stem.endswith("_background")
            is_other = is_part or any(word in stem for word in table.NOT_PHOTOS)
            if folder in path and path.endswith(".webp") and not is_other:
                found.append((table.GCOMPRIS, f"{archive}:{path}", content))
    return found


def _is_known(photo: Image.Image, seen: list[np.ndarray]) -> bool:
    """Whether the photograph was met before, in another size: a split by file must not share pictures."""
    small = np.asarray(photo.convert("L").resize((16, 16), Image.Resampling.BOX), dtype=np.float64).ravel()
    small = (small - small.mean()) / (np.linalg.norm(small - small.mean()) + 1e-9)
    known = any(float(small @ other) > 0.97 for other in seen)
    seen.append(small)
    return known


def _add_renderings(media: MediaFolder, packages: Path, say: Say) -> None:
    soundfont = packages / table.SOUNDFONT / table.SOUNDFONT_PATH
    jobs = [
        (f"sounds/{c.name}", c.instrument, RENDERINGS) for c in table.CATEGORIES if c.instrument is not None
    ]
    pads = table.Instrument(table.AMBIENCE_PROGRAMS, (40, 76))
    for number, (folder, instrument, count) in enumerate([*jobs, ("ambience", pads, RENDERINGS)]):
        say(f"rendering {folder}")
        melodies = render_instrument(instrument, soundfont, count, np.random.default_rng((_SEED, number)))
        for index, melody in enumerate(melodies):
            name = f"{folder}/rendering-{index:02d}.wav"
            source = f"{table.SOUNDFONT_PATH}, melody seed {_SEED}.{number}.{index}"
            licence = {"licence": "MIT", "copyright": "Frank Wen (FluidR3 GM sound font)"}
            media.add(name, _levelled(melody), table.SOUNDFONT, source, licence)
