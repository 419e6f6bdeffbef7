"""avseg synth: the labels say what is seen and heard, splits share nothing, and a seed is a data set."""

from __future__ import annotations

import csv
import hashlib
import json
import multiprocessing
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile
from command_line import run_avseg
from PIL import Image
from synth_media import CATEGORIES, load_root, make_media
from typer.testing import CliRunner

from avseg_cli.base.errors import AvsegError, DataError, DeviceError, InputError, OutputError
from avseg_cli.synth.compose import compose_clip
from avseg_cli.synth.library import (
    DISTRACTOR,
    SPLITS,
    Library,
    split_cutouts,
    split_files,
    split_sounds,
    without_silence,
)
from avseg_cli.synth.sound_files import SAMPLE_RATE
from avseg_cli.synth.sounds import make_schedule, make_waveform
from avseg_cli.synth.synth_options import SynthOptions
from avseg_cli.synth.write import synthesise


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_media(tmp_path_factory.mktemp("media"))


@pytest.fixture(scope="module")
def library(media: Path) -> Library:
    return load_root(media, seed=3)


def options(media: Path, out: Path, **changes: object) -> SynthOptions:
    folders = {name: media / name for name in ("objects", "sounds", "backgrounds", "distractors", "ambience")}
    return SynthOptions(**(folders | {"out": out, "clips": 4, "seed": 3, "size": 64} | changes))


def digests(root: Path) -> dict[str, str]:
    files = [path for path in root.rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


# -- splits


def test_splits_share_no_cutout_sound_or_background(library: Library) -> None:
    record = library.record()
    assert not set(record["train"]["objects"]) & set(record["test_unseen"]["objects"])
    assert record["train"]["objects"] == record["test"]["objects"] == record["val"]["objects"]
    for kind in ("sounds", "backgrounds"):
        for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
            assert not set(record[one][kind]) & set(record[other][kind]), (kind, one, other)


def test_few_recordings_are_cut_in_time_without_overlap(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.wav" for number in range(2)]
    for path in files:
        path.write_bytes(b"x")
    parts = split_sounds(files, seed=0)
    spans = sorted(span for split in parts.values() for path, spans in split if path == files[0] for span in spans)
    assert spans[0][0] == 0 and spans[-1][1] == 1
    assert all(one[1] == other[0] for one, other in zip(spans, spans[1:], strict=False))


def test_many_recordings_are_split_by_file(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.wav" for number in range(20)]
    for number, path in enumerate(files):
        path.write_bytes(b"x" * (number + 1))
    parts = {split: [path for path, _ in paths] for split, paths in split_sounds(files, seed=0).items()}
    assert sorted(path for paths in parts.values() for path in paths) == sorted(files)
    assert files[-1] in parts["train"]  # the longest
    assert len(parts["val"]) == len(parts["test"]) == 3


def test_split_depends_on_seed_and_names_only() -> None:
    files = [Path("cow") / f"{number}.png" for number in range(9)]
    assert split_cutouts(files, 1) == split_cutouts(files[::-1], 1)
    assert len(split_cutouts(files, 1)["test_unseen"]) == 3
    assert split_cutouts(files[:2], 1)["test_unseen"] == []
    assert {tuple(split_files(files, seed)["test"]) for seed in range(10)} != {tuple(split_files(files, 0)["test"])}


def test_silences_are_shortened() -> None:
    tone = np.sin(np.arange(SAMPLE_RATE, dtype=np.float32) * 0.3)
    gap = np.zeros(2 * SAMPLE_RATE, dtype=np.float32)
    assert len(without_silence(np.concatenate([tone, gap, tone]))) < 2.3 * SAMPLE_RATE
    assert len(without_silence(tone)) == SAMPLE_RATE


# -- one clip


def test_mask_is_what_sounds_and_is_seen(library: Library) -> None:
    heard = silent = 0
    for index in range(40):
        clip = compose_clip(library, "train", 3, index, (64, 64))
        assert clip.frames.shape == (5, 64, 64, 3) and clip.frames.dtype == np.uint8
        assert clip.waveform.shape == (80_000,) and np.abs(clip.waveform).max() <= 1
        labels = set(np.unique(clip.object_map))
        assert labels <= {0, DISTRACTOR} | {1 + i for i in range(len(CATEGORIES))}
        for second in range(5):
            values = [1 + library.categories.index(name) for name in clip.sounding[second]]
            np.testing.assert_array_equal(clip.masks[second], np.isin(clip.object_map[second], values))
            assert not set(clip.sounding[second]) & set(clip.off_screen[second])
            heard += bool(values)
            silent += not values
    assert heard > 80 and silent > 20


def test_what_sounds_can_be_elsewhere(library: Library) -> None:
    """At a share of 1 nothing that is seen sounds, while something unseen does; at 0 clips are as they were."""
    heard = 0
    for index in range(30):
        clip = compose_clip(library, "train", 3, index, (64, 64), elsewhere=1.0)
        assert not clip.masks.any() and clip.object_map.any() and not any(clip.sounding)
        heard += any(clip.off_screen)
    assert heard > 8, "of the clips that leave a kind unseen"
    some = [compose_clip(library, "train", 3, index, (64, 64), elsewhere=0.4).masks.any() for index in range(40)]
    assert 12 < sum(some) < 36


def test_mask_covers_the_object_s_own_pixels(library: Library) -> None:
    """Inside the mask of a category the picture has that category's colour: labels and pixels agree."""
    strongest = {"bell": 0, "horn": 1, "whistle": 2}
    right = total = 0
    for index in range(30):
        clip = compose_clip(library, "train", 3, index, (96, 96))
        for name, channel in strongest.items():
            inside = clip.object_map == 1 + library.categories.index(name)
            if inside.sum() > 200:
                mean = clip.frames[inside].mean(axis=0) - clip.frames[clip.object_map == 0].mean(axis=0)
                right += int(mean.argmax() == channel)
                total += 1
    assert total > 30 and right / total > 0.9


def test_sound_labels_follow_the_waveform(library: Library) -> None:
    """In a sounding second the category's own pitch is there; in a silent one it is not."""
    media = library.splits["train"]
    for seed in range(20):
        rng = np.random.default_rng(seed)
        plan = np.array([[True, True, False, False, True]])
        waveform, sources, _ = make_waveform(media, ["bell"], plan, rng)
        sounding = sources[0].sounding
        assert not sounding[2] and not sounding[3]
        seconds = waveform.reshape(5, SAMPLE_RATE)[:, 1600:-1600]
        spectrum = np.abs(np.fft.rfft(seconds * np.hanning(seconds.shape[1])))
        hertz = np.fft.rfftfreq(seconds.shape[1], 1 / SAMPLE_RATE)
        tone = spectrum[:, (hertz > 900) & (hertz < 1600)].max(axis=1)
        if sounding.any():
            assert tone[sounding].min() > 3 * tone[~sounding].max()


def test_a_source_drowned_by_the_background_is_not_labelled(library: Library) -> None:
    from avseg_cli.synth.sounds import _audible

    quiet, loud = np.full(80_000, 0.004), np.full(80_000, 0.2)
    everywhere = np.ones(5, dtype=bool)
    assert not _audible([quiet], [everywhere], loud)[0].any()
    assert not _audible([quiet, loud], [everywhere, everywhere], np.zeros(80_000))[0].any()
    assert _audible([quiet, loud], [everywhere, everywhere], np.zeros(80_000))[1].all()
    assert not _audible([loud], [~everywhere], np.zeros(80_000))[0].any()


def test_schedules_start_stop_swap_and_fall_silent() -> None:
    plans = [make_schedule(3, np.random.default_rng(seed)) for seed in range(300)]
    assert any(not plan.any() for plan in plans)  # nothing at all
    assert any((plan.sum(axis=0) > 1).any() for plan in plans)  # together
    assert any(((plan.sum(axis=0) == 1).all() and (plan.any(axis=1).sum() > 1)) for plan in plans)  # taking turns
    assert any(plan.any() and not plan.any(axis=1).all() for plan in plans)  # visible but never heard
    assert 0.1 < np.mean([~plan.any(axis=0) for plan in plans]) < 0.35
    assert make_schedule(2, np.random.default_rng(0), steady=True).tolist() == [[True] * 5, [False] * 5]


def test_unseen_split_uses_only_the_cutouts_kept_out(library: Library) -> None:
    kept_out = set(library.record()["test_unseen"]["objects"])
    for index in range(10):
        clip = compose_clip(library, "test_unseen", 3, index, (64, 64))
        files = {layer["file"] for layer in clip.parameters["objects"] if layer["label"] != DISTRACTOR}
        assert files and files <= kept_out


# -- a data set


def test_same_seed_same_bytes_whatever_the_workers(media: Path, tmp_path: Path) -> None:
    synthesise(options(media, tmp_path / "one"))
    synthesise(options(media, tmp_path / "two", workers=2))
    synthesise(options(media, tmp_path / "other", seed=4))
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    assert digests(tmp_path / "one") != digests(tmp_path / "other")


def test_ms3_layout(media: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    counts = synthesise(options(media, out, clips=6, shares=(3, 1, 1, 1)))
    assert counts == {"train": 3, "val": 1, "test": 1, "test_unseen": 1}
    base = out / "Multi-sources"
    with open(base / "ms3_meta_data.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert [row[1] for row in rows[1:]] == ["train"] * 3 + ["val", "test", "test_unseen"]
    manifest = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    categories = json.loads((out / "categories.json").read_text())
    assert categories == sorted(CATEGORIES)
    for (name, split), record in zip(rows[1:], manifest, strict=True):
        assert record["name"] == name
        with wave.open(str(base / "ms3_data/audio_wav" / split / f"{name}.wav")) as sound:
            assert (sound.getframerate(), sound.getnchannels(), sound.getnframes()) == (16_000, 1, 80_000)
        for number in range(1, 6):
            frame = Image.open(base / "ms3_data/visual_frames" / name / f"{name}.mp4_{number}.png")
            mask = np.asarray(Image.open(base / "ms3_data/gt_masks" / split / name / f"{name}_{number}.png"))
            labels = np.asarray(Image.open(out / "object_maps" / split / name / f"{name}_{number}.png"))
            assert frame.size == (64, 64) and frame.mode == "RGB"
            values = [1 + categories.index(name) for name in record["sounding"][number - 1]]
            np.testing.assert_array_equal(mask, 255 * np.isin(labels, values))
    assert Image.open(out / "contact_sheet.png").width == 840
    assert json.loads((out / "recipe.json").read_text())["seed"] == 3


def test_manifest_names_every_source_and_its_licence(tmp_path: Path) -> None:
    """Names have spaces; the sounds lie elsewhere, and beside the pictures are others that were not used."""
    media, licences = make_media(tmp_path / "media"), {}
    for path in [path for path in media.rglob("*.*") if path.is_file()]:
        path.rename(path.with_name(f"a {path.name}"))
        licences[str(path.with_name(f"a {path.name}").relative_to(media))] = {"licence": "CC0-1.0"}
    (media / "LICENCES.json").write_text(json.dumps(licences))
    heard = {name: {"licence": "MIT"} for name in licences if name.startswith("sounds/")}
    (tmp_path / "other").mkdir()
    (tmp_path / "other/LICENCES.json").write_text(json.dumps(heard))
    (media / "sounds").rename(tmp_path / "other/sounds")
    synthesise(options(media, tmp_path / "set", clips=8, shares=(1,), sounds=tmp_path / "other/sounds"))
    patches = 0
    for line in (tmp_path / "set/manifest.jsonl").read_text().splitlines():
        record = json.loads(line)
        used = [part["file"] for kind in ("objects", "sources") for part in record[kind]]
        used += [record["background"]]
        used += [record["ambience"]] if record["ambience"] and "noise" not in record["ambience"] else []
        files = {next(name for name in licences if one.startswith(name)) for one in used}
        assert record["licences"] == {name: heard.get(name, licences[name]) for name in files}
        patches += any("(patch)" in name for name in used)
    assert patches


def test_s4_layout_has_one_source_all_along(media: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    synthesise(options(media, out, clips=4, shares=(2, 1, 1), layout="s4"))
    with open(out / "Single-source/s4_meta_data.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        below = Path(row["split"], row["category"], row["name"])
        data = out / "Single-source/s4_data"
        masks = sorted((data / "gt_masks" / below).iterdir())
        assert len(masks) == (1 if row["split"] == "train" else 5)
        assert len(list((data / "visual_frames" / below).iterdir())) == 5
        assert (data / "audio_wav" / row["split"] / row["category"] / f"{row['name']}.wav").is_file()
    for line in (out / "manifest.jsonl").read_text().splitlines():
        record = json.loads(line)
        assert all(names in ([record["category"]], []) for names in record["sounding"])


@pytest.mark.parametrize("layout", ["ms3", "s4"])
def test_the_data_set_reader_reads_it(media: Path, tmp_path: Path, layout: str) -> None:
    from avseg_cli.data.clips import read_clips
    from avseg_cli.data.dataset import ClipDataset
    from avseg_cli.data.subsets import find_subset

    synthesise(options(media, tmp_path / "set", clips=4, shares=(1, 1, 1, 1), layout=layout))
    for split in SPLITS:
        clips = read_clips(tmp_path / "set", find_subset(layout), split)
        sample = ClipDataset(clips, ("frames", "log_mel", "masks", "object_maps"))[0]
        assert sample.frames.shape == (5, 64, 64, 3)
        assert sample.log_mel.shape == (5, 1, 96, 64)
        assert len(sample.masks) == (1 if (layout, split) == ("s4", "train") else 5)


def test_real_videos_and_their_frames(media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import av

    from avseg_cli.synth.video_file import read_masks

    monkeypatch.chdir(tmp_path)
    for name in ("one", "12:30"):  # a colon is no protocol
        synthesise(options(media, Path(name), clips=1, shares=(1,), video=(128, 96), every_frame=True))
    data = tmp_path / "one/Multi-sources/ms3_data"
    (video,) = (data / "raw_videos").glob("*.mp4")
    with av.open(str(video)) as container:
        picture, sound = container.streams.video[0], container.streams.audio[0]
        assert (picture.frames, picture.width, picture.height, picture.average_rate) == (125, 128, 96, 25)
        assert sound.rate == 16_000 and abs(float(sound.duration * sound.time_base) - 5) < 0.1
        frames = [frame.to_image() for frame in container.decode(video=0)]
    name = video.stem
    for second in range(5):
        cut = frames[int(second * 25 + 15 / 16 * 25)].resize((64, 64), Image.Resampling.BILINEAR)
        written = Image.open(data / "visual_frames" / name / f"{name}.mp4_{second + 1}.png")
        np.testing.assert_array_equal(np.asarray(cut), np.asarray(written))
    truth = read_masks(video)
    assert truth.shape == (125, 96, 128) and truth.any()
    for number, mask in zip((23, 48, 73, 98, 123), sorted(data.glob(f"gt_masks/*/{name}/*.png")), strict=True):
        own = Image.fromarray(truth[number]).resize((64, 64), Image.Resampling.NEAREST)
        np.testing.assert_array_equal(np.asarray(own), np.asarray(Image.open(mask)) > 0)
    assert digests(tmp_path / "one") == digests(tmp_path / "12:30")


# -- what goes wrong


def test_nothing_is_left_behind_when_it_fails(media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from avseg_cli.synth import write

    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(write, "_write_record", interrupted)
    with pytest.raises(KeyboardInterrupt):
        synthesise(options(media, tmp_path / "set"))
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_is_killed_ends_the_others(media: Path, tmp_path: Path) -> None:
    def kill(done: int, total: int) -> None:
        for process in multiprocessing.active_children():
            process.kill()

    with pytest.raises(DeviceError, match="a process that made clips was killed.*use fewer workers"):
        synthesise(options(media, tmp_path / "set", clips=40, workers=2), kill)
    assert list(tmp_path.iterdir()) == [] and not multiprocessing.active_children()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"clips": 0}, "clips 0 is out of range"),
        ({"layout": "avss"}, "layout avss"),
        ({"shares": (0, 0)}, "shares needs"),
        ({"size": 8}, "size 8 is out of range"),
        ({"workers": 0}, "workers 0 is out of range"),
        ({"video": (101, 64)}, "video needs"),
        ({"every_frame": True}, "every_frame is"),
    ],
)
def test_options_say_what_is_wrong(media: Path, tmp_path: Path, changes: dict[str, object], words: str) -> None:
    with pytest.raises((DataError, InputError)) as refused:
        options(media, tmp_path / "set", **changes)
    assert words in str(refused.value)


def test_media_that_do_not_suffice(tmp_path: Path) -> None:
    few = make_media(tmp_path / "few", cutouts=2)
    with pytest.raises(DataError, match="test_unseen"):
        synthesise(options(few, tmp_path / "set", shares=(1, 0, 0, 1)))
    with pytest.raises(OutputError, match="exists"):
        synthesise(options(few, few))
    broken = few / "objects/bell/bell0.png"
    broken.write_bytes(b"not a picture")
    with pytest.raises(DataError, match="bell0.png"):
        synthesise(options(few, tmp_path / "set"))
    broken.unlink()
    (few / "sounds/bell/bell0.wav").write_bytes(b"not a sound")
    with pytest.raises(DataError, match="bell0.wav"):
        synthesise(options(few, tmp_path / "set"))
    with pytest.raises(DataError, match="no category"):
        Library.load(few / "objects", few / "ambience", few / "backgrounds")
    soundfile.write(few / "sounds/bell/bell0.wav", np.zeros(0), 44_100)
    with pytest.raises(DataError, match=r"bell0\.wav has no sound behind its header"):
        synthesise(options(few, tmp_path / "set"))
    with pytest.raises(DataError, match="not a folder"):
        load_root(tmp_path / "nowhere", splits=SPLITS)
    for number in range(255):  # 255 is what has no category
        for folder in ("objects", "sounds"):
            (tmp_path / "many" / folder / f"{number}").mkdir(parents=True)
    with pytest.raises(DataError, match="share 255 categories, and object maps hold 254"):
        load_root(tmp_path / "many")


# -- the command


def test_command_makes_a_data_set(media: Path, tmp_path: Path) -> None:
    from avseg_cli.cli import app

    arguments = [
        "synth",
        "--media",
        str(media),
        "--clips",
        "2",
        "--splits",
        "1/1",
        "--size",
        "48",
        "--workers",
        "1",
    ]
    result = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "set")])
    assert result.exit_code == 0, result.output
    assert result.stdout == ""  # messages go to stderr
    assert "1 train, 1 val" in " ".join(result.stderr.split())
    assert (tmp_path / "set/Multi-sources/ms3_meta_data.csv").is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--out", "x"], "--objects"),
        (["--media", "MEDIA"], "--out"),
        (["--media", "MEDIA", "--out", "x", "--splits", "a/b"], "80/10/10"),
        (["--media", "MEDIA", "--out", "x", "--mp4", "--mp4-size", "big"], "480x360"),
    ],
)
def test_command_line_mistakes(media: Path, arguments: list[str], words: str, capfd, monkeypatch) -> None:
    given = [str(media) if argument == "MEDIA" else argument for argument in arguments]
    code, out, err = run_avseg(capfd, monkeypatch, "synth", *given)
    assert code == 2 and out == ""
    assert words in err


def test_errors_reach_the_command_line_as_one_sentence(
    media: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from avseg_cli.cli import main

    monkeypatch.setattr(sys, "argv", ["avseg", "synth", "--media", str(media), "--out", str(media)])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == OutputError.exit_code
    printed = capsys.readouterr()
    assert printed.err.startswith("avseg: ") and "already exists" in printed.err and printed.out == ""
    assert issubclass(OutputError, AvsegError)
