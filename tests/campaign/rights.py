"""No file or folder is closed to root; what is to be refused to it takes a thread that gave that power up.

Nothing but the power goes: the thread is still root's, so it reads root's own Python, configuration and files.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

VERSION_3 = 0x20080522  # of capget(2) and capset(2): two words for each set
PASSES_ANY_DOOR = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
Sets = ctypes.c_uint32 * 6  # effective, permitted, inheritable; then the same of the higher bits


class CannotGiveUp(Exception):
    """This system has no way to close a file to its root."""


@contextmanager
def closed_doors() -> Iterator[None]:
    """``close_doors`` for a while."""
    before = close_doors()
    try:
        yield
    finally:
        if before is not None:
            _call("capset", before)


def close_doors() -> Sets | None:
    """Let permissions hold for this thread, and those it starts, even where it is root's; what it could do before.

    None where it is not root's. Raises ``CannotGiveUp``.
    """
    if os.geteuid() != 0:
        return None
    before = Sets()
    _call("capget", before)
    _call("capset", Sets(before[0] & ~PASSES_ANY_DOOR, *before[1:]))  # permitted still: it can be taken up again
    return before


def _call(name: str, sets: Sets) -> None:
    header = (ctypes.c_uint32 * 2)(VERSION_3, 0)  # 0: this thread
    try:
        failed = getattr(ctypes.CDLL(None, use_errno=True), name)(header, sets)
    except (AttributeError, OSError) as error:  # not Linux
        raise CannotGiveUp(f"no {name} here, and root passes any permission") from error
    if failed:
        raise CannotGiveUp(f"{name}: {os.strerror(ctypes.get_errno())}, and root passes any permission")
