"""What the system lets a process have: a folder to be in, and memory.

The libraries below Python end the process by themselves, or blame whatever they were at, where one of these is missing.
So both are looked at before any of them is loaded, and what fails close to a limit names it.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from contextlib import suppress

from avseg_cli.base.errors import AvsegError, DeviceError, InputError, OutputError, named

try:
    import resource
except ImportError:  # Windows, which has no such limits
    resource = None

ROOM = 1 << 30  # bytes of addresses that the model, its threads and a video take beside the libraries
NEAR = 512 << 20  # bytes below the limit from which it may be the cause: what was refused is not counted
LOADED = f"""
import mmap, sys
try:
    import av, torch
except ModuleNotFoundError:
    sys.exit()  # which is no matter of memory
mmap.mmap(-1, {ROOM})
"""
SIGNS = ("allocate memory", "out of memory", "bad_alloc", "create a primitive", "failed to map segment", "new thread")


class ShortOfMemory(DeviceError):
    """Memory ran out, or may have."""


def ensure_limits() -> None:
    """Raise ``InputError`` where the current folder is gone, ``DeviceError`` where PyTorch cannot be loaded for memory.

    The latter is tried in a process of its own, and only where memory is limited, as by ``ulimit -v``.
    """
    try:
        os.getcwd()
    except OSError as error:
        raise InputError("the current folder was deleted or is out of reach; change to another one") from error
    if memory_limit() is None:
        return
    trial = subprocess.run([sys.executable, "-P", "-c", LOADED], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if trial.returncode:
        raise ShortOfMemory(f"not enough memory to load PyTorch and a model: {_limit_text()}")


def memory_limit() -> int | None:
    """Bytes of addresses that this process may have; None where nothing limits them."""
    if resource is None:
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def about_memory(error: Exception, of: str = "") -> ShortOfMemory | None:
    """The error said as one of memory, where it is one or happened close to the limit; None for any other.

    of: what it is about, in front of the sentence.
    """
    if isinstance(error, ShortOfMemory):
        return error
    near = _near_limit()
    if _ran_out(error) or (isinstance(error, OutputError) and _ran_out(error.__cause__)):
        cure = _limit_text() if near else f"close other programs, or use a smaller model or {named('batch_size')}"
        return ShortOfMemory(f"{of}out of memory; {cure}")
    if not near:
        return None
    said = str(error.args[0]) if isinstance(error, AvsegError) else f"{of}{' '.join(str(error).split())[:200]}"
    return ShortOfMemory(f"{said}; want of memory may be the cause: {_limit_text()}")


def _ran_out(error: BaseException | None) -> bool:
    if isinstance(error, RuntimeError | ImportError):
        return any(sign in str(error) for sign in SIGNS)
    return isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM


def _near_limit() -> bool:
    limit = memory_limit()
    return limit is not None and limit - _most_addresses() < NEAR


def _most_addresses() -> int:
    """Bytes of addresses this process had at its largest; 0 where the system does not say."""
    with suppress(OSError), open("/proc/self/status") as status:
        return next((1024 * int(line.split()[1]) for line in status if line.startswith("VmPeak:")), 0)
    return 0


def _limit_text() -> str:
    return (
        f"this process may use {(memory_limit() or 0) / 1e9:.1f} GB of addresses; raise that limit "
        "(`ulimit -v unlimited`, or ask the batch system for more)"
    )
