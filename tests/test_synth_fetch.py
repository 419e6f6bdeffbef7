"""avseg synth fetch: archives, melodies and packages made on the spot; no network, no sound font."""

from __future__ import annotations

import io
import json
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from synth_media import load_root, make_media

from avseg_cli.base.errors import AvsegError, DataError, DownloadError, OutputError
from avseg_cli.synth import fetch, media_table, midi
from avseg_cli.synth.rcc import read_rcc
from avseg_cli.synth.sound_files import SAMPLE_RATE, decode_sound, wav_bytes


def rcc_bytes(files: dict[str, bytes], version: int = 2, compress: bool = False) -> bytes:
    """A resource archive with all files in one folder ``a``."""
    names, data, nodes = b"", b"", []

    def name(text: str) -> int:
        nonlocal names
        offset = len(names)
        names += struct.pack(">HI", len(text), 0) + text.encode("utf-16-be")
        return offset

    stamp = b"" if version == 1 else bytes(8)
    nodes.append(struct.pack(">IHII", 0, 2, 1, 1) + stamp)
    nodes.append(struct.pack(">IHII", name("a"), 2, len(files), 2) + stamp)
    for path, content in files.items():
        stored = struct.pack(">I", len(content)) + zlib.compress(content) if compress else content
        nodes.append(struct.pack(">IHHHI", name(path), int(compress), 0, 0, len(data)) + stamp)
        data += struct.pack(">I", len(stored)) + stored
    tree = b"".join(nodes)
    start = 20 if version < 3 else 24
    header = struct.pack(">4sIIII", b"qres", version, start, start + len(tree), start + len(tree) + len(data))
    return header + (b"" if version < 3 else bytes(4)) + tree + data + names


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("compress", [False, True])
def test_archives_are_read(tmp_path: Path, version: int, compress: bool) -> None:
    files = {"one.ogg": b"first", "zwei.webp": bytes(range(256)) * 20, "empty": b""}
    path = tmp_path / "x.rcc"
    path.write_bytes(rcc_bytes(files, version, compress))
    assert read_rcc(path) == {f"a/{name}": content for name, content in files.items()}


def test_damaged_archives_are_refused(tmp_path: Path) -> None:
    whole = rcc_bytes({"one": b"first", "two": bytes(500)}, compress=True)
    path = tmp_path / "x.rcc"
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"x\.rcc"):
            read_rcc(path)
    path.write_bytes(b"PK\x03\x04" + whole[4:])
    with pytest.raises(DataError, match="not a Qt resource archive"):
        read_rcc(path)


def test_archives_that_would_fill_memory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.rcc"
    path.write_bytes(rcc_bytes({"one": bytes(100_000), "two": bytes(100_000)}, compress=True))
    monkeypatch.setattr("avseg_cli.synth.rcc._LARGEST", 150_000)
    with pytest.raises(DataError, match=r"x\.rcc unpacks to more than"):
        read_rcc(path)
    folders = [struct.pack(">IHII", 0, 2, 2, number + 1) for number in range(100)]  # each holds the next two
    tree = b"".join(folders) + struct.pack(">IHHHI", 0, 0, 0, 0, 0) * 2
    header = struct.pack(">4sIIII", b"qres", 1, 20, 20 + len(tree), 24 + len(tree))
    path.write_bytes(header + tree + bytes(4) + struct.pack(">HI", 1, 0) + "a".encode("utf-16-be"))
    with pytest.raises(DataError, match=r"x\.rcc is damaged \(a file in two folders\)"):
        read_rcc(path)


def events_of(score: bytes) -> list[tuple[int, int, int, int]]:
    """(tick, status, data 1, data 2) of a one-track MIDI file."""
    assert score[:8] == b"MThd\x00\x00\x00\x06" and score[14:18] == b"MTrk"
    track = score[22:]
    assert struct.unpack(">I", score[18:22])[0] == len(track)
    found, position, tick = [], 0, 0
    while True:
        step = 0
        while True:
            byte = track[position]
            position += 1
            step = step << 7 | byte & 0x7F
            if not byte & 0x80:
                break
        tick += step
        status = track[position]
        if status == 0xFF:
            assert track[position:] == b"\xff\x2f\x00"
            return found
        count = 2 if status >> 4 == 0xC else 3
        found.append((tick, status, *track[position + 1 : position + count], *([0] * (3 - count))))
        position += count


@pytest.mark.parametrize("category", [c for c in media_table.CATEGORIES if c.instrument], ids=lambda c: c.name)
def test_melodies_stay_in_range_and_end_every_note(
    category: media_table.Category, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores: list[bytes] = []

    def keep(score: bytes, soundfont: Path) -> np.ndarray:
        scores.append(score)
        return np.zeros(3 * 8 * SAMPLE_RATE, dtype=np.float32)

    monkeypatch.setattr(midi, "_run_fluidsynth", keep)
    for _ in range(2):
        melodies = midi.render_instrument(category.instrument, Path("font.sf2"), 3, np.random.default_rng(1))
    assert scores[0] == scores[1] and len(melodies) == 3  # seeded
    played = [program for _, status, program, _ in events_of(scores[0]) if status >> 4 == 0xC]
    assert [program for program, _ in melodies] == (played or [0, 0, 0])
    low, high = category.instrument.keys
    sounding: dict[int, int] = {}
    for _, status, key, _ in events_of(scores[0]):
        if status >> 4 == 0x9:
            assert key in category.instrument.percussion or low <= key <= high
            sounding[key] = sounding.get(key, 0) + 1
        elif status >> 4 == 0x8:
            sounding[key] -= 1
    assert sounding and not any(sounding.values())


def test_missing_fluidsynth_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match="fluidsynth is not installed"):
        midi.render_instrument(media_table.Instrument((0,)), Path("font.sf2"), 1, np.random.default_rng(0))


def picture(mode: str, ending: str, size: tuple[int, int] = (300, 200)) -> bytes:
    rng = np.random.default_rng(size)
    pixels = rng.integers(0, 255, (20, 30, len(mode)), dtype=np.uint8)
    if mode == "RGBA":
        pixels[:5, :, 3] = 0
        pixels[5:, :, 3] = 255
    buffer = io.BytesIO()
    Image.fromarray(pixels, mode).resize(size).save(buffer, ending)
    return buffer.getvalue()


def tone() -> bytes:
    return wav_bytes(0.3 * np.sin(np.arange(SAMPLE_RATE, dtype=np.float32) * 0.2))


COPYRIGHT = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: 2001, Somebody
License: GPL-2

Files: birds/owl.png
Copyright: 2002, Owl Painter
License: CC-BY-4.0
"""


@pytest.fixture
def debs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Tiny packages and a tiny table, in the place of the real ones."""
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb is not on this machine")
    monkeypatch.setattr(
        media_table,
        "CATEGORIES",
        (
            media_table.Category("owl", ("birds/owl.png",), ("birds/owl.ogg",), ("x.rcc:a/owl.ogg",)),
            media_table.Category("horn", ("horn.png",), instrument=media_table.Instrument((40, 42, 60), (40, 60))),
        ),
    )
    monkeypatch.setattr(media_table, "DISTRACTORS", ("pear.png",))
    monkeypatch.setattr(media_table, "AMBIENCE_RECORDINGS", ("x.rcc:a/rain.ogg",))
    monkeypatch.setattr(media_table, "WALLPAPER_PHOTOS", ("usr/share/wallpapers/Lake/contents/images/",))
    monkeypatch.setattr(media_table, "PHOTO_FOLDERS", (("x.rcc", "a/"),))
    monkeypatch.setattr(
        midi,
        "_run_fluidsynth",
        lambda score, font: np.ones(fetch.RENDERINGS * 8 * SAMPLE_RATE, dtype=np.float32),
    )
    stamps = media_table.STAMPS_ROOT
    readme = b"Copyright: A Hiker\nLicense: CC0-1.0\nSource: https://example.org/hill\nFiles:\nhill.webp\n"
    archived = {
        "owl.ogg": tone(),
        "rain.ogg": tone(),
        "hill.webp": picture("RGB", "WEBP", (90, 80)),
        "README": readme,
        "Licence.txt": b"Free Art License\n\nversion 1.2\n",
    }
    lake = "usr/share/wallpapers/Lake/contents/images"
    contents = {
        media_table.STAMPS: {
            f"{stamps}/birds/owl.png": picture("RGBA", "PNG"),
            f"{stamps}/birds/owl.ogg": tone(),
            f"{stamps}/horn.png": picture("RGBA", "PNG", (60, 900)),
            f"{stamps}/pear.png": picture("RGBA", "PNG"),
        },
        media_table.GCOMPRIS: {f"{media_table.ARCHIVES_ROOT}/x.rcc": rcc_bytes(archived)},
        media_table.WALLPAPERS[0]: {
            f"{lake}/1600x1200.jpg": picture("RGB", "JPEG", (1600, 1200)),
            f"{lake}/640x480.jpg": picture("RGB", "JPEG", (640, 480)),
            "usr/share/wallpapers/Lake/metadata.json": json.dumps(
                {"KPlugin": {"Authors": [{"Name": "A Swimmer"}], "License": "LGPL"}}
            ).encode(),
        },
    }
    folder = tmp_path / "debs"
    folder.mkdir()
    for package in media_table.PACKAGES:
        build_deb(tmp_path / "build" / package, package, contents.get(package, {}), folder)
    return folder


def build_deb(root: Path, package: str, contents: dict[str, bytes], folder: Path) -> None:
    control = f"Package: {package}\nVersion: 1\nArchitecture: all\nMaintainer: A <a@b.c>\nDescription: test\n"
    files = {
        "DEBIAN/control": control.encode(),
        f"usr/share/doc/{package}/copyright": COPYRIGHT.encode(),
        **contents,
    }
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    command = [
        "dpkg-deb",
        "--root-owner-group",
        "-Znone",
        "-b",
        str(root),
        str(folder / f"{package}_1_all.deb"),
    ]
    subprocess.run(command, check=True, capture_output=True)


def test_fetch_lays_out_a_library(debs: Path, tmp_path: Path) -> None:
    out = tmp_path / "media"
    counts = fetch.fetch_media(out, debs)
    assert counts["objects"] == 2 and counts["distractors"] == 1 and counts["backgrounds"] == 2
    owl = Image.open(out / "objects/owl/owl.png")
    assert owl.mode == "RGBA" and owl.size[0] == 300 and owl.size[1] < 200  # the transparent rim is cut off
    assert max(Image.open(out / "objects/horn/horn.png").size) <= 512
    assert max(Image.open(out / "backgrounds/wallpaper-Lake.jpg").size) == 640
    assert {path.name for path in (out / "sounds/owl").iterdir()} == {"stamps-owl.wav", "gcompris-owl.wav"}
    renderings = sorted(path.stem for path in (out / "sounds/horn").iterdir())
    assert len(renderings) == fetch.RENDERINGS
    assert {name[:-3] for name in renderings} == {"rendering", "rendering-violin", "rendering-cello"}
    assert np.abs(decode_sound(out / "sounds/owl/stamps-owl.wav")).max() == pytest.approx(0.9, abs=0.02)
    licences = json.loads((out / "LICENCES.json").read_text())
    files = {str(path.relative_to(out)) for path in out.rglob("*.*") if path.name != "LICENCES.json"}
    assert set(licences) == files
    assert licences["objects/owl/owl.png"]["licence"] == "CC-BY-4.0"
    assert licences["objects/owl/owl.png"]["copyright"] == "2002, Owl Painter"
    assert licences["distractors/pear.png"]["licence"] == "GPL-2"
    hill = licences["backgrounds/a-hill.jpg"]
    assert (hill["copyright"], hill["licence"], hill["source_url"]) == (
        "A Hiker",
        "CC0-1.0",
        "https://example.org/hill",
    )
    lake = licences["backgrounds/wallpaper-Lake.jpg"]
    assert (lake["copyright"], lake["licence"]) == ("A Swimmer", "LGPL")
    assert licences["ambience/gcompris-rain.wav"]["licence"] == "Free Art License"
    assert load_root(out).categories == ("horn", "owl")


def test_fetch_leaves_nothing_behind_when_it_fails(debs: Path, tmp_path: Path) -> None:
    (debs / f"{media_table.GCOMPRIS}_1_all.deb").write_bytes(b"no package")
    before = set(tmp_path.iterdir())
    with pytest.raises(DataError, match="cannot be unpacked"):
        fetch.fetch_media(tmp_path / "media", debs)
    (debs / f"{media_table.GCOMPRIS}_1_all.deb").unlink()
    with pytest.raises(DataError, match="gcompris"):
        fetch.fetch_media(tmp_path / "media", debs)
    assert set(tmp_path.iterdir()) == before


def test_another_version_of_a_package_is_named(debs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media_table, "DISTRACTORS", ("plum.png",))
    with pytest.raises(DataError, match=r"tuxpaint-stamps-default has no .*plum\.png"):
        fetch.fetch_media(tmp_path / "media", debs)
    assert not (tmp_path / "media").exists()


def test_fetch_does_not_overwrite(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="already exists"):
        fetch.fetch_media(make_media(tmp_path))


def test_missing_tools_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DownloadError, match="debs"):
        fetch.fetch_media(tmp_path / "media")
    assert issubclass(DownloadError, AvsegError)


def test_the_table_names_nothing_twice() -> None:
    names = [category.name for category in media_table.CATEGORIES]
    pictures = [picture for category in media_table.CATEGORIES for picture in category.pictures]
    assert len(set(names)) == len(names) >= 20
    assert len(set(pictures)) == len(pictures) and not set(pictures) & set(media_table.DISTRACTORS)
    for category in media_table.CATEGORIES:
        assert category.pictures and (category.stamp_sounds or category.gcompris_sounds or category.instrument)
