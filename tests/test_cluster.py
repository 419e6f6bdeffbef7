"""``--ray``: a Ray of two workers on this machine. Long: ``python -m pytest -m cluster``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from media_files import Clip

ROOT = Path(__file__).parents[1]
VIDEOS = 40


def segment(cwd: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "avseg_cli", "segment", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "300"}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=900)


@pytest.mark.cluster
@pytest.mark.timeout(1800)
def test_two_workers_finish_the_job_and_a_rerun_only_what_is_missing(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """Small videos enough that both workers get some, and one that is none."""
    pytest.importorskip("ray", reason="pip install 'avseg[cluster]'")
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("two workers take two cores")
    clip = Clip(seconds=1, size=(64, 48)).write(tmp_path / "clip.mp4")
    for number in range(VIDEOS):
        (tmp_path / f"videos/{number:02d}").mkdir(parents=True)
        os.link(clip, tmp_path / f"videos/{number:02d}/clip.mp4")
    (tmp_path / "videos/bad.mp4").write_text("not a video")
    arguments = [
        "videos",
        "-r",
        "-o",
        "out",
        "--format",
        "json",
        "--json",
        "--skip-existing",
        "--ray",
        "local",
        "--checkpoint",
        os.path.relpath(tiny_checkpoint, tmp_path),
    ]
    ran = segment(tmp_path, *arguments)
    rows = {row["input"]: row for row in map(json.loads, ran.stdout.splitlines())}
    assert ran.returncode == 2 and "Traceback" not in ran.stderr, ran.stderr
    assert rows["videos/bad.mp4"]["exit_code"] == 2 and "bad.mp4: not a video" in rows["videos/bad.mp4"]["error"]
    assert sorted(rows) == [*(f"videos/{number:02d}/clip.mp4" for number in range(VIDEOS)), "videos/bad.mp4"]
    assert len({row["worker"] for row in rows.values()}) >= 2, "one worker did it all"
    outputs = [tmp_path / f"out/{number:02d}/clip.avseg.json" for number in range(VIDEOS)]
    assert all(json.loads(path.read_text())["masks"] for path in outputs)
    outputs[2].unlink()
    stamps = [path.stat().st_mtime_ns for path in outputs if path.exists()]
    again = Counter(json.loads(line)["status"] for line in segment(tmp_path, *arguments).stdout.splitlines())
    assert again == {"done": 1, "failed": 1, "skipped": VIDEOS - 1}
    assert stamps == [path.stat().st_mtime_ns for path in outputs if path != outputs[2]]


def test_stdin_stays_here(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture) -> None:
    from avseg_cli.cli import main

    monkeypatch.setattr(sys, "argv", ["avseg", "segment", "-", "--ray", "local"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2 and "stdin cannot be read by other machines" in capfd.readouterr().err
