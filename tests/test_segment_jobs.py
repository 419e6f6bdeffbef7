"""``avseg segment --jobs N``: several videos at once, and what becomes of them when a process dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import pytest
from media_files import Clip

from avseg_cli.base.errors import DeviceError, InputError
from avseg_cli.segment import processes
from avseg_cli.segment.batch import Batch
from avseg_cli.segment.cluster import _Silent
from avseg_cli.segment.inputs import InputVideo
from avseg_cli.segment.segment_options import SegmentOptions
from avseg_cli.segment.segmenter import Segmenter

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three short videos and one file that is none."""
    folder = tmp_path_factory.mktemp("clips")
    for name in ("a", "b", "c"):
        Clip(seconds=2, size=(64, 48)).write(folder / f"{name}.mp4")
    (folder / "bad.mp4").write_text("not a video")
    return folder


def start(checkpoint: Path, *arguments: object) -> subprocess.Popen:
    argv = ["avseg", "segment", *map(str, arguments), "--jobs", "2", "--checkpoint", str(checkpoint)]
    code = f"import sys\nif __name__ == '__main__':\n sys.argv = {argv!r}\n from avseg_cli.cli import main\n main()"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "300"}  # no wrapped tables
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        start_new_session=True,
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


def test_outcomes_are_those_of_one_process(tiny_checkpoint: Path, clips: Path, tmp_path: Path) -> None:
    """Also: a video on stdin, which only the first process can read."""
    running = start(tiny_checkpoint, clips, "-", "-o", tmp_path, "--format", "overlay,json", "--json")
    out, err = running.communicate((clips / "a.mp4").read_bytes(), timeout=200)
    assert running.returncode == 2, err
    said = {Path(line["input"]).name: line for line in map(json.loads, out.splitlines())}
    assert {name: line["status"] for name, line in said.items()} == {
        "a.mp4": "done",
        "b.mp4": "done",
        "c.mp4": "done",
        "bad.mp4": "failed",
        "-": "done",
    }
    assert names(tmp_path) == sorted(
        f"{stem}.avseg.{kind}" for stem in ("a", "b", "c", "stdin") for kind in ("json", "mp4")
    )
    masks = [json.loads((tmp_path / f"{stem}.avseg.json").read_text())["masks"] for stem in ("a", "b", "stdin")]
    assert masks[0] == masks[1] == masks[2], "the same video, segmented in three processes"
    text = err.decode()
    assert text.count("bad.mp4: not a video") == 1 and "Traceback" not in text
    places = [text.rindex(f"{name}.mp4") for name in ("a", "b", "bad", "c")]
    assert places == sorted(places), "the table is in the order of the inputs"


def workers_of(process: subprocess.Popen) -> list[int]:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(child) for child in children if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text()]


def until(condition, seconds: float = 200) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def long_clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("long")
    clip = Clip(seconds=60, rate=5, sound="pcm_s16le", sound_rate=8000, size=(64, 48)).write(folder / "a.mkv")
    os.link(clip, folder / "b.mkv")
    return folder


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds the processes in /proc")
def test_a_killed_process_costs_one_video(tiny_checkpoint: Path, long_clips: Path, tmp_path: Path) -> None:
    running = start(tiny_checkpoint, long_clips, "-o", tmp_path, "--fps", 5, "--json")
    until(lambda: list(tmp_path.glob(".*.part")))
    victim = int(next(tmp_path.glob(".*.part")).name.split("-")[-1].removesuffix(".part"))
    assert victim in workers_of(running)
    os.kill(victim, signal.SIGKILL)
    out, err = running.communicate(timeout=250)
    statuses = sorted(json.loads(line)["status"] for line in out.splitlines())
    assert running.returncode == 4 and statuses == ["done", "failed"] and b"use fewer --jobs" in err
    assert len(names(tmp_path)) == 1, "nothing half-written is left of the other"


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds the processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_all_end_with_the_first_process(tiny_checkpoint: Path, long_clips: Path, tmp_path: Path, number: int) -> None:
    running = start(tiny_checkpoint, long_clips, "-o", tmp_path, "--fps", 5)
    until(lambda: list(tmp_path.glob(".*.part")))
    workers = workers_of(running)
    if number != signal.SIGKILL:
        os.killpg(running.pid, number)  # as a terminal does: everyone gets it
    else:
        os.kill(running.pid, number)
    _, err = running.communicate(timeout=100)
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
    assert names(tmp_path) == []
    if number != signal.SIGKILL:
        assert running.returncode == 130 and err.decode().count("\n") == 1 and b"nothing half-written" in err, err


@pytest.mark.parametrize("cause, quiet", [(KeyboardInterrupt(), True), (ValueError(), False)])
def test_a_worker_that_is_stopped_while_a_class_is_made_says_nothing(
    monkeypatch: pytest.MonkeyPatch, cause: BaseException, quiet: bool
) -> None:
    """Python 3.11 raises a RuntimeError then."""

    class Pipe:
        def recv(self) -> None:
            raise RuntimeError("Error calling __set_name__") from cause

    monkeypatch.setattr(processes, "_listen_to_signals", lambda: None)
    monkeypatch.setattr(processes, "_end_with_parent", lambda: None)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with nullcontext() if quiet else pytest.raises(RuntimeError):
        processes._work(Pipe(), 1, 0)


def test_who_does_not_end_in_time_leaves_nothing_either(
    tiny_checkpoint: Path, long_clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process is killed that a busy machine gives no time to clean up."""
    monkeypatch.setattr(processes, "PATIENCE", 0.0)
    monkeypatch.setattr(processes._Worker, "stop", lambda self: None)
    work = [
        (InputVideo(long_clips / f"{name}.mkv", Path(f"{name}.mkv")), {"overlay": tmp_path / f"{name}.mp4"})
        for name in ("a", "b")
    ]
    batch = Batch(partial(Segmenter.load, tiny_checkpoint, "cpu"), SegmentOptions(fps=5.0))
    outcomes = processes.run_jobs(batch, work, Impatient(tmp_path), 2)
    with pytest.raises(KeyboardInterrupt):
        list(outcomes)
    assert names(tmp_path) == []


class Impatient(_Silent):
    """A listener that breaks off as soon as something is half-written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def started(self, source: Path, video: object) -> Callable[[float], None]:
        def progress(seconds: float) -> None:
            if list(self.folder.glob(".*.part")):
                raise KeyboardInterrupt

        return progress


def test_no_process_starts_where_all_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor for a single video that is missing, which this process makes."""
    monkeypatch.setattr(processes, "_Worker", lambda *_: pytest.fail("a process was started"))
    names = [f"{number}.mp4" for number in range(50)]
    work = [(InputVideo(tmp_path / name, Path(name)), {"json": tmp_path / f"{name}.json"}) for name in names]
    for _, outputs in work:
        outputs["json"].touch()
    batch = Batch(lambda: pytest.fail("the model was loaded"), skip_existing=True)
    outcomes = list(processes.run_jobs(batch, work, _Silent(), 4))
    assert [outcome.reason for outcome in outcomes] == ["exists"] * 50
    work[7][1]["json"].unlink()
    outcomes = list(processes.run_jobs(batch, work, _Silent(), 4))
    assert [str(outcome.error) for outcome in outcomes if outcome.error] == [f"{work[7][0].path}: no such file"]


def test_a_killed_process_is_told_from_a_crashed_one_also_where_sigkill_has_no_name(monkeypatch) -> None:
    """As on Windows."""
    monkeypatch.delattr(signal, "SIGKILL")
    killed, crashed = (processes._why_it_died(Path("clip.mp4"), code) for code in (-9, -11))
    assert isinstance(killed, DeviceError) and "memory" in str(killed)
    assert isinstance(crashed, InputError) and "crashed (exit code -11)" in str(crashed)


def test_a_process_that_ended_is_told_from_one_that_the_file_crashed() -> None:
    """By SIGTERM, or an error of its own: the file would be noted by a watch as damaged."""
    for code in (0, 1):
        error = processes._why_it_died(Path("clip.mp4"), code)
        assert not isinstance(error, InputError) and f"ended before it was done (exit code {code})" in str(error)
    assert isinstance(processes._why_it_died(Path("clip.mp4"), 0xC0000005), InputError), "Windows: access violation"
