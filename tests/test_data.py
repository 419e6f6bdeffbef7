"""Reading AVSBench in every layout, and what a wrong data root says."""

from __future__ import annotations

import codecs
import csv
import io
import os
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from miniature import make, mask_image
from PIL import Image

from avseg_cli.base.errors import DataError
from avseg_cli.base.sharing import Sharing
from avseg_cli.data.augment import augment
from avseg_cli.data.check import check_root
from avseg_cli.data.clips import read_categories, read_clips
from avseg_cli.data.dataset import ClipDataset, Sample, batch_indices, load_batches
from avseg_cli.data.files import read_log_mel, read_mask, read_masks
from avseg_cli.data.pickled_tensor import read_pickled_tensor
from avseg_cli.data.subsets import SUBSETS, find_subset
from avseg_cli.model.log_mel import clip_log_mel

SMALL = {"train": 2, "val": 1, "test": 1}


@pytest.mark.parametrize("name", SUBSETS)
def test_every_layout_reads_whole(name: str, tmp_path: Path) -> None:
    root, subset = make(tmp_path, name, SMALL), find_subset(name)
    for split, count in SMALL.items():
        clips = read_clips(root, subset, split)
        assert len(clips) == count
        data = ClipDataset(clips, ("frames", "masks", "log_mel"))
        for i in range(count):
            sample = data[i]
            assert sample.frames.shape == (subset.frames, 224, 224, 3)
            assert sample.log_mel.shape == (subset.frames, 1, 96, 64)
            assert sample.masks.shape == (subset.annotated(split), 224, 224)
            assert sample.masks.any() and not sample.masks.all()
    report = check_root(root, subset)
    assert report.sound and len(report.notes) == 3, report  # the counts are not the published ones


def test_single_source_trains_on_the_first_frame_only(tmp_path: Path) -> None:
    root = make(tmp_path, "s4", SMALL)
    train, test = (read_clips(root, find_subset("s4"), split)[0] for split in ("train", "test"))
    assert (len(train.masks), len(test.masks)) == (1, 5)
    assert train.masks[0].name == f"{train.name}_1.png"


@pytest.mark.parametrize("mode", [0, 1, 2], ids=["gray", "bit", "palette"])
def test_masks_of_every_mode_are_the_same_mask(mode: int, tmp_path: Path) -> None:
    mask = np.zeros((224, 224), bool)
    mask[10:90, 20:60] = True
    mask_image(mask, mode).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), mask)


def test_colour_labels_count_any_channel_but_alpha(tmp_path: Path) -> None:
    colour = np.zeros((224, 224, 4), np.uint8)
    colour[..., 3] = 255
    colour[5:9, :, 2] = 1
    Image.fromarray(colour).save(tmp_path / "mask.png")
    mask = read_mask(tmp_path / "mask.png")
    assert mask[5:9].all() and mask.sum() == 4 * 224


def test_pickled_log_mel_serves_where_the_wav_is_missing(tmp_path: Path) -> None:
    clip = read_clips(make(tmp_path, "ms3", SMALL), find_subset("ms3"), "test")[0]
    wanted = read_log_mel(clip)
    clip.log_mel.parent.mkdir(parents=True)
    clip.wav.unlink()
    with open(clip.log_mel, "wb") as file:
        pickle.dump(wanted.clone().requires_grad_(), file)  # as AVSBench's own preprocessing does
    torch.testing.assert_close(read_log_mel(clip), wanted, rtol=0, atol=0)
    assert not read_log_mel(clip).requires_grad
    clip.log_mel.write_bytes(pickle.dumps(wanted.expand(5, 1, 96, 64)[:, :, :50]))
    with pytest.raises(DataError, match=r"expected floats of shape \(5, 1, 96, 64\)"):
        read_log_mel(clip)


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("with_gradient", [False, True])
def test_tensors_pickled_in_any_protocol_are_read(protocol: int, with_gradient: bool, tmp_path: Path) -> None:
    tensor = torch.randn(5, 1, 96, 64)
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(tensor.clone().requires_grad_(with_gradient), protocol))
    read = read_pickled_tensor(tmp_path / "x.pkl")
    assert torch.equal(read, tensor) and not read.requires_grad


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_of_torch_save_are_read_too(zipped: bool, tmp_path: Path) -> None:
    tensor = torch.randn(5, 1, 96, 64)
    torch.save(tensor, tmp_path / "x.pkl", _use_new_zipfile_serialization=zipped)
    assert torch.equal(read_pickled_tensor(tmp_path / "x.pkl"), tensor)


class Harm:
    """Pickled, it calls ``function`` when it is opened."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple:
        return self.call


def zipped_storage() -> bytes:
    content = io.BytesIO()
    torch.save(torch.zeros(4).untyped_storage(), content)
    return content.getvalue()


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: Harm(os.mkdir, str(folder / "harm")),
        lambda folder: {"x": [torch.zeros(3), Harm(os.mkdir, str(folder / "harm"))]},
        lambda folder: Harm(torch.storage._load_from_bytes, pickle.dumps(Harm(os.mkdir, str(folder / "harm")))),
        lambda folder: Harm(torch.storage._load_from_bytes, zipped_storage()),
        lambda folder: Harm(codecs.encode, "x", "rot13"),
        lambda folder: Harm(getattr, torch.zeros(3), "numpy"),
        lambda folder: OrderedDict(x=torch.zeros(3)),
        lambda folder: torch.nn.Parameter(torch.zeros(3)),
    ],
    ids=[
        "a call",
        "a call in a list",
        "a call in the values",
        "a zip",
        "a codec",
        "an attribute",
        "no tensor",
        "a class",
    ],
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_pickles_of_anything_else_are_refused_and_not_run(harm, protocol: int, tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(harm(tmp_path), protocol))
    with pytest.raises(
        DataError, match=r"x\.pkl: .*(not a pickled tensor|could run code).*put the clip's wav in its place"
    ):
        read_pickled_tensor(tmp_path / "x.pkl")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("length", [0, 1, 100, 2000])
def test_a_truncated_pickle_is_refused(length: int, tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(torch.randn(5, 1, 96, 64))[:length])
    with pytest.raises(DataError, match=r"x\.pkl: not a"):
        read_pickled_tensor(tmp_path / "x.pkl")


@pytest.mark.parametrize(("name", "malformed"), [("v2", 0), ("ms3", 1)])
def test_masks_of_the_later_release_have_their_videos_size(name: str, malformed: int, tmp_path: Path) -> None:
    root, subset = make(tmp_path, name, SMALL), find_subset(name)
    clip = read_clips(root, subset, "test")[0]
    Image.new("L", (1280, 720), 255).save(clip.masks[0])
    report = check_root(root, subset)
    assert len(report.malformed) == malformed and not report.missing
    assert read_masks(clip)[0].all()


def test_short_sound_repeats_its_last_example() -> None:
    sound = np.random.default_rng(0).standard_normal(3 * 16_000).astype(np.float32)
    examples = clip_log_mel(sound, 5)
    assert torch.equal(examples[2], examples[4]) and not torch.equal(examples[1], examples[2])


def test_a_missing_root_says_what_it_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such data folder.*Multi-sources/ms3_meta_data.csv"):
        read_clips(tmp_path / "nowhere", find_subset("ms3"), "train")


def test_a_wrong_root_says_what_it_expected_and_found(tmp_path: Path) -> None:
    (tmp_path / "holiday").mkdir()
    with pytest.raises(DataError, match=r"expected Single-source/s4_meta_data.csv.*gt_masks.*but found holiday"):
        read_clips(tmp_path, find_subset("s4"), "train")


def test_an_unknown_split_says_which_there_are(tmp_path: Path) -> None:
    root = make(tmp_path, "ms3", SMALL)
    with pytest.raises(DataError, match="split 'dev'; it has the splits test, train, val"):
        read_clips(root, find_subset("ms3"), "dev")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([["name", "part"], ["a", "train"]], "no column 'split'"),
        ([["name", "split"], ["", "train"]], "line 2 is incomplete"),
        ([["name", "split"], ["../../etc", "train"]], "is not the name of a clip"),
    ],
)
def test_malformed_csv_names_the_line(rows: list[list[str]], message: str, tmp_path: Path) -> None:
    table = make(tmp_path, "ms3", SMALL) / "Multi-sources" / "ms3_meta_data.csv"
    with open(table, "w", newline="") as file:
        csv.writer(file).writerows(rows)
    with pytest.raises(DataError, match=message):
        read_clips(tmp_path, find_subset("ms3"), "train")


def test_check_lists_missing_and_malformed_files(tmp_path: Path) -> None:
    root = make(tmp_path, "ms3", SMALL)
    first, second = read_clips(root, find_subset("ms3"), "train")
    first.frames[2].unlink()
    first.wav.write_bytes(b"not a sound")
    second.masks[0].write_bytes(b"\x89PNG cut")
    Image.new("L", (100, 100)).save(second.masks[1])
    report = check_root(root, find_subset("ms3"))
    assert [str(first.frames[2]) in line for line in report.missing] == [True]
    assert len(report.malformed) == 3
    assert any("100x100" in line for line in report.malformed)


def test_a_missing_frame_points_to_the_check(tmp_path: Path) -> None:
    clips = read_clips(make(tmp_path, "ms3", SMALL), find_subset("ms3"), "train")
    clips[0].frames[0].unlink()
    with pytest.raises(DataError, match="missing; `avseg prepare --check`"):
        ClipDataset(clips, ("frames",))[0]


def test_masks_other_than_224_are_brought_to_224(tmp_path: Path) -> None:
    clip = read_clips(make(tmp_path, "ms3", SMALL), find_subset("ms3"), "test")[0]
    for path in clip.masks:
        Image.fromarray(np.full((448, 448), 255, np.uint8)).save(path)
    assert read_masks(clip).shape == (5, 224, 224)


def test_two_processes_share_every_batch_of_one() -> None:
    whole = batch_indices(10, 4, seed=3, epoch=2, sharing=Sharing())
    parts = [batch_indices(10, 2, seed=3, epoch=2, sharing=Sharing(rank, 2)) for rank in range(2)]
    for batch, *shares in zip(whole, *parts, strict=True):
        assert sorted(batch) == sorted(sum(shares, []))
    assert batch_indices(10, 4, 3, 3, Sharing()) != whole


def test_augmentation_depends_on_clip_and_epoch_not_on_workers(tmp_path: Path) -> None:
    clips = read_clips(make(tmp_path, "ms3", {"train": 4}), find_subset("ms3"), "train")
    data = ClipDataset(clips, ("frames", "masks"))
    batches = [[0, 1], [2, 3]]

    def frames(workers: int, epoch: int) -> list[torch.Tensor]:
        loaded = load_batches(data, batches, workers, augment, seed=1, epoch=epoch)
        return [sample.frames for batch in loaded for sample in batch]

    one, two, other = frames(0, 0), frames(2, 0), frames(0, 1)
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    assert not all(a.shape == b.shape and torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_augmentation_moves_frames_and_masks_alike() -> None:
    frames = torch.zeros(5, 224, 224, 3, dtype=torch.uint8)
    masks = torch.zeros(5, 224, 224, dtype=torch.bool)
    frames[:, 60:120, 30:100], masks[:, 60:120, 30:100] = 200, True
    seen = augment(Sample(0, "x", frames=frames, masks=masks), torch.Generator().manual_seed(5))
    bright = Image.fromarray((seen.frames[0, :, :, 0] > 60).numpy()).resize((224, 224), Image.Resampling.NEAREST)
    agreement = (np.asarray(bright) == seen.masks[0].numpy()).mean()
    assert agreement > 0.99


def test_the_label_table_of_the_later_release_is_read(tmp_path: Path) -> None:
    make(tmp_path, "v2")
    (tmp_path / "categories.json").unlink()
    table = tmp_path / "label2idx.json"
    table.write_text('{"background": 0, "tiger": 2, "accordion": 1}')
    assert read_categories(tmp_path, find_subset("v2")) == ["accordion", "tiger"]
    for wrong in ('{"background": 0, "tiger": 2}', "[1, 2]", "{", '{"a": "0", "b": "1"}'):
        table.write_text(wrong)
        with pytest.raises(DataError, match="label2idx.json"):
            read_categories(tmp_path, find_subset("v2"))
