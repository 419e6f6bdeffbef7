"""Public weight files: the manifest that pins them, the cache folder, and whether what is in it is sound.

A file counts as verified when its SHA-256 was compared with the manifest and neither its size nor its
modification time has changed since; the comparison is remembered in a small record beside the file.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from avseg_cli.base.errors import CheckpointError
from avseg_cli.base.json_text import parse_json
from avseg_cli.base.whole_files import write_json

DEFAULT_FILE = "avseg-small.safetensors"
MODELS = "avseg-*.safetensors"  # those that ship with avseg
_CHUNK = 4 << 20  # bytes read at a time while hashing
_FULL_SHA256 = 64  # hexadecimal digits
_MIN_SHA256 = 8  # the digits torch.hub puts into file names

Progress = Callable[[int], None]  # bytes done since the last call


@dataclass(frozen=True)
class PublicFile:
    """One line of the manifest."""

    name: str  # what the user types
    file: str  # its name in the cache folder, and below a mirror
    url: str
    size: int | None  # bytes; None where the publisher does not say
    sha256: str  # all 64 digits, or the first of them where no more are published
    purpose: str

    @property
    def path(self) -> Path:
        return cache_dir() / self.file

    @property
    def fully_pinned(self) -> bool:
        return len(self.sha256) == _FULL_SHA256

    def matches(self, digest: str) -> bool:
        return digest.startswith(self.sha256)


def weights_dir() -> Path:
    """The folder of embedded weights: beside the package in a checkout, inside it when installed."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "weights"
    return installed if installed.is_dir() else package.parent / "weights"


def faces_file() -> Path:
    """The face detector that ships with avseg."""
    return weights_dir() / "faces.safetensors"


def default_checkpoint() -> Path:
    """What ``--checkpoint default`` means: the model that ships with avseg, or ``AVSEG_DEFAULT_CHECKPOINT``."""
    chosen = os.environ.get("AVSEG_DEFAULT_CHECKPOINT")
    return Path(chosen).expanduser() if chosen else weights_dir() / DEFAULT_FILE


def cache_dir() -> Path:
    """Where downloads are kept: ``AVSEG_CACHE``, or the user's cache folder of the platform."""
    chosen = os.environ.get("AVSEG_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("avseg") / "weights"


def manifest() -> dict[str, PublicFile]:
    """The public files by name. Raises ``CheckpointError`` for a missing or malformed manifest."""
    return read_manifest(weights_dir() / "manifest.json")


@lru_cache(maxsize=4)
def read_manifest(path: Path) -> dict[str, PublicFile]:
    """Read and check a manifest; a file name in it cannot lead out of the cache folder."""
    try:
        entries = [PublicFile(**entry) for entry in parse_json(path.read_text(encoding="utf-8"))["files"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: not a readable manifest ({error}); reinstall avseg") from error
    for entry in entries:
        problem = _problem(entry)
        if problem:
            raise CheckpointError(f"{path}: {entry.name!r} is not a valid entry: {problem}; reinstall avseg")
    return {entry.name: entry for entry in entries}


def _problem(entry: PublicFile) -> str | None:
    texts = (entry.name, entry.file, entry.url, entry.sha256, entry.purpose)
    if not all(isinstance(text, str) for text in texts):
        return "a field is not text"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", entry.file):
        return f"{entry.file!r} is not a plain file name"
    if not re.fullmatch(rf"[0-9a-f]{{{_MIN_SHA256},{_FULL_SHA256}}}", entry.sha256):
        return "its SHA-256 is not 8 to 64 hexadecimal digits"
    if not (entry.size is None or (type(entry.size) is int and entry.size > 0)):
        return f"its size is {entry.size!r}"
    if not entry.url.startswith("https://"):
        return f"its address {entry.url!r} is not https"
    return None


def public_file(name: str) -> PublicFile:
    """The manifest's entry of that name, or file name. Raises ``CheckpointError`` listing the names."""
    entries = manifest()
    by_file = {entry.file: entry for entry in entries.values()}
    entry = entries.get(name) or by_file.get(name)
    if entry is None:
        raise CheckpointError(f"no public weights are named {name!r}; there are {', '.join(entries)}")
    return entry


def find(name: str) -> Path:
    """The verified file of the public weights ``name``, e.g. ``"sam_vit_h"`` or ``"vggish"``.

    The first use of a file hashes it; later uses trust the record. Raises ``CheckpointError`` when the
    file is not there or is not what the manifest says.
    """
    entry = public_file(name)
    state = check(entry)
    if state == "missing":
        raise CheckpointError(f"{entry.path} is not there; get it with `avseg weights download {entry.name}`")
    if state == "damaged":
        raise CheckpointError(
            f"{entry.path} is not the file the manifest pins (its SHA-256 differs); "
            f"get it again with `avseg weights download {entry.name}`"
        )
    return entry.path


def checksum(name: str) -> str:
    """The SHA-256 the manifest pins for ``name``; the first digits where the publisher gives no more."""
    return public_file(name).sha256


def status(entry: PublicFile) -> str:
    """``"missing"``, ``"unverified"``, ``"damaged"`` or ``"verified"``, without hashing anything."""
    if not entry.path.is_file():
        return "missing"
    if _has_wrong_size(entry):
        return "damaged"
    digest = _recorded(entry.path)
    if digest is None:
        return "unverified"
    return "verified" if entry.matches(digest) else "damaged"


def check(entry: PublicFile, progress: Progress | None = None, again: bool = False) -> str:
    """``status``, but never "unverified": a file without a record, or any file ``again``, is hashed."""
    state = status(entry)
    if state == "missing" or _has_wrong_size(entry) or not (again or state == "unverified"):
        return state
    digest = _hash_and_record(entry.path, progress)
    return "verified" if entry.matches(digest) else "damaged"


def hash_file(path: Path, progress: Progress | None = None) -> str:
    """SHA-256 of a file, streamed."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            if progress:
                progress(len(chunk))
    return digest.hexdigest()


def record(path: Path, digest: str) -> None:
    """Remember the SHA-256 of a file as it is now."""
    facts = path.stat()
    about = {"sha256": digest, "size": facts.st_size, "mtime_ns": facts.st_mtime_ns}
    write_json(_record_path(path), about)


def _has_wrong_size(entry: PublicFile) -> bool:
    return entry.size is not None and entry.path.stat().st_size != entry.size


def _hash_and_record(path: Path, progress: Progress | None) -> str:
    before = path.stat().st_mtime_ns
    digest = hash_file(path, progress)
    if path.stat().st_mtime_ns == before:  # else it was written to meanwhile
        with suppress(OSError):  # a cache folder that only others may write to: hash it each time
            record(path, digest)
    return digest


def _recorded(path: Path) -> str | None:
    """The SHA-256 remembered for this file, if the file is still the one that was hashed."""
    try:
        about = parse_json(_record_path(path).read_text(encoding="utf-8"))
        facts = path.stat()
        is_current = (about["size"], about["mtime_ns"]) == (facts.st_size, facts.st_mtime_ns)
        digest = about["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return digest if is_current and isinstance(digest, str) and len(digest) == _FULL_SHA256 else None


def _record_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.verified.json")


def size_text(size: int) -> str:
    """A number of bytes for people: ``"2.56 GB"``."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.3g} {unit}"
    return f"{size} bytes"
