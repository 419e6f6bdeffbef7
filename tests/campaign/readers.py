"""What avseg reads besides videos, for ``fuzz``: each by name, with a small sound file to change.

A configuration, tables and lists of data sets, checkpoints, pickled log-mels, folders of runs, archives.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import struct
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from functools import cache, partial
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from miniature import make

from .containers import small
from .fuzz import Reader, fuzz
from .mutate import changeable_checkpoint, changeable_pickle, run_settings
from .recipes import edit_card, edit_header, edit_json, edit_json_lines, edit_table, edit_tensors, edit_toml
from .worker import messages

S4, MS3 = "Single-source/s4_meta_data.csv", "Multi-sources/ms3_meta_data.csv"


# --- what is changed

SETTINGS = b"""\
[segment]
format = ["overlay", "json"]
fps = 2
checkpoint = "default"
contour = false
color = "ff2d78"
opacity = 0.5
jobs = 2

[weights.download]
offline = true

[train]
epochs = 3
"""
LATER = b"""\
vid,uid,s_min,s_sec,a_obj,split,label
one,one_0_10,0,0,dog,train,v2
two,two_0_10,0,0,cat,val,v2
three,three_0_10,0,0,cat,test,v1s
"""
LICENCES = json.dumps({"objects/cow/cow.png": {"package": "x", "licence": "CC0", "copyright": "A. Nobody"}}).encode()
WALLPAPER = json.dumps({"KPlugin": {"Authors": [{"Name": "A. Nobody"}], "License": "CC0"}}).encode()
RECORD = json.dumps({"sha256": 64 * "0", "size": 1, "mtime_ns": 1}).encode()
METRICS = b"".join(
    json.dumps({"epoch": n, "step": n, "loss": 0.5, "score": 0.1, "time": 1.5 * n}).encode() + b"\n"
    for n in range(1, 4)
)
ROW = json.dumps({"variant": "full", "miou": 50.0, "f": 0.5, "f_dataset": 0.5, "checkpoint": "x.safetensors"}).encode()
CARD = {"length": 2.5, "masks": 3, "changes": 1, "warnings": [], "sounding": 0.5, "poster": "data:image/jpeg;base64,"}
PAGE = f'<html><script type="application/json" id="card">{json.dumps(CARD)}</script></html>'.encode()


def _of_data(layout: str, file: str, folder: Path) -> bytes:
    root = folder / layout
    if not root.exists():
        make(root, layout, {"train": 1, "val": 1, "test": 1})
    return (root / file).read_bytes()


def _saved(folder: Path, **options: bool) -> bytes:
    file = io.BytesIO()
    torch.save(torch.zeros(5, 1, 96, 64), file, **options)
    return file.getvalue()


def _weights(folder: Path) -> bytes:
    from avseg_cli.checkpoints.manifest import weights_dir

    return (weights_dir() / "manifest.json").read_bytes()


def _state(folder: Path) -> bytes:
    """Of a run of one step."""
    from avseg_cli.training.run_folder import StageFolder

    stage = StageFolder(folder / "saved")
    stage.path.mkdir()
    trainer = _trainer(stage)
    trainer.module(torch.zeros(1, 2)).sum().backward()
    trainer.optimizer.step()
    trainer.save()
    return (stage.path / "resume.safetensors").read_bytes()


def _trainer(stage: Any) -> Any:
    """What trains the smallest of modules."""
    from avseg_cli.training.loop import Setup, Trainer
    from avseg_cli.training.recipe import Recipe

    module = torch.nn.Linear(2, 2)
    task = SimpleNamespace(module=module, batch_count=lambda: 1, skips_parameters=False)
    return Trainer(task, dict(module.named_parameters()), Setup(Recipe(1)), stage)


def _archive(folder: Path) -> bytes:
    """One compressed file in one folder, as Qt packs them (version 1)."""
    content = zlib.compress(bytes(500))
    names = b"".join(struct.pack(">HI", len(text), 0) + text.encode("utf-16-be") for text in ("a", "b.png"))
    data = struct.pack(">II", 4 + len(content), 500) + content
    tree = b"".join(
        (struct.pack(">IHII", 0, 2, 1, 1), struct.pack(">IHII", 0, 2, 1, 2), struct.pack(">IHHHI", 8, 1, 0, 0, 0))
    )
    header = struct.pack(">4sIIII", b"qres", 1, 20, 20 + len(tree), 20 + len(tree) + len(data))
    return header + tree + data + names


# --- the readers


def _segment_as_configured(folder: Path) -> None:
    if not (folder / "clip.mp4").exists():
        small("mp4", folder)
    arguments = ["--config", str(folder / "avseg.toml"), "segment", str(folder / "clip.mp4"), "--dry-run"]
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        _program().main(arguments, prog_name="avseg", standalone_mode=False)


@cache
def _program() -> Any:
    from avseg_cli.cli import application

    return application()


def _check_table(subset: str, folder: Path) -> object:
    from avseg_cli.data.check import check_root
    from avseg_cli.data.subsets import SUBSETS

    return check_root(folder / subset, SUBSETS[subset])


def _read_labels(folder: Path) -> object:
    from avseg_cli.data.clips import all_clips
    from avseg_cli.data.composed_lines import read_labels
    from avseg_cli.data.subsets import SUBSETS

    ms3 = SUBSETS["ms3"]
    return read_labels(folder / "ms3", ms3, all_clips(folder / "ms3", ms3), ["low", "high"])


def _read_categories(folder: Path) -> object:
    from avseg_cli.data.clips import read_categories
    from avseg_cli.data.subsets import SUBSETS

    return read_categories(folder / "ms3", SUBSETS["ms3"])


def _read_licences(folder: Path) -> object:
    from avseg_cli.synth.library import read_licences

    return read_licences(folder / "objects").get("objects/cow/cow.png")


def _read_wallpaper(folder: Path) -> object:
    from avseg_cli.synth.licences import wallpaper_licence

    return wallpaper_licence(folder)


def _read_archive(folder: Path) -> object:
    from avseg_cli.synth.rcc import read_rcc

    return read_rcc(folder / "x.rcc")


def _load_checkpoint(folder: Path) -> object:
    from avseg_cli.checkpoints.checkpoint import load_checkpoint

    return load_checkpoint(folder / "model.safetensors")


def _import(folder: Path) -> object:
    from avseg_cli.checkpoints.import_weights import import_checkpoint

    return import_checkpoint(folder / "model.pth")


def _read_log_mel(folder: Path) -> object:
    from avseg_cli.data.clips import Clip
    from avseg_cli.data.files import read_log_mel

    clip = Clip("mel", "test", "", (Path(),) * 5, (), folder / "none.wav", folder / "mel.pkl", ())
    return read_log_mel(clip)


def _read_manifest(folder: Path) -> object:
    from avseg_cli.checkpoints.manifest import read_manifest

    read_manifest.cache_clear()
    return read_manifest(folder / "manifest.json")


def _read_record(folder: Path) -> object:
    from avseg_cli.checkpoints.manifest import PublicFile, cache_dir, status

    cache_dir().mkdir(exist_ok=True)
    (cache_dir() / "x.pth").write_bytes(b"x")
    return status(PublicFile("x", "x.pth", "https://example.invalid/x.pth", 1, 64 * "0", "a test"))


def _resume(folder: Path) -> object:
    from avseg_cli.training.run_folder import unfinished

    return [options.recipe("1a") for options in unfinished(folder / "run")]


def _read_metrics(folder: Path) -> object:
    from avseg_cli.training.run_folder import StageFolder

    stage = StageFolder(folder / "run/1a")
    stage.rewind(1)
    return stage.records()


def _restore(folder: Path) -> object:
    from avseg_cli.training.run_folder import StageFolder

    return _trainer(StageFolder(folder / "run/1a")).go_on()


def _read_row(folder: Path) -> object:
    from avseg_cli.ablation.ablate import read_row, to_markdown

    return to_markdown([read_row(folder / "evaluation.json")], "ms3")


def _read_card(folder: Path) -> object:
    from avseg_cli.segment.index_page import write_index

    page = folder / "clip.avseg.html"
    write_index(folder / "index.avseg.html", [(Path("clip.mp4"), page)], {})


READERS = {
    "configuration": Reader(
        "avseg.toml", lambda folder: SETTINGS, _segment_as_configured, edit_toml, command_line=True
    ),
    "table of S4": Reader(f"s4/{S4}", partial(_of_data, "s4", S4), partial(_check_table, "s4"), edit_table),
    "table of MS3": Reader(f"ms3/{MS3}", partial(_of_data, "ms3", MS3), partial(_check_table, "ms3"), edit_table),
    "table of the later release": Reader(
        "v2/metadata.csv", lambda folder: LATER, partial(_check_table, "v2"), edit_table
    ),
    "list of composed clips": Reader(
        "ms3/manifest.jsonl", partial(_of_data, "ms3", "manifest.jsonl"), _read_labels, edit_json_lines
    ),
    "categories": Reader(
        "ms3/categories.json", partial(_of_data, "ms3", "categories.json"), _read_categories, edit_json
    ),
    "licences of media": Reader("LICENCES.json", lambda folder: LICENCES, _read_licences, edit_json),
    "metadata of a wallpaper": Reader("metadata.json", lambda folder: WALLPAPER, _read_wallpaper, edit_json),
    "archive of pictures": Reader("x.rcc", _archive, _read_archive),
    "checkpoint": Reader("model.safetensors", changeable_checkpoint, _load_checkpoint, edit_header),
    "checkpoint of other code": Reader("model.pth", changeable_pickle, _import, edit_tensors),
    "the same in the old format": Reader(
        "model.pth", partial(changeable_pickle, _use_new_zipfile_serialization=False), _import
    ),
    "log-mel in a zip": Reader("mel.pkl", _saved, _read_log_mel),
    "log-mel in the old format": Reader(
        "mel.pkl", partial(_saved, _use_new_zipfile_serialization=False), _read_log_mel
    ),
    "log-mel as a plain pickle": Reader(
        "mel.pkl", lambda folder: pickle.dumps(torch.zeros(5, 1, 96, 64)), _read_log_mel
    ),
    "manifest of weights": Reader("manifest.json", _weights, _read_manifest, edit_json),
    "record of a check": Reader("cache/x.pth.verified.json", lambda folder: RECORD, _read_record, edit_json),
    "settings of a run": Reader("run/1a/config.json", run_settings, _resume, edit_json),
    "metrics of a run": Reader("run/1a/metrics.jsonl", lambda folder: METRICS, _read_metrics, edit_json_lines),
    "state of a run": Reader("run/1a/resume.safetensors", _state, _restore, edit_header),
    "evaluation of a variant": Reader("evaluation.json", lambda folder: ROW, _read_row, edit_json),
    "page in an index": Reader("clip.avseg.html", lambda folder: PAGE, _read_card, edit_card),
}


def read_changed(
    folder: Path, seed: int, examples: int, only: str, until: float
) -> Iterator[tuple[str, Counter[str], str]]:
    """Every reader whose name matches ``only``, in a process of its own: its name, its counts, and what was broken.

    The counts are empty for those that were not begun by ``until``.
    """
    died = "the process of the readers", Counter(), "died"
    return messages(died, _work, folder, seed, examples, only, until)


def _work(pipe: Connection, folder: Path, seed: int, examples: int, only: str, until: float) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # PyTorch's, about the age of what is broken
    for number, (name, reader) in enumerate(READERS.items()):
        if re.search(only, name):
            own = folder / str(number)
            own.mkdir(parents=True)
            os.environ["AVSEG_CACHE"] = str(own / "cache")
            try:
                late = time.monotonic() > until
                pipe.send((name, Counter() if late else fuzz(reader, own, examples, seed), ""))
            except Exception as error:  # hypothesis notes in it how the file was changed
                pipe.send((name, Counter(), " ".join([str(error), *getattr(error, "__notes__", [])])[:500]))
    pipe.send(None)
