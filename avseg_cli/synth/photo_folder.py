"""``avseg synth photos``: photographs of COCO's and PASCAL VOC's, and frames of composed clips, with masks by kind.

``avseg train --photos`` reads them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from PIL import Image

from avseg_cli.base.errors import DataError
from avseg_cli.base.whole_files import new_folder
from avseg_cli.data.photo_features import few_of_each
from avseg_cli.synth.clip_material import photographs_of, read_composed
from avseg_cli.synth.coco_instances import read_instances
from avseg_cli.synth.coco_panoptic import CLASSES, read_panoptic
from avseg_cli.synth.masked import Masked
from avseg_cli.synth.voc import read_voc

COLUMNS = ("image", "mask", "kinds", "complete", "source", "licence", "origin")


def gather_photographs(
    out: Path, coco: Sequence[Path] = (), voc: Sequence[Path] = (), clips: Path | None = None,
    say: Callable[[str], None] = print,
) -> int:  # fmt: skip
    """Fill ``out`` with photographs, their masks by kind, and manifest.tsv; returns how many there are.

    coco: folders with instances or panoptic masks; voc: folders of PASCAL VOC's layout; clips: one that ``avseg
    synth`` made. The folder appears whole or not at all. Raises ``OutputError`` when it exists, ``DataError`` for a
    folder that is not as it should be.
    """
    with new_folder(out) as folder:
        rows: list[tuple[str, ...]] = [COLUMNS]
        if clips:
            rows += photographs_of(read_composed(clips), folder)
        rows += [_written(photograph, folder) for photograph in photographs(coco, voc, say)]
        if len(rows) == 1:
            raise DataError(f"{', '.join(map(str, (*coco, *voc)))}: no photograph with a mask; name the whole folder")
        (folder / "manifest.tsv").write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    return len(rows) - 1


def photographs(coco: Sequence[Path], voc: Sequence[Path], say: Callable[[str], None]) -> Iterator[Masked]:
    """Those of some folders that are taken, each once. Raises ``DataError`` for a folder that does not fit."""
    taken: set[tuple[str, str]] = set()
    for found in (*(_of_coco(folder, say) for folder in coco), *(read_voc(folder, say) for folder in voc)):
        for photograph in few_of_each(found):
            name = (photograph.source, photograph.picture.stem)
            if name not in taken:
                taken.add(name)
                yield photograph


def _of_coco(folder: Path, say: Callable[[str], None]) -> Iterator[Masked]:
    return read_panoptic(folder) if (folder / CLASSES).exists() else read_instances(folder, say)


def _written(photograph: Masked, folder: Path) -> tuple[str, ...]:
    """Write a photograph and its mask; its line."""
    files = [f"{photograph.source}/{photograph.picture.stem}{end}" for end in (".jpg", ".png")]
    (folder / photograph.source).mkdir(exist_ok=True)
    shutil.copyfile(photograph.picture, folder / files[0])
    Image.fromarray(photograph.mask()).save(folder / files[1], optimize=True)
    complete = str(int(photograph.complete))
    return (*files, ",".join(photograph.kinds), complete, photograph.source, photograph.licence, photograph.origin)
