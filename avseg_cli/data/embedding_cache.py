"""Image embeddings computed once: memory-mapped, half precision, safe to interrupt.

Stage 1a never changes the encoder and hears no sound in it; an epoch then costs fusion and decoder only.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from avseg_cli.base.errors import DataError, OutputError
from avseg_cli.base.sharing import Sharing
from avseg_cli.data.clips import Clip
from avseg_cli.data.files import read_frames
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.model.transforms import MEAN, STD

CHUNK = 4  # clips computed together; fixed, so that a value never depends on where a run was interrupted


class CacheSetup(Protocol):
    sharing: Sharing
    device: torch.device
    dtype: torch.dtype

    def autocast(self) -> AbstractContextManager[None]: ...

    def track(self, items: Sequence[int], description: str) -> Iterable[int]: ...


class EmbeddingCache:
    """The embeddings of a list of clips, float16 (clips, T, C, g, g), in one file."""

    def __init__(self, folder: Path, shape: tuple[int, ...]) -> None:
        self.folder = folder
        mode = "r+" if (folder / "embeddings.f16").exists() else "w+"
        self._values = np.memmap(folder / "embeddings.f16", np.float16, mode, shape=shape)
        self._chunks_done = np.memmap(folder / "done.u8", np.uint8, mode, shape=(-(-shape[0] // CHUNK),))

    @classmethod
    def prepared(cls, root: Path, model: AvsegModel, clips: Sequence[Clip], setup: CacheSetup) -> EmbeddingCache:
        """The cache for these clips under ``root``, with what it lacks computed now.

        Raises ``OutputError`` when the disk has no room.
        """
        config = model.config
        shape = (len(clips), len(clips[0].frames), config.out_chans, config.grid, config.grid)
        folder = root / _key(model, clips, setup.dtype)
        if setup.sharing.rank == 0:
            _make_room(folder, shape)
            cls(folder, shape)
        setup.sharing.wait()
        cache = cls(folder, shape)
        cache._fill(model, clips, setup)
        setup.sharing.wait()
        return cache

    def read(self, indices: Sequence[int]) -> Tensor:
        """The embeddings of some clips, float16 (len, T, C, g, g)."""
        return torch.from_numpy(self._values[list(indices)])

    @torch.inference_mode()
    def _fill(self, model: AvsegModel, clips: Sequence[Clip], setup: CacheSetup) -> None:
        sharing = setup.sharing
        missing = [c for c in range(len(self._chunks_done)) if not self._chunks_done[c]][sharing.rank :: sharing.world]
        for chunk in setup.track(missing, "embedding frames"):
            first = chunk * CHUNK
            for offset, clip in enumerate(clips[first : first + CHUNK]):
                frames = model.preprocess(torch.from_numpy(read_frames(clip)))
                with setup.autocast():
                    values = model.embed_frames(frames, None).float()
                if not torch.isfinite(values).all():
                    raise DataError(f"{clip.frames[0].parent}: the encoder gives values that are not finite")
                self._values[first + offset] = values.half().cpu().numpy()
            self._values.flush()
            self._chunks_done[chunk] = 1  # only after its rows are on disk
        self._chunks_done.flush()


def _key(model: AvsegModel, clips: Sequence[Clip], dtype: torch.dtype) -> str:
    """What the embeddings depend on: the encoder's weights, precision and preprocessing, and the frames' files."""
    digest = hashlib.sha256()
    for name, tensor in model.image_encoder.state_dict().items():
        if not name.startswith("adapters."):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    digest.update(json.dumps([model.config.image_size, MEAN, STD, str(dtype)]).encode())
    for clip in clips:
        for path in clip.frames:
            try:
                status = path.stat()
            except OSError as error:
                raise DataError(f"{path}: missing; `avseg prepare --check` lists what a data root lacks") from error
            digest.update(f"{path.name} {status.st_size} {status.st_mtime_ns}".encode())
    return digest.hexdigest()[:32]


def _make_room(folder: Path, shape: tuple[int, ...]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    needed = int(np.prod(shape)) * 2
    if (folder / "embeddings.f16").exists():
        return
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OutputError(
            f"{folder}: the embedding cache needs {needed / 1e9:.1f} GB and the disk has {free / 1e9:.1f} GB left; "
            "give another folder with --cache"
        )
    print(f"embedding cache: {needed / 1e9:.2f} GB in {folder}", file=sys.stderr)
