"""Views of photographs with masks: cropped, flipped, shrunk, recoloured, coarsened; things on a plain ground pasted on
other photographs.

A view is a picture and its labels: 0 background, 1 + i the i-th kind that the model sees, THING another thing,
UNKNOWN. Its randomness depends on the photograph's name and the view's number alone.
"""

from __future__ import annotations

import io
import random
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from avseg_cli.base.errors import DataError
from avseg_cli.data.files import read_image
from avseg_cli.data.listed import LIST, Photograph

THING, UNKNOWN = 254, 255
KEPT_BY_CROP = 0.4  # of what is labelled
PLAIN_SHARE, PLAIN_NEAR = 0.9, 20  # of the ground within so many grey levels of its median colour
BACKGROUND_TRIES = 8
Labelled = tuple[Image.Image, Image.Image]  # picture, labels


def read_photograph(photo: Photograph, seen: Sequence[str]) -> Labelled:
    """A photograph and its labels. Raises ``DataError`` for a mask that does not fit its picture or its line."""
    picture, mask = read_image(photo.picture, "RGB", LIST), read_image(photo.mask, None, LIST)
    if mask.ndim != 2 or mask.dtype != np.uint8:
        raise DataError(f"{photo.mask}: not a grey mask of 8 bits; save it as one")
    if mask.shape != picture.shape[:2]:
        raise DataError(
            f"{photo.mask}: {mask.shape[1]}x{mask.shape[0]}, and its picture is "
            f"{picture.shape[1]}x{picture.shape[0]}; masks have their picture's size"
        )
    values = set(np.unique(mask).tolist()) - {0, UNKNOWN}
    if values and max(values) > len(photo.kinds):
        raise DataError(f"{photo.mask}: has the value {max(values)}, and its line names {len(photo.kinds)} kinds")
    table = np.zeros(256, np.uint8)
    table[UNKNOWN] = UNKNOWN
    for value, kind in enumerate(photo.kinds, start=1):
        table[value] = 1 + seen.index(kind) if kind in seen else THING
    return Image.fromarray(picture), Image.fromarray(table[mask])


def view_of(
    photo: Photograph, number: int, backgrounds: Sequence[Photograph], seen: Sequence[str], sides: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """View ``number`` of a photograph: picture (S, S, 3) and labels (s, s), for sides (S, s). Number 0 is as it is.

    backgrounds: what a thing on a plain ground is pasted on, of those that are held out as it is, or that learn as it
    does; without any it stays where it is.
    """
    rng = random.Random(f"{photo.source}/{photo.picture.name}/{number}")
    labelled = read_photograph(photo, seen)
    if backgrounds and on_plain_ground(labelled):
        labelled = _pasted(labelled, _background(backgrounds, seen, rng), rng)
    if number:
        labelled = _framed(labelled, rng)
        labelled = _coarsened(labelled, rng)
    picture, labels = labelled
    picture = picture.resize((sides[0],) * 2, Image.Resampling.BILINEAR)
    return np.array(picture), np.array(labels.resize((sides[1],) * 2, Image.Resampling.NEAREST))


def on_plain_ground(labelled: Labelled) -> bool:
    """Whether a picture shows one kind of thing before a ground of one colour, as shops do."""
    picture, labels = (np.asarray(image) for image in labelled)
    kinds = set(np.unique(labels).tolist()) - {0, UNKNOWN}
    ground = picture[labels == 0]
    if len(kinds) != 1 or THING in kinds or not len(ground):
        return False
    away = np.abs(ground.astype(np.int16) - np.median(ground, 0)).max(1)
    return bool((away <= PLAIN_NEAR).mean() > PLAIN_SHARE)


def _background(backgrounds: Sequence[Photograph], seen: Sequence[str], rng: random.Random) -> Labelled:
    """A photograph to paste on, of those whose masks are complete; rather none with a plain ground itself."""
    for _ in range(BACKGROUND_TRIES):
        labelled = read_photograph(rng.choice(backgrounds), seen)
        if not on_plain_ground(labelled):
            break
    return labelled


def _pasted(thing: Labelled, ground: Labelled, rng: random.Random) -> Labelled:
    """The thing of one picture, turned, scaled and shaded, somewhere on another."""
    labels = np.asarray(thing[1])
    solid = Image.fromarray(np.where((labels > 0) & (labels < THING), 255, 0).astype(np.uint8))
    box = solid.getbbox()
    cut, alpha = thing[0].crop(box), solid.crop(box)
    if rng.random() < 0.5:
        cut, alpha = (image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for image in (cut, alpha))
    angle = rng.uniform(-35, 35) if rng.random() < 0.7 else 0.0
    cut = cut.rotate(angle, Image.Resampling.BICUBIC, expand=True)
    alpha = alpha.rotate(angle, Image.Resampling.BILINEAR, expand=True)
    picture = ground[0].copy()
    scale = rng.uniform(0.3, 0.85) * min(picture.width / cut.width, picture.height / cut.height)
    size = (max(1, int(cut.width * scale)), max(1, int(cut.height * scale)))
    cut = cut.resize(size, Image.Resampling.BILINEAR)
    alpha = alpha.resize(size, Image.Resampling.BILINEAR).filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.2)))
    cut = ImageEnhance.Brightness(cut).enhance(rng.uniform(0.5, 1.1))
    cut = ImageEnhance.Contrast(cut).enhance(rng.uniform(0.7, 1.2))
    x, y = rng.randint(0, picture.width - cut.width), rng.randint(0, picture.height - cut.height)
    picture.paste(cut, (x, y), alpha)
    under, cover = np.array(ground[1]), np.asarray(alpha)
    place = under[y : y + cut.height, x : x + cut.width]
    place[cover > 40] = UNKNOWN  # the soft edge
    place[cover > 127] = labels[(labels > 0) & (labels < THING)][0]
    return picture, Image.fromarray(under)


def _framed(labelled: Labelled, rng: random.Random) -> Labelled:
    """A crop, perhaps mirrored, perhaps small in a blurred frame of itself: things are smaller in films."""
    box = _crop(labelled[1], rng)
    picture, labels = (image.crop(box) for image in labelled)
    if rng.random() < 0.5:
        picture, labels = (image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for image in (picture, labels))
    if rng.random() >= 0.3:
        return picture, labels
    share = rng.uniform(0.45, 0.8)
    size = (max(1, int(picture.width * share)), max(1, int(picture.height * share)))
    place = (rng.randint(0, picture.width - size[0]), rng.randint(0, picture.height - size[1]))
    frame, around = picture.filter(ImageFilter.GaussianBlur(12)), Image.new("L", picture.size, UNKNOWN)
    frame.paste(picture.resize(size, Image.Resampling.BILINEAR), place)
    around.paste(labels.resize(size, Image.Resampling.NEAREST), place)
    return frame, around


def _crop(labels: Image.Image, rng: random.Random) -> tuple[int, int, int, int]:
    """A box that keeps much of what is labelled, if one is found soon."""
    values = np.asarray(labels)
    things = (values > 0) & (values < UNKNOWN)
    x, y, width, height = 0, 0, *labels.size
    for _ in range(6):
        share = rng.uniform(0.45, 1.0)
        width, height = (max(1, int(side * min(1, share * rng.uniform(0.8, 1.25)))) for side in labels.size)
        x, y = rng.randint(0, labels.width - width), rng.randint(0, labels.height - height)
        if things[y : y + height, x : x + width].sum() >= KEPT_BY_CROP * things.sum():
            break
    return x, y, x + width, y + height


def _coarsened(labelled: Labelled, rng: random.Random) -> Labelled:
    """Other light, and what cameras and codecs do."""
    picture, labels = labelled
    for enhancer, least in ((ImageEnhance.Brightness, 0.6), (ImageEnhance.Contrast, 0.7), (ImageEnhance.Color, 0.4)):
        picture = enhancer(picture).enhance(rng.uniform(least, 1.3))
    if rng.random() < 0.4:
        share = rng.uniform(0.3, 0.8)
        size = (max(1, int(picture.width * share)), max(1, int(picture.height * share)))
        picture = picture.resize(size, Image.Resampling.BILINEAR)
    if rng.random() < 0.5:
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=rng.randint(20, 70))
        picture = Image.open(buffer).convert("RGB")
    return picture, labels
