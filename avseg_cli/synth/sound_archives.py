"""The files of an unpacked package, those inside the archives of games included: zip, Qt resources, OpenTTD, Doom."""

from __future__ import annotations

import io
import struct
import wave
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from avseg_cli.base.errors import DataError
from avseg_cli.synth.rcc import read_rcc

SOUNDS = (".wav", ".ogg", ".mp3", ".aac", ".oga")


def files_of(root: Path) -> dict[str, Path | bytes]:
    """Name -> where it lies, or what it holds; a file inside an archive is ``ARCHIVE:NAME``."""
    found: dict[str, Path | bytes] = {}
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        name, inside = path.relative_to(root).as_posix(), _inside(path)
        if inside is None:
            found[name] = path
        else:
            found |= {f"{name}:{inner}": content for inner, content in sorted(inside.items())}
    return found


def _inside(path: Path) -> dict[str, bytes] | None:
    """The sounds of an archive; None for a file that is none. Raises ``DataError`` for one that is damaged."""
    try:
        if path.suffix in (".pk3", ".zip"):
            with ZipFile(path) as archive:
                names = [name for name in archive.namelist() if name.lower().endswith(SOUNDS)]
                return {name: archive.read(name) for name in names}
        if path.suffix == ".rcc":
            return {name: content for name, content in read_rcc(path).items() if name.lower().endswith(SOUNDS)}
        if path.name == "opensfx.cat":
            return read_catalogue(path.read_bytes())
        if path.suffix == ".wad":
            return read_wad(path.read_bytes())
    except (BadZipFile, ValueError, IndexError, struct.error) as error:
        raise DataError(f"{path}: a damaged archive ({error}); get the package again") from error
    return None


def read_catalogue(data: bytes) -> dict[str, bytes]:
    """The sounds of an OpenTTD catalogue: a table of offset and size; each entry a name and a RIFF file."""
    first = int.from_bytes(data[:4], "little") & 0x7FFFFFFF
    found = {}
    for index in range(first // 8):
        offset = int.from_bytes(data[index * 8 : index * 8 + 4], "little") & 0x7FFFFFFF
        name = data[offset + 1 : offset + 1 + data[offset]].split(b"\0")[0].decode("latin-1")
        start = data.index(b"RIFF", offset)
        size = int.from_bytes(data[start + 4 : start + 8], "little") + 8
        found[f"{index:02d}-{name}.wav"] = data[start : start + size]
    return found


def read_wad(data: bytes) -> dict[str, bytes]:
    """The digital sounds (DS…) of a Doom archive: sound files as they are, samples of 8 bits as WAV."""
    count, table = struct.unpack_from("<II", data, 4)
    found = {}
    for index in range(count):
        offset, size, raw = struct.unpack_from("<II8s", data, table + 16 * index)
        name, lump = raw.rstrip(b"\0").decode("latin-1"), data[offset : offset + size]
        if name.startswith("DS") and size >= 100:
            found[f"{name}.wav"] = _eight_bit(lump) if lump[:2] == b"\x03\x00" else lump
    return found


def _eight_bit(lump: bytes) -> bytes:
    """A lump of Doom's own sounds as a WAV file; 16 bytes at both ends are padding."""
    rate, length = struct.unpack_from("<HI", lump, 2)
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(rate)
        file.writeframes(lump[24 : 8 + length - 16])
    return buffer.getvalue()
