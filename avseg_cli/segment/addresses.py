"""Videos and outputs where archives keep them: s3://, gs:// and https:// addresses, through fsspec.

A video comes into a temporary file, since it is read twice and not from its beginning to its end; outputs are made
in a temporary folder and put in place when they are whole, which object stores do in one step.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit, urlunsplit

from avseg_cli.base.errors import AvsegError, InputError, OutputError, named
from avseg_cli.base.writing import DISK_FULL
from avseg_cli.outputs.output_kind import Kind

NOT_FOUND = 404  # of HTTP, as aiohttp's errors have it
STORES = ("s3", "gs")  # can be listed and written to
WEB = ("https", "http")  # can be read
CHUNK = 1 << 20  # bytes


def is_url(name: str | Path) -> bool:
    """Whether a name is an address rather than a path on this machine."""
    scheme, separator, _ = str(name).partition("://")
    return bool(separator) and scheme.isalnum()


def location(name: str) -> Path:
    """A path, or for an address the object that behaves like one (``upath.UPath``).

    Raises ``InputError`` for an address of another kind, or without the packages of avseg[remote].
    """
    if not is_url(name):
        return Path(name)
    scheme = name.partition("://")[0].lower()
    if scheme not in (*STORES, *WEB):
        raise InputError(f"{name}: avseg reads s3://, gs:// and https:// addresses; copy the file here first")
    try:
        from upath import UPath  # pyright: ignore[reportMissingImports]  of an extra

        path = UPath(name, **({"get_client": _careful_client} if scheme in WEB else {}))
        path.fs  # noqa: B018  the file system's own package is loaded here
        return cast(Path, path)  # not one by inheritance, but with its methods
    except ImportError as error:
        raise InputError(f"{name}: addresses need more packages: pip install 'avseg[remote]'") from error


async def _careful_client(**options: Any) -> Any:
    """A web session that does not follow an https address to one that is not."""
    import aiohttp  # pyright: ignore[reportMissingImports]  of an extra

    watch = aiohttp.TraceConfig()
    watch.on_request_redirect.append(_refuse_downgrade)
    return aiohttp.ClientSession(trace_configs=[watch], **options)


async def _refuse_downgrade(session: Any, context: Any, redirect: Any) -> None:
    target = redirect.response.headers.get("Location", "")
    if redirect.url.scheme == "https" and urlsplit(target).scheme not in ("https", ""):
        raise InputError(f"{redirect.url}: redirects to {target}, not https; refused")


def is_folder(path: Path) -> bool:
    """Whether an address is that of a folder: a prefix with objects below it."""
    if path.protocol in WEB:
        return False
    with reaching(path):
        return path.is_dir()


def exists(path: Path) -> bool:
    """Whether there is something at a path or an address."""
    if not is_url(path):
        return os.path.exists(path)  # where Path.exists raises, writing will say why it cannot
    with reaching(path, OutputError):
        return path.exists()


def files_below(folder: Path, recursive: bool) -> list[Path]:
    """The objects in a folder, sorted, by one listing."""
    with reaching(folder):
        found = folder.fs.find(folder.path, maxdepth=None if recursive else 1)
    start = folder.path.rstrip("/") + "/"
    return [folder / name.removeprefix(start) for name in sorted(found) if name.startswith(start)]


def plain_name(path: Path) -> str:
    """The last part of an address as a file name: without its query, and leading nowhere."""
    name = urlsplit(str(path)).path.rpartition("/")[2]
    return name if name.strip(".") and not {"\\", "\0"} & set(name) else "video"


def open_name(source: Path) -> str:
    """What documents call a source: an address of the web without user and query, which may be secrets."""
    if not is_url(source) or source.protocol not in WEB:
        return str(source)
    parts = urlsplit(str(source))
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


@contextmanager
def fetched(source: Path) -> Iterator[Path]:
    """A temporary file with the content of an address."""
    with tempfile.TemporaryDirectory(prefix="avseg-") as folder:
        copy = Path(folder) / plain_name(source)
        with reaching(source), source.open("rb") as reader, open(copy, "wb") as writer:
            while block := reader.read(CHUNK):
                writer.write(block)
        yield copy


@contextmanager
def delivered(outputs: dict[str, Path]) -> Iterator[dict[str, Path]]:
    """Places for outputs on this machine; those meant for addresses go there when the block ends well.

    Raises ``OutputError`` when an address cannot be written to.
    """
    remote = {name: path for name, path in outputs.items() if is_url(path)}
    if not remote:
        yield outputs
        return
    with tempfile.TemporaryDirectory(prefix="avseg-") as folder:
        local = {name: Path(folder) / path.name for name, path in remote.items()}
        try:
            yield outputs | local
        except OutputError as error:
            raise _of_address(error, [(local[name], path) for name, path in remote.items()]) from error
        for name, path in remote.items():
            with reaching(path, OutputError):
                path.fs.put_file(str(local[name]), path.path)


def _of_address(error: OutputError, made: list[tuple[Path, Path]]) -> OutputError:
    """The error about the address that its file, as it is made here, is meant for."""
    path, said = next((path for file, path in made if str(file) in error.args[0]), None), error.args[0]
    if path is not None and isinstance(error.__cause__, OSError) and error.__cause__.errno in DISK_FULL:
        return _no_room(path)
    for file, path in made:
        said = said.replace(str(file), str(path))
    return OutputError(said)


def check_writable(outputs: dict[str, Path], kinds: Mapping[str, Kind]) -> None:
    """Refuse what cannot appear whole at an address. Raises ``OutputError``."""
    for name, path in outputs.items():
        if is_url(path) and path.protocol in WEB:
            raise OutputError(
                f"{path}: addresses of the web cannot be written to; give {named('output')} a folder, s3:// or gs://"
            )
        if is_url(path) and kinds[name].several:
            raise OutputError(
                f"{path}: {name} is several files, which cannot appear whole in an object store; "
                f"use {named('formats')} json, which holds the masks too, or {named('output')} a folder here"
            )


@contextmanager
def reaching(path: Path, kind: type[AvsegError] = InputError) -> Iterator[None]:
    """Whatever a store's own package raises becomes a sentence that names the address."""
    try:
        yield
    except AvsegError:
        raise
    except FileNotFoundError as error:
        cause = error.__cause__  # fsspec's word for whatever kept it from asking
        if isinstance(cause, AvsegError):
            raise cause from error
        missing = isinstance(cause, FileNotFoundError) or getattr(cause, "status", None) == NOT_FOUND
        if isinstance(cause, Exception) and not missing:
            raise _unreachable(path, cause, kind) from error
        raise kind(f"{path}: no such file") from error
    except PermissionError as error:
        raise kind(f"{path}: access denied; check the credentials of this machine") from error
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise _unreachable(path, error, kind) from error
        raise _no_room(path) from error
    except Exception as error:  # each store has errors of its own, children of Exception
        raise _unreachable(path, error, kind) from error


def _no_room(path: Path) -> OutputError:
    return OutputError(f"{path}: no room for a temporary copy; set TMPDIR to a folder on another disk")


def _unreachable(path: Path, error: Exception, kind: type[AvsegError]) -> AvsegError:
    said = " ".join(str(error).split())[:200] or type(error).__name__
    return kind(f"{path}: cannot be reached ({said})")
