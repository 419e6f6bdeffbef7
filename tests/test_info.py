"""``avseg info``: what is told of files of many kinds."""

from __future__ import annotations

import json
import os
from fractions import Fraction
from pathlib import Path

import pytest
from command_line import run_avseg
from media_files import Clip


@pytest.fixture
def info(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture):
    """Runs ``avseg info``; gives the exit code, what was printed as JSON, and the messages."""

    def run(*arguments: object) -> tuple[int, list[dict], str]:
        code, out, err = run_avseg(capfd, monkeypatch, "info", *arguments)
        return code, [json.loads(line) for line in out.splitlines()], err

    return run


def one(told: tuple[int, list[dict], str]) -> dict:
    code, (facts,), _ = told
    assert code == 0
    return facts


def test_addresses_are_refused(info) -> None:
    code, _, err = info("http://localhost/clip.mp4")
    assert code == 2 and "reads files of this machine; copy it here first" in err


def test_stdin_has_no_name_of_a_file(info, tmp_path: Path) -> None:
    with open(Clip(seconds=1, size=(64, 48)).write(tmp_path / "clip.mkv"), "rb") as clip:
        stdin = os.dup(0)
        os.dup2(clip.fileno(), 0)
        try:
            facts = one(info("-", "--json"))
        finally:
            os.dup2(stdin, 0)
            os.close(stdin)
    assert facts["input"] == facts["segment"]["sound"]["file"] == "-"


def test_a_plain_video(info, tmp_path: Path) -> None:
    clip = Clip(seconds=3, size=(160, 120)).write(tmp_path / "clip.mp4")
    (tmp_path / "clip.avseg.json").touch()
    facts = one(info(clip, "--json"))
    assert (facts["size"], facts["rate"], facts["frames"], facts["rotation"]) == ([160, 120], 10.0, 30, 0)
    assert facts["timing"]["variable"] is False and facts["timing"]["longest"] == 0.1
    assert [(track["kind"], track["codec"]) for track in facts["tracks"]] == [("video", "h264"), ("audio", "aac")]
    would = facts["segment"]
    assert would["possible"] and would["masks"] == 3 and would["warnings"] == []
    assert would["outputs"]["overlay"] == {"path": str(tmp_path / "clip.avseg.mp4"), "exists": False}
    assert would["outputs"]["json"]["exists"] is True
    assert one(info(clip, "--json", "--fps", 2, "-o", tmp_path / "out"))["segment"]["masks"] == 6


def test_where_a_file_would_go_is_told_of_the_format_that_segment_takes(info, tmp_path: Path) -> None:
    clip = Clip(seconds=1).write(tmp_path / "clip.mp4")
    for name, format_ in (("x.mp4", "overlay"), ("x.webm", "cutout"), ("x.json", "json")):
        would = one(info(clip, "--json", "-o", tmp_path / name))["segment"]
        assert would["outputs"] == {format_: {"path": str(tmp_path / name), "exists": False}}


def test_one_mask_is_one_mask(info, tmp_path: Path) -> None:
    code, _, said = info(Clip(seconds=1).write(tmp_path / "clip.mp4"))
    assert code == 0 and "make about 1 mask " in " ".join(said.split())


def test_what_is_unusual_is_said(info, tmp_path: Path) -> None:
    times = [0, 0.04, 0.3, 0.31, 1.0, 1.5, 1.9]
    clip = Clip(
        size=(161, 120),
        pixel_format="yuv444p",
        times=times,
        time_base=Fraction(1, 90000),
        rotation=90,
        sound_delay=0.5,
        second_sound=lambda times: 0 * times,
        tags=(9, 9, 16, 2),
    ).write(tmp_path / "clip.mp4")
    code, _, said = info(clip)
    assert code == 0
    words = " ".join(said.split())
    for part in (
        "120 x 161 upright, turned by 90 degrees",
        "variable rate",
        "BT.2020",
        "SMPTE2084",
        "full range",
        "HDR video (PQ)",
        "2 sound tracks",
        "the sound starts 0.4",
        "odd width or height",
        "every frame keeps its own time",
        "number 2",
    ):
        assert part in words, part


def test_without_sound_it_says_what_to_do(info, tmp_path: Path) -> None:
    silent = Clip(seconds=1, sound=None).write(tmp_path / "silent.mp4")
    would = one(info(silent, "--json"))["segment"]
    assert not would["possible"] and "--audio FILE" in would["problem"]
    other = Clip(seconds=1).write(tmp_path / "other.mp4")
    assert one(info(silent, "--audio", other, "--json"))["segment"]["sound"] == {"file": str(other), "track": 1}


def test_several_files_one_of_them_bad(info, tmp_path: Path) -> None:
    Clip(seconds=1).write(tmp_path / "a.mkv")
    (tmp_path / "b.mp4").write_text("not a video")
    code, told, said = info(tmp_path, "--json")
    assert code == 2 and "b.mp4: not a video" in said
    assert [facts.get("exit_code") for facts in told] == [None, 2]
    assert told[0]["timing"]["variable"] is False, "Matroska's rounding to milliseconds is no variable rate"
    code, told, said = info(tmp_path / "b.mp4")
    assert code == 2 and told == [] and said.startswith("avseg: ") and said.count("\n") == 1


def test_what_a_file_says_cannot_command_the_terminal(info, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")  # the whole name in one line
    clip = Clip(seconds=1).write(tmp_path / "a\x1b[31m[bold]b.mp4")
    code, _, said = info(clip)
    assert code == 0 and "\x1b[31m" not in said and "[bold]b" in said.replace("\n", "")
