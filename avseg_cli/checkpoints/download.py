"""``avseg weights download``: a public file into the cache folder, whole and verified or not at all.

What is on its way is ``NAME.part``; a broken download goes on from there, also after a kill. The file gets
its own name only after its SHA-256 matched the manifest.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import ssl
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, Request, build_opener

from filelock import FileLock, Timeout

from avseg_cli.base.errors import DownloadError, OutputError, named
from avseg_cli.base.json_text import parse_json
from avseg_cli.base.version import __version__
from avseg_cli.checkpoints.download_options import DownloadOptions
from avseg_cli.checkpoints.manifest import PublicFile, check, hash_file, record, size_text

CHUNK = 1 << 20  # bytes per read
MARGIN = 64 << 20  # bytes of disk left free
REAL_PROGRESS = 1 << 20  # bytes an attempt must bring to count as progress
LONGEST_WAIT = 60.0  # seconds between two attempts
OVERLOADED = (408, 425, 429)  # HTTP answers that mean "later"; so do those from 500

OnProgress = Callable[[int, int], None]  # bytes there, bytes in all
Say = Callable[[str], None]


class _Broken(Exception):
    """An attempt that failed in a way that another may not; ``wait``: seconds the server asked for."""

    def __init__(self, reason: object, wait: float = 0.0) -> None:
        super().__init__(str(reason))
        self.wait = wait


def download(
    entry: PublicFile,
    options: DownloadOptions | None = None,
    on_progress: OnProgress = lambda done, total: None,
    say: Say = lambda message: None,
) -> Path:
    """Bring ``entry`` into the cache folder and return its path; a verified file is left as it is.

    Two processes asking for one file share one download. Raises ``DownloadError`` for what the network or
    the source does wrong (what came so far is kept for the next run, unless its hash is wrong), and
    ``OutputError`` when the disk is too full.
    """
    options = options or DownloadOptions()
    entry.path.parent.mkdir(parents=True, exist_ok=True)
    with _lock(entry, say):
        if check(entry) == "verified":
            return entry.path
        if options.folder is not None:
            _take(entry, options.folder, on_progress)
        else:
            opener = build_opener(_CarefulRedirects(options.insecure))
            _fetch(_Job(entry, address(entry, options), options, on_progress, say, opener))
    return entry.path


def _lock(entry: PublicFile, say: Say) -> AbstractContextManager:
    """Hold the file's lock, which the system lets go of however this process ends."""
    lock = FileLock(entry.path.with_name(f".{entry.file}.lock"))
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        say(f"another avseg is downloading {entry.name}; waiting for it")
        return lock.acquire()


def address(entry: PublicFile, options: DownloadOptions) -> str:
    """The URL to ask, or ``DownloadError`` if asking is not allowed."""
    if options.offline:
        raise DownloadError(
            f"{entry.name} is not in the cache and avseg is offline; "
            f"give a folder that has the file ({named('folder')}), or allow the network"
        )
    url = entry.url if options.mirror is None else f"{options.mirror.rstrip('/')}/{entry.file}"
    scheme = urlsplit(url).scheme
    if scheme not in ("https", "http"):
        raise DownloadError(f"{url}: not an https address; for a folder of files use {named('folder')}")
    if scheme == "http" and not options.insecure:
        raise DownloadError(f"{url}: not https; use an https mirror, or allow it with {named('insecure')}")
    if scheme == "http" and not entry.fully_pinned:
        raise DownloadError(
            f"{url}: {entry.name} has no full checksum to check plain http by; use https or {named('folder')}"
        )
    return url


class _Part:
    """The growing ``.part`` file: its bytes, their SHA-256, and the server's name for this version."""

    def __init__(self, target: Path, on_progress: Callable[[int], None]) -> None:
        self.path = target.with_name(f"{target.name}.part")
        self._note = target.with_name(f"{target.name}.part.json")
        self._target = target
        self._file = open(self.path, "ab+")  # noqa: SIM115 (closed by __exit__)
        self._digest = hashlib.sha256()
        self.size = 0
        self.resumed = False
        self.validator = self._noted_validator()
        if self.validator is None:
            self.restart(None)
        else:
            self._rehash(on_progress)

    def __enter__(self) -> _Part:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, chunk: bytes) -> None:
        self._file.write(chunk)
        self._digest.update(chunk)
        self.size += len(chunk)

    def restart(self, validator: str | None) -> None:
        """Forget all bytes; those to come are of the version ``validator``."""
        self._file.truncate(0)
        self._digest, self.size, self.resumed = hashlib.sha256(), 0, False
        self.validator = validator
        if validator is None:
            self._note.unlink(missing_ok=True)
        else:
            self._note.write_text(json.dumps({"if_range": validator}), encoding="utf-8")

    def digest(self) -> str:
        return self._digest.hexdigest()

    def finish(self) -> None:
        """Give the complete, verified file its name."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        _put_in_place(self.path, self._target, self.digest())
        self._note.unlink(missing_ok=True)

    def discard(self) -> None:
        self._file.close()
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def _rehash(self, on_progress: Callable[[int], None]) -> None:
        self._file.seek(0)
        while chunk := self._file.read(CHUNK):
            self._digest.update(chunk)
            self.size += len(chunk)
            on_progress(self.size)
        self.resumed = self.size > 0

    def _noted_validator(self) -> str | None:
        try:
            validator = parse_json(self._note.read_text(encoding="utf-8"))["if_range"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        # it becomes a header: nothing but what a header may hold
        return validator if isinstance(validator, str) and re.fullmatch(r"[ -~]{1,300}", validator) else None


def _put_in_place(partial: Path, target: Path, digest: str) -> None:
    os.replace(partial, target)
    if os.name == "posix":
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    record(target, digest)


@dataclass(frozen=True)
class _Job:
    """One download: what, from where, how, and whom to tell."""

    entry: PublicFile
    url: str
    options: DownloadOptions
    on_progress: OnProgress
    say: Say
    opener: OpenerDirector


def _fetch(job: _Job) -> None:
    entry = job.entry
    try:
        with _Part(entry.path, lambda size: job.on_progress(size, entry.size or size)) as part:
            _transfer(job, part)
            if part.resumed and not entry.matches(part.digest()):
                job.say(f"{entry.name}: the parts do not fit together; starting over")
                part.restart(None)
                _transfer(job, part)
            if not entry.matches(part.digest()):
                part.discard()
                raise DownloadError(
                    f"{job.url}: came whole, but its SHA-256 is {part.digest()} and the manifest pins "
                    f"{entry.sha256}: not the right file, not kept; try another {named('mirror')} or {named('folder')}"
                )
            part.finish()
    except OSError as error:  # the network's own OSErrors have become _Broken by then
        raise OutputError(
            f"{entry.path}.part: {error.strerror or error}; set AVSEG_CACHE to a folder with room"
        ) from error


def _transfer(job: _Job, part: _Part) -> None:
    """Ask until ``part`` is complete, or until ``tries`` attempts in a row brought nothing."""
    failures = 0
    while True:
        before = part.size
        try:
            return _attempt(job, part)
        except _Broken as broken:
            failures = 0 if part.size - before >= REAL_PROGRESS else failures + 1
            if failures >= job.options.tries:
                raise DownloadError(
                    f"{job.url}: {broken} ({failures} attempts); "
                    f"{size_text(part.size)} are kept and the same command goes on from there"
                ) from broken
            patience = job.options.first_wait * 2 ** max(0, failures - 1)
            wait = min(LONGEST_WAIT, max(broken.wait, patience))
            job.say(f"{job.entry.name}: {broken}; trying again in {wait:.0f} s")
            time.sleep(wait)


def _attempt(job: _Job, part: _Part) -> None:
    """One request: the rest of the file, or all of it when the server will not go on."""
    entry = job.entry
    if entry.matches(part.digest()) or (entry.size is not None and part.size >= entry.size):
        return  # all there already, from a run that was stopped; the hash decides
    with _ask(job, part) as response:
        total = _agree(job, response, part)
        _refuse_full_disk(entry, total - part.size)
        while part.size < total:
            try:
                chunk = response.read1(min(CHUNK, total - part.size))
            except (OSError, HTTPException) as error:
                raise _Broken(f"the connection broke ({error or type(error).__name__})") from error
            if not chunk:
                raise _Broken(f"the connection closed at {size_text(part.size)} of {size_text(total)}")
            part.write(chunk)
            job.on_progress(part.size, total)


def _ask(job: _Job, part: _Part) -> HTTPResponse:
    headers = {"User-Agent": f"avseg/{__version__}", "Accept-Encoding": "identity"}
    if part.size and part.validator:
        headers |= {"Range": f"bytes={part.size}-", "If-Range": part.validator}
    try:
        return job.opener.open(Request(job.url, headers=headers), timeout=job.options.timeout)
    except HTTPError as error:
        raise _refusal(job.url, error, part) from error
    except URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise DownloadError(
                f"{job.url}: the server's certificate is not valid ({error.reason.verify_message}); "
                f"check the clock and SSL_CERT_FILE, or use {named('mirror')} or {named('folder')}"
            ) from error
        raise _Broken(f"no connection ({error.reason})") from error
    except (OSError, HTTPException) as error:
        raise _Broken(f"no answer ({error or type(error).__name__})") from error


def _refusal(url: str, error: HTTPError, part: _Part) -> Exception:
    """What an HTTP error means: try later, start over, or give up."""
    error.close()
    reason = "".join(str(error.reason).splitlines()[:1])
    said = f"{error.code} {''.join(letter for letter in reason if letter.isprintable())}"
    if error.code == 416:  # what we have is not a beginning of what is there now
        part.restart(None)
        return _Broken("the server could not go on from there; starting over")
    if error.code in OVERLOADED or error.code >= 500:
        asked = error.headers.get("Retry-After", "")
        wait = float(asked) if asked.isdigit() else 0.0
        return _Broken(f"the server says {said}", wait)
    return DownloadError(f"{url}: the server says {said}; try {named('mirror')} or {named('folder')}")


def _agree(job: _Job, response: HTTPResponse, part: _Part) -> int:
    """Line ``part`` up with what the server is about to send; returns the size of the whole file."""
    entry, url, headers = job.entry, job.url, response.headers
    if headers.get("Content-Encoding", "identity") != "identity":
        raise DownloadError(
            f"{url}: the server sends the file in another encoding; try {named('mirror')} or {named('folder')}"
        )
    if response.status == 206 and part.size:
        span = re.fullmatch(r"bytes (\d{1,15})-\d{1,15}/(\d{1,15}|\*)", headers.get("Content-Range", ""))
        if span is None or int(span[1]) != part.size:
            part.restart(None)
            raise _Broken("the server sent another part than asked for; starting over")
        part.resumed = True
        said = span[2]
    elif response.status == 200:
        etag = headers.get("ETag", "")
        part.restart(etag if etag.startswith('"') else headers.get("Last-Modified"))  # If-Range: no weak tags
        said = headers.get("Content-Length", "")
    else:
        raise DownloadError(
            f"{url}: an unexpected answer ({response.status}); try {named('mirror')} or {named('folder')}"
        )
    total = int(said) if said.isdigit() and len(said) < 16 else entry.size
    if total is None:
        raise DownloadError(
            f"{url}: the server does not say how large the file is; try {named('mirror')} or {named('folder')}"
        )
    if entry.size is not None and total != entry.size:
        part.restart(None)
        raise DownloadError(
            f"{url}: the server offers {total} bytes, the manifest says {entry.size}: not the right file; "
            f"try {named('mirror')} or {named('folder')}"
        )
    return total


def _refuse_full_disk(entry: PublicFile, needed: int) -> None:
    folder = entry.path.parent
    free = shutil.disk_usage(folder).free
    if free < needed + MARGIN:
        raise OutputError(
            f"{folder}: {size_text(free)} free, {entry.name} needs {size_text(needed)} more; "
            "free some space, or set AVSEG_CACHE to a folder on another disk"
        )


class _CarefulRedirects(HTTPRedirectHandler):
    """Follow redirects to https only; to http only where the user allowed http and asked for it himself."""

    def __init__(self, insecure: bool) -> None:
        self._insecure = insecure

    def redirect_request(self, request, body, code, message, headers, new_url):  # noqa: ANN001, ANN201
        scheme, was = urlsplit(new_url).scheme, urlsplit(request.full_url).scheme
        if scheme != "https" and not (self._insecure and scheme == was):
            raise DownloadError(f"{request.full_url}: redirects to {new_url}, not https; refused")
        return super().redirect_request(request, body, code, message, headers, new_url)


def _take(entry: PublicFile, folder: Path, on_progress: OnProgress) -> None:
    """A file the user has: linked into the cache where the file system can, copied otherwise."""
    source = folder.expanduser() / entry.file
    if not source.is_file():
        raise DownloadError(f"{folder} has no {entry.file}; put the file there under this name")
    size = source.stat().st_size
    if entry.size is not None and size != entry.size:
        raise DownloadError(f"{source}: has {size} bytes, the manifest says {entry.size}: not the right file")
    partial = entry.path.with_name(f".{entry.file}.{os.getpid()}.part")
    try:
        try:
            os.link(source.resolve(), partial)
        except OSError:  # another disk, or a file system without links
            _refuse_full_disk(entry, size)
            shutil.copyfile(source, partial)
        digest = _hash_with_progress(partial, size, on_progress)  # of what will be used, not of the source
        if not entry.matches(digest):
            raise DownloadError(
                f"{source}: its SHA-256 is {digest}, the manifest pins {entry.sha256}: not the right file"
            )
        with open(partial, "rb") as file, suppress(OSError):  # a linked file may be another user's
            os.fsync(file.fileno())
        _put_in_place(partial, entry.path, digest)
    finally:
        partial.unlink(missing_ok=True)


def _hash_with_progress(path: Path, size: int, on_progress: OnProgress) -> str:
    done = 0

    def more(count: int) -> None:
        nonlocal done
        done += count
        on_progress(done, size)

    return hash_file(path, more)
