"""Packages that only some commands need. They are extras of the installation, imported when such a command runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from avseg_cli.base.errors import AvsegError


@contextmanager
def extra(name: str, user: str) -> Iterator[None]:
    """Around imports of what the extra ``name`` brings. Raises ``AvsegError``: one sentence that names it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "avseg_cli":
            raise
        cure = f"pip install 'avseg[{name}]'"
        raise AvsegError(f"{user} needs {error.name}, which is not installed: {cure}") from error
