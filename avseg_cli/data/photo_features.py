"""What a frozen trunk sees in views of photographs, with their labels: half precision, on disk, for two stages."""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from avseg_cli.base.errors import DataError
from avseg_cli.data.disk_rows import DiskRows, FillSetup, Place, Rows, hashed
from avseg_cli.data.listed import Photograph, digest, read_photographs
from avseg_cli.data.photo_views import UNKNOWN, view_of
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.model.efficientnet import LiteTrunk
from avseg_cli.model.modes import in_eval

VIEWS = 2  # of a photograph; the first is as it is
MOST_OF_A_KIND = 400  # photographs: dogs and people are many, and teach no more
HELD_OUT = 12  # one photograph in so many chooses the best epoch
VERSION = "2"  # of the views: one more when they are made otherwise


class HasKinds(Protocol):
    @property
    def kinds(self) -> Sequence[str]: ...


OfKinds = TypeVar("OfKinds", bound=HasKinds)


@dataclass(frozen=True)
class View:
    """A row of the cache. kinds: share of the picture, for each kind of thing that can be made out."""

    row: int
    complete: bool
    held_out: bool
    kinds: dict[str, float]


class PhotoFeatures:
    """Features (at strides 4, 8, 16, 32) and labels of every view."""

    def __init__(self, rows: DiskRows, views: list[View], shapes: list[tuple[int, int, int]]) -> None:
        self.views, self.shapes = views, shapes
        self._features, self._labels = rows.arrays["features"], rows.arrays["labels"]

    @classmethod
    def prepared(cls, root: Path, folder: str, model: AvsegModel, setup: FillSetup, limit: int | None) -> PhotoFeatures:
        """Those of the photographs in ``folder``, kept under ``root``, with what is lacking computed now.

        limit: use only so many photographs. Raises ``DataError`` for photographs that cannot be used, ``OutputError``
        when the disk has no room.
        """
        encoder, seen, side = model.image_encoder, model.config.seen_kinds, model.config.image_size
        photos = chosen(read_photographs(folder, seen), limit)
        complete = [photo for photo in photos if photo.complete]
        backgrounds = {held: [photo for photo in complete if held_out(photo) is held] for held in (False, True)}
        refuse_incomplete(folder, photos)
        shapes, rows = layout(encoder.trunk, side)

        @torch.inference_mode()
        def compute(items: range) -> dict[str, np.ndarray]:
            pairs = [(photos[i // VIEWS], i % VIEWS) for i in items]
            made = [view_of(photo, n, backgrounds[held_out(photo)], seen, (side, side // 4)) for photo, n in pairs]
            frames = model.preprocess(torch.from_numpy(np.stack([picture for picture, _ in made])))
            features = [f.flatten(1).half() for f in encoder.features(frames.to(encoder.dtype))]
            return {"features": torch.cat(features, 1).cpu().numpy(), "labels": np.stack([label for _, label in made])}

        place = Place(root / f"photographs-{_key(folder, photos, model, limit)}", len(photos) * VIEWS, rows, compute)
        with in_eval(model):
            (cache,) = DiskRows.prepared([place], setup, "features of photographs")
        views = [
            View(i, photos[i // VIEWS].complete, held_out(photos[i // VIEWS]), _shares(cache.arrays["labels"][i], seen))
            for i in range(len(photos) * VIEWS)
        ]
        return cls(cache, views, shapes)

    def features(self, row: int) -> list[Tensor]:
        """Of one view, at strides 4, 8, 16 and 32: float16 (c, ., .)."""
        flat = torch.from_numpy(np.array(self._features[row]))
        sizes = [int(np.prod(shape)) for shape in self.shapes]
        return [part.view(shape) for part, shape in zip(flat.split(sizes), self.shapes, strict=True)]

    def labels(self, row: int) -> Tensor:
        """Of one view: uint8 (S/4, S/4), as ``photo_views`` numbers them."""
        return torch.from_numpy(np.array(self._labels[row]))


def layout(trunk: LiteTrunk, side: int) -> tuple[list[tuple[int, int, int]], Rows]:
    """The shapes of a picture's features, and the arrays of the cache."""
    strides = (4, 8, 16, 32)
    shapes = [(width, side // by, side // by) for width, by in zip(trunk.widths, strides, strict=True)]
    flat = sum(int(np.prod(shape)) for shape in shapes)
    return shapes, {"features": ("float16", (flat,)), "labels": ("uint8", (side // 4, side // 4))}


def chosen(photos: Sequence[Photograph], limit: int | None = None) -> list[Photograph]:
    """In an order that nothing but names decides: those that show a kind of which there are not yet enough."""
    by_name = sorted(photos, key=lambda p: (zlib.crc32(f"{p.source}/{p.picture.name}".encode()), str(p.picture)))
    return list(few_of_each(by_name))[:limit]


def few_of_each(photos: Iterable[OfKinds]) -> Iterator[OfKinds]:
    """Those that show a kind of which there are not yet enough; of those that show none as many."""
    counts: Counter[str] = Counter()
    for photo in photos:
        kinds = photo.kinds or ("",)
        if any(counts[kind] < MOST_OF_A_KIND for kind in kinds):
            counts.update(kinds)
            yield photo


def refuse_incomplete(folder: str, photos: Sequence[Photograph]) -> None:
    """Raise ``DataError`` where no photograph has everything in its mask."""
    if not any(photo.complete for photo in photos):
        raise DataError(f"{folder}: no photograph has a complete mask; at least one must (complete 1)")


def held_out(photo: Photograph) -> bool:
    """Whether a photograph is kept for choosing the best epoch: its name decides."""
    return zlib.crc32(photo.picture.name.encode()) % HELD_OUT == 0


def _shares(labels: np.ndarray, seen: Sequence[str]) -> dict[str, float]:
    counts = np.bincount(labels.ravel(), minlength=UNKNOWN + 1)
    return {kind: float(counts[1 + i] / labels.size) for i, kind in enumerate(seen) if counts[1 + i]}


def _key(folder: str, photos: Sequence[Photograph], model: AvsegModel, limit: int | None) -> str:
    """What features and labels depend on: the photographs, the trunk's weights, sizes, kinds, how views are made."""
    weights, config = hashed(model.image_encoder.trunk.state_dict()).hexdigest(), model.config
    made = [weights, config.image_size, config.seen_kinds, limit, VIEWS, MOST_OF_A_KIND, VERSION]
    return digest(folder, photos, json.dumps(made))
