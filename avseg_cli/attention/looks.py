"""What ST-BAVA looks at in a video, clip after clip, in numbers that can be read without knowing T or N."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from avseg_cli.attention.attention_options import AttentionOptions
from avseg_cli.attention.instants import ClipLook, FrameLook, MapRow
from avseg_cli.attention.maps import Maps, fusion_maps, stbava_of
from avseg_cli.media.audio import SoundReader
from avseg_cli.media.video import Video, VideoReader
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.segment.grid import Grid
from avseg_cli.segment.runner import Encoded, Runner, check_span, inference
from avseg_cli.segment.sampling import ClipSequence, sample


@dataclass(frozen=True)
class _Item:
    picture: np.ndarray
    wave: np.ndarray
    encoded: Encoded


def check_ready(model: AvsegModel, options: AttentionOptions) -> None:
    """Raises ``CheckpointError`` for a model without maps, ``InputError`` for a choice of what it does not have."""
    stbava_of(model)
    options.choice.check(model.config)


class Looks(Iterator[ClipLook]):
    """The clips of one video in order, one instant a second as in training, made while they are asked for.

    ``width``: of the pictures kept, in pixels at most. Raises as ``check_ready`` does, ``InputError`` for an unusable
    span at once, and what ``segment_video`` raises while it goes on.
    """

    def __init__(
        self, video: Video, model: AvsegModel, options: AttentionOptions | None = None, width: int = 480
    ) -> None:
        options = options or AttentionOptions()
        check_ready(model, options)
        self.video, self.choice, self.width = video, options.choice, width
        self._runner = Runner(model, options.batch_size)
        check_span(video, options.start)
        self._reader = VideoReader(video, *options.span)
        self._sound = SoundReader(video.sound, options.start)
        self._count = 0  # instants seen
        self._clips = self._clip_looks(model.config.clip_frames)

    @property
    def warnings(self) -> list[str]:
        """What was found wrong with the input so far, a sentence each."""
        heard = [f"sound: {warning}" for warning in self._sound.damage.warnings()]
        return [*self.video.warnings, *self._reader.damage.warnings(), *heard, *self._runner.warnings()]

    def __next__(self) -> ClipLook:
        return next(self._clips)

    def close(self) -> None:
        """Close the files; an unfinished look needs it."""
        self._clips.close()
        self._sound.close()

    def _clip_looks(self, length: int) -> Iterator[ClipLook]:
        sequence = ClipSequence[_Item](length, stride=length)
        shown = 0  # instants given out
        items = self._items()
        try:
            for item in items:
                for start, clip in sequence.push(item):
                    yield self._look(clip, new=length)
                    shown = start + length
            for start, clip in sequence.finish():
                yield self._look(clip[: self._count - start], new=self._count - shown, repeated=clip)
        finally:
            items.close()
            self._sound.close()

    def _items(self) -> Iterator[_Item]:
        frames = self._runner.loaded(sample(self._reader, Grid(), self._reader.end, self._reader.damage))
        try:
            while batch := list(islice(frames, self._runner.batch_size)):
                waves = [self._sound.second(frame.end) for frame in batch]
                for frame, wave, encoded in zip(batch, waves, self._runner.encode(batch, waves), strict=True):
                    self._count += 1
                    yield _Item(smaller(frame.pixels.numpy(), self.width), wave, encoded)
        finally:
            frames.close()

    def _look(self, items: list[_Item], new: int, repeated: list[_Item] | None = None) -> ClipLook:
        clip = [item.encoded for item in repeated or items]
        with inference(self._runner.device):
            embeddings = torch.stack([item.embedding for item in clip])[None]
            sound = torch.stack([item.sound for item in clip])[None]
            maps = fusion_maps(self._runner.model, embeddings, sound)
            rows = [_row(*row) for row in self.choice.of(maps)]
        logits = self._runner.decode([clip])[0]
        instants = [
            FrameLook(item.encoded.time, item.encoded.end, item.picture, item.wave, own)
            for item, own in zip(items, logits[: len(items)], strict=True)
        ]
        return ClipLook(instants, rows, new)


def _row(label: str, maps: Maps, head: int | None) -> MapRow:
    space = _one(maps.space, head)  # (T, N)
    time, time_pairs = _over_time(maps.time, head)
    listening, listening_pairs = _over_time(maps.listening, head)
    return MapRow(
        label,
        _grid(space * space.shape[-1]),
        time,
        listening,
        time_pairs,
        None if listening_pairs is None else listening_pairs.T,
    )


def _one(maps: Tensor, head: int | None) -> Tensor:
    """(1, T, h, ...) -> (T, ...): one head, or the mean of all."""
    return maps[0].mean(1) if head is None else maps[0, :, head]


def _over_time(maps: Tensor | None, head: int | None) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Each instant's own map (T, g, g), and the pairs (T, S)."""
    if maps is None:
        return None, None
    share = _one(maps, head) * maps.shape[3]  # (T, S, N)
    own = share.diagonal(dim1=0, dim2=1).T  # (T, N)
    return _grid(own), share.mean(-1).cpu().numpy()


def _grid(maps: Tensor) -> np.ndarray:
    """(T, N) -> (T, g, g)."""
    side = round(maps.shape[-1] ** 0.5)
    return maps.unflatten(-1, (side, side)).cpu().numpy()


def smaller(picture: np.ndarray, width: int) -> np.ndarray:
    """The RGB picture (H, W, 3), scaled down to ``width`` pixels if it is wider."""
    height, own = picture.shape[:2]
    if own <= width:
        return picture
    size = (width, max(1, round(height * width / own)))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS, reducing_gap=2))
