"""Drawing and writing: pixels, colours, times and sound of what comes out."""

from __future__ import annotations

import errno
from dataclasses import replace
from fractions import Fraction
from operator import attrgetter
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from media_files import Clip, LoudRed, frames_of, iou, is_red, rgb_of, sound_payload
from PIL import Image

from avseg_cli.base.errors import InputError, OutputError
from avseg_cli.media.video import VideoReader, probe
from avseg_cli.model.transforms import upsample_logits
from avseg_cli.motion.timeline import Timeline
from avseg_cli.outputs.drawing import Highlighter, Style, Upsampler, plane_array, upright
from avseg_cli.outputs.results import MaskResult
from avseg_cli.outputs.stills import highlighted
from avseg_cli.outputs.yuv import to_yuv
from avseg_cli.segment.render import Rendered, render
from avseg_cli.segment.segment_options import SegmentOptions


def make(path: Path, out: Path, formats: str = "overlay", **settings) -> Rendered:
    suffix = {"overlay": "mp4", "masks": "masks", "cutout": "mov", "json": "json"}
    outputs = {name: out.with_suffix("." + suffix[name]) for name in formats.split(",")}
    return render(probe(path), LoudRed(), outputs, SegmentOptions(**settings), "test")


def times_of(path: Path) -> list[float]:
    return [float(frame.pts * frame.time_base) for frame in frames_of(path)]


def test_upsampling_is_that_of_the_transforms() -> None:
    logits = np.random.default_rng(0).normal(size=(80, 80)).astype(np.float32)
    whole = upsample_logits(torch.from_numpy(logits)[None], 160, (270, 482))[0].numpy()
    ours = Upsampler(80, 160, (270, 482)).full(logits)
    assert np.abs(ours - whole).max() < 1e-4 and np.array_equal(ours > 0, whole > 0)


@pytest.mark.parametrize("size", [(120, 160), (30, 40), (600, 500)])
def test_the_region_holds_the_whole_mask(size: tuple[int, int]) -> None:
    upsampler = Upsampler(80, 160, size)
    rng = np.random.default_rng(1)
    for _ in range(20):
        logits = np.full((80, 80), -5.0, np.float32)
        y, x = rng.integers(0, 78, 2)
        logits[y : y + 3, x : x + 2] = 5
        outside = upsampler.full(logits) > 0
        rows, columns = upsampler.region(logits > -0.25, 2)
        outside[rows, columns] = False
        assert not outside.any()


def test_between_masks_logits_move_linearly() -> None:
    results = [
        MaskResult(k, time, time, np.full((2, 2), value, np.float32), (4, 4), 4)
        for k, (time, value) in enumerate([(0.9, 0.0), (1.9, 10.0), (1.9, 12.0), (2.9, 2.0)])
    ]
    timeline = Timeline(iter(results))
    values = [timeline.at(time).between(attrgetter("logits"))[0, 0] for time in (0.0, 0.9, 1.4, 1.9, 2.4, 2.9, 7.0)]
    assert values == pytest.approx([0, 0, 5, 12, 7, 2, 2])


def drawn_planes(tmp_path: Path, logits: np.ndarray, style: Style) -> tuple[list[np.ndarray], list[np.ndarray]]:
    video = probe(Clip(seconds=0.3, tags=(1, 1, 1, 1)).write(tmp_path / "clip.mp4"))
    frame = upright(next(iter(VideoReader(video))))
    before = [plane_array(frame, index).copy() for index in range(3)]
    planes = [plane_array(frame, index) for index in range(3)]
    Highlighter(video, 80, 160, 0.5, style).draw(planes, logits, np.ones((80, 80), np.int32))
    return before, planes


def test_only_what_should_change_changes(tmp_path: Path) -> None:
    logits = np.full((80, 80), -9.0, np.float32)
    logits[20:60, 20:60] = 9
    before, after = drawn_planes(tmp_path, logits, Style(dim=0.5, opacity=1.0))
    inside = (slice(40, 80), slice(60, 100))
    assert np.array_equal(before[0][inside], after[0][inside]), "brightness inside the mask is kept"
    expected = 16 + (before[0][:20].astype(int) - 16) // 2
    assert np.abs(after[0][:20].astype(int) - expected).max() <= 1, "the rest is dimmed"
    faded = 128 + (before[1][:10].astype(int) - 128) // 2
    assert np.abs(after[1][:10].astype(int) - faded).max() <= 1, "colours fade in step with brightness"
    video = probe(tmp_path / "clip.mp4")
    tint = to_yuv(Style().color, video)
    for plane in (1, 2):
        assert np.abs(after[plane][20:40, 30:50].astype(int) - tint[plane]).max() <= 2
    edge = after[0][60, :40]
    assert edge.max() >= 160 and edge.min() < 42, "a light contour with a dark rim runs along the edge"


@pytest.mark.parametrize("ground", [(8, 8, 8), (250, 250, 250), Style().color], ids=["dark", "light", "pink"])
def test_the_overlay_is_seen_on_any_ground(ground: tuple[int, int, int]) -> None:
    logits = np.full((80, 80), -9.0, np.float32)
    logits[20:60, 20:60] = 9
    pixels = np.full((320, 320, 3), ground, np.uint8)
    seen = highlighted(pixels, logits, np.ones((80, 80), np.int32), 160, 0.5, Style())
    luma = np.asarray(Image.fromarray(seen).convert("L")).astype(int)
    across = luma[160, 60:100]  # over the left edge of what sounds
    assert across[16:22].max() > 170 and across.min() < 60, "a light line with a dark rim"
    assert np.abs(luma[160, 160] - luma[160, 20]) > 0.2 * luma[160, 160], "the rest is dimmed"


def test_nothing_changes_where_nothing_sounds(tmp_path: Path) -> None:
    before, after = drawn_planes(tmp_path, np.full((80, 80), -9.0, np.float32), Style())
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_the_overlay_follows_the_square_and_keeps_the_sound(tmp_path: Path) -> None:
    clip = Clip(seconds=4, place=lambda t: (0.3 + t / 10, 0.5), tags=(1, 1, 1, 1), size=(320, 240))
    path = clip.write(tmp_path / "clip.mp4")
    done = make(path, tmp_path / "out", fps=10, style=Style(dim=0.5, color=(0, 0, 255), opacity=1.0, contour=False))
    assert (done.frames, done.masks, done.sound) == (40, 40, "copied")
    assert sound_payload(tmp_path / "out.mp4") == sound_payload(path)
    assert times_of(tmp_path / "out.mp4") == pytest.approx(times_of(path))
    for image, time in zip(rgb_of(tmp_path / "out.mp4"), clip.frame_times(), strict=True):
        blue = (image[..., 2].astype(int) - image[..., 1]) > 60
        assert iou(blue, is_red(clip.picture(time))) > 0.85


def test_a_relative_name_with_a_colon_is_no_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make(Clip(seconds=1).write(tmp_path / "12:30:15.mp4").relative_to(tmp_path), Path("12:30:15.avseg.mp4"))
    assert len(frames_of(tmp_path / "12:30:15.avseg.mp4")) == 10


def test_variable_rate_is_kept_to_the_tick(tmp_path: Path) -> None:
    times = [0, 0.033, 0.1, 0.5, 0.533, 1.2, 1.25, 2.0, 2.001]
    for name in ("clip.mkv", "clip.mp4"):
        path = Clip(times=times).write(tmp_path / name)
        make(path, tmp_path / "out")
        with av.open(str(path)) as a, av.open(str(tmp_path / "out.mp4")) as b:
            before, after = ([Fraction(f.pts) * f.time_base for f in c.decode(video=0)] for c in (a, b))
        assert before == after


@pytest.mark.parametrize("delay", [0.7, -0.5])
def test_pictures_and_sound_stay_together(tmp_path: Path, delay: float) -> None:
    path = Clip(sound_delay=delay, sound="mp2", seconds=2).write(tmp_path / "clip.ts")
    make(path, tmp_path / "out")

    def starts(file: Path) -> list[float]:
        with av.open(str(file)) as container:
            return [float(s.start_time * s.time_base) for s in (container.streams.video[0], container.streams.audio[0])]

    before, after = starts(path), starts(tmp_path / "out.mp4")
    assert after[1] - after[0] == pytest.approx(before[1] - before[0], abs=0.03)
    assert sound_payload(tmp_path / "out.mp4") == sound_payload(path)


@pytest.mark.parametrize(("codec", "name", "action"), [
    ("aac", "clip.mp4", "copied"), ("libmp3lame", "clip.mkv", "copied"), ("libopus", "clip.mkv", "copied"),
    ("flac", "clip.mkv", "copied"), ("ac3", "clip.mkv", "copied"), ("alac", "clip.mov", "copied"),
    ("pcm_s16le", "clip.mkv", "copied"), ("aac", "clip.ts", "copied"),
    ("wmav2", "clip.asf", "re-encoded to AAC"), ("vorbis", "clip.mkv", "re-encoded to AAC"),
])  # fmt: skip
def test_sound_is_copied_where_mp4_takes_it(tmp_path: Path, codec: str, name: str, action: str) -> None:
    clip = Clip(sound=codec, sound_rate=48000, seconds=2)
    path = clip.write(tmp_path / name)
    assert make(path, tmp_path / "out").sound == action
    with av.open(str(tmp_path / "out.mp4")) as container:
        heard = [frame.to_ndarray().astype(np.float64).reshape(-1) for frame in container.decode(audio=0)]
        length = container.streams.audio[0].duration * container.streams.audio[0].time_base
    assert np.abs(np.concatenate(heard)).max() > 0 and float(length) == pytest.approx(2, abs=0.15)
    if action == "copied" and name != "clip.ts":
        assert sound_payload(tmp_path / "out.mp4") == sound_payload(path)
    if codec == "aac" and name == "clip.ts":  # MP4 has no ADTS headers
        assert [data[7:] for data in sound_payload(path)] == sound_payload(tmp_path / "out.mp4")


@pytest.mark.parametrize("size", [(161, 121), (160, 121), (33, 120)])
@pytest.mark.parametrize("rotation", [0, 90])
def test_odd_sides_are_padded_to_even(tmp_path: Path, size: tuple[int, int], rotation: int) -> None:
    clip = Clip(size=size, pixel_format="yuv444p", seconds=0.5, rotation=rotation)
    make(clip.write(tmp_path / "clip.mp4"), tmp_path / "out", "overlay,masks")
    width, height = size if rotation == 0 else size[::-1]
    frame = frames_of(tmp_path / "out.mp4")[0]
    assert (frame.width, frame.height) == (width + width % 2, height + height % 2)
    assert frame.rotation == 0
    assert Image.open(next((tmp_path / "out.masks").glob("*.png"))).size == (width, height)


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotated_videos_come_out_upright_without_a_matrix(tmp_path: Path, rotation: int) -> None:
    clip = Clip(rotation=rotation, place=lambda t: (0.3, 0.3), loudness=lambda t: 0 * t, seconds=1, tags=(1, 1, 1, 1))
    make(clip.write(tmp_path / "clip.mp4"), tmp_path / "out")
    frame = frames_of(tmp_path / "out.mp4")[-1]
    assert frame.rotation == 0
    assert iou(is_red(frame.to_ndarray(format="rgb24")), is_red(np.rot90(clip.picture(0), rotation // 90))) > 0.9


@pytest.mark.parametrize("tags", [(1, 1, 1, 1), (5, 5, 6, 1), (9, 9, 14, 1), (1, 1, 1, 2), None])
def test_colour_tags_and_colours_are_the_sources(tmp_path: Path, tags: tuple | None) -> None:
    clip = Clip(tags=tags, loudness=lambda t: 0 * t, seconds=1, options={"preset": "ultrafast", "qp": "0"})
    path = clip.write(tmp_path / "clip.mp4")
    make(path, tmp_path / "out")
    before, after = frames_of(path)[5], frames_of(tmp_path / "out.mp4")[5]
    read = lambda f: (f.colorspace, f.color_primaries, f.color_trc)  # noqa: E731
    assert read(after) == read(before)
    assert (after.color_range == 2) == (before.color_range == 2)
    for index in range(3):
        difference = plane_array(after, index).astype(int) - plane_array(before, index)
        assert abs(difference.mean()) < 0.3 and np.abs(difference).mean() < 1.5


@pytest.mark.parametrize("codec", ["ffv1", "libx264"])
def test_rgb_and_deep_sources_become_tagged_420(tmp_path: Path, codec: str) -> None:
    deep = codec == "libx264"
    clip = Clip(
        codec=codec,
        options={"crf": "5"} if deep else {},
        pixel_format="yuv444p10le" if deep else "bgr0",
        sound="flac",
        loudness=lambda t: 0 * t,
        seconds=1,
        tags=(1, 1, 1, 1) if deep else None,
    )
    make(clip.write(tmp_path / "clip.mkv"), tmp_path / "out")
    frame = frames_of(tmp_path / "out.mp4")[3]
    assert frame.format.name == "yuv420p" and (frame.colorspace, frame.color_primaries) == (1, 1)
    assert np.median(np.abs(frame.to_ndarray(format="rgb24").astype(int) - clip.picture(0))) <= 3


def test_pixels_that_are_not_square_stay_so(tmp_path: Path) -> None:
    clip = Clip(seconds=0.5)
    add = clip._picture_stream
    clip._picture_stream = lambda container: _with_aspect(add(container))
    make(clip.write(tmp_path / "clip.mp4"), tmp_path / "out")
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(4, 3)


def _with_aspect(stream):
    stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
    return stream


def test_a_part_is_written_from_zero_with_its_sound(tmp_path: Path) -> None:
    clip = Clip(seconds=6, loudness=lambda t: np.where((t > 3.4) & (t < 3.6), 0.4, 0.0))
    path = clip.write(tmp_path / "clip.mp4")
    done = make(path, tmp_path / "out", start=2.5, duration=2)
    assert done.frames == 20
    assert times_of(tmp_path / "out.mp4") == pytest.approx([k / 10 for k in range(20)], abs=1e-3)
    with av.open(str(tmp_path / "out.mp4")) as container:
        loud = [frame.time for frame in container.decode(audio=0) if np.abs(frame.to_ndarray()).max() > 0.1]
    assert loud[0] == pytest.approx(0.9, abs=0.05) and loud[-1] == pytest.approx(1.1, abs=0.05)


def test_masks_are_named_so_that_they_sort_and_carry_their_time(tmp_path: Path) -> None:
    clip = Clip(seconds=3, place=lambda t: (0.3 + t / 8, 0.5))
    make(clip.write(tmp_path / "clip.mp4"), tmp_path / "out", "masks")
    files = sorted((tmp_path / "out.masks").glob("*.png"))
    assert [file.name for file in files] == [f"{k:06d}_00-00-0{k}.900.png" for k in range(3)]
    for file, time in zip(files, (0.9, 1.9, 2.9), strict=True):
        mask = np.asarray(Image.open(file))
        assert set(np.unique(mask)) == {0, 255} and Image.open(file).mode == "L"
        assert iou(mask > 0, is_red(clip.picture(time))) > 0.9


def test_the_cutout_is_transparent_around_what_sounds(tmp_path: Path) -> None:
    clip = Clip(seconds=2, tags=(1, 1, 1, 1))
    path = clip.write(tmp_path / "clip.mp4")
    make(path, tmp_path / "out", "cutout")
    with av.open(str(tmp_path / "out.mov")) as container:
        assert container.streams.video[0].codec_context.codec_tag == "ap4h"
    frame = frames_of(tmp_path / "out.mov")[12]
    assert frame.format.name.startswith("yuva444p")
    rgba = frame.reformat(format="rgba").to_ndarray()
    square = is_red(clip.picture(0))
    assert iou(rgba[..., 3] > 127, square) > 0.9
    assert rgba[60, 80, 3] == 255 and rgba[5, 5, 3] == 0 and rgba[5, 5, :3].max() <= 2
    assert np.abs(rgba[60, 80, :3].astype(int) - clip.picture(0)[60, 80]).max() < 12
    assert sound_payload(tmp_path / "out.mov") == sound_payload(path)


def test_the_json_says_all(tmp_path: Path) -> None:
    import json

    from plain_forms import decode_rle

    clip = Clip(seconds=3, loudness=lambda t: np.where(t < 2, 0.4, 0))
    make(clip.write(tmp_path / "clip.mp4"), tmp_path / "out", "json,masks")
    document = json.loads((tmp_path / "out.json").read_text())
    assert document["video"]["width"] == 160 and document["video"]["sound"]["codec"] == "aac"
    assert document["model"]["checkpoint"] == "test" and document["settings"]["fps"] == 1.0
    assert [entry["time"] for entry in document["masks"]] == pytest.approx([0.9, 1.9, 2.9])
    assert [entry["sound"] for entry in document["masks"]] == [[0, 1], [1, 2], [2, 3]]
    for entry, file in zip(document["masks"], sorted((tmp_path / "out.masks").glob("*.png")), strict=True):
        mask = np.asarray(Image.open(file)) > 0
        assert np.array_equal(decode_rle(entry["rle"]), mask) and entry["area"] == mask.sum()
        assert 0.5 < entry["confidence"] <= 1
    assert document["masks"][2]["area"] == 0 and document["masks_count"] == 3


@pytest.mark.parametrize(("name", "format_", "suffix"), [
    ("overlay", "gray", "mp4"), ("overlay", "rgb24", "mp4"), ("overlay", "gray", "mkv"), ("cutout", "gray", "mov"),
    ("cutout", "rgb24", "mov"), ("cutout", "yuvj420p", "mov"), ("overlay", "yuvj420p", "mp4"),
    ("overlay", "bgr24", "mp4"), ("overlay", "bgr24", "mkv"),
])  # fmt: skip
def test_colours_hold_for_full_range_sources(tmp_path: Path, name: str, format_: str, suffix: str) -> None:
    """As a player shows them: by the tags of the output. Grey APNG was tagged RGB, ProRes has no tag of the range."""

    class AllSounds(LoudRed):
        def decode(self, embeddings, sound):
            return super().decode(embeddings, sound) * 0 + 99

    codec = {"yuvj420p": "mjpeg", "bgr24": "libx264rgb"}.get(format_, "apng")
    clip = Clip(codec=codec, options={}, pixel_format=format_, seconds=1, sound=None, size=(320, 240))
    path = clip.write(tmp_path / ("clip.apng" if codec == "apng" else "clip.mkv"))
    sound = Clip(seconds=1).write(tmp_path / "sound.mp4")
    out = tmp_path / f"out.{suffix}"
    style = Style(dim=0, opacity=0, contour=False)
    render(probe(path, sound), AllSounds(), {name: out}, SegmentOptions(style=style), "test")
    before, after = frames_of(path)[5], frames_of(out)[5]
    wanted = before.to_ndarray(format="rgb24").astype(int)
    matrix = after.colorspace if after.colorspace != 2 else 5  # players' guess for a small picture
    seen = after.reformat(format="rgb24", src_colorspace=matrix).to_ndarray().astype(int)
    assert after.colorspace != 0, "not tagged as RGB"
    assert np.abs(seen - wanted).mean() < 4 and np.abs((seen - wanted).mean((0, 1))).max() < 1.5


def test_several_formats_cost_one_pass_of_the_model(tmp_path: Path) -> None:
    path = Clip(seconds=6).write(tmp_path / "clip.mp4")
    model = LoudRed()
    outputs = {
        name: tmp_path / f"out.{end}"
        for name, end in [("overlay", "mp4"), ("masks", "d"), ("cutout", "mov"), ("json", "json")]
    }
    done = render(probe(path), model, outputs, SegmentOptions(), "test")
    assert sum(model.encoded) == 6 and done.frames == 60
    assert all(path.exists() for path in outputs.values())
    assert [p for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_sound_of_another_file_goes_into_the_overlay(tmp_path: Path) -> None:
    silent = Clip(seconds=3, sound=None).write(tmp_path / "clip.mp4")
    sound = Clip(seconds=3, rate=2).write(tmp_path / "sound.mp4")
    render(probe(silent, sound), LoudRed(), {"overlay": tmp_path / "out.mp4"}, SegmentOptions(), "test")
    assert sound_payload(tmp_path / "out.mp4") == sound_payload(sound)


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "clip.mp4")


@pytest.mark.parametrize("formats", ["overlay", "masks", "cutout", "json", "overlay,masks,cutout,json"])
def test_nothing_is_left_of_a_run_that_fails(tmp_path: Path, formats: str) -> None:
    class Failing(LoudRed):
        def decode(self, embeddings, sound):
            if len(self.decoded) == 2:
                raise KeyboardInterrupt
            return super().decode(embeddings, sound)

    path = Clip(seconds=14).write(tmp_path / "clip.mp4")
    outputs = {name: tmp_path / f"out.{'mov' if name == 'cutout' else 'mp4'}.{name}" for name in formats.split(",")}
    outputs = {name: path.with_suffix("") if name in ("overlay", "cutout") else path for name, path in outputs.items()}
    with pytest.raises(KeyboardInterrupt):
        render(probe(path), Failing(), outputs, SegmentOptions(), "test")
    assert leftovers(tmp_path) == []


def test_a_full_disk_is_said_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from avseg_cli.media.movie import Movie

    def full(self, frame):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Movie, "write", full)
    path = Clip(seconds=2).write(tmp_path / "clip.mp4")
    with pytest.raises(OutputError, match="disk is full"):
        make(path, tmp_path / "out")
    assert leftovers(tmp_path) == []


def test_a_file_that_cannot_be_read_back_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from avseg_cli.media.movie import Movie

    close = Movie.close

    def spoil(self):
        close(self)
        if self.partial.exists():
            self.partial.write_bytes(self.partial.read_bytes()[:500])

    monkeypatch.setattr(Movie, "close", spoil)
    with pytest.raises(OutputError, match="cannot be read back"):
        make(Clip(seconds=1).write(tmp_path / "clip.mp4"), tmp_path / "out")
    assert leftovers(tmp_path) == []


def test_what_damage_there_was_is_reported(tmp_path: Path) -> None:
    path = Clip(codec="mpeg4", options={"g": "1"}, rate=25, seconds=2, size=(320, 240)).write(tmp_path / "clip.mkv")
    with av.open(str(path)) as container:
        packets = [(p.pos, p.size) for p in container.demux(container.streams.video[0]) if p.size]
    data = bytearray(path.read_bytes())
    for position, size in packets[10:14]:
        data[position + 12 : position + 12 + size // 2] = bytes(size // 2)
    path.write_bytes(data)
    done = make(path, tmp_path / "out")
    assert done.frames >= 44 and done.warnings


def test_errors_in_a_thread_reach_the_caller(tmp_path: Path) -> None:
    path = Clip(seconds=2).write(tmp_path / "clip.mp4")
    video = replace(probe(path), path=tmp_path / "gone.mp4")
    with pytest.raises(InputError, match="no such file"):
        render(video, LoudRed(), {"overlay": tmp_path / "out.mp4"}, SegmentOptions(), "test")
    assert leftovers(tmp_path) == []


def test_a_start_just_before_the_end(tmp_path: Path) -> None:
    path = Clip(seconds=2).write(tmp_path / "clip.mp4")
    with pytest.raises(InputError, match="no picture from start 1.99"):
        make(path, tmp_path / "out", start=1.99)
    assert leftovers(tmp_path) == []
