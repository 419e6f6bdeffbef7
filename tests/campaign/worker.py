"""The real command line, run case after case in one process that has loaded the model once."""

from __future__ import annotations

import gc
import multiprocessing
import os
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, chdir, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from .cases import Case
from .rights import CannotGiveUp, closed_doors


@dataclass
class Ran:
    """How a case ended. peak: MB the process grew by at most; fds: how many more files it has open.

    skipped: why it cannot be tried on this machine.
    """

    code: int
    out: str
    err: str
    seconds: float
    peak: float = 0.0
    fds: int = 0
    skipped: str = ""


def work(pipe: Connection) -> None:
    """Run the cases that come through ``pipe`` until it closes."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    keep_the_model()
    pipe.send("ready")
    while True:
        try:
            case = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(run(case))
        except CannotGiveUp as why:
            pipe.send(Ran(0, "", "", 0.0, skipped=str(why)))


def messages(died: Any, target: Callable[..., None], *arguments: Any) -> Iterator[Any]:
    """What ``target(pipe, *arguments)`` sends from a process of its own until None; ``died`` if it ends before that."""
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe()
    process = context.Process(target=target, args=(theirs, *arguments), daemon=True)
    process.start()
    theirs.close()
    try:
        while (news := pipe.recv()) is not None:
            yield news
    except EOFError:
        yield died
    process.join()


def _end_with_parent() -> None:
    wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def run(case: Case) -> Ran:
    """One case, in this process."""
    before, began, files = memory("VmRSS"), time.perf_counter(), _open_files()
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        with _standing_in(out.fileno(), err.fileno(), case), _place(case), _doors(case), _weights_of(case.weights):
            code = command_line(case.arguments)
        said = [_text(file) for file in (out, err)]
    gc.collect()
    peak = memory("VmHWM") - before
    return Ran(code, *said, time.perf_counter() - began, peak, _open_files() - files)


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def memory(name: str, process: int | str = "self") -> float:
    """MB of VmRSS (now) or VmHWM (at most) of a process."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    return 0.0


def processor_seconds(process: int) -> float:
    """What a process has had of the processor: on a busy machine less than the clock says; 0 once it has ended."""
    with suppress(OSError):
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def command_line(arguments: list[str]) -> int:
    """``avseg ARGUMENTS`` in this process: its exit code, -1 after a traceback."""
    from avseg_cli.cli import main

    sys.argv = ["avseg", *arguments]
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return -1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def keep_the_model() -> None:
    """The default checkpoint is loaded once; other ones are cases of their own."""
    from avseg_cli.checkpoints import checkpoint

    load, kept = checkpoint.load_model, {}

    def load_model(name: str = "default", device: str = "auto", precision: str = "auto"):
        if name != "default":
            return load(name, device, precision)
        return kept.setdefault("model", kept.get("model") or load())

    checkpoint.load_model = load_model
    load_model()


@contextmanager
def _standing_in(out: int, err: int, case: Case) -> Iterator[None]:
    source = os.open(case.stdin or os.devnull, os.O_RDONLY)
    saved = [os.dup(number) for number in range(3)]
    for number, file in enumerate((source, out, err)):
        os.dup2(file, number)
    os.close(source)
    try:
        yield
    finally:
        for number, file in enumerate(saved):
            os.dup2(file, number)
            os.close(file)


def _place(case: Case) -> AbstractContextManager[None]:
    return chdir(case.inside) if case.inside else nullcontext()


def _doors(case: Case) -> AbstractContextManager[None]:
    return closed_doors() if case.closed else nullcontext()


@contextmanager
def _weights_of(folder: Path | None) -> Iterator[None]:
    from avseg_cli.checkpoints import manifest as weights

    before = weights.weights_dir
    if folder is not None:
        weights.weights_dir = lambda: folder
    try:
        yield
    finally:
        weights.weights_dir = before


def _text(file: object) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "replace")
