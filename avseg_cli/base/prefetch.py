"""Running an iterator ahead in a thread, so that decoding, the model, drawing and encoding overlap."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from time import perf_counter
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")


class Prefetch(Iterator[Item], Generic[Item]):
    """The items of ``source``, made in a thread at most ``depth`` ahead; its errors are raised here.

    The thread starts with the first item asked for. It alone touches the source, and closes it: containers must
    not be closed from another thread while they decode. ``close`` stops it and waits.

    ``made`` counts the seconds the thread spent making items, ``waited`` those its reader spent waiting for one.
    """

    def __init__(self, source: Iterable[Item], depth: int) -> None:
        self._queue: queue.Queue[tuple[str, Any]] = queue.Queue(depth)
        self._thread = threading.Thread(target=self._run, args=(source,), daemon=True)
        self._lock = threading.Lock()
        self._asked = self._begun = self._over = False
        self._stop, self._ended = threading.Event(), threading.Event()
        self.made = self.waited = 0.0

    def __next__(self) -> Item:
        if self._over:
            raise StopIteration
        if not self._asked:
            self._asked = True
            self._thread.start()
        began = perf_counter()
        kind, value = self._queue.get()
        self.waited += perf_counter() - began
        if kind == "item":
            return value
        self._over = True
        self._ended.wait()
        if kind == "error":
            raise value
        raise StopIteration

    def close(self) -> None:
        """Stop the thread, and wait until it has closed its source."""
        with self._lock:  # Ctrl-C may come while the thread starts: then it is here, or sees that it must not begin
            self._stop.set()
        while self._begun and not self._ended.is_set():
            with suppress(queue.Empty):
                self._queue.get(timeout=0.02)  # a thread that waits to put needs room
        self._over = True

    def _run(self, source: Iterable[Item]) -> None:
        with self._lock:
            if self._stop.is_set():
                return
            self._begun = True
        try:
            self._put_last(self._put_items(source))
        finally:
            self._ended.set()

    def _put_items(self, source: Iterable[Item]) -> tuple[str, object]:
        """Put what the source gives, close it, and tell how it ended."""
        iterator = iter(source)
        try:
            for item in self._timed(iterator):
                self._queue.put(("item", item))
                if self._stop.is_set():
                    break
        except BaseException as error:  # noqa: BLE001  handed to the reader
            return "error", error
        finally:
            if hasattr(iterator, "close"):
                iterator.close()
        return "end", None

    def _timed(self, iterator: Iterator[Item]) -> Iterator[Item]:
        while True:
            began = perf_counter()
            try:
                item = next(iterator)
            except StopIteration:
                return
            finally:
                self.made += perf_counter() - began
            yield item

    def _put_last(self, last: tuple[str, object]) -> None:
        while not self._stop.is_set():
            try:
                self._queue.put(last, timeout=0.05)
                return
            except queue.Full:
                continue
