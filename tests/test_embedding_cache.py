"""Embeddings on disk: shared out between processes, with their room taken beforehand, whatever was killed before."""

from __future__ import annotations

import errno
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from miniature import make

from avseg_cli.base.errors import OutputError
from avseg_cli.base.sharing import Sharing
from avseg_cli.data import dataset
from avseg_cli.data.clips import Clip, read_clips
from avseg_cli.data.dataset import ClipDataset, MemoryCache, load_batches
from avseg_cli.data.embedding_cache import CHUNK, DONE, VALUES, EmbeddingCache
from avseg_cli.data.subsets import find_subset
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.model.backbones import preset


class Late(Sharing):
    """One of two processes; while it waits, ``meanwhile`` happens: the other's work."""

    def __init__(self, rank: int, meanwhile=lambda: None) -> None:
        super().__init__(rank, 2)
        object.__setattr__(self, "meanwhile", meanwhile)

    def wait(self) -> None:
        self.meanwhile()


class Setup:
    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self, sharing: Sharing | None = None) -> None:
        self.sharing = sharing or Sharing()

    def autocast(self):
        return nullcontext()

    def track(self, items, description):
        return items


def rows(cache: EmbeddingCache, count: int) -> torch.Tensor:
    return torch.stack([cache.row(index) for index in range(count)])


@pytest.fixture(scope="module")
def model() -> AvsegModel:
    torch.manual_seed(0)
    return AvsegModel(preset("tiny", image_size=64, fusion_depth=1)).eval()


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    root = make(tmp_path_factory.mktemp("data"), "ms3", {"train": 4 * CHUNK})
    return read_clips(root, find_subset("ms3"), "train")


def test_a_late_process_does_its_own_chunks(model: AvsegModel, clips: list[Clip], tmp_path: Path) -> None:
    """It looks when the first has already marked two of the four, which are not to shift what is its own."""
    (whole,) = EmbeddingCache.prepared(tmp_path / "whole", model, [clips], Setup())
    with pytest.raises(OutputError, match="some embeddings were not written"):
        EmbeddingCache.prepared(tmp_path / "two", model, [clips], Setup(Late(0)))  # the other never came
    (shared,) = EmbeddingCache.prepared(tmp_path / "two", model, [clips], Setup(Late(1)))
    count = len(clips)
    assert torch.equal(rows(shared, count), rows(whole, count)) and rows(whole, count).abs().min() >= 0
    assert bool(rows(whole, count).flatten(1).any(1).all())


def test_the_room_of_all_is_taken_before_anything_is_computed(
    model: AvsegModel, clips: list[Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []

    def full(file: int, start: int, count: int) -> None:
        taken.append(count)
        if len(taken) == 3:  # the values of the second split
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    monkeypatch.setattr(AvsegModel, "embed_frames", lambda *_: pytest.fail("computed before there was room"))
    with pytest.raises(OutputError, match=r"needs 0\.00 GB and the disk has .* GB left .*cache"):
        EmbeddingCache.prepared(tmp_path, model, [clips[:8], clips[8:]], Setup())
    assert not list(tmp_path.rglob(VALUES)), "what was begun is gone"


def test_a_file_takes_all_its_room_at_once(model: AvsegModel, clips: list[Clip], tmp_path: Path) -> None:
    (cache,) = EmbeddingCache.prepared(tmp_path, model, [clips[:4]], Setup())
    status = (cache.folder / VALUES).stat()
    assert status.st_blocks * 512 >= status.st_size


def test_how_long_the_rest_takes_is_said_after_the_second_chunk(
    model: AvsegModel, clips: list[Clip], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    EmbeddingCache.prepared(tmp_path, model, [clips, clips[: 2 * CHUNK]], Setup())
    (said,) = [line for line in capsys.readouterr().err.splitlines() if "computing" in line]
    assert said.startswith("embeddings: computing what is left takes about")


@pytest.mark.parametrize(
    "left",
    [{VALUES: b""}, {VALUES: b"\0" * 100, DONE: b""}, {DONE: b"\0"}, {DONE: b"\1"}, {VALUES: b"\0" * 8, DONE: b"\1"}],
    ids=str,
)
def test_what_a_kill_left_of_its_making_is_taken_up(
    left: dict, model: AvsegModel, clips: list[Clip], tmp_path: Path
) -> None:
    (cache,) = EmbeddingCache.prepared(tmp_path, model, [clips[:4]], Setup())
    wanted = rows(cache, 4)
    for name in (VALUES, DONE):
        (cache.folder / name).unlink()
    for name, content in left.items():
        (cache.folder / name).write_bytes(content)
    (again,) = EmbeddingCache.prepared(tmp_path, model, [clips[:4]], Setup())
    assert torch.equal(rows(again, 4), wanted)


# --- what loader workers share


def test_memory_is_shared_with_workers_alone(clips: list[Clip], monkeypatch: pytest.MonkeyPatch) -> None:
    """A container may have 64 MB for sharing: it is not needed without workers, and done without where it is full."""
    monkeypatch.setattr(torch.Tensor, "share_memory_", lambda self: pytest.fail("shared with nobody"))
    assert MemoryCache.if_it_fits(4, (10,)) is not None
    assert ClipDataset(clips, ("masks",))[0].masks.any()
    monkeypatch.setattr(dataset, "_free_to_share", lambda: 39.0)
    assert MemoryCache.if_it_fits(4, (10,), shared=True) is None
    monkeypatch.setattr(dataset, "_free_to_share", lambda: 1e9)

    def full(self: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("unable to allocate shared memory")

    monkeypatch.setattr(torch.Tensor, "share_memory_", full)
    assert MemoryCache.if_it_fits(4, (10,), shared=True) is None
    assert ClipDataset(clips, ("masks",), workers=2)[0].masks.any()


def test_sound_is_analysed_once_whatever_the_workers(
    clips: list[Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = dataset.read_log_mel

    def noted(clip: Clip) -> torch.Tensor:
        with open(tmp_path / "read", "a") as file:
            file.write(f"{clip.name}\n")
        return own(clip)

    monkeypatch.setattr(dataset, "read_log_mel", noted)
    data = ClipDataset(clips[:4], ("log_mel",), workers=1)
    for _ in range(2):
        samples = [batch[0] for batch in load_batches(data, [[i] for i in range(4)], workers=1)]
    assert len((tmp_path / "read").read_text().splitlines()) == 4
    assert torch.equal(samples[2].log_mel, own(clips[2]))
