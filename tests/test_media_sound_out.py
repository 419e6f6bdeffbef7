"""What becomes of the sound in the outputs: all of it is there, as long as its source, copied where that goes."""

from __future__ import annotations

import re
from pathlib import Path

import av
import pytest
from media_files import Clip, LoudRed, frames_of, sound_payload

from avseg_cli.attention.show import show_attention
from avseg_cli.base.errors import InputError
from avseg_cli.checkpoints.checkpoint import load_model
from avseg_cli.media.audio import SoundReader
from avseg_cli.media.movie import Movie
from avseg_cli.media.video import probe
from avseg_cli.outputs.formats.overlay import OverlayWriter
from avseg_cli.segment.render import Rendered, render
from avseg_cli.segment.segment_options import SegmentOptions


def overlay(path: Path, out: Path) -> Rendered:
    return render(probe(path), LoudRed(), {"overlay": out}, SegmentOptions(), "test")


def heard(path: Path) -> tuple[float, float]:
    """Seconds of sound that can be decoded, and when the last of it ends."""
    with av.open(str(path)) as container:
        frames = list(container.decode(audio=0))
    return sum(frame.samples / frame.sample_rate for frame in frames), frames[-1].time + frames[-1].samples / frames[
        -1
    ].sample_rate


@pytest.mark.parametrize(("rate", "name", "action"), [
    (192_000, "out.mp4", "re-encoded to AAC"), (96_000, "out.m4v", "re-encoded to AAC"), (48_000, "out.mp4", "copied"),
    (192_000, "out.mov", "copied"), (192_000, "out.mkv", "copied"),
])  # fmt: skip
def test_fast_pcm_is_copied_only_where_its_rate_has_a_place(tmp_path: Path, rate: int, name: str, action: str) -> None:
    """MP4 has 16 bits for it: players took 192 kHz for 48, and the sound lasted four times as long."""
    path = Clip(seconds=1, sound="pcm_s16le", sound_rate=rate).write(tmp_path / "clip.mkv")
    assert overlay(path, tmp_path / name).sound == action
    assert heard(tmp_path / name) == pytest.approx((1, 1), abs=0.05)


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv"])
def test_packets_shorter_than_a_tick_are_all_kept(tmp_path: Path, name: str) -> None:
    """Matroska has a tick of 1 ms, TrueHD a packet each 0.8 ms, as this PCM."""
    path = Clip(seconds=1, sound="pcm_s16le", sound_rate=48_000, block=40).write(tmp_path / "clip.mkv")
    assert len(sound_payload(path)) == 1200
    done = overlay(path, tmp_path / name)
    assert (done.sound, done.warnings) == ("copied", [])
    assert b"".join(sound_payload(tmp_path / name)) == b"".join(sound_payload(path))


def test_the_sound_of_gxf_ends_with_its_pictures(tmp_path: Path) -> None:
    """Its blocks of sound reach half a second past what it says it lasts."""
    path = Clip(
        size=(720, 576), rate=25, codec="mpeg2video", options={}, sound="pcm_s16le", sound_rate=48_000, layout="mono"
    ).write(tmp_path / "clip.gxf")
    overlay(path, tmp_path / "out.mp4")
    assert heard(tmp_path / "out.mp4") == pytest.approx((3, 3), abs=0.05)


@pytest.mark.parametrize("error", [av.error.ExperimentalError, av.error.PatchWelcomeError, av.error.InvalidDataError])
def test_what_the_container_will_not_take_is_re_encoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[av.error.FFmpegError]
) -> None:
    """As FFmpeg refuses TrueHD in MP4, an "experimental feature", while it writes the header of the open file."""
    own = Movie._sound_packets

    def refuse(movie: Movie, copy: bool) -> object:
        if copy:
            raise error(1, "refused")
        return own(movie, copy)

    monkeypatch.setattr(Movie, "_sound_packets", refuse)
    path = Clip(seconds=1).write(tmp_path / "clip.mp4")
    assert overlay(path, tmp_path / "out.mp4").sound == "re-encoded to AAC"
    assert heard(tmp_path / "out.mp4") == pytest.approx((1, 1), abs=0.05)


def joined(folder: Path, first: Clip, second: Clip) -> Path:
    """Two transport streams, one after the other in a file: its clock is set back half-way."""
    parts = [clip.write(folder / f"{number}.ts") for number, clip in enumerate((first, second))]
    path = folder / "joined.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def stream(**facts: object) -> Clip:
    return Clip(**{"seconds": 2, "sound_rate": 48_000, "format": "mpegts", **facts})


JOINS = {
    "AAC": (stream(), stream(), "copied"),
    "MP2, another size": (stream(sound="mp2"), stream(sound="mp2", size=(320, 240)), "copied"),
    "AAC, another layout": (stream(), stream(layout="5.1"), "re-encoded to AAC"),
    "AAC, another rate": (stream(), stream(sound_rate=32_000), "re-encoded to AAC"),
}


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv"])
@pytest.mark.parametrize("join", JOINS)
def test_sound_goes_on_after_the_clock_is_set_back(tmp_path: Path, join: str, name: str) -> None:
    first, second, action = JOINS[join]
    path = joined(tmp_path, first, second)
    done = overlay(path, tmp_path / name)
    assert done.sound == action and [warning[:29] for warning in done.warnings] == ["the file's clock was set back"]
    assert heard(tmp_path / name) == pytest.approx((4, 4), abs=0.12)
    assert frames_of(tmp_path / name)[-1].time == pytest.approx(3.9, abs=0.05)
    if action == "copied" and first.sound == "mp2":
        assert sound_payload(tmp_path / name) == sound_payload(path)


@pytest.mark.parametrize("second", [{}, {"size": (320, 240)}, {"layout": "mono"}, {"sound_rate": 32_000}])
def test_sound_made_aac_goes_on_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, second: dict) -> None:
    monkeypatch.setattr(OverlayWriter, "copied_sound", frozenset())
    path = joined(tmp_path, stream(sound="mp2"), stream(**{"sound": "mp2", **second}))
    done = overlay(path, tmp_path / "out.mp4")
    assert done.sound == "re-encoded to AAC" and len(done.warnings) == 1
    assert heard(tmp_path / "out.mp4") == pytest.approx((4, 4), abs=0.12)


def test_how_much_is_left_out_is_said(tmp_path: Path) -> None:
    """Where the clock is set back by less than tells of a new recording, the parts overlap."""
    parts = [stream(sound="mp2", seconds=2).write(tmp_path / f"{number}.ts") for number in range(2)]
    late = tmp_path / "late.ts"
    with av.open(str(parts[1])) as source, av.open(str(late), "w", format="mpegts") as target:
        streams = {s.index: target.add_stream_from_template(s) for s in source.streams}
        for packet in [packet for packet in source.demux() if packet.dts is not None]:
            packet.stream, moved = streams[packet.stream_index], round(1.5 / packet.time_base)
            packet.pts, packet.dts = packet.pts + moved, packet.dts + moved
            target.mux(packet)
    path = tmp_path / "joined.ts"
    path.write_bytes(parts[0].read_bytes() + late.read_bytes())
    done = overlay(path, tmp_path / "out.mp4")
    assert re.search(r"sound: \d+ packets \(0\.[345] s\) could not be written", "".join(done.warnings)), done.warnings
    assert heard(tmp_path / "out.mp4")[0] == pytest.approx(3.5, abs=0.15)


@pytest.mark.parametrize("codec", ["pcm_s16le", "pcm_s24le", "pcm_u8", "pcm_f32le"])
@pytest.mark.parametrize("name", ["out.mp4", "out.mkv"])
def test_pcm_ends_with_the_span(tmp_path: Path, codec: str, name: str) -> None:
    """Its packets may last a second: they are cut to the sample."""
    path = Clip(seconds=3, sound=codec, sound_rate=48_000, block=48_000).write(tmp_path / "clip.mkv")
    options = SegmentOptions(duration=1.5)
    render(probe(path), LoudRed(), {"overlay": tmp_path / name}, options, "test")
    assert heard(tmp_path / name) == pytest.approx((1.5, 1.5), abs=0.03)


@pytest.mark.parametrize(("codec", "rate", "layout"), [
    ("wavpack", 8_000, "mono"), ("wavpack", 48_000, "stereo"), ("pcm_s16le", 48_000, "stereo"),
])  # fmt: skip
@pytest.mark.parametrize(("span", "name"), [
    ({"duration": 1.3}, "out.mkv"), ({"start": 0.7}, "out.mp4"), ({"start": 0.7, "duration": 1.6}, "out.mkv"),
    ({"start": 0.7, "duration": 1.6}, "out.webm"),
])  # fmt: skip
def test_packets_of_half_a_second_and_more_begin_and_end_with_the_span(
    tmp_path: Path, codec: str, rate: int, layout: str, span: dict[str, float], name: str
) -> None:
    """WavPack's hold 0.5 to 8 s, which sound was off by at either end; PCM is cut, the rest encoded anew."""
    path = Clip(seconds=3, sound=codec, sound_rate=rate, layout=layout, block=rate).write(tmp_path / "clip.mkv")
    kind = "cutout" if name.endswith(".webm") else "overlay"
    done = render(probe(path), LoudRed(), {kind: tmp_path / name}, SegmentOptions(**span), "test")
    anew = "re-encoded to Opus" if kind == "cutout" else "re-encoded to AAC"
    assert done.sound == ("copied" if codec.startswith("pcm") and kind == "overlay" else anew)
    seconds, end = heard(tmp_path / name)
    wanted = span.get("duration", 3 - span.get("start", 0))
    assert (seconds, end) == pytest.approx((wanted, wanted), abs=1100 / rate + 0.02), "within a block of AAC"


def test_sound_of_long_packets_is_heard_from_the_start_asked_for(tmp_path: Path) -> None:
    """One packet of WavPack holds all three seconds; the second half of it alone is loud."""
    loud = Clip(
        seconds=3, sound="wavpack", sound_rate=8_000, layout="mono", loudness=lambda times: times > 1.5,
        options={"preset": "ultrafast", "g": "5"},
    )  # fmt: skip
    sound = probe(loud.write(tmp_path / "clip.mkv")).sound
    assert sound is not None
    reader = SoundReader(sound, 2.0)
    assert abs(reader.second(3.0)).max() > 0.3
    reader.close()


def without_sound_in_it(stream: bytes) -> bytes:
    """A transport stream whose sound keeps its first header, and nothing that could be decoded."""
    changed = bytearray(stream)
    for at in range(0, len(changed) - 187, 188):
        if (changed[at + 1] & 0x1F) << 8 | changed[at + 2] == 0x101:
            begin = at + 4 + (1 + changed[at + 4] if changed[at + 3] & 0x20 else 0)
            if changed[at + 1] & 0x40:  # a packet of sound begins: its header, and that of AAC
                begin += 9 + changed[begin + 8] + 7
            changed[begin : at + 188] = bytes(max(0, at + 188 - begin))
    return bytes(changed)


def test_sound_of_which_nothing_can_be_read_leaves_the_pictures(tmp_path: Path) -> None:
    clip = Clip(format="mpegts", seconds=2).write(tmp_path / "clip.ts")
    clip.write_bytes(without_sound_in_it(clip.read_bytes()))
    done = overlay(clip, tmp_path / "out.mp4")
    assert done.sound == "none" and "sound: nothing of it could be read, so what is written is silent" in done.warnings
    assert len(frames_of(tmp_path / "out.mp4")) == 20
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert not container.streams.audio


def test_attention_tells_of_lost_sound_too(tmp_path: Path, tiny_checkpoint: Path) -> None:
    clip = Clip(format="mpegts", seconds=2).write(tmp_path / "clip.ts")
    clip.write_bytes(without_sound_in_it(clip.read_bytes()))
    shown = show_attention(probe(clip), load_model(tiny_checkpoint, "cpu", "fp32"), {"video": tmp_path / "out.mp4"})
    assert "sound: nothing of it could be read, so what is written is silent" in shown.warnings


@pytest.mark.parametrize("name", ["out.mp4", "out.html"])
def test_sound_that_begins_after_the_pictures_is_not_lost(tmp_path: Path, name: str) -> None:
    clip = Clip(seconds=2, sound_seconds=2, sound_delay=3).write(tmp_path / "clip.mp4")
    form = "report" if name == "out.html" else "overlay"
    assert render(probe(clip), LoudRed(), {form: tmp_path / name}).warnings == []


def test_pictures_of_an_unknown_codec_are_refused_in_a_sentence(tmp_path: Path) -> None:
    clip = Clip(seconds=1).write(tmp_path / "clip.mkv")
    clip.write_bytes(clip.read_bytes().replace(b"V_MPEG4/ISO/AVC", b"V_MPEG4/ISO/XYZ"))
    with pytest.raises(InputError, match=r"clip\.mkv: its pictures are in a codec that cannot be decoded"):
        probe(clip)
