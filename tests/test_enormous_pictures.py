"""A picture whose header claims enormous sides is one sentence, whoever reads it; nothing of it is unpacked."""

from __future__ import annotations

import shutil
import struct
import zlib
from pathlib import Path

import pytest
from command_line import run_avseg
from miniature import make
from PIL import Image
from synth_media import make_media
from test_synth_folders import make_coco

SIDE = 20_000  # pixels: 400 million of them


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("data"), "ms3", {"train": 1, "val": 1, "test": 1})


def enlarge(path: Path) -> None:
    """Let a PNG claim other sides than it has."""
    content = path.read_bytes()
    header = b"IHDR" + struct.pack(">II", SIDE, SIDE) + content[24:29]
    path.write_bytes(content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:])


@pytest.mark.parametrize(
    "asked",
    ["prepare --check", "evaluate --checkpoint default --device cpu", "evaluate --predictions predictions"],
)
def test_masks(asked: str, data: Path, tmp_path: Path, capfd, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    bad = Path(shutil.copytree(data, "data")) / "Multi-sources/ms3_data/gt_masks/test/test0/test0_1.png"
    if "predictions" in asked:
        bad = Path("predictions/test0/test0_0.png")
        bad.parent.mkdir(parents=True)
        for frame in range(5):  # all are looked for before one is opened
            Image.new("L", (224, 224)).save(bad.with_name(f"test0_{frame}.png"))
    enlarge(bad)
    ran = run_avseg(capfd, monkeypatch, *asked.split(), "--data", "data")
    assert ran.code == 7 and f"{bad}: not a readable picture" in ran.err and str(SIDE**2) in ran.err


@pytest.mark.parametrize(
    ("asked", "bad"),
    [
        ("synth --media media --out out --clips 1", "media/objects/*/*.png"),
        ("synth photos --coco coco --out out", "coco/masks/a.png"),
    ],
)
def test_media(asked: str, bad: str, tmp_path: Path, capfd, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_media(Path("media"))
    make_coco(Path("coco"))
    made = sorted(Path().glob(bad))
    for path in made:
        enlarge(path)
    ran = run_avseg(capfd, monkeypatch, *asked.split())
    (said,) = ran.err.strip().splitlines()
    assert (
        ran.code == 7
        and any(path.stem in said for path in made)
        and "not a readable picture" in said
        and not Path("out").exists()
    )
