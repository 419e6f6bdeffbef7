"""Reading pictures: each trap of real-world video, on files that have it."""

from __future__ import annotations

import itertools
import os
import struct
import zlib
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media_files import Clip, LoudRed, frames_of, iou, is_red, retimed

from avseg_cli.base.errors import InputError
from avseg_cli.media.audio import SoundPackets, SoundReader
from avseg_cli.media.container import spooled
from avseg_cli.media.video import VideoReader, probe
from avseg_cli.segment.runner import segment_video


def read(path: Path, **span) -> list:
    return list(VideoReader(probe(path), **span))


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_rotated_pictures_are_read_upright(tmp_path: Path, rotation: int) -> None:
    upright = replace(Clip(), place=lambda t: (0.3, 0.3)).picture(0.0)
    stored = Clip(size=(120, 160) if rotation % 180 else (160, 120), rotation=rotation, seconds=0.5)
    stored.picture = lambda time: np.ascontiguousarray(np.rot90(upright, -rotation // 90))
    video = probe(stored.write(tmp_path / "clip.mp4"))
    assert (video.width, video.height) == (160, 120)
    picture = next(iter(VideoReader(video)))
    assert iou(is_red(picture.rgb()), is_red(upright)) > 0.95


def test_variable_rate_times_are_the_files_own(tmp_path: Path) -> None:
    times = [0, 0.033, 0.1, 0.5, 0.533, 1.2, 1.25, 2.0]
    path = Clip(times=times).write(tmp_path / "clip.mp4")
    assert [picture.time for picture in read(path)] == pytest.approx(times, abs=1e-9)


def test_matroska_and_transport_streams_without_frame_counts(tmp_path: Path) -> None:
    for name in ("clip.mkv", "clip.ts"):
        path = Clip(seconds=1.5).write(tmp_path / name)
        with av.open(str(path)) as container:
            assert container.streams.video[0].frames == 0
        assert [p.time for p in read(path)] == pytest.approx([i / 10 for i in range(15)], abs=0.03)


def test_raw_h264_gets_times_from_its_rate(tmp_path: Path) -> None:
    raw = Clip(sound=None, format="h264", rate=25, seconds=1, options={"preset": "veryfast"})
    path = raw.write(tmp_path / "clip.h264")
    sound = Clip(seconds=1).write(tmp_path / "sound.mp4")
    video = probe(path, audio=sound)
    assert video.duration is None
    assert [p.time for p in VideoReader(video)] == pytest.approx([i / 25 for i in range(25)], abs=1e-6)


@pytest.mark.parametrize(("delay", "first_picture"), [(0.7, 0.0), (-0.5, 0.5)])
@pytest.mark.parametrize("name", ["clip.ts", "clip.mkv"])
def test_pictures_and_sound_share_the_containers_clock(
    tmp_path: Path, name: str, delay: float, first_picture: float
) -> None:
    path = Clip(sound_delay=delay, sound="mp2" if name == "clip.ts" else "pcm_s16le").write(tmp_path / name)
    assert read(path)[0].time == pytest.approx(first_picture, abs=0.03)


def test_cover_art_is_not_a_video(tmp_path: Path) -> None:
    path = tmp_path / "song.m4a"
    with av.open(str(path), "w", format="mp4") as container:
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        sound = container.add_stream("aac", rate=44100, layout="mono")
        for packet in cover.encode(av.VideoFrame(64, 64, "yuvj420p")):
            container.mux(packet)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        for packet in itertools.chain(sound.encode(frame), sound.encode(None)):
            container.mux(packet)
    with pytest.raises(InputError, match="no video stream"):
        probe(path)


def test_interlaced_pictures_are_deinterlaced(tmp_path: Path) -> None:
    options = {"flags": "+ildct+ilme", "top": "1", "b": "4M"}
    moving = Clip(codec="mpeg2video", options=options, sound="mp2", rate=25, seconds=1)

    def combed(time: float) -> np.ndarray:
        first = Clip(place=lambda t: (0.4, 0.5)).picture(0)
        second = Clip(place=lambda t: (0.6, 0.5)).picture(0)
        first[1::2] = second[1::2]
        return first

    moving.picture = combed
    path = moving.write(tmp_path / "clip.mpg")
    assert frames_of(path)[3].interlaced_frame
    pictures = read(path)
    assert len(pictures) == 25
    assert np.diff([p.time for p in pictures]) == pytest.approx(1 / 25, abs=1e-4)

    def comb(image: np.ndarray) -> float:
        rows = image[..., 0].astype(float)
        return float(np.abs(rows[1:-1] - (rows[:-2] + rows[2:]) / 2).mean())

    assert comb(pictures[12].rgb()) < 0.5 * comb(combed(0))


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_hdr_is_warned_about(tmp_path: Path, transfer: int, name: str) -> None:
    clip = Clip(pixel_format="yuv420p10le", tags=(9, 9, transfer, 1), seconds=0.5)
    assert f"HDR video ({name})" in probe(clip.write(tmp_path / "clip.mkv")).warnings[0]


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuvj420p", "yuv422p", "yuv444p10le", "yuv420p10le"])
def test_colours_are_right_in_every_pixel_format(tmp_path: Path, pixel_format: str) -> None:
    tags = (1, 1, 1, 2 if "j" in pixel_format else 1)
    clip = Clip(pixel_format=pixel_format, tags=tags, seconds=0.3, sound="aac")
    seen = read(clip.write(tmp_path / "clip.mkv"))[0].rgb().astype(int)
    wanted = clip.picture(0).astype(int)
    error = np.abs(seen - wanted)
    assert np.median(error) <= 3
    assert error[50:70, 70:90].mean() < 6


def test_rgb_sources(tmp_path: Path) -> None:
    clip = Clip(codec="ffv1", options={}, pixel_format="bgr0", seconds=0.3, sound="flac")
    assert np.abs(read(clip.write(tmp_path / "clip.mkv"))[0].rgb().astype(int) - clip.picture(0)).max() <= 1


def test_a_change_of_size_is_scaled_to_the_first(tmp_path: Path) -> None:
    first = Clip(seconds=0.5, sound=None, format="h264").write(tmp_path / "a.h264")
    second = Clip(size=(320, 240), seconds=0.5, sound=None, format="h264").write(tmp_path / "b.h264")
    joined = tmp_path / "joined.h264"
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    pictures = list(VideoReader(probe(joined, audio=Clip(seconds=1).write(tmp_path / "s.mp4"))))
    assert len(pictures) == 10
    assert pictures[-1].frame.width == 320
    assert iou(is_red(pictures[-1].rgb()), is_red(Clip().picture(0))) > 0.9


def test_damaged_packets_are_counted_and_passed_over(tmp_path: Path) -> None:
    path = Clip(codec="mpeg4", options={"g": "1"}, rate=25, seconds=2, size=(320, 240)).write(tmp_path / "clip.mkv")
    with av.open(str(path)) as container:
        packets = [(p.pos, p.size) for p in container.demux(container.streams.video[0]) if p.size]
    data = bytearray(path.read_bytes())
    for position, size in packets[10:14]:
        noise = np.random.default_rng(0).integers(0, 256, size // 2, np.uint8)
        data[position + 12 : position + 12 + size // 2] = noise.tobytes()
    path.write_bytes(data)
    reader = VideoReader(probe(path))
    assert len(list(reader)) >= 44
    assert reader.damage.packets + reader.damage.frames > 0
    assert reader.damage.warnings()


def test_a_file_cut_off_says_where(tmp_path: Path) -> None:
    path = Clip(seconds=6, rate=25).write(tmp_path / "clip.mp4")
    fast = tmp_path / "fast.mp4"
    with av.open(str(path)) as source, av.open(str(fast), "w", options={"movflags": "+faststart"}) as target:
        streams = {s.index: target.add_stream_from_template(s) for s in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream_index]
                target.mux(packet)
    data = fast.read_bytes()
    fast.write_bytes(data[: len(data) * 6 // 10])
    reader = VideoReader(probe(fast))
    assert 40 < len(list(reader)) < 120
    assert any("cut off" in warning for warning in reader.damage.warnings())


@pytest.mark.parametrize("name", ["clip.mkv", "clip.flv"])
def test_a_file_cut_off_says_so_where_its_tracks_have_no_length(tmp_path: Path, name: str) -> None:
    path = Clip(seconds=6).write(tmp_path / name)
    data = path.read_bytes().replace(b"DURATION", b"NOTATION")
    path.write_bytes(data[: len(data) // 2])
    reader = VideoReader(probe(path))
    last = list(reader)[-1].time
    warning = f"pictures end at {last:.1f} s of 6.0 s: the file is cut off or damaged"
    assert 2 < last < 4 and reader.damage.warnings() == [warning]


def test_pictures_that_end_before_the_sound_are_not_cut_off(tmp_path: Path) -> None:
    clip = Clip(seconds=2, sound_seconds=6).write(tmp_path / "clip.mkv")
    untold = tmp_path / "untold.mkv"  # its tracks do not say when they end
    untold.write_bytes(clip.read_bytes().replace(b"DURATION", b"NOTATION"))
    other = Clip(seconds=2, sound_seconds=6).write(tmp_path / "clip.flv")
    for path, duration in ((clip, 2), (untold, 6), (other, 6)):
        reader = VideoReader(probe(path))
        assert len(list(reader)) == 20 and reader.damage.warnings() == []
        assert reader.video.duration == pytest.approx(duration, abs=0.1)


def test_a_file_whose_clock_begins_late_is_no_longer_for_it(tmp_path: Path) -> None:
    clip = Clip(seconds=2).write(tmp_path / "clip.mkv")
    late = retimed(clip, tmp_path / "late.mkv", later=100)
    untold = tmp_path / "untold.mkv"
    untold.write_bytes(late.read_bytes().replace(b"DURATION", b"NOTATION"))
    for path in (late, untold):
        reader = VideoReader(probe(path))
        assert len(list(reader)) == 20 and reader.damage.warnings() == []
        assert reader.video.duration == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv"])
def test_a_last_picture_may_be_held(tmp_path: Path, name: str) -> None:
    path = retimed(Clip(seconds=2).write(tmp_path / "source.mkv"), tmp_path / name, held=10)
    reader = VideoReader(probe(path))
    assert list(reader)[-1].held == pytest.approx(10, abs=0.01) and reader.damage.warnings() == []
    assert reader.video.duration == pytest.approx(11.9, abs=0.1)


def test_repeated_and_backward_times_are_left_out(tmp_path: Path) -> None:
    path = Clip(codec="mjpeg", options={}, pixel_format="yuvj420p", seconds=1).write(tmp_path / "clip.mkv")
    muddled = tmp_path / "muddled.mkv"
    with av.open(str(path)) as source, av.open(str(muddled), "w") as target:
        streams = {s.index: target.add_stream_from_template(s, opaque=True) for s in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                if packet.stream.type == "video" and packet.pts == 500:
                    packet.pts = packet.dts = 400
                packet.stream = streams[packet.stream_index]
                target.mux(packet)
    reader = VideoReader(probe(muddled))
    times = [picture.time for picture in reader]
    assert len(times) == 9 and all(b > a for a, b in itertools.pairwise(times))
    assert "1 frame with repeated" in reader.damage.warnings()[0]


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.ts"])
def test_a_part_is_the_same_pictures_as_in_the_whole(tmp_path: Path, name: str) -> None:
    clip = Clip(seconds=4, options={"g": "7", "preset": "veryfast"}, place=lambda t: (0.2 + t / 8, 0.5))
    path = clip.write(tmp_path / name)
    whole = [p for p in read(path) if 1.5 - 1e-6 <= p.time < 3]
    part = read(path, start=1.5, end=3.0)
    assert [p.time for p in part] == [p.time for p in whole]
    assert all(np.array_equal(a.rgb(), b.rgb()) for a, b in zip(part, whole, strict=True))


def test_a_pipe_is_spooled(tmp_path: Path) -> None:
    import threading

    data = Clip(seconds=0.5).write(tmp_path / "clip.mp4").read_bytes()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    threading.Thread(target=pipe.write_bytes, args=(data,)).start()
    with spooled(pipe) as copy:
        assert copy.read_bytes() == data
        assert probe(copy).width == 160
    assert not copy.exists()


def test_what_cannot_be_read_is_said_in_one_sentence(tmp_path: Path) -> None:
    whole = Clip(seconds=1).write(tmp_path / "whole.mp4").read_bytes()
    made = {"empty.mp4": b"", "text.mp4": b"hello " * 1000, "unfinished.mp4": whole[: len(whole) // 2]}
    for name, data in made.items():
        (tmp_path / name).write_bytes(data)
    silent = Clip(seconds=0.5, sound=None).write(tmp_path / "silent.mp4")
    with av.open(str(tmp_path / "sound.mka"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        for packet in itertools.chain(stream.encode(frame), stream.encode(None)):
            container.mux(packet)
    os.mkfifo(tmp_path / "pipe.mp4")
    expected = {
        tmp_path / "missing.mp4": "no such file",
        tmp_path: "is a folder",
        tmp_path / "empty.mp4": "file is empty",
        tmp_path / "pipe.mp4": "is a pipe or a device, .* write it to a file first",
        tmp_path / "text.mp4": "not a video",
        tmp_path / "unfinished.mp4": "cut off before its index",
        tmp_path / "sound.mka": "no video stream",
        silent: "audio FILE",
    }
    for path, message in expected.items():
        with pytest.raises(InputError, match=message) as caught:
            probe(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(InputError, match="no audio_track 3"):
        probe(tmp_path / "whole.mp4", audio_track=3)


def test_a_video_without_a_frame(tmp_path: Path) -> None:
    path = Clip(seconds=0.3, sound="aac").write(tmp_path / "clip.mkv")
    with av.open(str(path)) as container:
        packets = [(p.pos, p.size) for p in container.demux(container.streams.video[0]) if p.size]
    data = bytearray(path.read_bytes())
    for position, size in packets:
        data[position + 8 : position + size] = bytes(size - 8)
    path.write_bytes(data)
    with pytest.raises(InputError, match="no frame that can be decoded|not a video"):
        probe(path)


def test_time_base_and_rate_are_kept_as_fractions(tmp_path: Path) -> None:
    clip = Clip(time_base=Fraction(1, 30000), rate=Fraction(30000, 1001), times=[i * 1001 / 30000 for i in range(20)])
    video = probe(clip.write(tmp_path / "clip.mp4"))
    assert video.rate == Fraction(30000, 1001)
    assert [p.pts * video.time_base for p in VideoReader(video)] == [Fraction(1001 * i, 30000) for i in range(20)]


def test_masks_follow_the_square_of_a_rotated_video(tmp_path: Path) -> None:
    clip = Clip(size=(160, 120), rotation=90, seconds=2, place=lambda t: (0.3, 0.4))
    path = clip.write(tmp_path / "clip.mp4")
    results = list(segment_video(path, LoudRed()))
    upright = np.rot90(clip.picture(0))
    assert [result.mask.shape for result in results] == [(160, 120)] * 2
    assert all(iou(result.mask, is_red(upright)) > 0.85 for result in results)


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_frames_whose_times_are_those_of_storage_are_all_kept_in_order(tmp_path: Path, codec: str) -> None:
    """As in AVI files of Xvid: B-frames carry the time at which they were stored."""
    options = {"bf": "3", "b_strategy": "0", "preset": "fast"} if codec == "libx264" else {"bf": "2"}
    moving = Clip(codec=codec, options=options, rate=25, seconds=2, place=lambda t: (0.2 + t / 4, 0.5))
    path, stored = moving.write(tmp_path / "clip.mkv"), tmp_path / "stored.mkv"
    with av.open(str(path)) as source, av.open(str(stored), "w") as target:
        streams = {s.index: target.add_stream_from_template(s) for s in source.streams}
        number = itertools.count()
        for packet in [packet for packet in source.demux() if packet.size]:
            if packet.stream.type == "video":
                packet.pts = packet.dts = 40 * next(number)  # milliseconds
            packet.stream = streams[packet.stream_index]
            target.mux(packet)
    assert any(np.diff([frame.pts for frame in frames_of(stored)]) < 0), "the file has the fault"
    reader = VideoReader(probe(stored))
    pictures = list(reader)
    assert [p.time for p in pictures] == pytest.approx([i / 25 for i in range(50)], abs=0.002)
    assert all(iou(is_red(p.rgb()), is_red(moving.picture(p.time))) > 0.9 for p in pictures)
    assert len(reader.damage.warnings()) == 1 and "which were sorted" in reader.damage.warnings()[0]


def test_a_track_that_appears_on_the_way_is_passed_over(tmp_path: Path) -> None:
    """FLV names no tracks: a tag of another codec is a new one, found long after the file was opened."""
    clip = Clip(seconds=40, size=(64, 48), codec="flv", sound="libmp3lame", format="flv", options={})
    path = clip.write(tmp_path / "clip.flv")
    data = bytearray(path.read_bytes())
    at, changed = 13, 0
    while at + 11 < len(data):
        kind, size, time = data[at], int.from_bytes(data[at + 1 : at + 4]), int.from_bytes(data[at + 4 : at + 7])
        if kind == 8 and 38_000 < time < 39_000:  # sound, milliseconds
            data[at + 11], changed = 0xB2, changed + 1  # Speex
        at += 11 + size + 4
    path.write_bytes(data)
    reader = VideoReader(probe(path))
    assert changed > 30 and len(list(reader)) == 400
    sound = SoundPackets(probe(path).sound)
    assert len(list(sound)) > 1400
    sound.close()


def test_an_encrypted_file_is_said_to_be_so(tmp_path: Path) -> None:
    keys = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": "0f" * 16, "encryption_kid": "a7" * 16}
    clear, locked = Clip(seconds=1).write(tmp_path / "clear.mp4"), tmp_path / "locked.mp4"
    with av.open(str(clear)) as source, av.open(str(locked), "w", options=keys) as target:
        streams = {s.index: target.add_stream_from_template(s) for s in source.streams}
        for packet in [packet for packet in source.demux() if packet.size]:
            packet.stream = streams[packet.stream_index]
            target.mux(packet)
    with pytest.raises(InputError, match="encrypted"):
        probe(locked)
    reader = SoundReader(probe(clear, locked).sound)
    assert not reader.second(1.0).any() and "encrypted" in reader.damage.warnings()[0]
    reader.close()


def test_enormous_pictures_are_refused_unless_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = Clip(codec="apng", options={}, pixel_format="rgb24", seconds=0.3, sound=None)
    path, sound = clip.write(tmp_path / "clip.apng"), Clip(seconds=0.3).write(tmp_path / "sound.mp4")
    monkeypatch.setenv("AVSEG_MAX_MEGAPIXELS", "0.02")
    assert probe(path, sound).size == (120, 160)
    monkeypatch.setenv("AVSEG_MAX_MEGAPIXELS", "0.019")
    with pytest.raises(InputError, match="claims pictures of 160 x 120 .* AVSEG_MAX_MEGAPIXELS=1"):
        probe(path, sound)
    monkeypatch.setenv("AVSEG_MAX_MEGAPIXELS", "many")
    with pytest.raises(InputError, match="not a number"):
        probe(path, sound)
    monkeypatch.delenv("AVSEG_MAX_MEGAPIXELS")
    data = bytearray(path.read_bytes())
    at = data.index(b"IHDR")
    data[at + 4 : at + 12] = struct.pack(">II", 16_000, 16_000)
    data[at + 17 : at + 21] = struct.pack(">I", zlib.crc32(data[at : at + 17]))
    path.write_bytes(data)
    with pytest.raises(InputError, match="claims pictures of 16000 x 16000 pixels"):
        probe(path, sound)
