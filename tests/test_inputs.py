"""Where outputs go, for many inputs."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from avseg_cli.base.errors import InputError
from avseg_cli.segment.batch import Batch
from avseg_cli.segment.cluster import _Silent
from avseg_cli.segment.inputs import find_sources, plan_outputs


@pytest.mark.parametrize("elsewhere", [False, True], ids=["beside", "-o"])
def test_each_folder_is_listed_once(elsewhere: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planning takes no longer for each file when there are more of them."""
    for number in range(3000):
        (tmp_path / f"clip{number}.mp4").touch()
    (tmp_path / "clip7.mkv").touch()
    sources = find_sources([str(tmp_path)], recursive=False)
    listings = []
    monkeypatch.setattr(os, "listdir", lambda folder, real=os.listdir: listings.append(folder) or real(folder))
    monkeypatch.setattr(os, "scandir", lambda folder, real=os.scandir: listings.append(folder) or real(folder))
    began = time.perf_counter()
    outputs = plan_outputs(sources, str(tmp_path / "out") if elsewhere else None, ["json"])
    assert listings.count(tmp_path) == 1 and len(listings) < 5 and time.perf_counter() - began < 10
    names = {path.name for output in outputs for path in output.values()}
    assert len(names) == 3001 and {"clip7.mp4.avseg.json", "clip7.mkv.avseg.json", "clip8.avseg.json"} <= names


@pytest.mark.parametrize("elsewhere", [False, True], ids=["beside", "-o"])
def test_names_that_end_twice_are_no_other_video_s(elsewhere: bool, tmp_path: Path) -> None:
    for name in ("a.mp4", "a.mkv", "a.mp4.mkv"):
        (tmp_path / name).touch()
    sources = find_sources([str(tmp_path)], recursive=False)
    plan = plan_outputs(sources, str(tmp_path / "out") if elsewhere else None, ["json"])
    assert [outputs["json"].name for outputs in plan] == [f"{source.path.name}.avseg.json" for source in sources]


def test_a_path_from_a_common_folder_is_no_other_video_s(tmp_path: Path) -> None:
    names = ("r/b/x.mp4", "a/x.mp4", "b/x.mp4")
    for path in (tmp_path / name for name in names):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    sources = find_sources([str(tmp_path / name) for name in ("r", *names[1:])], recursive=True)
    plan = plan_outputs(sources, str(tmp_path / "out"), ["json"])
    expected = [tmp_path / "out" / name.replace(".mp4", ".avseg.json") for name in names]
    assert [outputs["json"] for outputs in plan] == expected


def test_a_link_that_cannot_be_followed_fails_in_its_turn(tmp_path: Path) -> None:
    (tmp_path / "good.mp4").touch()
    (tmp_path / "gone.mp4").symlink_to("nowhere.mp4")
    (tmp_path / "long.mp4").symlink_to(f"{'x' * 300}.mp4")  # refused, as a folder without search permission is
    sources = find_sources([str(tmp_path)], recursive=True)
    assert [source.path.name for source in sources] == ["good.mp4", "long.mp4"]
    work = list(zip(sources, plan_outputs(sources, None, ["json"]), strict=True))
    good, long = Batch(lambda: pytest.fail("the model was loaded"), dry_run=True).run(work, _Silent())
    assert "good.mp4: the file is empty" in str(good.error)
    assert isinstance(long.error, InputError) and "long.mp4: may not be read (File name too long)" in str(long.error)
