"""Several videos at once on one machine: processes with a model each, which share out the cores.

Each process decodes, runs the model and encodes in step, as one alone does; beside each other they fill the
moments in which one of them waits. A process that dies (killed by the system, crashed in a codec) costs the video
it was at, and is replaced.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from avseg_cli.base.errors import AvsegError, DeviceError, InputError, named
from avseg_cli.base.threads import cores, take_share
from avseg_cli.segment.addresses import is_url

if TYPE_CHECKING:
    from avseg_cli.media.video import Video
    from avseg_cli.segment.batch import Batch, Listener, Work
    from avseg_cli.segment.outcome import Outcome
    from avseg_cli.segment.render import Progress

PROGRESS_EVERY = 0.2  # seconds between two messages of how far a video is
PATIENCE = 30.0  # seconds a process may take to clean up
WINDOWS_CRASHES = 0xC0000000  # exit codes from here on; elsewhere a crash is a signal, below 0
HELD = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Feed(Protocol):
    """Where the processes' work comes from, now or later."""

    pause: float | None  # seconds after which there may be more; None: there is some until it is over

    def take(self) -> Work | None:
        """The next video, or None where there is none now."""
        ...

    @property
    def over(self) -> bool:
        """Whether there will never be more."""
        ...


class Listed:
    """The feed of videos that are known from the beginning."""

    pause = None

    def __init__(self, work: Iterable[Work]) -> None:
        self._waiting = deque(work)

    def take(self) -> Work | None:
        return self._waiting.popleft() if self._waiting else None

    @property
    def over(self) -> bool:
        return not self._waiting


def run_jobs(batch: Batch, work: list[Work], listener: Listener, jobs: int) -> Iterator[Outcome]:
    """``batch.run`` on up to ``jobs`` videos at once; outcomes come as they end.

    No process is started for what is there already, nor for a single video.
    """
    if jobs == 1:
        yield from batch.run(work, listener)
        return
    here, rest = [], []  # what this process does; only it has stdin
    for source, outputs in work:
        (here if source.is_stdin or batch.is_done(outputs) else rest).append((source, outputs))
    if len(rest) == 1:
        here, rest = work, []
    yield from batch.run(here, listener)
    yield from run_feed(batch, Listed(rest), listener, min(jobs, len(rest)))


def run_feed(batch: Batch, feed: Feed, listener: Listener, jobs: int) -> Iterator[Outcome]:
    """``batch.run`` on what a feed gives until it is over, by ``jobs`` processes, or by this one if it is one."""
    if jobs == 1:
        yield from batch.run(_awaited(feed), listener)
    else:
        yield from _Pool(batch, feed, listener, jobs).run()


def _awaited(feed: Feed) -> Iterator[Work]:
    while True:
        if item := feed.take():
            yield item
        elif feed.over:
            return
        else:
            time.sleep(feed.pause or 0)


class _Pool:
    """The processes, and the feed of what they are given."""

    def __init__(self, batch: Batch, feed: Feed, listener: Listener, jobs: int) -> None:
        self.batch, self.feed, self.listener, self.jobs = batch, feed, listener, jobs
        self.workers: list[_Worker] = []

    def run(self) -> Iterator[Outcome]:
        try:
            while self._staffed():
                if not self.workers:
                    time.sleep(self.feed.pause or 0)
                for ready in wait([worker.pipe for worker in self.workers], self.feed.pause) if self.workers else ():
                    worker = next(worker for worker in self.workers if worker.pipe is ready)
                    if outcome := self._listen(worker):
                        self.listener.ended(outcome)
                        yield outcome
        finally:
            for worker in self.workers:
                worker.stop()
            for worker in self.workers:
                worker.end()

    def _staffed(self) -> bool:
        """Give out what there is, to new processes while there are too few; says whether there is more to wait for."""
        idle = [worker for worker in self.workers if not worker.item]
        while (idle or len(self.workers) < self.jobs) and (item := self.feed.take()):
            if not idle:
                taken = {worker.number for worker in self.workers}
                number = next(number for number in range(self.jobs) if number not in taken)
                idle.append(_Worker(self.batch, max(1, cores() // self.jobs), number))
                self.workers += idle
            idle.pop().give(item)
        for worker in idle if self.feed.over else ():
            self.workers.remove(worker)
            worker.end()
        return bool(self.workers) or not self.feed.over

    def _listen(self, worker: _Worker) -> Outcome | None:
        """Take one message; gives the outcome of a video that ended."""
        try:
            kind, value = worker.pipe.recv()
        except (EOFError, OSError):
            self.workers.remove(worker)
            return worker.died()
        if kind == "started":
            assert worker.item
            worker.progress = self.listener.started(worker.item[0].path, value)
        elif kind == "progress":
            assert worker.progress
            worker.progress(value)
        else:
            worker.item = None
            return value
        return None


class _Worker:
    """A process as seen from the one that started it."""

    def __init__(self, batch: Batch, threads: int, number: int) -> None:
        context = multiprocessing.get_context("spawn")  # forks of a process with threads can hang
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, threads, number), daemon=True)
        with _signals_held():
            self.process.start()
        theirs.close()
        self.number = number  # from 0; the next one takes it over
        self.item: Work | None = None
        self.began = 0.0
        self.progress: Progress | None = None
        self._send(batch)

    def give(self, item: Work) -> None:
        """The next video."""
        self.item, self.began = item, time.perf_counter()
        self._send(item)

    def _send(self, value: object) -> None:
        with suppress(OSError):  # it died: what is received from it says so
            self.pipe.send(value)

    def stop(self) -> None:
        """Have it clean up and end, whatever it is doing."""
        self.process.terminate()

    def end(self) -> None:
        """Wait for its end, after which nothing unfinished is left of the video it was at; nothing more is sent."""
        from avseg_cli.base.whole_files import discard_of

        self.pipe.close()
        self.process.join(PATIENCE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        outputs = self.item[1] if self.item else {}
        for folder in {path.parent for path in outputs.values() if not is_url(path)}:  # addresses: a temporary folder
            discard_of(folder, self.process.pid)

    def died(self) -> Outcome | None:
        """What became of the video it was at, if any."""
        from avseg_cli.segment.outcome import Outcome

        self.end()
        if not self.item:
            return None
        source, outputs = self.item
        error = _why_it_died(source.path, self.process.exitcode)
        return Outcome(source.path, "failed", outputs, error=error, seconds=time.perf_counter() - self.began)


def _why_it_died(path: Path, code: int | None) -> AvsegError:
    if code == -9:  # SIGKILL, a name that Windows lacks
        return DeviceError(
            f"{path}: the system killed the process at work on it, as it does when memory runs out; "
            f"use fewer {named('jobs')}"
        )
    if code is not None and 0 <= code < WINDOWS_CRASHES:
        return DeviceError(f"{path}: the process at work on it ended before it was done (exit code {code}); try again")
    return InputError(
        f"{path}: the process at work on it crashed (exit code {code}); the file is damaged in a way "
        "its decoder does not survive"
    )


@contextmanager
def _signals_held() -> Iterator[None]:
    """A process started here begins with Ctrl-C and SIGTERM held back until it can answer them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(pipe: Connection, threads: int, number: int) -> None:
    """A worker's life: the batch's options come first, then one video after the other."""
    os.environ["OMP_NUM_THREADS"] = str(threads)  # torch looks at it when it is loaded
    _listen_to_signals()
    try:
        threading.Thread(target=_end_with_parent, daemon=True).start()
        batch: Batch = pipe.recv()
        take_share(threads, number)
        for _ in batch.run(_received(pipe), _Messenger(pipe)):
            pass
    except (KeyboardInterrupt, BrokenPipeError, ConnectionResetError):
        pass  # the run was stopped, or the process that started it is gone
    except RuntimeError as error:  # as Python 3.11 has it of an interruption while a class is made
        if not isinstance(error.__cause__, KeyboardInterrupt):
            raise


def _listen_to_signals() -> None:
    """Ctrl-C, and a terminal that closes, reach every process, but only the first one decides; it sends SIGTERM."""

    def interrupt(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # cleaning up is not interrupted again
        raise KeyboardInterrupt

    for number in HELD:
        signal.signal(number, interrupt if number == signal.SIGTERM else signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)


def _end_with_parent() -> None:
    """A parent that was killed cannot say stop."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "this is a process that another started"
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)


def _received(pipe: Connection) -> Iterable[Work]:
    while True:
        try:
            yield pipe.recv()
        except EOFError:
            return


class _Messenger:
    """The listener in a worker: passes on what happens."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def started(self, source: Path, video: Video) -> Progress:
        self._pipe.send(("started", video))
        last = 0.0

        def progress(seconds: float) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last >= PROGRESS_EVERY:
                last = now
                self._pipe.send(("progress", seconds))

        return progress

    def ended(self, outcome: Outcome) -> None:
        self._pipe.send(("ended", outcome))
