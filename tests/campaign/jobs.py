"""The commands that write, as jobs to be disturbed: on small files, each in a fork of a process that has the model."""

from __future__ import annotations

import json
import os
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
from media_files import Clip
from miniature import make
from PIL import Image
from synth_media import make_media
from weights_helpers import manifest_entry

from .worker import command_line

PATIENCE = 300.0  # seconds a job may take on a busy machine
WEIGHTS = bytes(range(256)) * 20_000


@dataclass
class Job:
    """A command that writes into ``room``, in the end ``finals``.

    again: the rerun to its end. whole: checks an output. prepare: done in the process that runs it.
    """

    room: Path
    arguments: list[str]
    again: Callable[[], list[str]]
    finals: list[Path]
    whole: Callable[[Path], bool]
    prepare: Callable[[], None] = lambda: None


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


def segment(folder: Path, url: str = "") -> Job:  # every job is made alike; only the download needs an address
    folder.mkdir(parents=True, exist_ok=True)
    clip = Clip(seconds=4).write(folder / "clip.mp4")
    out = folder / "out"
    finals = [out / f"clip.avseg.{kind}" for kind in ("mp4", "masks", "json")]
    arguments = ["segment", str(clip), "-o", str(out), "--format", "overlay,masks,json", "--quiet"]
    return Job(out, arguments, lambda: [*arguments, "--skip-existing"], finals, _whole_output)


def _whole_output(path: Path) -> bool:
    if path.suffix == ".json":
        return len(json.loads(path.read_text())["masks"]) == 4
    if path.is_dir():
        return [Image.open(mask).size for mask in path.glob("*.png")] == [(160, 120)] * 4
    with av.open(str(path)) as container:
        return len(list(container.decode(video=0))) == 40


def train(folder: Path, url: str) -> Job:
    data = make(folder / "data", "ms3", {"train": 2, "val": 1, "test": 1})
    run = folder / "out/run"
    arguments = [
        "train",
        "--data",
        str(data),
        "--out",
        str(run),
        "--backbone",
        "tiny",
        "--image-size",
        "64",
        "--depth",
        "1",
        "--device",
        "cpu",
        "--stage",
        "1a",
        "--epochs",
        "3",
        "--batch-size",
        "1",
        "--save-minutes",
        "0",
    ]

    def again() -> list[str]:
        return ["train", "--resume", str(run)] if (run / "1a/config.json").exists() else arguments

    return Job(run.parent, arguments, again, [run / "1a/done.json"], lambda path: _whole_checkpoint(path.parent))


def _whole_checkpoint(stage: Path) -> bool:
    from avseg_cli.checkpoints.checkpoint import load_checkpoint

    return load_checkpoint(stage / "last.safetensors") is not None


def synth(folder: Path, url: str) -> Job:
    make_media(folder / "media")
    data = folder / "out/data"
    arguments = [
        "synth",
        "--media",
        str(folder / "media"),
        "--out",
        str(data),
        "--clips",
        "4",
        "--workers",
        "1",
        "--splits",
        "2/1/1",
    ]

    def again() -> list[str]:  # what exists is never replaced, so a finished data set is looked at instead
        return ["prepare", "--check", "--data", str(data), "--subset", "ms3"] if data.exists() else arguments

    return Job(data.parent, arguments, again, [data], _whole_data)


def _whole_data(path: Path) -> bool:
    return len((path / "manifest.jsonl").read_text().splitlines()) == 4


def download(folder: Path, url: str) -> Job:
    (folder / "weights").mkdir(parents=True)
    (folder / "weights/manifest.json").write_text(json.dumps({"files": [manifest_entry("pinned", WEIGHTS)]}))

    def prepare() -> None:
        from avseg_cli.checkpoints import manifest as weights

        weights.weights_dir = lambda: folder / "weights"
        os.environ["AVSEG_CACHE"] = str(folder / "out")

    arguments = ["weights", "download", "pinned", "--mirror", url, "--insecure"]
    return Job(
        folder / "out",
        arguments,
        lambda: arguments,
        [folder / "out/pinned.pth"],
        lambda path: path.read_bytes() == WEIGHTS,
        prepare,
    )


JOBS: dict[str, Callable[[Path, str], Job]] = {
    "segment": segment,
    "synth": synth,
    "weights download": download,
    "train": train,
}
