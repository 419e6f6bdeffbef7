"""Faults: kills, full and closed disks, a clock that goes back, two at one job; afterwards a rerun finishes the job.

All run in forks of one process that has loaded the model, so that a kill costs milliseconds to prepare.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import av
import numpy as np
from file_server import FileServer, serving
from media_files import Clip
from miniature import make
from PIL import Image
from synth_media import make_media

from avseg_cli.media.atomic import discard

from .rights import CannotGiveUp, close_doors, closed_doors
from .worker import command_line, keep_the_model

PATIENCE = 300.0   # seconds a job may take on a busy machine
WEIGHTS = bytes(range(256)) * 20_000


@dataclass
class Job:
    """A command whose outputs are ``finals``; ``again`` gives the rerun to its end, ``whole`` checks an output."""

    arguments: list[str]
    again: Callable[[], list[str]]
    finals: list[Path]
    whole: Callable[[Path], bool]
    prepare: Callable[[], None] = lambda: None   # in the process that runs it


class Process:
    """A fork that runs the command line; what it says goes to ``said``."""

    def __init__(self, job: Job, arguments: list[str], said: Path, hook: Callable[[], None] = lambda: None) -> None:
        self.said, self.code = said, None
        self.pid = os.fork()
        if self.pid == 0:
            code = 99
            try:
                file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                os.dup2(file, 1)
                os.dup2(file, 2)
                job.prepare()
                hook()
                code = command_line(arguments) & 255
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)

    def wait(self, seconds: float = PATIENCE) -> int | None:
        """The exit code (negative: the signal), or None while it still runs after ``seconds``."""
        until = time.monotonic() + seconds
        while self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > until:
                return None
            else:
                time.sleep(0.005)
        return self.code

    def kill(self) -> None:
        if self.wait(0) is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()


def inject(folder: Path, seed: int, rounds: int, only: str, tell: Callable[[str, list[str], str], None]) -> None:
    """The faults whose name matches ``only``, in a process of their own.

    ``tell`` gets the name of each, what it broke, and why it could not be injected here ("" where it was).
    """
    context = multiprocessing.get_context("spawn")
    with serving(FileServer(WEIGHTS, delay=0.01)) as server:
        pipe, theirs = context.Pipe()
        process = context.Process(target=_run, args=(theirs, folder, seed, rounds, only, server.url), daemon=True)
        process.start()
        theirs.close()
        try:
            while (news := pipe.recv()) is not None:
                tell(*news)
        except EOFError:
            tell("the process that injects faults", ["died"], "")
        process.join()


def _run(pipe: Connection, folder: Path, seed: int, rounds: int, only: str, url: str) -> None:
    import torch

    torch.set_num_threads(1)   # forks have no other threads
    keep_the_model()
    folder.mkdir(parents=True)
    for name, fault in _faults(folder, seed, rounds, url):
        if re.search(only, name):
            try:
                pipe.send((name, fault(), ""))
            except CannotGiveUp as why:
                pipe.send((name, [], str(why)))
    pipe.send(None)


def _faults(folder: Path, seed: int, rounds: int, url: str) -> Iterator[tuple[str, Callable[[], list[str]]]]:
    """Every fault by name; the costly ones last."""
    for fault in (_disk_full, _folder_taken_away, _permission_lost, _clock_back, _two_at_once):
        name = fault.__name__.strip("_").replace("_", " ")
        yield name, partial(_in_its_own, fault, folder / name.replace(" ", "-"))
    for step in range(rounds):
        make_job = partial(_segment, folder / f"step{step}")
        yield f"segment: kill -9 at step {step} of putting outputs in place", partial(
            _killed, make_job, folder, None, partial(_die_at, step))
    random = np.random.default_rng(seed)
    jobs = {"segment": (_segment, rounds), "synth": (_synth, 1 + rounds // 3),
            "weights download": (_download, 1 + rounds // 3), "train": (_train, 1 + rounds // 3)}
    for name, (make_job, times) in jobs.items():
        for number in range(times):
            part = float(random.uniform(0, 1))
            yield f"{name}: kill -9 after {part:.0%} of its usual time", partial(
                _killed, partial(make_job, folder / f"{name}{number}".replace(" ", "-"), url), folder, part)


def _in_its_own(fault: Callable[[Path], list[str]], folder: Path) -> list[str]:
    folder.mkdir()
    return fault(folder)


def _duration(job: Job, folder: Path) -> float:
    """Seconds that an undisturbed run takes; its outputs are removed."""
    began = time.monotonic()
    Process(job, job.arguments, folder / "said").wait()
    taken = time.monotonic() - began
    for path in job.finals:
        discard(path.parent if path.parent.name in ("1a", "cache") else path)
    return taken


def _killed(
    make_job: Callable[[], Job], folder: Path, part: float | None, hook: Callable[[], None] = lambda: None
) -> list[str]:
    """Kill it, look at what is visible, run it again to its end, and once more, which must change nothing.

    part: of its usual time after which it is killed; None where ``hook`` makes it kill itself.
    """
    folder.mkdir(parents=True, exist_ok=True)
    job = make_job()
    moment = PATIENCE if part is None else part * _duration(job, folder)
    process = Process(job, job.arguments, folder / "said", hook)
    process.wait(moment)
    process.kill()
    problems = [f"half-written {path.name} was visible" for path in job.finals if path.exists() and not job.whole(path)]
    finished = {path: _stamp(path) for path in job.finals if path.exists()}
    problems += _rerun(job, folder)
    problems += [f"{path.name} was made again" for path, stamp in finished.items() if _stamp(path) != stamp]
    before = [_stamp(path) for path in job.finals]
    problems += _rerun(job, folder)
    if before != [_stamp(path) for path in job.finals]:
        problems.append("what was finished was made again")
    return problems


def _rerun(job: Job, folder: Path) -> list[str]:
    process = Process(job, job.again(), folder / "said")
    if process.wait() is None:
        process.kill()
        return ["the rerun hung"]
    return _finished(job, process)


def _finished(job: Job, *processes: Process) -> list[str]:
    problems = [f"exit code {p.code}: {p.said.read_text()[:300]}" for p in processes if p.code != 0]
    problems += [f"{path.name} is missing" for path in job.finals if not path.exists()]
    problems += [f"{path.name} is not whole" for path in job.finals if path.exists() and not job.whole(path)]
    return problems + _leftovers(job)


def _leftovers(job: Job) -> list[str]:
    folders = {path.parent for path in job.finals if path.parent.is_dir()}
    left = [path.name for folder in folders for path in folder.iterdir() if path.suffix in (".part", ".old")]
    return [f"left {left}"] if left else []


def _stamp(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


# --- the jobs


def _segment(folder: Path, url: str = "") -> Job:   # every job is made alike; only the download needs an address
    folder.mkdir(parents=True, exist_ok=True)
    clip = Clip(seconds=4).write(folder / "clip.mp4")
    finals = [folder / f"out/clip.avseg.{kind}" for kind in ("mp4", "masks", "json")]
    arguments = ["segment", str(clip), "-o", str(folder / "out"), "--format", "overlay,masks,json", "--quiet"]
    return Job(arguments, lambda: [*arguments, "--skip-existing"], finals, _whole_output)


def _whole_output(path: Path) -> bool:
    if path.suffix == ".json":
        return len(json.loads(path.read_text())["masks"]) == 4
    if path.is_dir():
        return [Image.open(mask).size for mask in path.iterdir()] == [(160, 120)] * 4
    with av.open(str(path)) as container:
        return len(list(container.decode(video=0))) == 40


def _train(folder: Path, url: str) -> Job:
    data = make(folder / "data", "ms3", {"train": 2, "val": 1, "test": 1})
    run = folder / "run"
    arguments = ["train", "--data", str(data), "--out", str(run), "--backbone", "tiny", "--image-size", "64", "--depth",
                 "1", "--device", "cpu", "--stage", "1a", "--epochs", "3", "--batch-size", "1", "--save-minutes", "0"]

    def again() -> list[str]:
        return ["train", "--resume", str(run)] if (run / "1a/config.json").exists() else arguments

    return Job(arguments, again, [run / "1a/done.json"], lambda path: _whole_checkpoint(path.parent))


def _whole_checkpoint(stage: Path) -> bool:
    from avseg_cli.model.checkpoint import load_checkpoint

    return load_checkpoint(stage / "last.safetensors") is not None


def _synth(folder: Path, url: str) -> Job:
    make_media(folder / "media")
    data = folder / "data"
    arguments = ["synth", "--media", str(folder / "media"), "--out", str(data), "--clips", "4", "--workers", "1",
                 "--splits", "2/1/1"]

    def again() -> list[str]:   # what exists is never replaced, so a finished data set is looked at instead
        return ["prepare", "--check", "--data", str(data), "--subset", "ms3"] if data.exists() else arguments

    return Job(arguments, again, [data], lambda path: len((path / "manifest.jsonl").read_text().splitlines()) == 4)


def _download(folder: Path, url: str) -> Job:
    digest = hashlib.sha256(WEIGHTS).hexdigest()
    (folder / "weights").mkdir(parents=True)
    entry = {"name": "pinned", "file": "pinned.pth", "url": "https://example.invalid/pinned.pth",
             "size": len(WEIGHTS), "sha256": digest, "purpose": "a test"}
    (folder / "weights/manifest.json").write_text(json.dumps({"files": [entry]}))

    def prepare() -> None:
        from avseg_cli import weights

        weights.weights_dir = lambda: folder / "weights"
        os.environ["AVSEG_CACHE"] = str(folder / "cache")

    arguments = ["weights", "download", "pinned", "--mirror", url, "--insecure"]
    return Job(arguments, lambda: arguments, [folder / "cache/pinned.pth"],
               lambda path: path.read_bytes() == WEIGHTS, prepare)


# --- faults other than kills


def _die_at(step: int) -> None:
    """Let this process kill itself before the ``step``-th rename or fsync."""
    left = step

    def counted(real: Callable) -> Callable:
        def call(*arguments: object) -> object:
            nonlocal left
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
            return real(*arguments)

        return call

    os.replace, os.fsync = counted(os.replace), counted(os.fsync)


def _disk_full(folder: Path) -> list[str]:
    """A tmpfs that is too small where this user may mount one, else a limit on the size of files."""
    job = _segment(folder)
    out = folder / "out"
    out.mkdir()
    mounted = os.geteuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(out)], capture_output=True).returncode == 0
    try:
        process = Process(job, job.arguments, folder / "said", lambda: None if mounted else _limit_files())
        problems = [] if process.wait() == 5 else [f"exit code {process.code}"]
        if "disk is full" not in process.said.read_text():
            problems.append(f"said {process.said.read_text()!r}")
        problems += [f"left {path.name}" for path in out.iterdir()]
    finally:
        if mounted:
            subprocess.run(["umount", str(out)], check=True)
    return problems + _rerun(job, folder)


def _limit_files() -> None:
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))


def _after_start(job: Job, folder: Path, act: Callable[[], None], hook: Callable[[], None] = lambda: None) -> Process:
    """Run a job, and ``act`` as soon as it writes."""
    process = Process(job, job.arguments, folder / "said", hook)
    while process.wait(0) is None and not list(folder.glob("out/.*.part")):
        time.sleep(0.002)
    act()
    process.wait()
    return process


def _folder_taken_away(folder: Path) -> list[str]:
    job = _segment(folder)
    process = _after_start(job, folder, lambda: shutil.rmtree(folder / "out"))
    problems = [] if process.code == 5 else [f"exit code {process.code}: {process.said.read_text()[:200]}"]
    return problems + _rerun(job, folder)


def _permission_lost(folder: Path) -> list[str]:
    with closed_doors():
        job = _segment(folder)
    (folder / "out").mkdir()
    process = _after_start(job, folder, lambda: (folder / "out").chmod(0o555), close_doors)
    (folder / "out").chmod(0o755)
    problems = [] if process.code == 5 else [f"exit code {process.code}: {process.said.read_text()[:200]}"]
    return problems + _rerun(job, folder)


def _clock_back(folder: Path) -> list[str]:
    """The wall clock runs backwards, a day a second, and the input is of the future."""
    job = _segment(folder)
    os.utime(folder / "clip.mp4", (time.time() + 1e8,) * 2)
    process = Process(job, job.arguments, folder / "said", _reverse_clock)
    process.wait()
    return _finished(job, process) + _rerun(job, folder)


def _reverse_clock() -> None:
    real, start = time.time, time.time()
    time.time = lambda: start - 86_400 * (real() - start)
    time.time_ns = lambda: int(time.time() * 1e9)


def _two_at_once(folder: Path) -> list[str]:
    """Both finish, or one says that the output exists by now."""
    job = _segment(folder)
    both = [Process(job, job.arguments, folder / f"said{number}") for number in range(2)]
    problems = [f"exit code {p.code}: {p.said.read_text()[:200]}" for p in both if p.wait() not in (0, 5)]
    if all(p.code for p in both):
        problems.append("neither finished")
    return problems + _finished(job) + _rerun(job, folder)

