"""PASCAL VOC's layout: JPEGImages/NAME.jpg and SegmentationClass/NAME.png, a class number at each pixel.

SegmentationClassAug beside it is read too: the masks of Hariharan et al. (2011) for more of the pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from avseg_cli.base.errors import DataError
from avseg_cli.base.text import counted
from avseg_cli.synth.masked import UNKNOWN, Masked, by_kind, class_numbers, shuffled

LICENCE = "photo: Flickr's terms, for research"
FOLDERS = ("SegmentationClass", "SegmentationClassAug")
KINDS = {  # VOC's class -> kind; furniture, bottles and plants are background
    1: "aeroplane", 2: "other", 3: "bird", 4: "boat", 6: "bus", 7: "car", 8: "cat", 10: "cow", 12: "dog", 13: "horse",
    14: "motorcycle", 15: "person", 17: "sheep", 19: "train", 20: "tv",
}  # fmt: skip


def read_voc(voc: Path, say: Callable[[str], None]) -> Iterator[Masked]:
    """The photographs that have a mask; ``say`` hears how many masks have no photograph. Raises ``DataError``."""
    masks = {path.stem: path for folder in reversed(FOLDERS) for path in sorted((voc / folder).glob("*.png"))}
    pictures = {path.stem: path for path in sorted((voc / "JPEGImages").glob("*.jpg"))}
    both = sorted(masks.keys() & pictures.keys())
    if not both:
        raise DataError(
            f"{voc}: has no JPEGImages/NAME.jpg with a mask {FOLDERS[0]}/NAME.png; name a folder of PASCAL VOC's, such "
            "as VOCdevkit/VOC2012"
        )
    if len(both) < len(masks):
        say(f"{voc}: {counted(len(masks) - len(both), 'mask')} of {len(masks)} without a picture; left out")
    for name in shuffled(both):
        mask, kinds = by_kind(class_numbers(masks[name], pictures[name]), KINDS, {UNKNOWN})
        yield Masked(pictures[name], kinds, lambda mask=mask: mask, True, "voc", LICENCE, f"PASCAL VOC, {name}")
