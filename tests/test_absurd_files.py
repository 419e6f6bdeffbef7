"""Whatever takes a file or a folder is given ones that are no such thing: one sentence that names it, nothing written.

The list of what takes one is compared with the command line's own, so that a new option cannot be forgotten.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import run_avseg
from media_files import Clip
from miniature import make
from test_absurd_values import commands

from avseg_cli.cli import application
from avseg_cli.cli.config_file import long_name

TRAIN = "--subset ms3 --backbone tiny --device cpu --out made"
READ = {  # FILE stands for what is no such thing
    "segment inputs": "segment FILE",
    "segment --audio": "segment clip.mp4 --audio FILE",
    "segment --checkpoint": "segment clip.mp4 --checkpoint FILE",
    "info inputs": "info FILE",
    "attention video": "attention FILE",
    "attention --audio": "attention clip.mp4 --audio FILE",
    "attention --checkpoint": "attention clip.mp4 --checkpoint FILE",
    "train --data": f"train --data FILE {TRAIN}",
    "train --resume": "train --resume FILE",
    "train --photos": "train --photos FILE --sounds data --backbone small --out made",
    "train --sounds": "train --photos data --sounds FILE --backbone small --out made",
    "train --public": "train --photos data --sounds data --public FILE --backbone small --out made",
    "train --init": f"train --data data --init FILE {TRAIN}",
    "train --init-adapters": f"train --data data --init-adapters FILE {TRAIN}",
    "train --pretrained": f"train --data data --pretrained FILE {TRAIN}",
    "evaluate --data": "evaluate --data FILE --checkpoint default",
    "evaluate --checkpoint": "evaluate --data data --checkpoint FILE",
    "evaluate --predictions": "evaluate --data data --predictions FILE",
    "ablate --data": f"ablate --data FILE {TRAIN}",
    "ablate --init": f"ablate --data data --init FILE {TRAIN}",
    "ablate --pretrained": f"ablate --data data --pretrained FILE {TRAIN}",
    "bench --checkpoint": "bench --checkpoint FILE --parts decoder",
    "prepare --data": "prepare --data FILE",
    "synth --media": "synth --media FILE --out made",
    "synth --objects": "synth --objects FILE --sounds data --backgrounds data --out made",
    "synth --sounds": "synth --objects data --sounds FILE --backgrounds data --out made",
    "synth --backgrounds": "synth --objects data --sounds data --backgrounds FILE --out made",
    "synth --distractors": "synth --objects data --sounds data --backgrounds data --distractors FILE --out made",
    "synth --ambience": "synth --objects data --sounds data --backgrounds data --ambience FILE --out made",
    "synth photos --coco": "synth photos --coco FILE --out made",
    "synth photos --voc": "synth photos --voc FILE --out made",
    "synth photos --clips": "synth photos --clips FILE --out made",
    "synth fetch --debs": "synth fetch --debs FILE --out made",
    "synth sounds --debs": "synth sounds --debs FILE --out made",
    "synth sounds --clips": "synth sounds --clips FILE --out made",
    "weights download --from": "weights download vggish --from FILE",
    "weights info file": "weights info FILE",
    "weights import file": "weights import FILE",
    "settings": "--config FILE info clip.mp4",
}
WRITTEN = {"--output", "--out", "--masks", "--csv", "--report", "--plot", "--html", "--cache"}
ELSEWHERE = {"doctor --checkpoint", "info --audio"}  # their reports say it beside what else they find


def paths() -> Iterator[str]:
    """Every argument and option of the command line that takes a file or folder."""
    for words, command in commands(application()):
        for param in command.params:
            wanted = f"{param.type_descriptor.annotation} {param.metavar or ''}"
            name = param.name if param.param_type_name == "argument" else f"--{long_name(param)}"
            if (
                any(word in wanted for word in ("Path", "PATH", "FILE", "FOLDER", "INPUTS", "VIDEO"))
                and name not in WRITTEN
            ):
                yield f"{' '.join(words)} {name}"


def test_none_is_forgotten() -> None:
    assert set(paths()) - set(READ) - ELSEWHERE == set()


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a clip and a data set, which are as they should be."""
    folder = tmp_path_factory.mktemp("good")
    Clip(seconds=0.5).write(folder / "clip.mp4")
    make(folder / "data", "ms3", {"train": 1, "val": 1, "test": 1})
    return folder


@pytest.mark.parametrize("kind", ["noise", "folder"])
@pytest.mark.parametrize("what", READ)
def test_no_such_thing_is_one_sentence(what: str, kind: str, good: Path, tmp_path: Path, capfd, monkeypatch) -> None:
    bad = tmp_path / "bad.thing"
    if kind == "folder":
        bad.mkdir()
    else:
        bad.write_bytes(random.Random(0).randbytes(5000))
    monkeypatch.chdir(good)
    monkeypatch.setenv("AVSEG_CACHE", str(tmp_path / "cache"))
    there = {path: path.stat().st_mtime_ns for path in good.rglob("*")}
    ran = run_avseg(capfd, monkeypatch, *READ[what].replace("FILE", str(bad)).split())
    said = [line for line in ran.err.strip().splitlines() if not line.startswith("unpacking ")]
    assert ran.code in (2, 3, 5, 6, 7), ran
    assert len(said) == 1 and said[0].startswith("avseg: "), ran.err
    assert "in a way it should not" not in ran.err
    assert {path: path.stat().st_mtime_ns for path in good.rglob("*")} == there
