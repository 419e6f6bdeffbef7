"""Running an iterator ahead in a thread, so that decoding, the model, drawing and encoding overlap."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Prefetch(Iterator[Item], Generic[Item]):
    """The items of ``source``, made in a thread at most ``depth`` ahead; its errors are raised here.

    The thread alone touches the source, and closes it: containers must not be closed from another thread
    while they decode. ``close`` stops it and waits.
    """

    def __init__(self, source: Iterable[Item], depth: int) -> None:
        self._queue: queue.Queue[tuple[str, object]] = queue.Queue(depth)
        self._stop = threading.Event()
        self._over = False
        self._thread = threading.Thread(target=self._run, args=(source,), daemon=True)
        self._thread.start()

    def __next__(self) -> Item:
        if self._over:
            raise StopIteration
        kind, value = self._queue.get()
        if kind == "item":
            return value
        self._over = True
        self._thread.join()
        if kind == "error":
            raise value
        raise StopIteration

    def close(self) -> None:
        """Stop the thread, and wait until it has closed its source."""
        self._stop.set()
        while self._thread.is_alive():
            try:
                self._queue.get(timeout=0.02)  # a thread that waits to put needs room
            except queue.Empty:
                continue
        self._over = True

    def _run(self, source: Iterable[Item]) -> None:
        last: tuple[str, object] = ("end", None)
        iterator = iter(source)
        try:
            for item in iterator:
                self._queue.put(("item", item))
                if self._stop.is_set():
                    break
        except BaseException as error:  # noqa: BLE001  handed to the reader
            last = ("error", error)
        finally:
            if hasattr(iterator, "close"):
                iterator.close()
            self._put_last(last)

    def _put_last(self, last: tuple[str, object]) -> None:
        while not self._stop.is_set():
            try:
                self._queue.put(last, timeout=0.05)
                return
            except queue.Full:
                continue
