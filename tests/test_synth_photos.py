"""avseg synth photos: COCO's instances and PASCAL VOC's layout become photographs with masks by kind."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import run_avseg
from PIL import Image
from pycocotools import mask as coco_mask

from avseg_cli.data import photo_features
from avseg_cli.data.listed import OTHER, Photograph, read_photographs
from avseg_cli.model.kinds import SEEN
from avseg_cli.synth import coco_classes, voc

WIDTH, HEIGHT = 40, 30
NAMES = {number: name for number, name in enumerate([*coco_classes.KINDS, "laptop", "cup"], start=1)}
NUMBER = {name: number for number, name in NAMES.items()}


def box(x: int, y: int, width: int, height: int) -> list[list[float]]:
    return [[x, y, x + width, y, x + width, y + height, x, y + height]]


def thing(image: int, name: str, form: object, area: float, crowd: int = 0) -> dict[str, object]:
    return {"image_id": image, "category_id": NUMBER[name], "segmentation": form, "area": area, "iscrowd": crowd}


def make_instances(root: Path, things: list[dict[str, object]], pictures: int = 1, names: dict = NAMES) -> Path:
    """A folder as COCO's own: val2017/*.jpg and annotations/instances_val2017.json."""
    (root / "annotations").mkdir(parents=True)
    (root / "val2017").mkdir()
    images = [{"id": i, "file_name": f"{i:012}.jpg", "width": WIDTH, "height": HEIGHT} for i in range(1, pictures + 1)]
    for image in images:
        Image.new("RGB", (WIDTH, HEIGHT), (90, 120, 40)).save(root / "val2017" / image["file_name"])
    listed = {
        "images": images, "annotations": things, "categories": [{"id": n, "name": name} for n, name in names.items()],
    }  # fmt: skip
    (root / "annotations/instances_val2017.json").write_text(json.dumps(listed))
    return root


def made(capfd, monkeypatch, tmp_path: Path, *options: object) -> tuple[list[Photograph], str]:
    ran = run_avseg(capfd, monkeypatch, "synth", "photos", *options, "--out", tmp_path / "photos")
    assert ran.code == 0, ran.err
    return read_photographs(tmp_path / "photos", list(SEEN)), ran.err


def test_instances_become_kinds_small_ones_over_large_ones(capfd, monkeypatch, tmp_path: Path) -> None:
    right = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    right[:5, 35:] = 1
    things = [
        thing(1, "cup", box(2, 2, 4, 4), 16),
        thing(1, "dog", box(10, 10, 10, 10), 100),
        thing(1, "person", box(0, 0, 20, 20), 400),
        thing(1, "laptop", box(30, 10, 5, 5), 25),
        thing(1, "person", {"counts": [25, 5] * WIDTH, "size": [HEIGHT, WIDTH]}, 200, crowd=1),  # the lowest rows
        thing(1, "cat", {"counts": coco_mask.encode(right)["counts"].decode(), "size": [HEIGHT, WIDTH]}, 25),
    ]
    (photo,), said = made(capfd, monkeypatch, tmp_path, "--coco", make_instances(tmp_path / "coco", things))
    mask = np.asarray(Image.open(photo.mask))
    value = {kind: 1 + photo.kinds.index(kind) for kind in photo.kinds}
    assert set(value) == {"person", "dog", "cat"} and photo.complete and photo.source == "coco"
    assert mask.shape == (HEIGHT, WIDTH) and said.endswith("1 photograph with masks\n")
    assert mask[18, 5] == value["person"] and mask[15, 15] == value["dog"] and mask[1, 38] == value["cat"]
    assert mask[4, 4] == 0, "the cup is before the person"
    assert (mask[25:] == 255).all() and mask[12, 32] == 255 and mask[22, 30] == 0


def test_outlines_of_another_size_are_not_drawn(capfd, monkeypatch, tmp_path: Path) -> None:
    folder = make_instances(tmp_path / "coco", [thing(1, "dog", box(30, 20, 9, 9), 81)])
    Image.new("RGB", (WIDTH // 2, HEIGHT // 2)).save(folder / "val2017/000000000001.jpg")
    ran = run_avseg(capfd, monkeypatch, "synth", "photos", "--coco", folder, "--out", tmp_path / "photos")
    assert ran.code == 7 and "000000000001.jpg: 20x15, and" in ran.err and "has it at 40x30" in ran.err


def test_the_picture_is_that_of_the_split(capfd, monkeypatch, tmp_path: Path) -> None:
    folder = make_instances(tmp_path / "coco", [thing(1, "dog", box(3, 3, 9, 9), 81)])
    (folder / "zoom").mkdir()
    Image.new("RGB", (WIDTH, HEIGHT), (255, 0, 0)).save(folder / "zoom/000000000001.jpg")
    ((photo,), _) = made(capfd, monkeypatch, tmp_path, "--coco", folder)
    assert np.asarray(Image.open(photo.picture))[0, 0, 1] > 100


def test_annotations_of_other_pictures_are_told(capfd, monkeypatch, tmp_path: Path) -> None:
    folder = make_instances(tmp_path / "coco", [thing(1, "dog", box(3, 3, 9, 9), 81)])
    (folder / "val2017/000000000001.jpg").rename(folder / "val2017/other.jpg")
    ran = run_avseg(capfd, monkeypatch, "synth", "photos", "--coco", folder, "--out", tmp_path / "photos")
    assert ran.code == 7 and "no photograph with a mask" in ran.err and not (tmp_path / "photos").exists()


def test_instances_of_few_classes_are_not_complete(capfd, monkeypatch, tmp_path: Path) -> None:
    folder = make_instances(tmp_path / "coco", [thing(1, "person", box(0, 0, 9, 9), 81)], names={1: "person"})
    ((photo,), _) = made(capfd, monkeypatch, tmp_path, "--coco", folder)
    assert photo.kinds == ("person",) and not photo.complete


def test_a_picture_is_taken_once_and_those_that_lack_are_told(capfd, monkeypatch, tmp_path: Path) -> None:
    things = [thing(number, "dog", box(3, 3, 9, 9), 81) for number in (1, 2, 3)]
    one, two = (make_instances(tmp_path / name, things, pictures=3) for name in ("one", "two"))
    (one / "val2017/000000000003.jpg").unlink()
    shutil.copy(one / "annotations/instances_val2017.json", one / "annotations/instances_train2017.json")
    photos, said = made(capfd, monkeypatch, tmp_path, "--coco", one, "--coco", two)
    assert sorted(photo.picture.stem for photo in photos) == [f"{number:012}" for number in (1, 2, 3)]
    assert "instances_val2017.json: 1 picture of 3 not in" in said and "3 photographs with masks" in said


def test_of_a_kind_that_is_common_some_are_taken(capfd, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(photo_features, "MOST_OF_A_KIND", 3)
    things = [thing(number, "dog", box(3, 3, 9, 9), 81) for number in range(1, 9)]
    things += [thing(8, "cat", box(20, 3, 9, 9), 81), thing(9, "cup", box(20, 3, 9, 9), 81)]
    folder = make_instances(tmp_path / "coco", things, pictures=9)
    photos, _ = made(capfd, monkeypatch, tmp_path, "--coco", folder)
    kinds = [photo.kinds for photo in photos]
    assert ("dog", "cat") in kinds and () in kinds and 3 <= sum("dog" in found for found in kinds) <= 4


def test_voc(capfd, monkeypatch, tmp_path: Path) -> None:
    for folder in ("JPEGImages", *voc.FOLDERS):
        (tmp_path / "voc" / folder).mkdir(parents=True)
    numbers = np.zeros((HEIGHT, WIDTH), np.uint8)
    numbers[:10, :10], numbers[:10, 20:30], numbers[20:, :5], numbers[20:, 30:] = 15, 5, 255, 12  # 5: a bottle
    palette = Image.fromarray(numbers).convert("P")
    palette.putpalette([channel for index in range(256) for channel in (index, 0, 255 - index)])
    Image.fromarray(numbers).save(tmp_path / "voc/SegmentationClassAug/a.png")
    fine = np.where(numbers == 12, 0, numbers).astype(np.uint8)
    for name, mask in (("a", fine), ("lost", fine)):
        picture = Image.fromarray(mask, "P")
        picture.putpalette(palette.getpalette())
        picture.save(tmp_path / f"voc/SegmentationClass/{name}.png")
    Image.fromarray(numbers).save(tmp_path / "voc/SegmentationClassAug/b.png")
    for name in ("a", "b", "without"):
        Image.new("RGB", (WIDTH, HEIGHT), (90, 120, 40)).save(tmp_path / f"voc/JPEGImages/{name}.jpg")
    photos, said = made(capfd, monkeypatch, tmp_path, "--voc", tmp_path / "voc")
    found = {photo.picture.stem: photo for photo in photos}
    assert set(found) == {"a", "b"} and "1 mask of 3 without a picture" in said
    assert found["a"].kinds == ("person",), "VOC's own mask is finer than the one beside it"
    assert found["b"].kinds == ("dog", "person") and found["b"].complete
    mask = np.asarray(Image.open(found["b"].mask))
    assert [int(mask[place]) for place in ((5, 5), (5, 25), (25, 2), (25, 35), (15, 15))] == [2, 0, 255, 1, 0]


def test_dry_run_counts_what_would_be_taken(capfd, monkeypatch, tmp_path: Path) -> None:
    folder = make_instances(tmp_path / "coco", [thing(1, "dog", box(3, 3, 9, 9), 81)], pictures=2)
    ran = run_avseg(capfd, monkeypatch, "synth", "photos", "--coco", folder, "--out", tmp_path / "photos", "--dry-run")
    assert ran.code == 0 and "2 photographs and masks" in ran.err + ran.out and not (tmp_path / "photos").exists()


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"counts": [25, 5] * 3, "size": [HEIGHT, 3]}, "it is for 3x30, the picture has 40x30"),
        ({"counts": 3, "size": [HEIGHT, WIDTH]}, "does not fit the picture"),
        ({"size": [HEIGHT, WIDTH]}, "does not fit the picture"),
        ({"counts": [5, 5]}, "does not fit the picture"),
        ([["a"] * 6], "does not fit the picture"),
        (7, "does not fit the picture"),
    ],
)
def test_an_outline_that_is_none_is_one_sentence(form: object, said: str, capfd, monkeypatch, tmp_path: Path) -> None:
    folder = make_instances(tmp_path / "coco", [thing(1, "dog", form, 81)])
    ran = run_avseg(capfd, monkeypatch, "synth", "photos", "--coco", folder, "--out", tmp_path / "photos")
    assert ran.code == 7 and said in ran.err
    assert "instances_val2017.json: the outline of a dog of 000000000001.jpg" in ran.err
    assert not (tmp_path / "photos").exists()


@pytest.mark.parametrize("text", ["", "[]", '{"images": []}', '{"images": 3, "annotations": 3, "categories": 3}'])
def test_instances_that_are_none(text: str, capfd, monkeypatch, tmp_path: Path) -> None:
    folder = make_instances(tmp_path / "coco", [])
    (folder / "annotations/instances_val2017.json").write_text(text)
    ran = run_avseg(capfd, monkeypatch, "synth", "photos", "--coco", folder, "--out", tmp_path / "photos")
    assert ran.code == 7 and "instances_val2017.json: not as COCO writes instances" in ran.err


def test_a_mask_in_colours_is_refused(capfd, monkeypatch, tmp_path: Path) -> None:
    for folder in ("JPEGImages", "SegmentationClass"):
        (tmp_path / "voc" / folder).mkdir(parents=True)
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "voc/JPEGImages/a.jpg")
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "voc/SegmentationClass/a.png")
    ran = run_avseg(capfd, monkeypatch, "synth", "photos", "--voc", tmp_path / "voc", "--out", tmp_path / "photos")
    assert ran.code == 7 and "a.png: not a mask with a class number of 8 bits at each pixel" in ran.err


@pytest.mark.parametrize("kinds", [coco_classes.KINDS, voc.KINDS], ids=["coco", "voc"])
def test_every_kind_is_one_that_the_model_sees_or_one_that_never_sounds(kinds: dict) -> None:
    assert set(kinds.values()) <= {*SEEN, *OTHER}
