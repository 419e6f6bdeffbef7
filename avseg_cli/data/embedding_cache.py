"""Image embeddings computed once: memory-mapped, half precision, safe to interrupt.

Stage 1a never changes the encoder and hears no sound in it; an epoch then costs fusion and decoder only.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from avseg_cli.base.errors import DataError
from avseg_cli.data.clips import Clip
from avseg_cli.data.disk_rows import CHUNK, DONE, DiskRows, FillSetup, Place, hashed
from avseg_cli.data.files import read_frames
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.model.config import ModelConfig
from avseg_cli.model.transforms import MEAN, STD

__all__ = ["CHUNK", "DONE", "VALUES", "EmbeddingCache", "embedding_shape"]

VALUES = "embeddings.f16"


class EmbeddingCache:
    """The embeddings of a list of clips, float16 (clips, T, C, g, g), in one file."""

    def __init__(self, rows: DiskRows) -> None:
        self.folder, self._values = rows.folder, rows.arrays["embeddings"]

    @classmethod
    def prepared(
        cls, root: Path, model: AvsegModel, splits: Sequence[Sequence[Clip]], setup: FillSetup
    ) -> list[EmbeddingCache]:
        """A cache for each list of clips under ``root``, with what it lacks computed now.

        The disk's room for all of them is taken before anything is computed. Raises ``OutputError`` when there is none.
        """
        places = [
            Place(
                root / _key(model, clips, setup.dtype), len(clips),
                {"embeddings": ("float16", (len(clips[0].frames), *embedding_shape(model.config)))},
                partial(_embedded, model, clips, setup),
            )
            for clips in splits
        ]  # fmt: skip
        return [cls(rows) for rows in DiskRows.prepared(places, setup, "embeddings")]

    def row(self, index: int) -> Tensor:
        """The embeddings of a clip, float16 (T, C, g, g): the file itself, which is read when the values are."""
        return torch.from_numpy(self._values[index])


@torch.inference_mode()
def _embedded(model: AvsegModel, clips: Sequence[Clip], setup: FillSetup, items: range) -> dict[str, np.ndarray]:
    """Those of some clips."""
    found = []
    for clip in clips[items.start : items.stop]:
        frames = model.preprocess(torch.from_numpy(read_frames(clip)))
        with setup.autocast():
            values = model.embed_frames(frames, None).float()
        if not torch.isfinite(values).all():
            raise DataError(f"{clip.frames[0].parent}: the encoder gives values that are not finite")
        found.append(values.half().cpu().numpy())
    return {"embeddings": np.stack(found)}


def embedding_shape(config: ModelConfig) -> tuple[int, int, int]:
    """(C, g, g) of one frame."""
    return config.out_chans, config.grid, config.grid


def _key(model: AvsegModel, clips: Sequence[Clip], dtype: torch.dtype) -> str:
    """What the embeddings depend on: the encoder's weights, precision and preprocessing, and the frames' files."""
    weights = model.image_encoder.state_dict()
    digest = hashed({name: weights[name] for name in weights if not name.startswith("adapters.")})
    digest.update(json.dumps([model.config.image_size, MEAN, STD, str(dtype)]).encode())
    for clip in clips:
        for path in clip.frames:
            try:
                status = path.stat()
            except OSError as error:
                raise DataError(f"{path}: missing; `avseg prepare --check` lists what a data root lacks") from error
            digest.update(f"{path.name} {status.st_size} {status.st_mtime_ns}".encode())
    return digest.hexdigest()[:32]
