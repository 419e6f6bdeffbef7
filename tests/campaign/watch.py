"""Keeps a worker busy, and ends it when a case takes too long or too much memory."""

from __future__ import annotations

import multiprocessing
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path

from .cases import PATIENCE, Case, Maker
from .judge import Verdict, judge, lost
from .worker import Ran, memory, processor_seconds, work

RENEWED = 400  # cases after which a worker is replaced, so that its growth stays comparable
STILL = 6  # times a case's patience by the clock: it waits for something that does not come
HARD_LIMIT = 3000  # MB above its case's own bound at which a worker is ended at once


class Watch:
    """Runs cases in a worker process, one after the other, each in a new folder below ``base``."""

    def __init__(self, base: Path, patience: float = PATIENCE) -> None:
        self.base, self.patience = base, patience
        base.chmod(0o755)
        self._process = None
        self._count = 0

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def try_case(self, name: str, make: Maker) -> Verdict:
        """Make the files of a case, run it, and judge what became of it."""
        folder = self.base / f"case{self._count:06d}"
        (folder / "out").mkdir(parents=True)
        (folder / "out").chmod(0o777)
        try:
            try:
                case = make(folder)
            except Exception as error:  # the campaign's own fault, and not to be passed over
                return lost(Case(name, []), f"could not be made ({type(error).__name__}: {error})")
            case = replace(case, arguments=[part.replace("OUT", str(folder / "out")) for part in case.arguments])
            ran = self._run(case)
            return ran if isinstance(ran, Verdict) else judge(case, ran, folder)
        finally:
            self._count += 1
            for closed in (folder / "closed", folder / "secret"):
                if closed.is_dir():
                    closed.chmod(0o755)
            shutil.rmtree(folder)

    def _run(self, case: Case) -> Ran | Verdict:
        if self._process is None or self._count % RENEWED == RENEWED - 1:
            self._end()
            self._start()
        if case.feed:
            threading.Thread(target=_feed, args=case.feed, daemon=True).start()
        self._pipe.send(case)
        began, used = time.monotonic(), processor_seconds(self._process.pid)
        most = memory("VmRSS", self._process.pid) + case.memory + HARD_LIMIT
        while not self._pipe.poll(0.1):
            if processor_seconds(self._process.pid) - used > self.patience:
                return self._give_up(case, f"still at work after {self.patience:.0f} s of the processor")
            if time.monotonic() - began > STILL * self.patience:
                return self._give_up(case, f"not at its end after {STILL * self.patience:.0f} s")
            if self._process.is_alive() and memory("VmRSS", self._process.pid) > most:
                return self._give_up(case, f"took more than {most:.0f} MB")
        try:
            return self._pipe.recv()
        except EOFError:
            self._process.join()
            return self._give_up(case, f"the process died with exit code {self._process.exitcode}")

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=work, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        self._pipe.recv()

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._pipe.close()
            self._process = None

    def _give_up(self, case: Case, why: str) -> Verdict:
        self._end()
        return lost(case, why)


def _feed(pipe: Path, content: bytes) -> None:
    with open(pipe, "wb") as file:
        file.write(content)
        file.flush()
