"""Other sounds for the same pictures (AVSBench-Robust): silence, white noise, another clip's, another visible object's.

Under the first three the right mask is empty; under the last it is that object.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from avseg_cli.base.errors import DataError, InputError, named
from avseg_cli.data.clips import Clip
from avseg_cli.data.dataset import ClipDataset
from avseg_cli.model.log_mel import SAMPLE_RATE, clip_log_mel
from avseg_cli.scoring.evaluate_options import NEGATIVES

NOISE_RMS = 0.1  # of full scale: as loud as the recordings
VISIBLE_SHARE = 0.005  # of a frame: an object smaller than this does not count as visible


class NegativeSounds:
    """For each clip, sound that nothing in the picture makes.

    categories_heard: per clip the categories of its sound, where the data tells; categories_seen likewise
    for the picture. Without them (real MS3), "swap" takes the clip half the list away.
    """

    def __init__(
        self,
        data: ClipDataset,
        kind: str,
        heard: list[set[str]] | None,
        seen: list[set[str]] | None,
        seed: int = 0,
    ) -> None:
        if kind not in NEGATIVES:
            raise InputError(f"{named('negatives')} knows {', '.join(NEGATIVES)}, not {kind!r}")
        self.data, self.kind, self.seed = data, kind, seed
        self.donors = _donors([clip.name for clip in data.clips], heard, seen, seed) if kind == "swap" else []

    def log_mel(self, index: int) -> Tensor:
        """The other sound of clip ``index``: (T, 1, 96, 64)."""
        frames = len(self.data.clips[index].frames)
        samples = frames * SAMPLE_RATE
        if self.kind == "silence":
            return clip_log_mel(np.zeros(samples, np.float32), frames)
        if self.kind == "noise":
            noise = np.random.default_rng((self.seed, index)).standard_normal(samples)
            return clip_log_mel((NOISE_RMS * noise).astype(np.float32), frames)
        return self.data.sound(self.donors[index])


def _donors(names: list[str], heard: list[set[str]] | None, seen: list[set[str]] | None, seed: int) -> list[int]:
    """For each clip another one whose sound has no category that the picture shows."""
    count = len(names)
    if heard is None or seen is None:
        return [(i + count // 2) % count for i in range(count)]
    random = np.random.default_rng(seed)
    donors = []
    for i in range(count):
        fitting = [j for j in random.permutation(count).tolist() if heard[j] and not heard[j] & seen[i]]
        if not fitting:
            raise InputError(
                f"{named('negatives')} swap: no clip of this split sounds of something that "
                f"{names[i]} does not show; use more clips"
            )
        donors.append(fitting[0])
    return donors


def categories_by_name(clips: Sequence[Clip]) -> list[set[str]] | None:
    """What S4's clips sound of and show: their one category. None where clips have no category."""
    if not all(clip.category for clip in clips):
        return None
    return [{clip.category} for clip in clips]


def categories_by_manifest(labels: Tensor, data: ClipDataset) -> tuple[list[set[str]], list[set[str]]]:
    """What ``avseg synth``'s clips sound of (labels (clips, T, K)) and show (object maps), as category numbers."""
    heard, seen = [], []
    for i in range(len(data)):
        heard.append({str(k) for k in labels[i].any(0).nonzero().flatten().tolist()})
        maps = data[i].object_maps
        assert maps is not None, "the data has them"
        present = maps.unique().tolist()
        seen.append({str(k - 1) for k in present if 0 < k < 255})
    return heard, seen


class MovedSounds:
    """The sound of another visible object, put together from seconds of the split in which it alone sounds.

    data: its object maps are read. Raises ``DataError`` when no clip has such an object.
    """

    def __init__(self, data: ClipDataset, labels: Tensor, seed: int = 0) -> None:
        self.data, self.seed = data, seed
        self.pools: dict[int, list[tuple[int, int]]] = {}  # category -> seconds (clip, k)
        for clip, second in (labels.sum(-1) == 1).nonzero().tolist():
            self.pools.setdefault(int(labels[clip, second].argmax()), []).append((clip, second))
        self.silent = ~labels.any(1)  # (clips, K): never sounds in the clip
        if all(self.target(index) is None for index in range(len(data))):
            raise DataError(
                f"{named('move_sound')}: no clip of this split shows a silent object whose sound the split has"
            )

    def target(self, index: int) -> int | None:
        """The largest category visible in every frame of the clip that never sounds in it; None if there is none."""
        maps = self.data[index].object_maps
        best, largest = None, 0
        for category, pool in self.pools.items():
            areas = (maps == category + 1).flatten(1).float().mean(1)
            if self.silent[index, category] and pool and areas.min() >= VISIBLE_SHARE and areas.sum() > largest:
                best, largest = category, float(areas.sum())
        return best

    def log_mel(self, index: int, category: int) -> Tensor:
        """A second of that category for each frame: (T, 1, 96, 64)."""
        pool = self.pools[category]
        random = np.random.default_rng((self.seed, index))
        picks = random.integers(len(pool), size=len(self.data.clips[index].frames))
        return torch.stack([self.data.sound(pool[p][0])[pool[p][1]] for p in picks])
