"""What `avseg segment` can be told of folders and of many videos: which, by whom, and what becomes of what is there."""

from __future__ import annotations

from dataclasses import dataclass

from avseg_cli.base.errors import InputError, named
from avseg_cli.base.option_fields import MOST_WORKERS, check, option
from avseg_cli.segment.segment_options import HOW, OUT, WHAT


@dataclass(frozen=True)
class ManyOptions:
    """How the videos of a folder are gone through. Raises ``InputError`` naming the field that is out of its bounds."""

    no_sound: str | None = option(
        None,
        "Videos without a sound track: skip leaves them out and counts them, fail makes each an error. "
        "Default: fail for one video that is named, else skip.",
        offers=("skip", "fail"), only=True, panel=WHAT,
    )  # fmt: skip
    watch: bool = option(
        False,
        "Stay, and segment what comes into the folders, when it is whole; Ctrl-C ends it.",
        flags=("--watch",), panel=WHAT,
    )  # fmt: skip
    watch_every: float = option(
        5.0,
        "Seconds between two looks; a file is whole when size and time have not changed from one to the next.",
        least=0.1, most=86_400, unit="seconds", panel=WHAT,
    )  # fmt: skip

    recursive: bool = option(False, "Look into subfolders too.", flags=("--recursive", "-r"), panel=WHAT)
    jobs: int = option(
        1, "Videos segmented at once, each by a process with a model and its share of the cores.",
        least=1, most=MOST_WORKERS, flags=("--jobs", "-j"), metavar="N", panel=HOW,
    )  # fmt: skip
    ray: str | None = option(
        None,
        "Have a Ray cluster do it: auto (the one this machine is in), HOST:PORT, or local. Needs avseg[cluster].",
        metavar="ADDRESS", panel=HOW,
    )  # fmt: skip
    ray_cpus: float = option(1.0, "Cores of each of the cluster's workers.", least=0.01, most=1024, panel=HOW)
    ray_gpus: float | None = option(
        None, "GPUs of each; 0.25: four share one. Default: 1 if there are.", least=0, most=64, panel=HOW
    )
    overwrite: bool = option(False, "Replace outputs that exist.", panel=OUT)
    skip_existing: bool = option(False, "Leave out inputs whose outputs all exist.", panel=OUT)
    dry_run: bool = option(False, "Look at the inputs and say what would be written.", panel=OUT)

    def __post_init__(self) -> None:
        check(self)
        if self.overwrite and self.skip_existing:
            raise _contradiction("overwrite", "skip_existing")
        for name in ("overwrite", "dry_run", "ray"):
            if self.watch and getattr(self, name) not in (False, None):
                raise _contradiction("watch", name)


def _contradiction(one: str, other: str) -> InputError:
    return InputError(f"{named(one)} and {named(other)} contradict each other; give one of them")
