"""Image embeddings computed once: memory-mapped, half precision, safe to interrupt.

Stage 1a never changes the encoder and hears no sound in it; an epoch then costs fusion and decoder only.
"""

from __future__ import annotations

import hashlib
import json
import os
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
from avseg_cli.model.config import ModelConfig
from avseg_cli.model.transforms import MEAN, STD

VALUES, DONE = "embeddings.f16", "done.u8"
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
        self._values = np.memmap(folder / VALUES, np.float16, "r+", shape=shape)
        self._chunks_done = np.memmap(folder / DONE, np.uint8, "r+", shape=(_chunks(shape),))

    @classmethod
    def prepared(
        cls, root: Path, model: AvsegModel, splits: Sequence[Sequence[Clip]], setup: CacheSetup
    ) -> list[EmbeddingCache]:
        """A cache for each list of clips under ``root``, with what it lacks computed now.

        The disk's room for all of them is taken before anything is computed. Raises ``OutputError`` when there is none.
        """
        config = model.config
        places = [
            (root / _key(model, clips, setup.dtype), (len(clips), len(clips[0].frames), *embedding_shape(config)))
            for clips in splits
        ]
        if setup.sharing.rank == 0:
            _take_room(places)
        setup.sharing.wait()
        caches = [cls(folder, shape) for folder, shape in places]
        for cache, clips in zip(caches, splits, strict=True):
            cache._fill(model, clips, setup)
        setup.sharing.wait()
        for cache in caches:
            cache._refuse_gaps()
        return caches

    def read(self, indices: Sequence[int]) -> Tensor:
        """The embeddings of some clips, float16 (len, T, C, g, g)."""
        return torch.from_numpy(self._values[list(indices)])

    @torch.inference_mode()
    def _fill(self, model: AvsegModel, clips: Sequence[Clip], setup: CacheSetup) -> None:
        sharing = setup.sharing
        own = range(sharing.rank, len(self._chunks_done), sharing.world)  # shared out before the others mark theirs
        missing = [chunk for chunk in own if not self._chunks_done[chunk]]
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

    def _refuse_gaps(self) -> None:
        if not self._chunks_done.all():
            raise OutputError(
                f"{self.folder}: some embeddings were not written; all processes must see the same folder, so give "
                "one that they share with --cache"
            )


def embedding_shape(config: ModelConfig) -> tuple[int, int, int]:
    """(C, g, g) of one frame."""
    return config.out_chans, config.grid, config.grid


def _chunks(shape: tuple[int, ...]) -> int:
    return -(-shape[0] // CHUNK)


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


def _take_room(places: Sequence[tuple[Path, tuple[int, ...]]]) -> None:
    """Make the files of caches at their full size, or none: a hole in a mapped file on a full disk ends the process."""
    sizes = [{VALUES: int(np.prod(shape)) * 2, DONE: _chunks(shape)} for _, shape in places]
    new = [sum(size.values()) for (folder, _), size in zip(places, sizes, strict=True) if not _is_there(folder, size)]
    made: list[Path] = []
    try:
        for (folder, _), size in zip(places, sizes, strict=True):
            folder.mkdir(parents=True, exist_ok=True)
            for name, count in size.items():
                if not (folder / name).exists():
                    made.append(folder / name)
                _reserve(folder / name, count)
    except OSError as error:
        for path in made:
            path.unlink(missing_ok=True)
        free = shutil.disk_usage(places[0][0]).free
        raise OutputError(
            f"{places[0][0].parent}: the embedding cache needs {sum(new) / 1e9:.2f} GB and the disk has "
            f"{free / 1e9:.2f} GB left ({error.strerror or error}); give another folder with --cache"
        ) from error
    if new:
        print(f"embedding cache: {sum(new) / 1e9:.2f} GB in {places[0][0].parent}", file=sys.stderr)


def _is_there(folder: Path, size: dict[str, int]) -> bool:
    return all((folder / name).is_file() and (folder / name).stat().st_size == size[name] for name in size)


def _reserve(path: Path, count: int) -> None:
    """Let ``path`` have ``count`` bytes on the disk, zeros where it has none yet; what it holds stays."""
    with open(path, "r+b" if path.exists() else "w+b") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, count)
        file.truncate(count)
