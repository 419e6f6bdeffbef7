"""Seeded mutations of small real files: videos of each container, checkpoints, pickles, manifests, tables."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from .cases import Case, Maker, segment
from .containers import CONTAINERS, small

HEAD = 4096  # bytes in which most of what a parser trusts stands
NUMBERS = (b"0", b"-1", b"1", b"65536", b"4294967296", b"9" * 20, b"1e308", b"NaN", b"null", b'"x"', b"[]")
EDGES = (b"\0", b"\xff", b"\x7f", b"\x80", b"\0" * 4, b"\xff" * 4, b"\x7f" + b"\xff" * 3, b"\x80\0\0\0")


def mutated(content: bytes, random: np.random.Generator) -> bytes:
    """``content`` with one to five changes."""
    for _ in range(int(random.integers(1, 6))):
        content = CHANGES[int(random.integers(len(CHANGES)))](content, random) if content else content
    return content


def _place(content: bytes, random: np.random.Generator) -> int:
    return int(random.integers(min(HEAD, len(content)) if random.random() < 0.5 else len(content)))


def _flip(content: bytes, random: np.random.Generator) -> bytes:
    at = _place(content, random)
    return content[:at] + bytes([content[at] ^ (1 << int(random.integers(8)))]) + content[at + 1 :]


def _edge(content: bytes, random: np.random.Generator) -> bytes:
    at, value = _place(content, random), EDGES[int(random.integers(len(EDGES)))]
    return content[:at] + value + content[at + len(value) :]


def _noise(content: bytes, random: np.random.Generator) -> bytes:
    at, count = _place(content, random), int(random.integers(1, 64))
    return content[:at] + random.bytes(count) + content[at + count :]


def _drop(content: bytes, random: np.random.Generator) -> bytes:
    at = _place(content, random)
    return content[:at] + content[at + int(random.integers(1, 512)) :]


def _double(content: bytes, random: np.random.Generator) -> bytes:
    at, count = _place(content, random), int(random.integers(1, 512))
    return content[: at + count] + content[at:]


def _cut(content: bytes, random: np.random.Generator) -> bytes:
    return content[: _place(content, random) + 1]


def _number(content: bytes, random: np.random.Generator) -> bytes:
    """One of the numbers written as text becomes another."""
    found = list(re.finditer(rb"\d+", content[: 16 * HEAD]))
    if not found:
        return content
    match = found[int(random.integers(len(found)))]
    return content[: match.start()] + NUMBERS[int(random.integers(len(NUMBERS)))] + content[match.end() :]


Change = Callable[[bytes, np.random.Generator], bytes]
CHANGES: tuple[Change, ...] = (_flip, _edge, _noise, _drop, _double, _cut, _number)


class Seeds:
    """The files that are mutated, made once in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clip = small("mp4", folder)
        self.videos = {kind: small(kind, folder).read_bytes() for kind in CONTAINERS}
        self.checkpoint, self.pickle, self.settings = (
            changeable_checkpoint(folder),
            changeable_pickle(folder),
            run_settings(folder),
        )
        self.manifest = (_weights_folder() / "manifest.json").read_bytes()
        self.data = _data(folder / "data")

    def makers(self, seed: int, number: int) -> tuple[str, Maker]:
        """The ``number``-th mutated case; kinds take turns."""
        random = np.random.default_rng((seed, number))
        kinds: list[tuple[str, Maker]] = [(kind, partial(self._video, kind, random)) for kind in CONTAINERS]
        kinds += [
            ("checkpoint", partial(self._checkpoint, random)),
            ("pth", partial(self._pth, random)),
            ("data set", partial(self._data, random)),
            ("manifest", partial(self._manifest, random)),
            ("run folder", partial(self._run, random)),
        ]
        kind, make = kinds[number % len(kinds)]
        return f"{kind} mutated, number {number}", make

    def _video(self, kind: str, random: np.random.Generator, folder: Path) -> Case:
        path = folder / f"clip.{kind}"
        path.write_bytes(mutated(self.videos[kind], random))
        return Case(f"mutated {kind}", segment(path))

    def _checkpoint(self, random: np.random.Generator, folder: Path) -> Case:
        size = 8 + int.from_bytes(self.checkpoint[:8], "little")
        header = mutated(self.checkpoint[8:size], random)
        length = len(header) if random.random() < 0.8 else int(random.integers(2**40))
        path = folder / "model.safetensors"
        path.write_bytes(length.to_bytes(8, "little") + header + self.checkpoint[size:])
        return Case("mutated checkpoint", [*segment(self.clip), "--checkpoint", str(path)])

    def _pth(self, random: np.random.Generator, folder: Path) -> Case:
        path = folder / "model.pth"
        path.write_bytes(mutated(self.pickle, random))
        return Case("mutated pth", ["weights", "import", str(path), "-o", "OUT/model.safetensors"])

    def _manifest(self, random: np.random.Generator, folder: Path) -> Case:
        shutil.copytree(_weights_folder(), folder / "weights", ignore=shutil.ignore_patterns("*.safetensors"))
        (folder / "weights/manifest.json").write_bytes(mutated(self.manifest, random))
        return Case("mutated manifest", ["weights", "verify"], weights=folder / "weights")

    def _data(self, random: np.random.Generator, folder: Path) -> Case:
        shutil.copytree(self.data, folder / "data")
        files = sorted(path for path in (folder / "data").rglob("*") if path.is_file())
        path = files[int(random.integers(len(files)))]
        path.write_bytes(mutated(path.read_bytes(), random))
        return Case("mutated data set", ["prepare", "--check", "--data", str(folder / "data"), "--subset", "ms3"])

    def _run(self, random: np.random.Generator, folder: Path) -> Case:
        (folder / "run/1a").mkdir(parents=True)
        (folder / "run/1a/config.json").write_bytes(mutated(self.settings, random))
        (folder / "run/1a/done.json").write_text("{}")
        return Case("mutated run folder", ["train", "--resume", str(folder / "run")])


def _weights_folder() -> Path:
    from avseg_cli.checkpoints.manifest import weights_dir

    return weights_dir()


def _model():
    import torch

    from avseg_cli.model.avseg import AvsegModel
    from avseg_cli.model.backbones import preset

    torch.manual_seed(0)
    return AvsegModel(
        preset(
            "tiny",
            embed_dim=32,
            depth=2,
            global_blocks=(1,),
            num_heads=2,
            out_chans=32,
            decoder_mlp_dim=32,
            adapter_dim=8,
            fusion_depth=1,
            vggish_width=0.05,
        )
    )


def changeable_checkpoint(folder: Path) -> bytes:
    from avseg_cli.checkpoints.checkpoint import save_checkpoint

    save_checkpoint(folder / "model.safetensors", _model())
    return (folder / "model.safetensors").read_bytes()


def changeable_pickle(folder: Path, **options: bool) -> bytes:
    """A small checkpoint of the authors' code, complete but for VGGish. options: of ``torch.save``."""
    import torch
    from published import published_model

    from avseg_cli.model.config import ModelConfig

    torch.manual_seed(0)
    model = published_model(
        ModelConfig(
            backbone="custom",
            image_size=32,
            embed_dim=16,
            depth=2,
            num_heads=2,
            window_size=1,
            global_blocks=(1,),
            out_chans=32,
            decoder_mlp_dim=16,
            adapter_dim=8,
            fusion_depth=1,
        )
    )
    torch.save({"state_dict": model.state_dict(), "epoch": 3}, folder / "model.pth", **options)
    return (folder / "model.pth").read_bytes()


def run_settings(folder: Path) -> bytes:
    from avseg_cli.training.train_options import TrainOptions

    options = TrainOptions(data=str(folder / "none"), subset="ms3", out=str(folder / "run"), stages=("1a",))
    return json.dumps({"options": options.to_dict()}, indent=1).encode()


def _data(folder: Path) -> Path:
    import torch
    from miniature import make

    make(folder, "ms3", {"train": 1, "val": 1, "test": 1})
    for path in (folder / "Multi-sources/ms3_data/audio_wav/test").glob("*.wav"):
        pickled = folder / "Multi-sources/ms3_data/audio_log_mel/test" / f"{path.stem}.pkl"
        pickled.parent.mkdir(parents=True)
        torch.save(torch.zeros(5, 1, 96, 64), pickled)
        path.unlink()
    return folder
