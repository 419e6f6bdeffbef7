"""``avseg segment`` as it is used: names, batches, messages, exit codes, interruptions."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import pytest
from command_line import Ran, run_avseg
from media_files import Clip, frames_of, sound_payload


@pytest.fixture
def avseg(tiny_checkpoint: Path, capfd: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch):
    """Runs the command line in this process, on the random tiny model."""

    def run(*arguments: object, checkpoint: Path | None = tiny_checkpoint) -> Ran:
        extra = [] if checkpoint is None else ["--checkpoint", str(checkpoint)]
        return run_avseg(capfd, monkeypatch, "segment", *arguments, *extra)

    return run


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Clip(seconds=2).write(tmp_path_factory.mktemp("clips") / "clip.mp4")


def copy_of(clip: Path, *places: Path) -> None:
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(clip.read_bytes())


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_one_video_beside_itself(avseg, clip: Path, tmp_path: Path) -> None:
    copy_of(clip, tmp_path / "clip.mp4")
    ran = avseg(tmp_path / "clip.mp4")
    assert ran.code == 0 and ran.out == "" and "sound copied" in ran.err
    assert names(tmp_path) == ["clip.avseg.mp4", "clip.mp4"]
    assert len(frames_of(tmp_path / "clip.avseg.mp4")) == 20
    assert sound_payload(tmp_path / "clip.avseg.mp4") == sound_payload(clip)


def test_all_formats_into_a_folder_with_json_on_stdout(avseg, clip: Path, tmp_path: Path) -> None:
    ran = avseg(clip, "-o", tmp_path / "out", "--format", "overlay,masks,cutout,json", "--json", "--quiet")
    assert ran.code == 0 and ran.err == ""
    said = json.loads(ran.out)
    assert (said["status"], said["masks"], said["frames"]) == ("done", 2, 20)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "clip.avseg.cutout.mov",
        "clip.avseg.json",
        "clip.avseg.masks",
        "clip.avseg.mp4",
    ]
    assert all(Path(path).exists() for path in said["outputs"].values())


@pytest.mark.parametrize("name", ["mine.mp4", "mine.mkv", "mine.mov"])
def test_an_output_file_in_its_own_container(avseg, clip: Path, tmp_path: Path, name: str) -> None:
    assert avseg(clip, "-o", tmp_path / name).code == 0
    with av.open(str(tmp_path / name)) as container:
        assert ("matroska" in container.format.name) == name.endswith("mkv")
        assert len(container.streams.audio) == 1


def test_folders_keep_their_tree_and_names_do_not_collide(avseg, clip: Path, tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    copy_of(
        clip,
        videos / "a/clip.mp4",
        videos / "b/clip.mp4",
        videos / "b/clip.mkv",
        videos / ".hidden/x.mp4",
        videos / "a/old.avseg.mp4",
    )
    ran = avseg(videos, "--recursive", "-o", tmp_path / "out", "--format", "json")
    assert ran.code == 0
    assert names(tmp_path / "out") == ["a/clip.avseg.json", "b/clip.mkv.avseg.json", "b/clip.mp4.avseg.json"]
    assert ran.err.count("done") == 3, "a table closes the run"


def test_names_are_said_as_they_are_and_a_terminal_obeys_none(avseg, clip: Path, tmp_path: Path) -> None:
    shutil.copy(clip, tmp_path / "in[bold]\x1b[31m.mp4")
    (tmp_path / "out\n\x1b[2J.mp4").write_bytes(b"no video")
    ran = avseg(tmp_path, "--format", "json")
    assert ran.code and "\x1b" not in ran.err
    assert "in[bold]?[31m.avseg.json: written" in ran.err and "out??[2J.mp4: not a video" in ran.err


def test_files_of_one_name_from_two_folders(avseg, clip: Path, tmp_path: Path) -> None:
    copy_of(clip, tmp_path / "a/clip.mp4", tmp_path / "b/clip.mp4")
    ran = avseg(
        tmp_path / "a/clip.mp4",
        tmp_path / "b/clip.mp4",
        tmp_path / "a/clip.mp4",
        "-o",
        tmp_path / "out",
        "--format",
        "json",
    )
    assert ran.code == 0
    assert names(tmp_path / "out") == ["a/clip.avseg.json", "b/clip.avseg.json"]


def test_patterns(avseg, clip: Path, tmp_path: Path) -> None:
    copy_of(clip, tmp_path / "one.mp4", tmp_path / "two.mp4", tmp_path / "other.mkv")
    assert avseg(tmp_path / "*.mp4", "--format", "json").code == 0
    assert names(tmp_path) == ["one.avseg.json", "one.mp4", "other.mkv", "two.avseg.json", "two.mp4"]
    assert avseg(tmp_path / "*.avi").code == 2


def test_one_bad_file_does_not_stop_the_rest(avseg, clip: Path, tmp_path: Path) -> None:
    copy_of(clip, tmp_path / "a.mp4", tmp_path / "c.mp4")
    (tmp_path / "b.mp4").write_text("not a video")
    ran = avseg(tmp_path / "a.mp4", tmp_path / "b.mp4", tmp_path / "c.mp4", "--format", "json", "--json")
    assert ran.code == 2
    assert [json.loads(line)["status"] for line in ran.out.splitlines()] == ["done", "failed", "done"]
    assert "b.mp4: not a video" in ran.err and "InputError" not in ran.err
    assert re.search(r"failed .*│ not a video", ran.err), "the table says why, without the cure"
    assert names(tmp_path) == ["a.avseg.json", "a.mp4", "b.mp4", "c.avseg.json", "c.mp4"]


def test_a_silent_video_fails_a_folder_only_when_asked(avseg, clip: Path, tmp_path: Path) -> None:
    copy_of(clip, tmp_path / "in/clip.mp4")
    Clip(seconds=1, sound=None).write(tmp_path / "in/silent.mp4")
    ran = avseg(tmp_path / "in", "-o", tmp_path / "out", "--format", "json", "--json")
    said = {Path(line["input"]).name: line for line in map(json.loads, ran.out.splitlines())}
    assert ran.code == 0 and "silent.mp4: skipped, it has no sound track" in ran.err
    assert (said["silent.mp4"]["status"], said["silent.mp4"]["reason"]) == ("skipped", "no sound track")
    assert names(tmp_path / "out") == ["clip.avseg.json"]
    assert avseg(tmp_path / "in", "--dry-run", "--no-sound", "fail").code == 2
    silent = tmp_path / "in/silent.mp4"
    alone = avseg(silent)
    assert alone.code == 2 and "silent.mp4: has no sound; give it with --audio FILE" in alone.err
    assert avseg(silent, "--no-sound", "skip").code == 0
    assert avseg(clip, "--audio", silent).code == 2
    assert avseg(tmp_path / "in", "--audio", silent, "-o", tmp_path / "out2").code == 2, "nobody's own silence"
    assert "--no-sound is 'no'; give one of skip, fail" in avseg(silent, "--no-sound", "no").err


def test_existing_outputs(avseg, clip: Path, tmp_path: Path) -> None:
    target = tmp_path / "clip.avseg.mp4"
    target.write_text("mine")
    ran = avseg(clip, "-o", tmp_path)
    assert ran.code == 5 and "--overwrite" in ran.err and target.read_text() == "mine"
    ran = avseg(clip, "-o", tmp_path, "--skip-existing")
    assert ran.code == 0 and "skipped" in ran.err and target.read_text() == "mine"
    ran = avseg(clip, "-o", tmp_path, "--skip-existing", "--format", "overlay,json")
    assert ran.code == 0 and target.read_text() == "mine" and (tmp_path / "clip.avseg.json").exists()
    assert avseg(clip, "-o", tmp_path, "--overwrite").code == 0
    assert len(frames_of(target)) == 20
    assert avseg(clip, "-o", tmp_path, "--overwrite", "--skip-existing").code == 2


def test_a_report_is_there_only_with_its_video(
    avseg, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a kill between the two leaves it: one without the other is made again."""
    monkeypatch.setattr("avseg_cli.outputs.formats.report.EMBEDDED", 1000)
    arguments = (clip, "-o", tmp_path, "--format", "report", "--skip-existing", "--json")
    both = [tmp_path / "clip.avseg.html", tmp_path / "clip.avseg.video.mp4"]
    for missing in (both[0], both[1]):
        assert avseg(*arguments).code == 0
        missing.unlink()
        ran = avseg(*arguments)
        assert ran.code == 0 and json.loads(ran.out)["status"] == "done", ran.err
        assert all(path.exists() for path in both)
    assert json.loads(avseg(*arguments).out)["status"] == "skipped"


def test_a_folder_of_masks_is_replaced_whole(avseg, clip: Path, tmp_path: Path) -> None:
    old = tmp_path / "clip.avseg.masks"
    old.mkdir()
    (old / "stale.png").write_text("")
    assert avseg(clip, "-o", tmp_path, "--format", "masks", "--overwrite").code == 0
    assert (
        len(names(old)) == 3
        and "masks.json" in names(old)
        and names(tmp_path) == [f"clip.avseg.masks/{name}" for name in names(old)]
    )


def test_a_dry_run_writes_nothing_and_loads_what_it_names(avseg, clip: Path, tmp_path: Path) -> None:
    ran = avseg(clip, "-o", tmp_path, "--dry-run", "--json")
    assert ran.code == 0 and json.loads(ran.out)["status"] == "planned" and names(tmp_path) == []
    ran = avseg(clip, "-o", tmp_path, "--dry-run", "--json", checkpoint=tmp_path / "none.safetensors")
    assert ran.code == 3 and "no such checkpoint file" in ran.err and names(tmp_path) == []


def test_stdin(tiny_checkpoint: Path, clip: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "avseg_cli",
        "segment",
        "-",
        "-o",
        "out.json",
        "--format",
        "json",
        "--checkpoint",
        str(tiny_checkpoint),
    ]
    ran = subprocess.run(command, input=clip.read_bytes(), cwd=tmp_path, capture_output=True, timeout=120, env=_env())
    assert ran.returncode == 0, ran.stderr
    document = json.loads((tmp_path / "out.json").read_text())
    assert len(document["masks"]) == 2 and document["video"]["path"] == document["video"]["sound"]["path"] == "-"


def _env() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}


def test_sound_from_another_file(avseg, clip: Path, tmp_path: Path) -> None:
    silent = Clip(seconds=1, sound=None).write(tmp_path / "silent.mp4")
    ran = avseg(silent, checkpoint=tmp_path / "none.safetensors")
    assert ran.code == 2 and "--audio FILE" in ran.err, "said before any model is loaded"
    assert avseg(silent, "--audio", clip, "-o", tmp_path / "out.mp4").code == 0
    assert sound_payload(tmp_path / "out.mp4") == sound_payload(clip)


ERRORS = {
    "missing": (["missing.mp4"], 2, "missing.mp4: no such file"),
    "empty folder": (["folder"], 2, "a folder without videos; add --recursive"),
    "not a video": (["text.mp4"], 2, "not a video"),
    "empty": (["empty.mp4"], 2, "the file is empty"),
    "no index": (["truncated.mp4"], 2, "cut off before its index"),
    "output is input": (["clip.mp4", "-o", "clip.mp4", "--overwrite"], 5, "is the input itself"),
    "linked output": (["clip.mp4", "-o", "link.mp4", "--overwrite"], 5, "is the input itself"),
    "one file for two": (["clip.mp4", "other.mp4", "-o", "x.mp4"], 5, "give -o a folder"),
    "one file for two formats": (["clip.mp4", "-o", "x.mp4", "--format", "overlay,json"], 5, "give -o a folder"),
    "wrong kind of file": (["clip.mp4", "-o", "text.mp4", "--format", "json"], 5, "give -o a folder"),
    "WebM": (
        ["clip.mp4", "-o", "x.webm", "--format", "overlay"],
        5,
        "(overlay: .mp4, .m4v, .mov, .mkv); give -o a folder",
    ),
    "stdout": (["clip.mp4", "-o", "-"], 5, "-o -: outputs are files, not a stream"),
    "GIF": (["clip.mp4", "-o", "x.gif"], 5, "x.gif: nothing asked for is such a file"),
    "cutout in MP4": (["clip.mp4", "-o", "c.mp4", "--format", "cutout"], 5, "(cutout: .mov, .mkv, .webm)"),
    "masks in a picture": (["clip.mp4", "-o", "m.png", "--format", "masks,json"], 5, "masks: a folder; json: .json"),
    "format": (["clip.mp4", "--format", "gif"], 2, "coco, cutout, json, markers, masks, matte"),
    "colour": (["clip.mp4", "--color", "pink"], 2, "six hexadecimal digits"),
    "threshold": (["clip.mp4", "--threshold", "1"], 2, "between 0 and 1"),
    "fps": (["clip.mp4", "--fps", "2.5"], 2, "--consecutive"),
    "stride": (["clip.mp4", "--stride", "9"], 2, "--stride 9 is out of range"),
    "start": (["clip.mp4", "--start", "60"], 2, "nothing is left after --start 60"),
    "track": (["clip.mp4", "--audio-track", "4"], 2, "has 1 sound track, so there is no --audio-track 4"),
    "device": (["clip.mp4", "--device", "cuda:9"], 4, "cuda:9"),
    "precision": (["clip.mp4", "--precision", "int3"], 4, "int3"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_each_error_is_one_sentence_with_its_exit_code(
    avseg, clip: Path, tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_of(clip, tmp_path / "clip.mp4", tmp_path / "other.mp4")
    (tmp_path / "folder/below").mkdir(parents=True)
    (tmp_path / "text.mp4").write_text("hello " * 500)
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "truncated.mp4").write_bytes(clip.read_bytes()[:2000])
    os.link(tmp_path / "clip.mp4", tmp_path / "link.mp4")
    before = names(tmp_path)
    monkeypatch.chdir(tmp_path)
    arguments, code, message = ERRORS[case]
    ran = avseg(*arguments)
    assert ran.code == code, ran.err
    assert message in ran.err and ran.err.startswith("avseg: ") and ran.err.count("\n") == 1
    assert names(tmp_path) == before


@pytest.mark.parametrize("text", [None, b"", b"PK\x03\x04 something", b"random bytes that are no tensors"])
def test_a_bad_checkpoint_is_said(avseg, clip: Path, tmp_path: Path, text: bytes | None) -> None:
    path = tmp_path / "model.safetensors"
    if text is not None:
        path.write_bytes(text)
    ran = avseg(clip, "-o", tmp_path / "out", checkpoint=path)
    assert ran.code == 3 and "model.safetensors" in ran.err and ran.err.count("\n") == 1


def test_a_folder_that_may_not_be_written(avseg, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ran = avseg(clip, "-o", tmp_path / "file/below/out.mp4")
    assert ran.code == 5 and "cannot be written" in ran.err and ran.err.count("\n") == 1


def _start(arguments: list[object], checkpoint: Path, before: str = "") -> subprocess.Popen:
    argv = ["avseg", "segment", *map(str, arguments), "--checkpoint", str(checkpoint)]
    code = f"{before}\nimport sys; sys.argv = {argv!r}\nfrom avseg_cli.cli import main; main()"
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, env=_env())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interruption_leaves_nothing(tiny_checkpoint: Path, tmp_path: Path, number: int) -> None:
    long = Clip(seconds=120, rate=5, sound="pcm_s16le", sound_rate=8000).write(tmp_path / "clip.mkv")
    running = _start([long, "-o", tmp_path / "out", "--format", "overlay,json", "--fps", 5], tiny_checkpoint)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "out").glob(".*.part")) and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(number)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130 and "nothing half-written" in err and err.count("\n") == 1, err
    assert names(tmp_path / "out") == []


def test_a_run_that_nohup_started_outlives_its_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    from avseg_cli.cli import _terminated_like_interrupted

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with _terminated_like_interrupted():
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no pseudo-terminals here")
def test_nor_do_its_bars_and_lines_end_it(tiny_checkpoint: Path, clip: Path, tmp_path: Path) -> None:
    """A terminal that closes while a bar moves, of a run that ignores it as under ``trap '' HUP``."""
    inputs = [str(shutil.copy(clip, tmp_path / name)) for name in ("a.mp4", "b.mp4")]
    words = [sys.executable, "-m", "avseg_cli", "segment", *inputs, "--checkpoint", str(tiny_checkpoint)]
    master, terminal = os.openpty()
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        run = subprocess.Popen(words, stdin=terminal, stdout=terminal, stderr=terminal, env={**_env(), "TERM": "xterm"})
    finally:
        signal.signal(signal.SIGHUP, before)
        os.close(terminal)
    seen = b""
    while b"a.mp4" not in seen:
        seen += os.read(master, 1024)
    os.close(master)
    assert run.wait(120) == 0
    assert {"a.avseg.mp4", "b.avseg.mp4"} <= set(os.listdir(tmp_path))


def test_a_disk_that_fills_up(tiny_checkpoint: Path, tmp_path: Path) -> None:
    path = Clip(seconds=20, size=(320, 240)).write(tmp_path / "clip.mp4")
    limit = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))"
    running = _start([path, "-o", tmp_path / "out"], tiny_checkpoint, limit)
    _, err = running.communicate(timeout=120)
    assert running.returncode == 5 and "the disk is full" in err and err.count("\n") == 1, err
    assert names(tmp_path / "out") == []


def test_memory_does_not_grow_with_length(tiny_checkpoint: Path, tmp_path: Path) -> None:
    peaks = []
    for seconds in (8, 32):
        clip = Clip(seconds=seconds, rate=8, size=(640, 480), sound="pcm_s16le", sound_rate=8000)
        path = clip.write(tmp_path / f"{seconds}.mkv")
        measure = "import atexit, resource, sys\n"
        measure += "atexit.register(lambda: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr))"
        running = _start([path, "-o", tmp_path / "out", "--format", "overlay,json", "-q"], tiny_checkpoint, measure)
        _, err = running.communicate(timeout=200)
        assert running.returncode == 0, err
        peaks.append(int(err.split()[-1]) / 1024)
    assert peaks[1] < peaks[0] + 60, f"{peaks} MB; the pictures of 24 more seconds are 88 MB"
