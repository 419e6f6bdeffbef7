"""The pictures of one video for two who need them seconds apart: decoded once, where memory holds what lies between."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

from avseg_cli.media.video import Picture, VideoReader

ENOUGH = 768 << 20  # bytes of pictures, eight seconds of 1080p30: more are not read ahead unless somebody waits
MOST = 1 << 30  # bytes beyond which nothing is kept: a second decoding is cheaper than swapping
SHARE = 4  # of the free memory nothing is kept beyond one part in so many: other processes may start as well


class SharedPictures:
    """Iterate over it in one thread for the pictures themselves, over ``behind()`` in another for the same ones again.

    What the first has read is kept until the second takes it. Where that is more than memory should hold, as of 4K or
    of 1080p60 at one mask a second, the second decodes the video for itself. ``waited``: seconds the second waited for
    the first, ``held`` those the first waited for room.
    """

    def __init__(self, reader: VideoReader, ahead: float, free: int | None) -> None:
        """ahead: seconds by which the first gets ahead of the second. free: bytes of memory, where that is known."""
        self._reader, self._ahead = reader, ahead
        self._most = MOST if free is None else min(MOST, free // SHARE)
        self._kept: deque[Picture] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._sharing = self._awaited = self._over = False
        self.waited = self.held = 0.0

    def __iter__(self) -> Iterator[Picture]:
        try:
            for picture in self._reader:
                self._keep(picture)
                yield picture
        finally:
            self.close()

    def behind(self) -> Iterator[Picture]:
        """The pictures again. To be asked for before the first of them is read."""
        self._sharing = True
        return self._again()

    @contextmanager
    def awaited(self) -> Iterator[None]:
        """While whoever is behind waits for what is made of the pictures ahead, so that these must be read."""
        self._set_awaited(True)
        try:
            yield
        finally:
            self._set_awaited(False)

    def close(self) -> None:
        """Keep nothing more; nobody waits any longer."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def _set_awaited(self, awaited: bool) -> None:
        with self._changed:
            self._awaited = awaited
            self._changed.notify_all()

    def _keep(self, picture: Picture) -> None:
        began = time.perf_counter()
        with self._changed:
            while self._sharing and self._bytes >= ENOUGH and not (self._awaited or self._over):
                self._changed.wait()
            self.held += time.perf_counter() - began
            if not self._sharing or self._over:
                return
            self._kept.append(picture)
            self._bytes += _size(picture)
            if max(self._bytes, _size(picture) * self._ahead * self._reader.video.rate) > self._most:
                self._kept.clear()
                self._sharing = False
            self._changed.notify_all()

    def _again(self) -> Iterator[Picture]:
        given = 0
        while (picture := self._next()) is not None:
            given += 1
            yield picture
        if not self._sharing:
            alone = VideoReader(self._reader.video, self._reader.start, self._reader.end)
            yield from islice(alone, given, None)

    def _next(self) -> Picture | None:
        """The next picture that was kept; None after the last."""
        began = time.perf_counter()
        with self._changed:
            while self._sharing and not (self._kept or self._over):
                self._changed.wait()
            self.waited += time.perf_counter() - began
            if not self._kept:
                return None
            picture = self._kept.popleft()
            self._bytes -= _size(picture)
            self._changed.notify_all()
            return picture


def _size(picture: Picture) -> int:
    """Bytes of a decoded frame."""
    return sum(plane.buffer_size for plane in picture.frame.planes)
