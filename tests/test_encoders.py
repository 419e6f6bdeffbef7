"""``--encoder``: PyAV's other encoders, the user's own ffmpeg, and what is said where neither will do."""

from __future__ import annotations

import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media_files import Clip, LoudRed, is_red, rgb_of, sound_payload

from avseg_cli.base.errors import InputError, OutputError
from avseg_cli.media import encoders
from avseg_cli.media.encoders import choose_encoder
from avseg_cli.media.video import probe
from avseg_cli.segment.render import Rendered, render
from avseg_cli.segment.segment_options import SegmentOptions

HAS_PROGRAM = shutil.which("ffmpeg") is not None
NO_PROGRAM = "this machine has no ffmpeg program on its PATH"
TIMES = [0, 0.033, 0.1, 0.105, 0.3, 1.0, 1.01, 1.5, *np.arange(1.6, 3, 0.1)]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames at uneven times, sideways, tagged BT.601 full range, the sound a fifth of a second late."""
    clip = Clip(times=TIMES, time_base=Fraction(1, 90000), sound_delay=0.2, rotation=90, tags=(5, 6, 6, 2))
    return clip.write(tmp_path_factory.mktemp("encoders") / "clip.mp4")


@pytest.fixture
def without_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "library_codec", lambda name, options: "PyAV has no encoder of that name")


def segmented(clip: Path, out: Path, encoder: str, **settings) -> Rendered:
    return render(probe(clip), LoudRed(), {"overlay": out}, SegmentOptions(encoder=encoder, **settings), "test")


def check_against(clip: Path, out: Path, codec: str) -> None:
    """Frames at the source's own times, its colours, its sound."""
    with av.open(str(out)) as made, av.open(str(clip)) as source:
        pictures = made.streams.video[0]
        assert pictures.codec_context.codec.canonical_name == codec
        frames, originals = list(made.decode(pictures)), list(source.decode(video=0))
    assert [frame.time for frame in frames] == [frame.time for frame in originals]
    assert (frames[0].colorspace, frames[0].color_primaries, frames[0].color_trc, frames[0].color_range) == (5, 6, 6, 2)
    assert (frames[0].width, frames[0].height, frames[0].rotation) == (120, 160, 0)
    assert sound_payload(out) == sound_payload(clip)
    seen, expected = rgb_of(out)[5].astype(int), np.rot90(rgb_of(clip)[5]).astype(int)
    assert np.abs(seen - expected)[is_red(expected)].mean() < 60 and is_red(seen).mean() > 0.1


@pytest.mark.parametrize(("encoder", "codec"), [("libx265:preset=ultrafast", "hevc"), ("libsvtav1:preset=12", "av1")])
def test_an_encoder_of_pyav(clip: Path, tmp_path: Path, encoder: str, codec: str, capfd) -> None:
    done = segmented(clip, tmp_path / "out.mp4", encoder)
    check_against(clip, tmp_path / "out.mp4", codec)
    assert done.sound == "copied" and capfd.readouterr().err == "", "encoders keep their remarks to themselves"
    if codec == "hevc":
        with av.open(str(tmp_path / "out.mp4")) as made:
            assert made.streams.video[0].codec_context.codec_tag == "hvc1", "the name Apple's players know"


@pytest.mark.skipif(not HAS_PROGRAM, reason=NO_PROGRAM)
@pytest.mark.parametrize("name", ["out.mp4", "out.mov", f"{'x' * 251}.mp4"], ids=["mp4", "mov", "longest"])
def test_the_users_own_ffmpeg(clip: Path, tmp_path: Path, name: str, without_library: None) -> None:
    done = segmented(clip, tmp_path / name, "libx264:preset=veryfast:bf=2")
    check_against(clip, tmp_path / name, "h264")
    assert (done.frames, done.sound) == (len(TIMES), "copied")
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.skipif(not HAS_PROGRAM, reason=NO_PROGRAM)
def test_a_part_of_a_video_by_the_users_own_ffmpeg(clip: Path, tmp_path: Path, without_library: None) -> None:
    segmented(clip, tmp_path / "out.mkv", "libx264", start=0.2, duration=1.4)
    with av.open(str(tmp_path / "out.mkv")) as made:
        assert [frame.time for frame in made.decode(video=0)] == pytest.approx([0.1, 0.8, 0.81, 1.3], abs=0.001)
        assert len(made.streams.audio) == 1


@pytest.mark.skipif(not HAS_PROGRAM, reason=NO_PROGRAM)
def test_a_relative_name_with_a_colon_by_the_users_own_ffmpeg(
    clip: Path, tmp_path: Path, without_library: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    segmented(clip, Path("12:30.mp4"), "libx264", duration=0.5)
    assert rgb_of(tmp_path / "12:30.mp4")


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_library: None):
    """An ffmpeg of our own making."""

    def make(script: str) -> None:
        path = tmp_path / "bin/ffmpeg"
        path.parent.mkdir()
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{path.parent}:/usr/bin:/bin")

    return make


@pytest.mark.parametrize("script", ["echo 'the card fell off' >&2; exit 1", "cat > /dev/null; kill -9 $$"])
def test_a_program_that_fails_leaves_nothing(clip: Path, tmp_path: Path, program, script: str) -> None:
    program(f'case "$*" in *lavfi*) exit 0;; esac\n{script}')
    out = tmp_path / "out"
    with pytest.raises(OutputError, match="could not encode it with h264_card .*(fell off|exit code -9)"):
        segmented(clip, out / "clip.mp4", "h264_card")
    assert list(out.iterdir()) == []


def test_where_neither_has_it_one_sentence_says_why(program, monkeypatch: pytest.MonkeyPatch) -> None:
    program("echo \"Unknown encoder 'h264_card'\" >&2; exit 1")
    with pytest.raises(OutputError) as caught:
        choose_encoder("h264_card")
    for part in ("encoder h264_card: PyAV has no encoder", "Unknown encoder", "libx265"):
        assert part in str(caught.value)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(OutputError, match="no ffmpeg program on the PATH"):
        choose_encoder("h264_card")


def test_names_that_will_not_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InputError, match="libx265:crf=24"):
        choose_encoder("libx265:slow")
    for name, why in (("aac", "not for pictures"), ("nothing", "no encoder of that name"), ("libx264:preset=zzz", "")):
        with pytest.raises(OutputError, match=f"encoder {name.split(':')[0]}: PyAV.*{why}"):
            choose_encoder(name)


def test_a_file_that_does_not_take_the_codec(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"out.mov: this kind of file does not take pictures of libvpx-vp9"):
        segmented(clip, tmp_path / "out.mov", "libvpx-vp9:cpu-used=8")
    assert list(tmp_path.iterdir()) == []
