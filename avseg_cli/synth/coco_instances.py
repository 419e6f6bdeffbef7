"""COCO's own files: annotations/instances_*.json and pictures, anywhere in a folder."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from avseg_cli.base.errors import DataError
from avseg_cli.base.extras import extra
from avseg_cli.base.json_text import parse_json
from avseg_cli.base.text import counted
from avseg_cli.synth.coco_classes import KINDS, UNSURE, of_coco
from avseg_cli.synth.masked import UNKNOWN, Masked, picture_size, shuffled

LEAST_CORNERS = 3  # of a polygon


@dataclass(frozen=True)
class Instance:
    """An instance. form: polygons, or runs of pixels. crowd: many in one, of which some may be another thing."""

    name: str
    form: Any
    crowd: bool

    @property
    def kind(self) -> str | None:
        return None if self.crowd else KINDS.get(self.name)


@dataclass(frozen=True)
class ListedPicture:
    """A picture and what a file says of it: size (W, H), and its things, large ones first."""

    file: Path
    name: str
    size: tuple[int, int]
    things: list[Instance]


def read_instances(coco: Path, say: Callable[[str], None]) -> Iterator[Masked]:
    """The photographs of a folder, each once; ``say`` hears of those that are listed and not there.

    Raises ``DataError`` for a folder without such files, and for a file that is not as COCO writes it.
    """
    with extra("synth", "reading COCO's instances"):
        import pycocotools.mask  # noqa: F401
    files = sorted(coco.rglob("instances_*.json"))
    pictures = sorted(coco.rglob("*.jpg"))
    if not files or not pictures:
        raise DataError(
            f"{coco}: has no {'pictures' if files else 'annotations/instances_*.json'}; name a folder with COCO's "
            "pictures (*.jpg) and annotations, or with images, panoptic masks and classes.yaml"
        )
    done: set[str] = set()
    for file in files:
        classes, listed = _read(file)
        split = file.stem.removeprefix("instances_")
        path_of = {path.name: path for path in sorted(pictures, key=lambda path: path.parent.name == split)}
        there = [picture for picture in listed if picture.name in path_of]
        if len(there) < len(listed):
            say(f"{file}: {counted(len(listed) - len(there), 'picture')} of {len(listed)} not in {coco}; left out")
        for picture in shuffled(picture for picture in there if picture.name not in done):
            kinds = list(dict.fromkeys(thing.kind for thing in picture.things if thing.kind))
            draw = partial(_mask, picture, path_of[picture.name], kinds)
            yield of_coco(path_of[picture.name], kinds, draw, set(KINDS) <= classes)
        done.update(picture.name for picture in there)


def _read(file: Path) -> tuple[set[str], list[ListedPicture]]:
    """The classes that a file marks, and its pictures."""
    try:
        listed = parse_json(file.read_bytes())
        named = {category["id"]: str(category["name"]) for category in listed["categories"]}
        things = defaultdict(list)
        for found in sorted(listed["annotations"], key=lambda found: -float(found["area"])):
            thing = Instance(named[found["category_id"]], found["segmentation"], bool(found.get("iscrowd")))
            things[found["image_id"]].append(thing)
        return set(named.values()), [
            ListedPicture(file, Path(image["file_name"]).name, (image["width"], image["height"]), things[image["id"]])
            for image in listed["images"]
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{file}: not as COCO writes instances ({error!r}); get the file again") from error


def _mask(listed: ListedPicture, picture: Path, kinds: list[str]) -> np.ndarray:
    """A picture's mask: a small thing lies over a large one, as the cup before who holds it."""
    width, height = size = picture_size(picture)
    if size != listed.size:
        raise DataError(
            f"{picture}: {width}x{height}, and {listed.file} has it at {listed.size[0]}x{listed.size[1]}; its outlines "
            "fit pictures of that size alone"
        )
    mask = np.zeros((height, width), np.uint8)
    for thing in listed.things:
        unsure = thing.name in UNSURE or (thing.crowd and thing.name in KINDS)
        value = 1 + kinds.index(thing.kind) if thing.kind else UNKNOWN * unsure
        try:
            mask[_pixels(thing.form, height, width)] = value
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError) as error:
            raise DataError(
                f"{listed.file}: the outline of a {thing.name} of {picture.name} does not fit the picture ({error}); "
                "get the file again"
            ) from error
    return mask


def _pixels(form: Any, height: int, width: int) -> np.ndarray:
    """Where a thing is, bool (H, W)."""
    from pycocotools import mask

    if isinstance(form, list):
        polygons = [polygon for polygon in form if len(polygon) >= 2 * LEAST_CORNERS]
        if not polygons:
            return np.zeros((height, width), bool)
        return mask.decode(mask.merge(mask.frPyObjects(polygons, height, width))) > 0
    if tuple(form["size"]) != (height, width):
        raise ValueError(f"it is for {form['size'][1]}x{form['size'][0]}, the picture has {width}x{height}")
    return mask.decode(mask.frPyObjects(form, height, width) if isinstance(form["counts"], list) else form) > 0
