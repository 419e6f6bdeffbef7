"""Faults: kills, full and closed disks, a clock that goes back, two at one job; afterwards a rerun finishes the job.

All run in forks of one process that has loaded the model, so that a kill costs milliseconds to prepare.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from file_server import FileServer, serving

from avseg_cli.base.whole_files import HALF_WRITTEN

from .jobs import JOBS, PATIENCE, WEIGHTS, Job, Process, segment
from .rights import CannotGiveUp, close_doors, closed_doors
from .worker import keep_the_model, messages

LATE = "no time was left"


def inject(
    folder: Path, seed: int, rounds: int, only: str, until: float, tell: Callable[[str, list[str], str], None]
) -> None:
    """The faults whose name matches ``only``, in a process of their own; none begins after ``until``.

    ``tell`` gets the name of each, what it broke, and why it could not be injected here ("" where it was).
    """
    died = "the process that injects faults", ["died"], ""
    with serving(FileServer(WEIGHTS, delay=0.01)) as server:
        for news in messages(died, _run, folder, seed, rounds, only, until, server.url):
            tell(*news)


def _run(pipe: Connection, folder: Path, seed: int, rounds: int, only: str, until: float, url: str) -> None:
    import torch

    torch.set_num_threads(1)  # forks have no other threads
    keep_the_model()
    folder.mkdir(parents=True)
    for name, fault in _faults(folder, seed, rounds, url):
        if re.search(only, name):
            try:
                pipe.send((name, [], LATE) if time.monotonic() > until else (name, fault(), ""))
            except CannotGiveUp as why:
                pipe.send((name, [], str(why)))
            except Exception as error:  # the campaign's own fault, and not to be passed over
                pipe.send((name, [f"could not be injected ({type(error).__name__}: {error})"], ""))
    pipe.send(None)


def _faults(folder: Path, seed: int, rounds: int, url: str) -> Iterator[tuple[str, Callable[[], list[str]]]]:
    """Every fault by name; the costly ones last."""
    for fault in (_folder_taken_away, _permission_lost):
        name = _name(fault)
        yield f"segment: {name}", partial(fault, partial(segment, folder / name, url), folder / name)
    for job, make_job in JOBS.items():
        for fault in (_disk_full, _clock_back, _two_at_once):
            own = folder / f"{_name(fault)} {job}"
            yield f"{job}: {_name(fault)}", partial(fault, partial(make_job, own, url), own)
    for step in range(rounds):
        own = folder / f"step{step}"
        yield (
            f"segment: kill -9 at step {step} of putting outputs in place",
            partial(_killed, partial(segment, own, url), own, None, partial(_die_at, step)),
        )
    random = np.random.default_rng(seed)
    for job, make_job in JOBS.items():
        for number in range(rounds if job == "segment" else 1 + rounds // 3):
            part, own = float(random.uniform(0, 1)), folder / f"killed {job} {number}"
            yield (
                f"{job}: kill -9 after {part:.0%} of its usual time",
                partial(_killed, partial(make_job, own, url), own, part),
            )


def _name(fault: Callable) -> str:
    return fault.__name__.strip("_").replace("_", " ")


def _duration(job: Job, folder: Path) -> float:
    """Seconds that an undisturbed run takes; its outputs are removed."""
    began = time.monotonic()
    Process(job, job.arguments, folder / "said").wait()
    taken = time.monotonic() - began
    shutil.rmtree(job.room)
    return taken


def _killed(
    make_job: Callable[[], Job], folder: Path, part: float | None, hook: Callable[[], None] = lambda: None
) -> list[str]:
    """Kill it, look at what is visible, run it again to its end, and once more, which must change nothing.

    part: of its usual time after which it is killed; None where ``hook`` makes it kill itself.
    """
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
    left = [path.name for folder in folders for path in folder.iterdir() if path.name.endswith(HALF_WRITTEN)]
    return [f"left {left}"] if left else []


def _stamp(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


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


def _disk_full(make_job: Callable[[], Job], folder: Path) -> list[str]:
    """A tmpfs that is too small where this user may mount one, else a limit on the size of files."""
    job = make_job()
    job.room.mkdir()
    mounted = (
        os.geteuid() == 0
        and subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(job.room)], capture_output=True
        ).returncode
        == 0
    )
    try:
        process = Process(job, job.arguments, folder / "said", lambda: None if mounted else _limit_files())
        problems = [] if process.wait() == 5 else [f"exit code {process.code}"]
        problems += _one_sentence(process)
        problems += [f"left {path.name}" for path in job.finals if path.exists()]
    finally:
        if mounted:
            subprocess.run(["umount", str(job.room)], check=True)
    return problems + _rerun(job, folder)


def _one_sentence(process: Process) -> list[str]:
    said = process.said.read_text().splitlines()
    sentences = [line for line in said if line.startswith("avseg: ")]
    return [] if len(sentences) == 1 and said[-1:] == sentences else [f"said {said[-3:]}"]


def _limit_files() -> None:
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))


def _after_start(job: Job, folder: Path, act: Callable[[], None], hook: Callable[[], None] = lambda: None) -> Process:
    """Run a job, and ``act`` as soon as it writes."""
    process = Process(job, job.arguments, folder / "said", hook)
    while process.wait(0) is None and not list(job.room.glob(".*.part")):
        time.sleep(0.002)
    act()
    process.wait()
    return process


def _folder_taken_away(make_job: Callable[[], Job], folder: Path) -> list[str]:
    job = make_job()
    process = _after_start(job, folder, lambda: shutil.rmtree(job.room))
    problems = [] if process.code == 5 else [f"exit code {process.code}: {process.said.read_text()[:200]}"]
    return problems + _rerun(job, folder)


def _permission_lost(make_job: Callable[[], Job], folder: Path) -> list[str]:
    with closed_doors():
        job = make_job()
    job.room.mkdir()
    process = _after_start(job, folder, lambda: job.room.chmod(0o555), close_doors)
    job.room.chmod(0o755)
    problems = [] if process.code == 5 else [f"exit code {process.code}: {process.said.read_text()[:200]}"]
    return problems + _rerun(job, folder)


def _clock_back(make_job: Callable[[], Job], folder: Path) -> list[str]:
    """The wall clock runs backwards, a day a second, and what is read is of the future."""
    job = make_job()
    for path in folder.rglob("*"):
        os.utime(path, (time.time() + 1e8,) * 2)
    process = Process(job, job.arguments, folder / "said", _reverse_clock)
    process.wait()
    return _finished(job, process) + _rerun(job, folder)


def _reverse_clock() -> None:
    real, start = time.time, time.time()
    time.time = lambda: start - 86_400 * (real() - start)
    time.time_ns = lambda: int(time.time() * 1e9)


def _two_at_once(make_job: Callable[[], Job], folder: Path) -> list[str]:
    """Both finish, or one says that the output exists by now, or that another is at it."""
    job = make_job()
    both = [Process(job, job.arguments, folder / f"said{number}") for number in range(2)]
    problems = [f"exit code {p.code}: {p.said.read_text()[-300:]}" for p in both if p.wait() not in (0, 5)]
    problems += [problem for p in both if p.code for problem in _one_sentence(p)]
    if all(p.code for p in both):
        problems.append("neither finished")
    return problems + _finished(job) + _rerun(job, folder)
