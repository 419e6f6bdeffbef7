"""Reading sound: 16 kHz mono, each second where the container's clock puts it."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import torch
from media_files import Clip, sound_payload
from plain_forms import second_log_mel

from avseg_cli.media.audio import SoundPackets, SoundReader, folded, mono
from avseg_cli.media.video import probe
from avseg_cli.model.log_mel import EXAMPLE_SAMPLES, SAMPLE_RATE, log_mel_examples


def heard(path: Path, ends: list[float], start: float = 0.0, **choice) -> list[np.ndarray]:
    reader = SoundReader(probe(path, **choice).sound, start)
    seconds = [reader.second(end) for end in ends]
    reader.close()
    return seconds


def tone(times: np.ndarray) -> np.ndarray:
    return 0.4 * np.sin(2 * np.pi * 440 * times)


def loud_times(window: np.ndarray, end: float) -> tuple[float, float]:
    """First and last time at which a window is not silent."""
    places = np.flatnonzero(np.abs(window) > 0.05)
    return end - 1 + places[0] / SAMPLE_RATE, end - 1 + places[-1] / SAMPLE_RATE


@pytest.mark.parametrize(("codec", "name"), [
    ("aac", "clip.mp4"), ("pcm_s16le", "clip.mkv"), ("flac", "clip.mkv"), ("libopus", "clip.mkv"),
    ("libmp3lame", "clip.mp4"), ("pcm_u8", "clip.avi"), ("pcm_s32le", "clip.mov"), ("pcm_f32le", "clip.mov"),
])  # fmt: skip
@pytest.mark.parametrize("rate", [48000, 16000])
def test_any_codec_becomes_16_khz_mono_in_place(tmp_path: Path, codec: str, name: str, rate: int) -> None:
    path = Clip(sound=codec, sound_rate=rate).write(tmp_path / name)
    window = heard(path, [1.0, 2.0])[1]
    assert window.shape == (EXAMPLE_SAMPLES,) and window.dtype == np.float32
    wanted = tone(1 + np.arange(EXAMPLE_SAMPLES) / SAMPLE_RATE)
    shifts = range(-40, 41)
    errors = [np.abs(window[100:-100] - np.roll(wanted, shift)[100:-100]).mean() for shift in shifts]
    assert min(errors) < 0.02
    assert abs(shifts[int(np.argmin(errors))]) <= 1 or codec == "libmp3lame"


@pytest.mark.parametrize(("name", "delay"), [("clip.ts", 0.7), ("clip.mkv", 0.7), ("clip.mp4", 0.7)])
def test_late_sound_is_preceded_by_silence(tmp_path: Path, name: str, delay: float) -> None:
    path = Clip(sound_delay=delay, sound="mp2" if name == "clip.ts" else "aac").write(tmp_path / name)
    first = heard(path, [1.0])[0]
    begins, _ = loud_times(first, 1.0)
    assert begins == pytest.approx(delay, abs=0.04)


def test_sound_that_ends_early_is_followed_by_silence(tmp_path: Path) -> None:
    path = Clip(seconds=4, sound_seconds=1.5, sound="pcm_s16le").write(tmp_path / "clip.mkv")
    first, second, third, fourth = heard(path, [1.0, 2.0, 3.0, 4.0])
    assert loud_times(second, 2.0)[1] == pytest.approx(1.5, abs=0.01)
    assert np.abs(first).max() > 0.3 and not third.any() and not fourth.any()


def test_a_hole_in_the_sound_is_silence(tmp_path: Path) -> None:
    path = Clip(seconds=4, sound="pcm_s16le").write(tmp_path / "clip.mkv")
    holed = tmp_path / "holed.mkv"
    with av.open(str(path)) as source, av.open(str(holed), "w") as target:
        streams = {s.index: target.add_stream_from_template(s) for s in source.streams}
        for packet in source.demux():
            if packet.dts is None or (packet.stream.type == "audio" and 1200 < packet.pts < 1800):
                continue
            packet.stream = streams[packet.stream_index]
            target.mux(packet)
    second, third = heard(holed, [2.0, 3.0])
    assert np.abs(second[:3000]).max() > 0.3 and not second[4500:12000].any()
    # Matroska rounds times to milliseconds: up to a fifth of a period of the tone
    assert np.corrcoef(third, tone(2 + np.arange(EXAMPLE_SAMPLES) / SAMPLE_RATE))[0, 1] > 0.8


@pytest.mark.parametrize("pace", [0.9, 0.96, 1.04, 1.1])
def test_sound_whose_clock_differs_from_its_samples_is_heard_where_its_timestamps_say(
    tmp_path: Path, pace: float
) -> None:
    path = Clip(seconds=7, sound="pcm_s16le", loudness=lambda t: 0.4 * (t >= 5)).write(tmp_path / "clip.mkv")
    drifting = tmp_path / "drifting.mkv"
    with av.open(str(path)) as source, av.open(str(drifting), "w") as target:
        streams = {s.index: target.add_stream_from_template(s) for s in source.streams}
        for packet in source.demux():
            if packet.dts is None:
                continue
            if packet.stream.type == "audio":
                packet.pts = packet.dts = round(packet.pts * pace)
            packet.stream = streams[packet.stream_index]
            target.mux(packet)
    begins, _ = loud_times(heard(drifting, [1.0, 2.0, 3.0, 4.0, 5 * pace + 0.5])[-1], 5 * pace + 0.5)
    assert begins == pytest.approx(5 * pace, abs=0.11)


def test_the_log_mel_is_that_of_the_whole_wave(tmp_path: Path) -> None:
    path = Clip(seconds=4, sound="pcm_s16le", sound_rate=16000, loudness=lambda t: 0.1 + 0.1 * np.floor(t)).write(
        tmp_path / "clip.mkv"
    )
    with av.open(str(path)) as container:
        wave = np.concatenate([mono(frame) for frame in container.decode(audio=0)])
    ends = [0.1, 0.6, 1.0, 1.0, 2.5, 4.0, 4.4]
    ours = torch.cat([log_mel_examples(window) for window in heard(path, ends)])
    torch.testing.assert_close(ours, second_log_mel(wave, ends), atol=2e-3, rtol=0)


def test_starting_late_hears_the_same(tmp_path: Path) -> None:
    path = Clip(seconds=6, loudness=lambda t: 0.05 * (1 + np.floor(t))).write(tmp_path / "clip.mp4")
    whole = heard(path, [1.0, 2.0, 3.0, 4.0, 5.0])[3:]
    part = heard(path, [4.0, 5.0], start=3.0)
    assert all(np.abs(a - b).max() < 0.01 for a, b in zip(whole, part, strict=True))


def test_channels_are_averaged_in_every_sample_format() -> None:
    left, right = np.array([0.5, 0.25], np.float32), np.array([-0.25, 0.25], np.float32)
    formats = [("fltp", 1, "f4"), ("flt", 1, "f4"), ("s16", 2**15, "i2"), ("s32p", 2**31, "i4"), ("dblp", 1, "f8")]
    for name, scale, dtype in formats:
        planar = name.endswith("p")
        values = (np.stack([left, right]) * scale).astype(dtype)
        values = values if planar else values.T.reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(values), format=name, layout="stereo")
        assert mono(frame) == pytest.approx([0.125, 0.25], abs=1e-4)
    unsigned = av.AudioFrame.from_ndarray(np.array([[192, 96]], np.uint8), format="u8", layout="stereo")
    assert mono(unsigned) == pytest.approx([0.125])


@pytest.mark.parametrize("form", ["fltp", "flt", "s16", "s32p", "u8"])
def test_speech_from_the_centre_is_as_loud_as_from_two_sides(form: str) -> None:
    """As a player with two loudspeakers has it; bass is nobody's, and layouts without a meaning are averaged."""
    frame = av.AudioFrame.from_ndarray(
        np.arange(-0.6, 0.6, 0.1, dtype=np.float32).reshape(6, 2), format="fltp", layout="5.1"
    )
    frame.sample_rate = 16000
    (converted,) = av.AudioResampler(format=form).resample(frame)
    left, right, centre, _, back_left, back_right = frame.to_ndarray().astype(np.float64)
    wanted = (left + right) / 2 + centre / 2**0.5 + (back_left + back_right) / 8**0.5
    assert folded(converted) == pytest.approx(wanted, abs=0.02 if form == "u8" else 1e-4)
    for layout in ("stereo", "mono", "ambisonic 1"):
        count = av.AudioLayout(layout).nb_channels
        plain = av.AudioFrame.from_ndarray(np.full((count, 3), 0.25, np.float32), format="fltp", layout=layout)
        assert np.array_equal(folded(plain), mono(plain))


def test_a_change_of_channels_or_rate_goes_on(tmp_path: Path) -> None:
    parts = []
    for index, (layout, rate) in enumerate([("stereo", 48000), ("mono", 48000), ("mono", 32000)]):
        clip = Clip(seconds=1, sound="mp2", layout=layout, sound_rate=rate)
        path = tmp_path / f"{index}.mp2"
        with av.open(str(path), "w", format="mp2") as container:
            stream = clip._sound_stream(container)
            for packet in clip._sound(stream, clip.loudness):
                container.mux(packet)
        parts.append(path.read_bytes())
    joined = tmp_path / "joined.mp2"
    joined.write_bytes(b"".join(parts))
    video = Clip(seconds=3, sound=None).write(tmp_path / "clip.mp4")
    for window in heard(video, [1.0, 2.0, 3.0], audio=joined):
        assert np.sqrt((window[2000:-2000] ** 2).mean()) == pytest.approx(0.4 / np.sqrt(2), rel=0.1)


def test_the_track_asked_for_is_heard(tmp_path: Path) -> None:
    path = Clip(second_sound=lambda t: np.zeros_like(t)).write(tmp_path / "clip.mkv")
    assert np.abs(heard(path, [1.0])[0]).max() > 0.3
    assert np.abs(heard(path, [1.0], audio_track=2)[0]).max() < 0.01


def test_little_is_held(tmp_path: Path) -> None:
    path = Clip(seconds=30, rate=2).write(tmp_path / "clip.mp4")
    reader = SoundReader(probe(path).sound)
    held = []
    for end in range(1, 31):
        reader.second(float(end))
        held.append(sum(len(piece) for _, piece in reader._pieces))
    assert max(held) < 2.5 * SAMPLE_RATE
    reader.close()


def test_little_is_held_of_what_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Clip(seconds=30, rate=2).write(tmp_path / "clip.mp4")
    reader, held, read = SoundReader(probe(path).sound), [], SoundReader._read

    def watched(self: SoundReader, *first: int) -> None:
        read(self, *first)
        held.append(sum(len(piece) for _, piece in self._pieces))

    monkeypatch.setattr(SoundReader, "_read", watched)
    assert np.array_equal(reader.second(29.0), heard(path, [28.0, 29.0])[1])
    assert max(held) < 2.5 * SAMPLE_RATE
    reader.close()


def test_packets_are_copied_as_they_are(tmp_path: Path) -> None:
    path = Clip().write(tmp_path / "clip.mp4")
    source = SoundPackets(probe(path).sound)
    assert [bytes(packet) for packet in source] == sound_payload(path)
    source.close()
