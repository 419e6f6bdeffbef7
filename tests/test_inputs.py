"""Where outputs go, for many inputs."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

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
