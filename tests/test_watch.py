"""``avseg segment --watch``: what is taken when, what is remembered, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from command_line import run_avseg
from media_files import Clip

from avseg_cli.base.errors import DeviceError, InputError, NoSoundError, OutputError
from avseg_cli.segment import processes, watch
from avseg_cli.segment.batch import Batch
from avseg_cli.segment.outcome import Outcome
from avseg_cli.segment.segment_options import SegmentOptions
from avseg_cli.segment.tally import NO_SOUND
from avseg_cli.segment.watch import NOTES, Watch, deciding

ROOT = Path(__file__).parents[1]


class Folder:
    """A watched folder whose clock is moved by hand."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.now, self.path, self.out = 0.0, folder / "in", folder / "out"
        self.path.mkdir(exist_ok=True)
        self.decided, self.told = deciding(Batch(lambda: None, **settings)), list[str]()
        self.watches(self.path)

    def watches(self, *folders: Path) -> None:
        names = [str(folder) for folder in folders]
        self.watch = Watch(
            names, True, str(self.out), ["json"], 5, self.decided, lambda: self.now, tell=self.told.append
        )

    def put(self, name: str, size: int = 10) -> None:
        (self.path / name).parent.mkdir(exist_ok=True)
        (self.path / name).write_bytes(b"x" * size)

    def takes(self, seconds: float = 5.0) -> list[str]:
        """What is given after some more seconds."""
        self.now += seconds
        taken = []
        while item := self.watch.take():
            taken.append(item[0].relative.as_posix())
        return taken

    def made(self, name: str) -> None:
        self.out.mkdir(exist_ok=True)
        (self.out / f"{name}.avseg.json").write_text("{}")
        self.watch.note(Outcome(self.path / f"{name}.mp4", "done", {}))

    def failed(self, name: str, error: Exception | None) -> None:
        reason = "" if error else NO_SOUND
        self.watch.note(Outcome(self.path / name, "failed", {}, error=error, reason=reason))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_a_file_is_taken_when_it_has_stayed_the_same_from_one_look_to_the_next(folder: Folder) -> None:
    assert folder.takes() == []
    folder.put("a.mp4")
    assert folder.takes() == [], "seen for the first time"
    folder.put("a.mp4", 20)
    assert folder.takes() == [], "it grew"
    assert folder.takes(1) == [], "the next look is not due"
    assert folder.takes(4) == ["a.mp4"]
    assert folder.takes() == [], "once is enough"


def test_what_is_ours_hidden_or_no_video_is_left_alone(folder: Folder) -> None:
    for name in ("a.avseg.mp4", ".b.mp4.x7Yt", ".c.mp4", "d.mp4.part", "e.txt", ".f/g.mp4", "sub/h.mp4"):
        folder.put(name)
    assert folder.takes() + folder.takes() == ["sub/h.mp4"]


def test_what_is_made_is_left_alone_until_it_changes(folder: Folder, tmp_path: Path) -> None:
    folder.put("a.mp4")
    folder.put("b.mp4")
    folder.made("b")
    assert folder.takes() + folder.takes() == ["a.mp4"], "b was made by an earlier run"
    folder.made("a")
    assert Folder(tmp_path).takes() == []
    folder.put("a.mp4", 30)
    assert folder.takes() + folder.takes() == ["a.mp4"], "a new version, whose output is replaced"


def test_the_outputs_of_an_earlier_version_are_made_anew(folder: Folder, tmp_path: Path) -> None:
    """Also where they were there before the watch."""
    for name in ("a", "b", "c", "d"):
        folder.put(f"{name}.mp4")
        folder.made(name)
    hour = 3600
    for name, later in (("b.mp4", 1), ("c.mp4", -1), ("d.mp4", 100 * hour)):
        made = (folder.out / name.replace(".mp4", ".avseg.json")).stat().st_mtime
        os.utime(folder.out / name.replace(".mp4", ".avseg.json"), (made - hour, made - hour))
        os.utime(folder.path / name, (made - hour + later, made - hour + later))
    assert folder.takes() + folder.takes() == ["b.mp4"], "newer than its output; a time to come says nothing"
    folder.put("c.mp4", 20)
    os.utime(folder.path / "c.mp4", (0, 0))
    assert folder.takes() + folder.takes() == ["c.mp4"], "replaced by an older one, during the watch"


def test_a_folder_that_is_away_is_waited_for(folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one of another machine; what it took with it while it was at work is tried again."""
    folder.put("a.mp4")
    folder.put("b.mp4")
    assert folder.takes() == []
    folder.now += 5
    assert folder.watch.take()[0].path.name == "a.mp4"
    folder.path.rename(tmp_path / "away")
    folder.failed("a.mp4", InputError("a.mp4: the file is cut off"))
    assert folder.takes() + folder.takes() == [] and len(folder.told) == 1
    (tmp_path / "away").rename(folder.path)
    with monkeypatch.context() as patch:
        patch.setattr(watch, "videos_in", lambda *_: os.listdir(f"{tmp_path}/{'x' * 300}"))  # as a drive says it
        assert folder.takes() == []
    assert folder.takes() + folder.takes() == ["a.mp4", "b.mp4"]
    assert folder.told == [
        f"{folder.path}: cannot be looked into (No such file or directory); the watch waits for it",
        f"{folder.path}: is there again",
    ]


def test_a_video_is_taken_once_whatever_its_names(folder: Folder, tmp_path: Path) -> None:
    folder.put("sub/a.mp4")
    (folder.path / "b.mp4").symlink_to("sub/a.mp4")
    (tmp_path / "link").symlink_to(folder.path)
    folder.watches(folder.path, tmp_path / "link", folder.path / "sub")
    assert folder.takes() + folder.takes() == ["b.mp4"]


def test_failures_are_remembered_over_restarts_until_the_file_changes(folder: Folder, tmp_path: Path) -> None:
    for name in ("bad.mp4", "silent.mp4", "unlucky.mp4"):
        folder.put(name)
    assert len(folder.takes() + folder.takes()) == 3
    folder.failed("bad.mp4", InputError("bad.mp4: not a video"))
    folder.failed("silent.mp4", None)
    folder.failed("unlucky.mp4", DeviceError("unlucky.mp4: out of memory"))
    assert folder.takes() + folder.takes() == []
    notes = json.loads((folder.out / NOTES).read_text())
    assert {Path(path).name: said["why"] for path, said in notes.items()} == {
        "bad.mp4": "bad.mp4: not a video",
        "silent.mp4": NO_SOUND,
    }
    again = Folder(tmp_path)
    assert again.takes() + again.takes() == ["unlucky.mp4"], "that was not the file's fault"
    again.put("bad.mp4", 40)
    assert again.takes() + again.takes() == ["bad.mp4"]
    (folder.out / NOTES).write_text("[1")
    assert len(Folder(tmp_path).takes() + (third := Folder(tmp_path)).takes() + third.takes()) == 3


def test_failures_are_known_with_the_settings_that_may_be_their_cause(tmp_path: Path) -> None:
    audio, started = tmp_path / "a.wav", SegmentOptions(start=60.0)
    for settings in ({"audio": audio}, {"audio_track": 2}, {"options": started}):
        folder = Folder(tmp_path, **settings)
        folder.put("a.mp4")
        assert folder.takes() + folder.takes() == ["a.mp4"]
        folder.failed("a.mp4", InputError("a.mp4: not with these"))
        again = Folder(tmp_path, **settings)
        assert again.takes() + again.takes() == []
        corrected = Folder(tmp_path)
        assert corrected.takes() + corrected.takes() == ["a.mp4"]
    folder = Folder(tmp_path, audio=audio)
    assert folder.takes() + folder.takes() == ["a.mp4"]
    folder.failed("a.mp4", InputError("a.wav: no such file"))
    audio.write_bytes(b"it is there now")
    again = Folder(tmp_path, audio=audio)
    assert again.takes() + again.takes() == ["a.mp4"]


def test_a_file_that_cannot_be_opened_now_is_not_known_to_fail(folder: Folder, tmp_path: Path) -> None:
    folder.put("a.mp4")
    assert folder.takes() + folder.takes() == ["a.mp4"]
    away = (folder.path / "a.mp4").rename(tmp_path / "a.mp4")
    folder.failed("a.mp4", InputError("a.mp4: no such file"))
    away.rename(folder.path / "a.mp4")
    again = Folder(tmp_path)
    assert again.takes() + again.takes() == ["a.mp4"]


def test_a_file_that_goes_or_grows_in_the_queue_is_not_given(folder: Folder) -> None:
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        folder.put(name)
    folder.takes()
    folder.now += 5
    assert folder.watch.take()[0].path.name == "a.mp4"
    (folder.path / "b.mp4").unlink()
    folder.put("c.mp4", 50)
    assert folder.takes(0) == []
    assert folder.takes() + folder.takes() == ["c.mp4"]


def test_what_is_replaced_while_it_is_at_work_waits_for_its_end(folder: Folder, tmp_path: Path) -> None:
    """Two processes would be at one video, and the last to end would win."""
    for name in ("a.mp4", "b.mp4"):
        folder.put(name)
    assert folder.takes() + folder.takes() == ["a.mp4", "b.mp4"]
    for name in ("a.mp4", "b.mp4"):
        folder.put(name, 60)
    assert folder.takes() + folder.takes() == []
    folder.made("a")
    folder.failed("b.mp4", InputError("b.mp4: not a video"))
    again = Folder(tmp_path)
    assert again.takes() + again.takes() == ["b.mp4"], "what failed is the one that it replaced"
    assert folder.takes() + folder.takes() == ["a.mp4", "b.mp4"]


def test_looking_takes_a_small_share_of_the_time(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow_look() -> None:
        folder.now += 10

    monkeypatch.setattr(folder.watch, "_look", slow_look)
    folder.takes()
    assert folder.watch._next_look - folder.now == pytest.approx(90)


def test_several_processes_wait_for_what_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They stay between two videos, and only as many start as there is work for."""
    started = []

    class Worker:
        def __init__(self, batch: object, threads: int, number: int) -> None:
            started.append(self)
            self.number = number
            self.item, self.messages = None, []
            self.pipe = self

        def give(self, item) -> None:
            self.item = item
            self.messages.append(("ended", Outcome(item[0].path, "done", item[1])))

        def recv(self):
            return self.messages.pop(0)

        def stop(self) -> None: ...
        def end(self) -> None: ...

    waits = []

    def wait(pipes: list[Worker], pause: float) -> list[Worker]:
        waits.append(pause)
        folder.now += pause
        return [pipe for pipe in pipes if pipe.messages]

    monkeypatch.setattr(processes, "_Worker", Worker)
    monkeypatch.setattr(processes, "wait", wait)
    monkeypatch.setattr(processes.time, "sleep", lambda seconds: setattr(folder, "now", folder.now + seconds))
    folder = Folder(tmp_path)
    for name in ("a.mp4", "b.mp4"):
        folder.put(name)
    running = processes.run_feed(Batch(lambda: None), folder.watch, processes_listener := _Heard(), 2)
    assert {next(running).source.name, next(running).source.name} == {"a.mp4", "b.mp4"} and len(started) == 2
    folder.put("c.mp4")
    assert next(running).source.name == "c.mp4" and len(started) == 2 and set(waits) == {5}
    assert len(processes_listener.outcomes) == 3
    running.close()


class _Heard:
    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    def ended(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)


def test_what_cannot_be_watched_is_said(tmp_path: Path, capfd, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="clip.mp4: not a folder of this machine"):
        Watch([str(tmp_path / "clip.mp4")], False, None, ["json"], 5, {})
    with pytest.raises(OutputError, match="one file cannot take several outputs"):
        Watch([str(tmp_path)], False, str(tmp_path / "x.json"), ["json"], 5, {})
    for option in ("--overwrite", "--dry-run"):
        ran = run_avseg(capfd, monkeypatch, "segment", tmp_path, "--watch", option)
        assert ran.code == 2 and f"--watch and {option} contradict each other" in ran.err
    assert issubclass(NoSoundError, InputError)


def test_a_watch_segments_what_comes_and_ends_well(tiny_checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/bad.mp4").write_text("not a video")
    command = [sys.executable, "-m", "avseg_cli", "segment", "in", "-o", "out", "--format", "json", "--watch"]
    watching = subprocess.Popen(
        [*command, "--watch-every", "0.2", "--json", "--checkpoint", str(tiny_checkpoint)],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert json.loads(watching.stdout.readline())["status"] == "failed"
    Clip(seconds=1, size=(64, 48)).write(tmp_path / "clip.mp4").rename(tmp_path / "in/clip.mp4")
    said = json.loads(watching.stdout.readline())
    assert said["status"] == "done" and (tmp_path / "out/clip.avseg.json").is_file()
    time.sleep(0.5)
    watching.send_signal(signal.SIGINT)
    out, err = watching.communicate(timeout=60)
    assert watching.returncode == 0 and out == "", err
    assert "watching in each 0.2 s, until Ctrl-C; what fails is noted in out/.avseg-watch.json" in err
    assert "2 inputs in 0:" in err and "1 done, 1 failed:" in err and "Traceback" not in err
