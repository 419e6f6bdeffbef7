"""Clips as tensors, batch after batch: the same order and the same augmentation for the same seed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from avseg_cli.base.sharing import Sharing
from avseg_cli.data.clips import Clip
from avseg_cli.data.files import read_frames, read_log_mel, read_masks, read_object_maps, read_waveform
from avseg_cli.data.subsets import MASK_SIZE
from avseg_cli.model.log_mel import EXAMPLE_FRAMES, MEL_BANDS, SAMPLE_RATE

SHARED_MEMORY = Path("/dev/shm")


@dataclass
class Sample:
    """One clip. frames: uint8 (T, H, W, 3); log_mel: (T, 1, 96, 64); masks: bool (A, 224, 224), A <= T.

    index: its place in the data set. frames or masks are None where the job does not ask for them.
    """

    index: int
    name: str
    log_mel: Tensor | None = None
    frames: Tensor | None = None
    masks: Tensor | None = None
    object_maps: Tensor | None = None  # uint8 (T, H, W)
    embeddings: Tensor | None = None  # of the image encoder, (T, C, g, g), where they were kept


class MemoryCache:
    """Decoded arrays in memory, shared by all loader workers where there are any, as long as they fit.

    Training reads each picture hundreds of times; AVSBench's frames are small (750 kB a clip). Workers are new in
    every epoch, and find here what those before them have read.
    """

    def __init__(
        self, count: int, shape: tuple[int, ...], dtype: torch.dtype = torch.uint8, shared: bool = False
    ) -> None:
        self._rows = torch.empty((count, *shape), dtype=dtype)
        self._filled = torch.zeros(count, dtype=torch.bool)
        if shared:
            self._rows.share_memory_()
            self._filled.share_memory_()

    @classmethod
    def if_it_fits(
        cls,
        count: int,
        shape: tuple[int, ...],
        dtype: torch.dtype = torch.uint8,
        shared: bool = False,
        share: float = 0.2,
    ) -> MemoryCache | None:
        """A cache, or None when it would take more than ``share`` of the free memory, or does not fit what the system
        has for sharing (64 MB in many containers)."""
        needed = count * int(np.prod(shape)) * dtype.itemsize
        try:
            free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (AttributeError, ValueError):  # no such figure on this system
            return None
        if needed >= share * free or (shared and needed >= share * _free_to_share()):
            return None
        try:
            return cls(count, shape, dtype, shared)
        except (RuntimeError, OSError):  # something else took the room
            return None

    def get(self, index: int, read: Callable[[], np.ndarray]) -> Tensor:
        """The row, read once. An array of another shape is passed through."""
        if self._filled[index]:
            return self._rows[index]
        array = torch.from_numpy(np.ascontiguousarray(read()))
        if array.shape == self._rows.shape[1:]:
            self._rows[index] = array
            self._filled[index] = True
        return array


def _free_to_share() -> float:
    """Bytes left where memory shared by processes lives; infinite where the system sets no limit."""
    return shutil.disk_usage(SHARED_MEMORY).free if SHARED_MEMORY.is_dir() else float("inf")


class ClipDataset(Dataset[Sample]):
    """The clips of a split. ``wanted`` names what a sample holds: frames, log_mel, masks, object_maps."""

    def __init__(
        self,
        clips: Sequence[Clip],
        wanted: Sequence[str],
        cache: bool = True,
        workers: int = 0,
    ) -> None:
        self.clips = list(clips)
        self.wanted = frozenset(wanted)
        frames, masks = len(clips[0].frames), len(clips[0].masks)
        shapes = {
            "frames": ((frames, MASK_SIZE, MASK_SIZE, 3), torch.uint8),
            "masks": ((masks, MASK_SIZE, MASK_SIZE), torch.uint8),
            "object_maps": ((frames, MASK_SIZE, MASK_SIZE), torch.uint8),
            "log_mel": ((frames, 1, EXAMPLE_FRAMES, MEL_BANDS), torch.float32),
        }
        self._caches = {
            name: MemoryCache.if_it_fits(len(clips), *shape, shared=workers > 0) if cache else None
            for name, shape in shapes.items()
            if name in self.wanted
        }
        self._log_mel: dict[int, Tensor] = {}  # where there is no cache: 120 kB a clip

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> Sample:
        clip = self.clips[index]
        sample = Sample(index, clip.name)
        if "frames" in self.wanted:
            sample.frames = self._read("frames", index, lambda: read_frames(clip))
        if "masks" in self.wanted:
            sample.masks = self._read("masks", index, lambda: read_masks(clip).view(np.uint8)).bool()
        if "object_maps" in self.wanted:
            sample.object_maps = self._read("object_maps", index, lambda: read_object_maps(clip))
        if "log_mel" in self.wanted:
            sample.log_mel = self.sound(index)
        return sample

    def sound(self, index: int) -> Tensor:
        """The log-mel of clip ``index``, (T, 1, 96, 64)."""
        if self._caches.get("log_mel"):
            return self._read("log_mel", index, lambda: read_log_mel(self.clips[index]).numpy())
        if index not in self._log_mel:
            self._log_mel[index] = read_log_mel(self.clips[index])
        return self._log_mel[index]

    def _read(self, name: str, index: int, read: Callable[[], np.ndarray]) -> Tensor:
        cache = self._caches[name]
        return cache.get(index, read) if cache else torch.from_numpy(np.ascontiguousarray(read()))


Transform = Callable[[Sample, torch.Generator], Sample]


class _Augmented(Dataset[Sample]):
    """Applies a transform whose randomness depends on seed, epoch and clip alone, not on workers or order."""

    def __init__(self, data: Dataset[Sample], transform: Transform, seed: int, epoch: int) -> None:
        self.data, self.transform, self.seed, self.epoch = data, transform, seed, epoch

    def __getitem__(self, index: int) -> Sample:
        key = ((self.seed * 1_000_003 + self.epoch) * 1_000_003 + index) % 2**62
        generator = torch.Generator().manual_seed(key)
        return self.transform(self.data[index], generator)


def batch_indices(count: int, batch_size: int, seed: int, epoch: int, sharing: Sharing) -> list[list[int]]:
    """This process's part of every batch of an epoch: a permutation that seed and epoch decide.

    ``batch_size`` is per process; the last batch may be smaller, and is left out when it does not reach all processes.
    """
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch)).tolist()
    step = batch_size * sharing.world
    batches = [order[i : i + step] for i in range(0, count, step)]
    return [batch[sharing.rank :: sharing.world] for batch in batches if len(batch) >= sharing.world]


def load_batches(
    data: Dataset[Sample],
    batches: list[list[int]],
    workers: int = 0,
    transform: Transform | None = None,
    seed: int = 0,
    epoch: int = 0,
) -> Iterator[list[Sample]]:
    """The samples of each batch in order; ``workers`` processes read ahead."""
    source = _Augmented(data, transform, seed, epoch) if transform else data
    loader = DataLoader(
        source,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=list,
        generator=torch.Generator().manual_seed(0),  # else the loader draws from, and so moves, the global one
    )
    return iter(loader)


class SoundDataset(Dataset[Tensor]):
    """The waveforms of clips in memory as int16, (clips, seconds * 16000): a few hundred MB for thousands."""

    def __init__(self, clips: Sequence[Clip]) -> None:
        samples = len(clips[0].frames) * SAMPLE_RATE
        self.waveforms = torch.zeros(len(clips), samples, dtype=torch.int16)
        for i, clip in enumerate(clips):
            wave = torch.from_numpy(read_waveform(clip.wav))[:samples]
            self.waveforms[i, : len(wave)] = (wave.clamp(-1, 1) * 32767).round().short()

    def __len__(self) -> int:
        return len(self.waveforms)

    def __getitem__(self, index: int) -> Tensor:
        return self.waveforms[index].float() / 32767
