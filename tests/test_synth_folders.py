"""avseg synth sounds and photos: packages, archives and COCO folders made on the spot; no network."""

from __future__ import annotations

import json
import re
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from synth_media import CATEGORIES, make_media

from avseg_cli.base.errors import DataError, OutputError
from avseg_cli.base.json_text import parse_json
from avseg_cli.data.listed import read_photographs, read_recordings
from avseg_cli.data.photo_views import read_photograph
from avseg_cli.model.kinds import HEARD, SEEN
from avseg_cli.synth import clip_material, sound_folder
from avseg_cli.synth.media_table import ARCHIVES_ROOT, GCOMPRIS, STAMPS, STAMPS_ROOT
from avseg_cli.synth.media_table import CATEGORIES as CATEGORIES_FETCHED
from avseg_cli.synth.photo_folder import gather_photographs
from avseg_cli.synth.sound_archives import files_of, read_catalogue, read_wad
from avseg_cli.synth.sound_files import SAMPLE_RATE, decode_sound, wav_bytes
from avseg_cli.synth.synth_options import SynthOptions
from avseg_cli.synth.write import synthesise

PITCHES = {"owl": CATEGORIES["bell"], "big_cat": CATEGORIES["horn"]}
TABLE = """package\tlicence\tkind\tgroup\tmode\tlimit\tevery\tbut\tpatterns
pets\tGPL-2+\tdog\tstem\tfile\t400\t1\t\tsounds/bark*.wav
pets\tGPL-2+\tnone\tstem\tfile\t400\t1\tsounds/rain2.wav\tsounds/rain*.wav
pets\tGPL-2+\tcar\t=motor\tengine\t400\t1\t\tmotor.wav
pets\tGPL-2+\ttyping\t=keys\ttyping\t400\t1\t\tkey*.wav
pets\tGPL-2+\ttabla\t=drum\tpattern\t400\t1\t\tkey*.wav
"""
COPYRIGHT = """Files: *
License: GPL-2+

Files: sounds/bark2.wav
License: CC BY-NC 3.0

Files: sounds/key2.wav
License: CC0-1.0
"""


def tone(seconds: float, pitch: float = 440.0) -> bytes:
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return wav_bytes((0.3 * np.sin(2 * np.pi * pitch * time)).astype(np.float32))


@pytest.fixture
def debs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one package of sounds, and the table that says what they are."""
    if shutil.which("dpkg-deb") is None:
        pytest.skip("no dpkg-deb here")
    table, tree = tmp_path / "table.tsv", tmp_path / "tree"
    table.write_text(TABLE)
    monkeypatch.setattr(sound_folder, "TABLE", table)
    names = {"bark1": 1, "bark2": 1, "bark3": 4, "rain1": 5, "rain2": 5, "motor": 0.5, "key1": 0.1, "key2": 0.1}
    for name, seconds in names.items():
        path = tree / "usr/share/pets/sounds" / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tone(seconds))
    (tree / "usr/share/doc/pets").mkdir(parents=True)
    (tree / "usr/share/doc/pets/copyright").write_text(COPYRIGHT)
    (tree / "DEBIAN").mkdir()
    (tree / "DEBIAN/control").write_text(
        "Package: pets\nVersion: 1\nArchitecture: all\nMaintainer: a\nDescription: b\n"
    )
    (tmp_path / "debs").mkdir()
    subprocess.run(
        ["dpkg-deb", "-b", str(tree), str(tmp_path / "debs/pets_1_all.deb")], check=True, capture_output=True
    )
    return tmp_path / "debs"


def test_sounds_are_gathered_by_kind_and_always_the_same(debs: Path, tmp_path: Path) -> None:
    counts = sound_folder.gather_sounds(tmp_path / "one", debs)
    assert counts == {"car": 1, "dog": 2, "none": 1, "tabla": 1, "typing": 1}
    sound_folder.gather_sounds(tmp_path / "two", debs)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert len(files) == 7
    assert all((tmp_path / "one" / f).read_bytes() == (tmp_path / "two" / f).read_bytes() for f in files)
    recordings = read_recordings(tmp_path / "one", list(HEARD))
    assert {r.source for r in recordings if r.kind == "dog"} == {"pets/bark"}
    seconds = {r.kind: len(decode_sound(r.path)) / SAMPLE_RATE for r in recordings}
    assert seconds["car"] > 8 and seconds["typing"] > 5 and seconds["tabla"] > 20
    text = (tmp_path / "one/manifest.tsv").read_text()
    assert "\ttyping\tpets/keys\tCC0-1.0, GPL-2+\t" in text, "of all that is joined"
    assert "bark2" not in text and "rain2" not in text, "not free, and left out"
    with pytest.raises(OutputError, match="already exists"):
        sound_folder.gather_sounds(tmp_path / "one", debs)


def test_a_recording_may_be_titled_in_any_encoding() -> None:
    title = b"Ch\xe2teau \xa9\0"  # ISO 8859-1
    tags = b"INFOINAM" + struct.pack("<I", len(title)) + title
    titled = tone(0.2) + b"LIST" + struct.pack("<I", len(tags)) + tags
    riff = titled[:4] + struct.pack("<I", len(titled) - 8) + titled[8:]
    assert np.array_equal(decode_sound(riff), decode_sound(tone(0.2)))


def test_the_table_names_kinds_that_the_model_hears() -> None:
    rules = sound_folder.rules()
    assert len(rules) > 400 and {rule.kind for rule in rules} <= set(HEARD)
    assert {rule.mode for rule in rules} == {"file", "engine", "typing", "pattern"}
    assert not any(sound_folder.UNFREE.search(rule.licence) for rule in rules)


def test_archives_of_games(tmp_path: Path) -> None:
    riff, raw = tone(0.1), bytes(range(128, 255)) * 8
    lump = struct.pack("<HHI", 3, 11025, len(raw) + 32) + bytes(16) + raw + bytes(16)
    table = struct.pack("<II8s", 12, len(lump), b"DSPISTOL") + struct.pack("<II8s", 12, 4, b"MAP01")
    wad = b"IWAD" + struct.pack("<II", 2, 12 + len(lump)) + lump + table
    assert len(decode_sound(read_wad(wad)["DSPISTOL.wav"])) == pytest.approx(len(raw) / 11025 * SAMPLE_RATE, rel=0.05)
    catalogue = struct.pack("<II", 8, len(riff)) + b"\x04moo\0" + riff
    assert read_catalogue(catalogue) == {"00-moo.wav": riff}
    (tmp_path / "a.wad").write_bytes(wad)
    assert list(files_of(tmp_path)) == ["a.wad:DSPISTOL.wav"]
    (tmp_path / "a.wad").write_bytes(wad[:20])
    with pytest.raises(DataError, match=r"a\.wad: a damaged archive"):
        files_of(tmp_path)


def make_coco(root: Path) -> Path:
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    (root / "classes.yaml").write_text(
        "classes:\n  0: unlabeled\n  1:   person # who\n  18: 'dog'\n  73: laptop\n  119: grass\n"
    )
    numbers = np.full((20, 30), 119, np.uint8)
    numbers[:5], numbers[5:10], numbers[10:12], numbers[12:14] = 1, 18, 73, 0
    for name in ("b", "a"):
        Image.new("RGB", (30, 20), (90, 120, 40)).save(root / "images" / f"{name}.jpg")
        Image.fromarray(numbers).save(root / "masks" / f"{name}.png")
    return root


def test_coco_masks_become_kinds(tmp_path: Path) -> None:
    coco = make_coco(tmp_path / "coco")
    assert gather_photographs(tmp_path / "photos", [coco]) == 2
    photos = read_photographs(tmp_path / "photos", list(SEEN))
    assert [(p.picture.name, p.kinds, p.complete) for p in photos] == [
        ("a.jpg", ("person", "dog"), True), ("b.jpg", ("person", "dog"), True),
    ]  # fmt: skip
    labels = np.asarray(read_photograph(photos[0], list(SEEN))[1])
    person, dog = 1 + list(SEEN).index("person"), 1 + list(SEEN).index("dog")
    assert [int(labels[row, 0]) for row in (0, 6, 11, 13, 19)] == [person, dog, 255, 255, 0]


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Composed clips of three categories: two are of a kind, one is of none."""
    media = make_media(tmp_path_factory.mktemp("media"))
    for old, new in (("bell", "owl"), ("horn", "big_cat"), ("whistle", "gadget")):
        for folder in ("objects", "sounds"):
            (media / folder / old).rename(media / folder / new)
    for path in (media / "sounds").rglob("*.wav"):
        path.rename(path.with_name(f"a {path.name}"))
    folders = {name: media / name for name in ("objects", "sounds", "backgrounds", "distractors", "ambience")}
    out = tmp_path_factory.mktemp("made") / "clips"
    synthesise(SynthOptions(**folders, out=out, clips=24, seed=3, size=64, shares=(20, 0, 4)))
    return out


def test_frames_of_composed_clips_become_photographs(composed: Path, tmp_path: Path) -> None:
    assert gather_photographs(tmp_path / "photos", [make_coco(tmp_path / "coco")], clips=composed) == 22
    photos = read_photographs(tmp_path / "photos", list(SEEN))
    assert [photo.source for photo in photos].count("composed") == 20, "of the train split, and no others"
    assert {kind for photo in photos for kind in photo.kinds} == {"owl", "lion", "other", "person", "dog"}
    categories = parse_json((composed / "categories.json").read_text())
    lines = {line["name"]: line for line in map(parse_json, (composed / "manifest.jsonl").read_text().splitlines())}
    for photo in photos[:20]:
        name, labels = photo.picture.stem, np.asarray(Image.open(photo.mask))
        number = lines[name]["index"] % 5 + 1
        there = np.asarray(Image.open(composed / f"object_maps/train/{name}/{name}_{number}.png"))
        assert photo.complete and np.asarray(Image.open(photo.picture)).shape == (64, 64, 3)
        for category, kind in (("owl", "owl"), ("big_cat", "lion")):
            pixels = there == 1 + categories.index(category)
            assert not pixels.any() or (labels[pixels] == 1 + photo.kinds.index(kind)).all()
        assert (labels[there == 1 + categories.index("gadget")] == 255).all() and not labels[there == 0].any()


def test_seconds_of_composed_clips_become_recordings(composed: Path, debs: Path, tmp_path: Path) -> None:
    counts = sound_folder.gather_sounds(tmp_path / "sounds", debs, composed)
    assert sum(counts.values()) == len(read_recordings(tmp_path / "sounds", list(HEARD)))
    found = [r for r in read_recordings(tmp_path / "sounds", list(HEARD)) if r.path.parent.name == "composed"]
    assert {recording.kind for recording in found} == {"owl", "lion"}
    for recording in found:
        wave = decode_sound(recording.path)
        assert len(wave) % SAMPLE_RATE == 0 and re.fullmatch(r"sounds/\w+/a \w+\d\.wav", recording.source)
        category, spectrum = recording.source.split("/")[1], np.abs(np.fft.rfft(wave))
        loudest = np.argmax(spectrum[200:]) + 200
        assert abs(loudest * SAMPLE_RATE / len(wave) / PITCHES[category] - 1) < 0.35, "it is what its line says"


def test_seconds_of_a_recording_share_its_source(composed: Path, debs: Path, tmp_path: Path) -> None:
    """Of the package in the folder, and out of clips that it sounds in: else they would be held out apart."""
    table = sound_folder.TABLE.read_text()
    sound_folder.TABLE.write_text(table + "pets\tGPL-2+\towl\tstem\tfile\t400\t1\t\tsounds/rain1.wav\n")
    made = shutil.copytree(composed, tmp_path / "clips")
    lines = [parse_json(line) for line in (made / "manifest.jsonl").read_text().splitlines()]
    for line in lines:
        owls = [s["file"].split(" 0%")[0] for s in line["sources"] if s["category"] == "owl"]
        line["licences"] |= {
            owl: {"licence": "GPL-2+", "package": "pets", "source": "usr/share/pets/sounds/rain1.wav"} for owl in owls
        }
    (made / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    sound_folder.gather_sounds(tmp_path / "sounds", debs, made)
    found = read_recordings(tmp_path / "sounds", list(HEARD))
    composed_too = {recording.path.parent.name == "composed" for recording in found if recording.kind == "owl"}
    assert composed_too == {True, False}
    assert {recording.source for recording in found if recording.kind == "owl"} == {"pets/rain"}
    assert all(recording.source.startswith("sounds/big_cat/") for recording in found if recording.kind == "lion")


def test_what_is_fetched_is_called_as_among_the_recordings() -> None:
    """Each recording of `avseg synth fetch` that the table has."""
    table, found = sound_folder.rules(), []
    for category in CATEGORIES_FETCHED:
        kind = clip_material.KINDS.get(category.name, "none")
        for package, root, sounds in (
            (STAMPS, STAMPS_ROOT, category.stamp_sounds), (GCOMPRIS, ARCHIVES_ROOT, category.gcompris_sounds),
        ):  # fmt: skip
            found += [sound_folder.group_of(package, f"{root}/{sound}", kind, table) for sound in sounds]
    named = [name for name in found if name is not None]
    assert len(named) > 0.9 * len(found) and {name.split("/")[0] for name in named} == {STAMPS, GCOMPRIS}


def test_violins_and_cellos_are_told_apart_by_their_files() -> None:
    names = ("rendering-violin-03", "rendering-cello-04", "rendering-05")  # the last as older media have it
    kinds = [clip_material._kind("bowed_strings", f"sounds/bowed_strings/{name}.wav 0%-20%") for name in names]
    assert kinds == ["violin", "cello", None]


def test_clips_that_teach_nothing(composed: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a folder that `avseg synth` made"):
        gather_photographs(tmp_path / "photos", clips=tmp_path)
    made = tmp_path / "made"
    shutil.copytree(composed, made)
    for path in made.rglob("synth_train_*_1.png"):
        path.unlink()
    with pytest.raises(DataError, match="make the clips again"):
        gather_photographs(tmp_path / "photos", clips=made)
    (made / "manifest.jsonl").write_text('{"name": "a", "split": "train"}\n')
    with pytest.raises(DataError, match="line 1 does not say index, layout, objects, sources, licences;"):
        gather_photographs(tmp_path / "photos", clips=made)
    whole = (composed / "manifest.jsonl").read_text().splitlines(True)
    for other, said in (
        ({"name": ["a"]}, "line 1 does not say name;"),
        ({"layout": ["ms3"]}, "a layout that is not known"),
    ):
        (made / "manifest.jsonl").write_text(json.dumps({**parse_json(whole[0]), **other}))
        with pytest.raises(DataError, match=said):
            gather_photographs(tmp_path / "photos", clips=made)
    (made / "manifest.jsonl").write_text(
        "".join(
            line for line in (composed / "manifest.jsonl").read_text().splitlines(True) if '"split": "test"' in line
        )
    )
    with pytest.raises(DataError, match="no clips for training"):
        gather_photographs(tmp_path / "photos", clips=made)
    assert not (tmp_path / "photos").exists()


def test_coco_folders_that_cannot_be_converted(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no annotations/instances"):
        gather_photographs(tmp_path / "photos", [tmp_path])
    coco = make_coco(tmp_path / "coco")
    Image.new("L", (20, 20)).save(coco / "masks/b.png")
    with pytest.raises(DataError, match=r"b\.png: 20x20, and its picture is 30x20"):
        gather_photographs(tmp_path / "photos", [coco])
    (coco / "masks/b.png").unlink()
    with pytest.raises(DataError, match="each picture needs its mask"):
        gather_photographs(tmp_path / "photos", [coco])
    Image.new("L", (30, 20), 7).save(coco / "masks/b.png")
    with pytest.raises(DataError, match=r"b\.png: has the class number 7, which classes\.yaml does not name"):
        gather_photographs(tmp_path / "photos", [coco])
    (coco / "classes.yaml").write_text("- person\n- dog\n")
    with pytest.raises(DataError, match="has no line NUMBER: class"):
        gather_photographs(tmp_path / "photos", [coco])
    assert not (tmp_path / "photos").exists()


def test_every_category_that_can_be_fetched_is_of_a_kind_that_is_seen_and_heard() -> None:
    assert set(clip_material.KINDS) == {category.name for category in CATEGORIES_FETCHED}
    assert set(clip_material.KINDS.values()) <= set(SEEN) & set(HEARD)
