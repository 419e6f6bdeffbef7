"""One thing tried: a command line in a folder of its own, and what may become of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ANY = "any"  # a sentence or an output, but nothing else
DONE = "done"  # an output
REFUSED = "refused"  # a sentence

MEMORY = 1500  # MB that one input may add to the process
PATIENCE = 240.0  # seconds after which a case counts as hung; the slowest takes a fraction of it alone


@dataclass
class Case:
    """``arguments`` follow ``avseg``; OUT in them is the folder for outputs, which must be whole or absent.

    expect: done, refused or any. stdin: a file. feed: a FIFO and the bytes that another process writes into it.
    inside: run in that folder. said: a part of the sentence that must be said. closed: permissions hold even for root,
    whom they do not keep out otherwise. weights: a folder that stands for the embedded one.
    """

    name: str
    arguments: list[str]
    expect: str = ANY
    code: int | None = None
    stdin: Path | None = None
    feed: tuple[Path, bytes] | None = None
    inside: Path | None = None
    said: str = ""
    closed: bool = False
    memory: int = MEMORY
    weights: Path | None = None


Maker = Callable[[Path], Case]  # makes the files of a case in a folder


def segment(*inputs: object, formats: str = "overlay,json") -> list[str]:
    """The arguments of the main job."""
    return ["segment", *map(str, inputs), "-o", "OUT", "--format", formats, "--quiet"]
