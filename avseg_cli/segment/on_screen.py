"""Whose voice it is: a voice marks somebody only while a face is in the picture.

Whoever narrates is not in the picture, and whoever is may be silent: a worker seen from behind, a pianist's hands. The
model cannot see who speaks, but whether anybody could be: a face is looked for, and only where a voice is heard.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from avseg_cli.model.kinds import NO_SOUND, VOICES
from avseg_cli.outputs.heard import KNOWN

SURE = 0.75  # probability from which a face is one; MediaPipe takes 0.6, and so finds some in machines and in fur
NEAR = 1.1  # seconds for which somebody who looks away is still there
AGAIN = 0.5  # seconds after a face until one is looked for again
HEARD = 0.1  # probability below which a voice matters to no mask

Item = TypeVar("Item")


class Frame(Protocol):
    """What is looked at: its place in the order of time, its time in seconds, uint8 RGB (H, W, 3)."""

    index: int
    time: float
    pixels: Tensor


class OnScreen:
    """Tells of frames, in order of time, whether a face is in them, shortly before, or in the next one.

    probability: of a picture, uint8 RGB (H, W, 3), to show a face; not asked twice for a frame. cut: whether another
    scene begins between two times; faces of other scenes do not count.
    """

    def __init__(self, probability: Callable[[Tensor], float], cut: Callable[[float, float], bool]) -> None:
        self._probability, self._cut = probability, cut
        self._last = float("-inf")  # seconds: when a face was seen
        self._known: dict[int, bool] = {}

    def near(self, frame: Frame, following: Frame | None) -> bool:
        """Whether whoever speaks in ``frame`` may be in the picture."""
        if self._apart(self._last, frame.time, AGAIN) and self._face(frame):
            self._last = frame.time
        if not self._apart(self._last, frame.time, NEAR):
            return True
        return following is not None and not self._apart(frame.time, following.time, NEAR) and self._face(following)

    def _apart(self, before: float, after: float, seconds: float) -> bool:
        return after - before >= seconds or self._cut(before, after)

    def _face(self, frame: Frame) -> bool:
        if frame.index not in self._known:
            self._known = {index: seen for index, seen in self._known.items() if index >= frame.index - 1}
            self._known[frame.index] = self._probability(frame.pixels) >= SURE
        return self._known[frame.index]


def without_absent(sound: Tensor, kinds: tuple[str, ...], near: list[Callable[[], bool]]) -> tuple[Tensor, list[bool]]:
    """What is heard, (N, audio_dim) with a probability for each of ``kinds`` first, without voices of nobody in sight.

    near: for each second, whether whoever speaks may be in the picture; asked only where a voice is heard. Also gives
    the seconds in which such a voice is all that can be named.
    """
    voices = [place for place, kind in enumerate(kinds) if kind in VOICES]
    things = [place for place, kind in enumerate(kinds) if kind not in (*VOICES, NO_SOUND, "music")]
    heard = (sound[:, voices] >= HEARD).any(1).tolist()
    absent = torch.tensor([voice and not seen() for voice, seen in zip(heard, near, strict=True)], device=sound.device)
    alone = absent & (sound[:, voices] >= KNOWN).any(1) & (sound[:, things] < KNOWN).all(1)
    sound = sound.clone()
    sound[:, voices] *= ~absent[:, None]
    return sound, alone.tolist()


def with_next(items: Iterable[Item]) -> Iterator[tuple[Item, Item | None]]:
    """Each item with the one after it; None after the last."""
    waiting: list[Item] = []
    for item in items:
        if waiting:
            yield waiting.pop(), item
        waiting.append(item)
    if waiting:
        yield waiting.pop(), None
