"""What goes into editors: mattes, cut-outs with alpha, numbered pictures, markers, and what made them."""

from __future__ import annotations

import csv
import hashlib
import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import opentimelineio
import pytest
from media_files import Clip, LoudRed, frames_of, iou, is_red, sound_payload
from PIL import Image

from avseg_cli.checkpoints.checkpoint import load_model
from avseg_cli.media.timecode import Timecode
from avseg_cli.media.video import VideoReader, probe, probe_pictures
from avseg_cli.outputs.cleanup import Cleanup
from avseg_cli.outputs.drawing import plane_array
from avseg_cli.outputs.heard import Heard
from avseg_cli.segment.inputs import format_of
from avseg_cli.segment.render import render
from avseg_cli.segment.segment_options import SegmentOptions


def make(clip: Path, format: str, out: Path, **settings: object) -> Path:
    render(probe(clip), LoudRed(), {format: out}, SegmentOptions(**settings), "test")  # type: ignore[arg-type]
    return out


def shown_grey(frame: av.VideoFrame) -> np.ndarray:
    """The picture as an editor shows it: by its tags, from the limited range to 0 to 255."""
    assert frame.color_range == 1
    deep = "10" in frame.format.name
    luma = plane_array(frame, 0, np.uint16 if deep else np.uint8).astype(float) / (4 if deep else 1)
    return np.clip((luma - 16) * 255 / 219, 0, 255)


@pytest.mark.parametrize("name", ["out.mp4", "out.mov", "out.mkv"])
@pytest.mark.parametrize("full_range", [False, True])
def test_a_matte_is_black_and_white_frame_for_frame(tmp_path: Path, name: str, full_range: bool) -> None:
    clip = Clip(seconds=2, tags=(1, 1, 1, 2 if full_range else 1), size=(320, 240))
    path = clip.write(tmp_path / "clip.mp4")
    out = make(path, "matte", tmp_path / name)
    before, after = frames_of(path), frames_of(out)
    assert [Fraction(f.pts) * f.time_base for f in after] == [Fraction(f.pts) * f.time_base for f in before]
    with av.open(str(out)) as container:
        stream = container.streams.video[0]
        assert not container.streams.audio, "the source has the sound"
        assert stream.codec_context.name == ("prores" if name.endswith("mov") else "h264")
        assert stream.average_rate == 10
    grey, square = shown_grey(after[12]), is_red(clip.picture(0))
    assert iou(grey > 127, square) > 0.9
    assert np.abs(grey[:30]).max() <= 1 and grey[110:130, 150:170].min() >= 254
    assert (after[12].colorspace, after[12].color_primaries, after[12].color_trc) == (1, 1, 1)
    deep = name.endswith("mov")
    for index in (1, 2):
        assert (plane_array(after[12], index, np.uint16 if deep else np.uint8) == (512 if deep else 128)).all()


def test_a_matte_of_a_rotated_clip_of_variable_rate_fits_over_it(tmp_path: Path) -> None:
    times = [0, 0.033, 0.1, 0.5, 0.533, 1.2, 1.25, 2.0, 2.001]
    clip = Clip(times=times, rotation=90, size=(160, 120), place=lambda t: (0.3, 0.3))
    path = clip.write(tmp_path / "clip.mp4")
    after = frames_of(make(path, "matte", tmp_path / "out.mp4"))
    assert [f.time for f in after] == pytest.approx(times) and after[0].rotation == 0
    assert (after[0].width, after[0].height) == (120, 160)
    assert iou(shown_grey(after[4]) > 127, is_red(np.rot90(clip.picture(0)))) > 0.85


def frames_with_alpha(path: Path) -> list[av.VideoFrame]:
    """VP9's transparency is a second stream inside the packets, which only libvpx reads."""
    decoder = av.CodecContext.create("libvpx-vp9", "r")
    with av.open(str(path)) as container:
        packets = list(container.demux(container.streams.video[0]))
        return [frame for packet in packets for frame in decoder.decode(packet if packet.size else None)]


@pytest.mark.parametrize(("size", "rotation"), [((320, 240), 0), ((161, 121), 90)])
def test_vp9_keeps_its_alpha_and_the_sound_is_opus(tmp_path: Path, size: tuple[int, int], rotation: int) -> None:
    clip = Clip(seconds=2, tags=(1, 1, 1, 1), size=size, rotation=rotation, pixel_format="yuv444p")
    path = clip.write(tmp_path / "clip.mp4")
    out = tmp_path / "out.webm"
    done = render(probe(path), LoudRed(), {"cutout": out}, SegmentOptions(), "test")
    assert done.sound == "re-encoded to Opus" and done.frames == 20
    with av.open(str(out)) as container:
        assert container.format.name == "matroska,webm" and container.streams.audio[0].codec_context.name == "opus"
        assert container.streams.video[0].metadata["ALPHA_MODE"] == "1"
        heard = np.concatenate([f.to_ndarray()[0] for f in container.decode(audio=0)])
        assert len(heard) / 48000 == pytest.approx(2, abs=0.1) and np.abs(heard).max() > 0.1
    frames = frames_with_alpha(out)
    assert len(frames) == 20 and frames[12].format.name == "yuva420p"
    rgba = frames[12].reformat(format="rgba").to_ndarray()
    picture = np.rot90(clip.picture(0), rotation // 90)
    rgba = rgba[: picture.shape[0], : picture.shape[1]]
    assert iou(rgba[..., 3] > 127, is_red(picture)) > 0.9
    assert rgba[2, 2, 3] == 0 and rgba[picture.shape[0] // 2, picture.shape[1] // 2, 3] == 255


def test_alpha_is_straight(tmp_path: Path) -> None:
    """Where the soft edge is half transparent the colours are the picture's own, not those mixed with black."""
    clip = Clip(seconds=1, tags=(1, 1, 1, 1), size=(320, 240))
    path = clip.write(tmp_path / "clip.mp4")
    for name in ("out.mov", "out.webm"):
        out = make(path, "cutout", tmp_path / name, cleanup=Cleanup(feather="12"))
        frame = frames_with_alpha(out)[4] if name == "out.webm" else frames_of(out)[4]
        rgba, picture = frame.reformat(format="rgba").to_ndarray(), clip.picture(0).astype(int)
        edge = (rgba[..., 3] > 20) & (rgba[..., 3] < 200)
        assert edge.any() and np.abs(rgba[edge][:, :3].astype(int) - picture[edge]).mean() < 8, "not mixed with black"


def test_opus_is_copied_into_webm(tmp_path: Path) -> None:
    path = Clip(seconds=1, sound="libopus", sound_rate=48000).write(tmp_path / "clip.mkv")
    out = make(path, "cutout", tmp_path / "out.webm")
    assert sound_payload(out) == sound_payload(path)


def test_a_sequence_is_numbered_without_a_gap_and_its_sidecar_has_the_times(tmp_path: Path) -> None:
    times = [0, 0.033, 0.1, 0.5, 0.533, 1.2, 1.25, 2.0, 2.001]
    clip = Clip(times=times, size=(161, 121), pixel_format="yuv444p")
    path = clip.write(tmp_path / "clip.mp4")
    out = make(path, "sequence", tmp_path / "clip.avseg.sequence")
    names = [f"clip.{number:06d}.png" for number in range(9)]
    assert sorted(file.name for file in out.iterdir()) == [*names, "clip.json"]
    sidecar = json.loads((out / "clip.json").read_text())
    assert [frame["file"] for frame in sidecar["frames"]] == names
    assert [frame["time"] for frame in sidecar["frames"]] == pytest.approx(times)
    assert sidecar["settings"]["fps"] == 1.0 and sidecar["masks_count"] == 2 and sidecar["avseg"]
    picture = np.asarray(Image.open(out / names[4]))
    assert picture.shape == (121, 161) and picture.dtype == np.uint8, "odd sides are kept"
    assert iou(picture > 127, is_red(clip.picture(0))) > 0.9 and {0, 255} <= set(np.unique(picture))
    with av.open(str(out / "clip.%06d.png"), format="image2", options={"framerate": "10"}) as container:
        assert len(list(container.decode(video=0))) == 9, "FFmpeg imports it"


def test_masks_keep_their_names_and_say_what_made_them(tmp_path: Path) -> None:
    path = Clip(seconds=3).write(tmp_path / "clip.mp4")
    out = make(path, "masks", tmp_path / "out.masks")
    sidecar = json.loads((out / "masks.json").read_text())
    assert [frame["file"] for frame in sidecar["frames"]] == sorted(file.name for file in out.glob("*.png"))
    assert sidecar["frames"][1] == {"file": "000001_00-00-01.900.png", "time": 1.9}


def told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the stand-in for the model hear a dog where it is loud."""
    from avseg_cli.segment import runner

    def heard(self: object, sound: object) -> list[Heard]:
        return [(("dog", 0.9), ("siren", 0.1)) if vector[0] > 0 else () for vector in sound]  # type: ignore[union-attr]

    monkeypatch.setattr(runner.Runner, "_heard", heard)


def barks(times: np.ndarray) -> np.ndarray:
    return np.where((times >= 1) & (times < 3), 0.4, 0.0)


def test_markers_and_tracks_begin_and_end_where_the_sound_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told(monkeypatch)
    bark = lambda times: np.where((times >= 1.45) & (times < 3), 0.4, 0.0)  # noqa: E731
    path = Clip(seconds=5, loudness=bark).write(tmp_path / "clip.mp4")
    outputs = {"markers": tmp_path / "out.csv", "json": tmp_path / "out.json"}
    render(probe(path), LoudRed(), outputs, SegmentOptions(), "test")
    with open(outputs["markers"], newline="") as file:
        found = [(row["kind"], float(row["start"]), float(row["end"])) for row in csv.DictReader(file)]
    assert [kind for kind, *_ in found] == ["heard", "seen"]
    times = [times for _, *times in found] + json.loads(outputs["json"].read_text())["tracks"][0]["times"]
    assert times == [pytest.approx([1.45, 3], abs=0.03)] * 3


def test_where_the_dog_barks_is_a_row_of_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told(monkeypatch)
    path = Clip(seconds=5, loudness=barks).write(tmp_path / "clip.mp4")
    out = make(path, "markers", tmp_path / "out.csv")
    with open(out, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["kind"], row["name"]) for row in rows] == [("heard", "dog"), ("seen", "source 1")]
    for row in rows:
        assert (float(row["start"]), float(row["end"]), float(row["duration"])) == (1, 3, 2)
        assert row["timecode"] == "00:00:01:00"
    assert float(rows[0]["probability"]) == 0.9 and rows[0]["source"] == "" and rows[1]["source"] == "1"
    assert 0.05 < float(rows[1]["area"]) < 0.2


def test_markers_open_as_a_timeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told(monkeypatch)
    path = Clip(seconds=5, loudness=barks).write(tmp_path / "a clip.mp4")
    timeline = opentimelineio.adapters.read_from_file(str(make(path, "otio", tmp_path / "out.otio")))
    pictures, sound = timeline.tracks
    clip = pictures[0]
    assert (pictures.kind, sound.kind) == ("Video", "Audio") and len(sound[0].markers) == 0
    assert clip.media_reference.target_url == path.as_uri() and clip.duration().to_seconds() == 5
    found = [
        (m.name, m.marked_range.start_time.to_seconds(), m.marked_range.duration.to_seconds()) for m in clip.markers
    ]
    assert found == [("dog", 1, 2), ("source 1", 1, 2)]
    assert clip.markers[0].marked_range.start_time.rate == 10
    assert timeline.metadata["avseg"]["settings"]["fps"] == 1.0


def test_a_timeline_and_its_sidecars_name_what_a_copy_is_of(tmp_path: Path) -> None:
    address = "s3://archive/clip.mp4"
    copy = replace(probe(Clip(seconds=1).write(tmp_path / "copy.mp4")), source=address)
    render(copy, LoudRed(), {"otio": tmp_path / "out.otio", "masks": tmp_path / "masks"})
    timeline = opentimelineio.adapters.read_from_file(str(tmp_path / "out.otio"))
    assert timeline.tracks[0][0].media_reference.target_url == address
    facts = json.loads((tmp_path / "masks/masks.json").read_text())["video"]
    assert facts["path"] == facts["sound"]["path"] == address and "source" not in facts


def test_names_that_are_no_text_go_into_a_timeline(tmp_path: Path) -> None:
    names = (tmp_path / name for name in ("caf\udce9.mp4", "th\udce9.wav"))  # as Latin-1 names come from the system
    path, sound = (Clip(seconds=1).write(tmp_path / "clip.mp4").replace(name) for name in names)
    render(probe(path, sound), LoudRed(), {"otio": tmp_path / "out.otio"}, checkpoint="b\udce9.safetensors")
    timeline = opentimelineio.adapters.read_from_file(str(tmp_path / "out.otio"))
    assert timeline.name == timeline.tracks[0][0].name == "caf\ufffd.mp4"
    about = timeline.metadata["avseg"]
    assert about["audio"].endswith("th\ufffd.wav") and about["model"]["checkpoint"] == "b\ufffd.safetensors"


@pytest.mark.parametrize(("span", "frames"), [((0, 60), (0, 50)), ((3, 60), (30, 20)), ((1, 2), (10, 20))])
def test_a_timeline_is_no_longer_than_its_media(
    tmp_path: Path, span: tuple[float, float], frames: tuple[int, int]
) -> None:
    path = Clip(seconds=5).write(tmp_path / "clip.mp4")
    out = make(path, "otio", tmp_path / "out.otio", start=span[0], duration=span[1])
    clip = opentimelineio.adapters.read_from_file(str(out)).tracks[0][0]
    assert (clip.source_range.start_time.value, clip.source_range.duration.value) == frames
    assert clip.media_reference.available_range.duration.value == 50


def test_timecodes_count_frames() -> None:
    assert [Timecode(Fraction(25)).at(frame) for frame in (0, 24, 1526, 90000)] == [
        "00:00:00:00", "00:00:00:24", "00:01:01:01", "01:00:00:00",
    ]  # fmt: skip
    assert Timecode(Fraction(30000, 1001)).at(1000) == "00:00:33:10"


def test_dropped_numbers_keep_timecode_in_step_with_the_clock() -> None:
    """By the library that editors share."""
    rate = 30000 / 1001
    for text in ("00:00:59;29", "00:01:00;02", "00:09:59;29", "00:10:00;00", "01:00:00;00", "10:11:12;13"):
        code = Timecode.read(text, Fraction(30000, 1001))
        assert code and code.first == opentimelineio.opentime.from_timecode(text, rate).value
        assert code.at(0) == text
        for frames in (1, 1799, 17982, 54321):
            wanted = opentimelineio.opentime.RationalTime(code.first + frames, rate).to_timecode(rate, True)
            assert code.at(frames) == wanted
    for none in ("", "1:00", "00:00:00:25", "00:00:00;10", "00:60:00:00", None):
        assert Timecode.read(none, Fraction(25)) is None


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.avi"])
@pytest.mark.parametrize("rate", [Fraction(25), Fraction(30), Fraction(30000, 1001), Fraction(24000, 1001)], ids=str)
def test_the_number_of_a_frame_is_that_of_the_picture_a_part_begins_with(
    tmp_path: Path, name: str, rate: Fraction
) -> None:
    """Also where the sound begins before the pictures."""
    ticks = {"clip.mp4": Fraction(1, 90000), "clip.mkv": Fraction(1, 1000), "clip.avi": 1 / rate}
    for delay in (0.0, -0.4):
        clip = Clip(seconds=4, rate=rate, size=(64, 48), sound_delay=delay, time_base=ticks[name])
        video = probe(clip.write(tmp_path / name))
        times = [picture.time for picture in VideoReader(video)]
        for start in (0.0, 0.01, 0.5, 1.0, 1.001, 4 / 3, 2.002, 2.5, 3.01, times[1], times[31], times[47]):
            assert video.frame_at(start) == sum(time < start - 1e-6 for time in times), (start, delay)


@pytest.mark.parametrize(
    ("name", "start", "frame"), [("clip.mov", 1.0, 0), ("clip.mkv", 1.0, 0), ("clip.mov", 1.01, 1)]
)
def test_the_sources_timecode_goes_on_in_what_editors_get(tmp_path: Path, name: str, start: float, frame: int) -> None:
    """From the first picture of the part on, which may come after its start."""
    path = Clip(seconds=3, rate=25, timecode="01:00:00:05").write(tmp_path / name)
    outputs = {"markers": "o.csv", "otio": "o.otio", "matte": "o.mp4", "cutout": "o.mov", "json": "o.json"}
    places = {format: tmp_path / file for format, file in outputs.items()}
    render(probe(path), LoudRed(), places, SegmentOptions(start=start), "test")
    with open(places["markers"], newline="") as file:
        row = next(csv.DictReader(file))
    assert (row["timecode"], row["source_timecode"]) == (f"00:00:01:0{frame}", f"01:00:01:0{5 + frame}")
    clip = opentimelineio.adapters.read_from_file(str(places["otio"])).tracks[0][0]
    assert clip.media_reference.available_range.start_time.value == 90005
    assert clip.source_range.start_time.value == 90030 + frame == clip.markers[0].marked_range.start_time.value
    assert json.loads(places["json"].read_text())["video"]["timecode"] == "01:00:00:05"
    for format in ("matte", "cutout"):
        assert probe_pictures(places[format]).timecode == f"01:00:01:0{5 + frame}", format


def test_what_made_the_masks_is_in_every_file(tmp_path: Path, tiny_checkpoint: Path) -> None:
    path = Clip(seconds=1).write(tmp_path / "clip.mp4")
    outputs = {
        "json": "j.json",
        "coco": "c.json",
        "matte": "m.mp4",
        "cutout": "c.webm",
        "overlay": "o.mkv",
        "otio": "t.otio",
    }
    places = {name: tmp_path / file for name, file in outputs.items()}
    other = Clip(seconds=1).write(tmp_path / "other.mp4")
    model = load_model(tiny_checkpoint, "cpu", "bf16")
    render(probe(path, other), model, places, SegmentOptions(threshold=0.4), str(tiny_checkpoint))
    digest = hashlib.sha256(tiny_checkpoint.read_bytes()).hexdigest()
    found = {
        "json": json.loads(places["json"].read_text()),
        "coco": json.loads(places["coco"].read_text())["info"],
        "otio": json.loads(places["otio"].read_text())["metadata"]["avseg"],
    }
    for name in ("matte", "cutout", "overlay"):
        with av.open(str(places[name])) as container:
            tags = {key.lower(): value for key, value in container.metadata.items()}
            found[name] = json.loads(tags["comment"])
    for name, about in found.items():
        assert about["avseg"] and about["model"]["sha256"] == digest, name
        assert (about["model"]["device"], about["model"]["precision"]) == ("cpu", "bf16"), name
        assert about["audio"] == str(other), name
        assert about["settings"]["threshold"] == 0.4 and about["settings"]["cleanup"]["grow"] == "0", name


@pytest.mark.parametrize(("output", "format"), [
    (None, "overlay"), ("out", "overlay"), ("x.mp4", "overlay"), ("x.mov", "overlay"), ("x.webm", "cutout"),
    ("x.json", "json"), ("x.csv", "markers"), ("x.otio", "otio"), ("x.png", "preview"), ("x.HTML", "report"),
])  # fmt: skip
def test_a_file_name_says_the_format(output: str | None, format: str) -> None:
    assert format_of(output) == format
