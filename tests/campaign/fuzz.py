"""Small files that somebody else wrote, changed at random and given to the very functions that read them.

In one process, hundreds a second. Each must be read, or refused by an ``AvsegError`` whose one sentence names the
file, in bounded time and memory.
"""

from __future__ import annotations

import math
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded

from avseg_cli.base.errors import AvsegError

from .recipes import Editor, Recipe, cooked, recipes
from .worker import memory

SECONDS = 20  # for one small file, on a busy machine; each takes milliseconds
STILL = 6  # times as much by the clock, which a busy machine lets run
MEGABYTES = 400  # by which all files of one reader may raise the process's peak


class Broken(AssertionError):
    """A promise that was not kept."""


@dataclass(frozen=True)
class Reader:
    """``seed`` makes a file's content, and in a folder what ``read`` needs beside it; ``read`` gets that folder."""

    file: str
    seed: Callable[[Path], bytes]
    read: Callable[[Path], object]
    edit: Editor | None = None
    refused: bool = False  # even as it is
    command_line: bool = False  # the sentence may name the option instead of the file that sets it


def fuzz(reader: Reader, folder: Path, examples: int, seed: int, shrink: bool = False) -> Counter[str]:
    """How many of ``examples`` changed files were read and how many refused. Raises ``Broken`` with the recipe."""
    counts: Counter[str] = Counter()
    phases = (Phase.generate, Phase.shrink) if shrink else (Phase.generate,)
    content, peak = prepare(reader, folder)

    @seeded(seed)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=phases,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    @given(recipes(reader.edit))
    def one(recipe: Recipe) -> None:
        counts[outcome(reader, folder, cooked(content, reader.edit, recipe), peak)] += 1

    one()
    return counts


def prepare(reader: Reader, folder: Path) -> tuple[bytes, float]:
    """Make what the reader needs in ``folder``, and read it once: what is to be changed, and MB that may be taken.

    The folder of downloaded weights, AVSEG_CACHE, should be ``folder``/cache.
    Raises ``Broken`` where even that is refused, or is not as it should be.
    """
    content = reader.seed(folder)
    (folder / reader.file).parent.mkdir(parents=True, exist_ok=True)
    if outcome(reader, folder, content, math.inf) != ("refused" if reader.refused else "read"):
        raise Broken("not as expected before any change")
    return content, memory("VmHWM") + MEGABYTES


def outcome(reader: Reader, folder: Path, content: bytes, peak: float) -> str:
    """Read the file with that content: ``read`` or ``refused``. peak: MB the process may have taken.

    Raises ``Broken``.
    """
    path = folder / reader.file
    path.write_bytes(content)
    became = "read"
    try:
        with _limited():
            reader.read(folder)
    except AvsegError as error:
        became = "refused"
        sentence = str(error)
        if "\n" in sentence or not (path.name in sentence or reader.command_line and "--" in sentence):
            raise Broken(f"{sentence!r} is not a sentence that names {path.name}") from error
    except (Exception, _Late) as error:
        raise Broken(f"{type(error).__name__}: {error}") from error
    if memory("VmHWM") > peak:
        raise Broken(f"took {memory('VmHWM') - peak + MEGABYTES:.0f} MB")
    return became


class _Late(BaseException):
    """Not an Exception, which what reads might take for one of its own."""


@contextmanager
def _limited() -> Iterator[None]:
    def late(number: int, frame: FrameType | None) -> None:
        raise _Late(f"still reading after {SECONDS} s of the processor, or {STILL * SECONDS} s")

    before = {number: signal.signal(number, late) for number in (signal.SIGPROF, signal.SIGALRM)}
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.alarm(STILL * SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
        for number, handler in before.items():
            signal.signal(number, handler)
