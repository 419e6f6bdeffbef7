"""Processes that share work, one of which may be killed."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

from avseg_cli.base.errors import DeviceError, named


@contextmanager
def killed_is_told(subject: object, made: str) -> Iterator[None]:
    """Around a ``ProcessPoolExecutor`` that makes ``made`` for ``subject``. Raises ``DeviceError``: one sentence."""
    try:
        yield
    except BrokenProcessPool as error:
        raise DeviceError(
            f"{subject}: a process that made {made} was killed, as the system does when memory runs out; use fewer "
            f"{named('workers')}"
        ) from error
