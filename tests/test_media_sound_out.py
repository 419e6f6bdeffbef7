"""What becomes of the sound in the outputs: all of it is there, as long as its source, copied where that goes."""

from __future__ import annotations

from pathlib import Path

import av
import pytest
from media_files import Clip, LoudRed, frames_of, sound_payload

from avseg_cli.media.video import probe
from avseg_cli.segment.render import Rendered, Settings, render


def overlay(path: Path, out: Path) -> Rendered:
    return render(probe(path), LoudRed(), {"overlay": out}, Settings(), "test")


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


@pytest.mark.parametrize(("name", "action"), [("out.mp4", "re-encoded to AAC"), ("out.mkv", "copied")])
@pytest.mark.parametrize("source", ["clip.mkv", "clip.ts"])
def test_packets_shorter_than_a_tick_are_all_kept(tmp_path: Path, source: str, name: str, action: str) -> None:
    """TrueHD has one each 0.8 ms, Matroska a tick of 1 ms; MP4 does not take it."""
    clip = Clip(seconds=1, sound="truehd", sound_rate=48_000, format="mpegts" if source == "clip.ts" else None)
    path = clip.write(tmp_path / source)
    done = overlay(path, tmp_path / name)
    assert (done.sound, done.warnings) == (action, [])
    assert heard(tmp_path / name) == pytest.approx((1, 1), abs=0.05)
    if action == "copied":
        assert sound_payload(tmp_path / name) == sound_payload(path)


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
    "lossless": (stream(sound="s302m"), stream(sound="s302m"), "re-encoded to AAC"),
    "lossless, another size": (stream(sound="s302m"), stream(sound="s302m", size=(320, 240)), "re-encoded to AAC"),
    "lossless, another layout": (stream(sound="s302m"), stream(sound="s302m", layout="5.1"), "re-encoded to AAC"),
    "AAC, another layout": (stream(), stream(layout="5.1"), "re-encoded to AAC"),
    "AAC, another rate": (stream(), stream(sound_rate=32_000), "re-encoded to AAC"),
}


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv"])
@pytest.mark.parametrize("join", JOINS)
def test_sound_goes_on_after_the_clock_is_set_back(tmp_path: Path, join: str, name: str) -> None:
    first, second, action = JOINS[join]
    path = joined(tmp_path, first, second)
    done = overlay(path, tmp_path / name)
    assert done.sound == action and done.warnings == []
    assert heard(tmp_path / name) == pytest.approx((4, 4), abs=0.12)
    assert frames_of(tmp_path / name)[-1].time == pytest.approx(3.9, abs=0.05)
    if action == "copied" and first.sound == "mp2":
        assert sound_payload(tmp_path / name) == sound_payload(path)
