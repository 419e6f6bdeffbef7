"""Downloads against a server that drops, corrupts, truncates, stalls, lies and changes its mind."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from file_server import CERTIFICATE, FileServer, answer, change, drop_after, raw, serving, stall
from weights_helpers import manifest_entry, sha256, use_weights

from avseg_cli.base.errors import DownloadError, OutputError
from avseg_cli.checkpoints import manifest as weights
from avseg_cli.checkpoints.download import download
from avseg_cli.checkpoints.download_options import DownloadOptions
from avseg_cli.cli.options import said

CONTENT = random.Random(0).randbytes(300_000)
OTHER = random.Random(1).randbytes(300_000)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    entries = [
        manifest_entry("thing", CONTENT),
        manifest_entry("prefix", CONTENT, pinned_digits=8) | {"size": None},
        manifest_entry("unsized", CONTENT) | {"size": None},
    ]
    return use_weights(monkeypatch, tmp_path, entries)


@pytest.fixture
def server(cache: Path) -> Iterator[FileServer]:
    with serving(FileServer(CONTENT)) as server:
        yield server


@pytest.fixture
def trusted(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """The same over https, with a certificate this machine trusts."""
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    with serving(FileServer(CONTENT), https=True) as server:
        yield server


def fetch(server: FileServer, name: str = "thing", **options: object) -> Path:
    quick = {"mirror": server.url, "insecure": True, "first_wait": 0.01, "timeout": 5.0, "tries": 4}
    return download(weights.public_file(name), DownloadOptions(**quick | options))


def assert_done(cache: Path, name: str = "thing") -> None:
    """The whole file under its name, remembered as verified, and nothing else but the lock."""
    assert (cache / f"{name}.pth").read_bytes() == CONTENT
    assert weights.status(weights.public_file(name)) == "verified"
    assert {path.name for path in cache.iterdir()} - {f".{name}.pth.lock"} == {
        f"{name}.pth", f"{name}.pth.verified.json",
    }  # fmt: skip


def assert_nothing_visible(cache: Path, name: str = "thing") -> None:
    assert not (cache / f"{name}.pth").exists()
    assert weights.status(weights.public_file(name)) == "missing"


# --- it arrives --------------------------------------------------------------------------------------


def test_a_plain_download(server: FileServer, cache: Path) -> None:
    seen: list[tuple[int, int]] = []
    options = DownloadOptions(mirror=server.url + "/", insecure=True)
    assert download(weights.public_file("thing"), options, lambda *at: seen.append(at)) == cache / "thing.pth"
    assert_done(cache)
    assert server.seen[0]["path"] == "/thing.pth"
    assert seen[-1] == (len(CONTENT), len(CONTENT)) and seen == sorted(seen)


@pytest.mark.parametrize("name", ["thing", "unsized", "prefix"])
def test_https(name: str, trusted: FileServer, cache: Path) -> None:
    trusted.script = [drop_after(100_000), answer(302, Location=f"/else/{name}.pth")]
    fetch(trusted, name, insecure=False)
    assert_done(cache, name)
    assert trusted.seen[2]["Range"] == "bytes=100000-"  # kept through the redirect


def test_a_verified_file_is_not_asked_for_again(server: FileServer, cache: Path) -> None:
    fetch(server)
    fetch(server)
    assert len(server.seen) == 1


def test_a_damaged_file_is_replaced(server: FileServer, cache: Path) -> None:
    fetch(server)
    (cache / "thing.pth").write_bytes(OTHER)
    fetch(server)
    assert_done(cache)


def test_a_dropped_connection_is_resumed_where_it_broke(server: FileServer, cache: Path) -> None:
    server.script = [drop_after(100_000), drop_after(70_000), drop_after(0)]
    fetch(server)
    assert_done(cache)
    asked = [seen.get("Range") for seen in server.seen]
    assert asked == [None, "bytes=100000-", "bytes=170000-", "bytes=170000-"]
    assert server.seen[1]["If-Range"] == '"v1"'


def test_a_later_run_resumes(server: FileServer, cache: Path) -> None:
    server.script = [drop_after(120_000)]
    with pytest.raises(DownloadError, match="120 kB are kept") as failed:
        fetch(server, tries=1)
    assert "\n" not in str(failed.value)
    assert_nothing_visible(cache)
    fetch(server)
    assert_done(cache)
    assert server.seen[1]["Range"] == "bytes=120000-"


@pytest.mark.parametrize("name", ["thing", "unsized", "prefix"])
def test_a_run_stopped_just_before_the_end_finishes(name: str, server: FileServer, cache: Path) -> None:
    cache.mkdir()
    (cache / f"{name}.pth.part").write_bytes(CONTENT)
    (cache / f"{name}.pth.part.json").write_text(json.dumps({"if_range": '"v1"'}))
    fetch(server, name, mirror="https://127.0.0.1:9")  # nobody there, and nobody needs to be asked
    assert_done(cache, name)
    assert not server.seen


def test_a_server_without_ranges(server: FileServer, cache: Path) -> None:
    server.ranges = False
    server.script = [drop_after(100_000)]
    fetch(server)
    assert_done(cache)


def test_a_server_without_validators_is_not_resumed(server: FileServer, cache: Path) -> None:
    server.etag = None
    server.script = [drop_after(100_000)]
    fetch(server)
    assert_done(cache)
    assert all("Range" not in seen for seen in server.seen)


def test_weak_validators_are_not_used(server: FileServer, cache: Path) -> None:
    server.etag = 'W/"v1"'
    server.script = [drop_after(100_000)]
    fetch(server)
    assert_done(cache)
    assert all("Range" not in seen for seen in server.seen)


def test_a_file_that_changes_in_between_is_taken_anew(server: FileServer, cache: Path) -> None:
    server.content, server.etag = OTHER, '"v0"'
    server.script = [drop_after(100_000), change(CONTENT, '"v1"')]
    fetch(server)
    assert_done(cache)
    assert server.seen[1]["If-Range"] == '"v0"'


def test_parts_that_do_not_fit_together_are_taken_anew(server: FileServer, cache: Path) -> None:
    """A server that goes on with another version under the same ETag: only the hash can tell."""
    server.content = OTHER
    server.script = [drop_after(100_000), change(CONTENT, '"v1"')]
    fetch(server)
    assert_done(cache)
    assert [seen.get("Range") for seen in server.seen] == [None, "bytes=100000-", None]


@pytest.mark.parametrize(
    "lie",
    [
        raw("HTTP/1.1 206 Part\nContent-Length: 9\nContent-Range: bytes 5-13/300000\n\n", b"123456789"),
        raw("HTTP/1.1 206 Part\nContent-Length: 9\n\n", b"123456789"),
        answer(416),
    ],
    ids=["another part", "no part named", "416"],
)
def test_a_wrong_part_is_not_appended(lie, server: FileServer, cache: Path) -> None:
    server.script = [drop_after(100_000), lie]
    fetch(server)
    assert_done(cache)


@pytest.mark.parametrize("code", [500, 503, 429, 408])
def test_an_overloaded_server_is_asked_again(code: int, server: FileServer, cache: Path) -> None:
    server.script = [answer(code, Retry_After="0"), answer(code, Retry_After="soon")]
    fetch(server)
    assert_done(cache)


def test_a_stalled_connection_times_out_and_goes_on(server: FileServer, cache: Path) -> None:
    server.script = [stall(3.0)]
    started = time.monotonic()
    fetch(server, timeout=0.3)
    assert time.monotonic() - started < 2.5
    assert_done(cache)


def test_garbage_instead_of_http(server: FileServer, cache: Path) -> None:
    server.script = [raw("SSH-2.0 hello\n\n"), raw("HTTP/1.1 200 OK\nContent-Length: 300000\n\n")]
    fetch(server)
    assert_done(cache)


def test_redirects_on_the_same_scheme_are_followed(server: FileServer, cache: Path) -> None:
    server.script = [answer(302, Location="/elsewhere/thing.pth")]
    fetch(server)
    assert_done(cache)
    assert server.seen[1]["path"] == "/elsewhere/thing.pth"


# --- it does not, and says why -----------------------------------------------------------------------


def refuses(server: FileServer, cache: Path, *words: str, error: type = DownloadError, **options: object) -> None:
    with pytest.raises(error) as refusal:
        fetch(server, **options)
    message = said(refusal.value)
    assert all(word in message for word in words), message
    assert "\n" not in message
    assert_nothing_visible(cache)


@pytest.mark.parametrize("target", ["ftp://127.0.0.1/x", "file:///etc/hostname", "data:text/plain,x"])
def test_redirects_to_other_schemes_are_refused(target: str, server: FileServer, cache: Path) -> None:
    server.script = [answer(302, Location=target)]
    refuses(server, cache)


@pytest.mark.parametrize("insecure", [False, True])
def test_a_redirect_from_https_to_http_is_refused(
    insecure: bool, trusted: FileServer, server: FileServer, cache: Path
) -> None:
    trusted.script = [answer(302, Location=f"{server.url}/thing.pth")]
    refuses(trusted, cache, "redirects to", "not https; refused", insecure=insecure)
    assert not server.seen


def test_endless_redirects_end(server: FileServer, cache: Path) -> None:
    server.script = [answer(302, Location="/thing.pth")] * 20
    refuses(server, cache, "302")


def test_a_corrupt_file_is_not_kept(server: FileServer, cache: Path) -> None:
    server.content = CONTENT[:5000] + bytes([CONTENT[5000] ^ 1]) + CONTENT[5001:]
    refuses(server, cache, "SHA-256", sha256(CONTENT), sha256(server.content))
    assert not list(cache.glob("*.part*"))
    server.content = CONTENT
    fetch(server)
    assert_done(cache)


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"x", b""], ids=["short", "long", "empty"])
def test_a_file_of_another_size_is_refused_before_it_comes(content: bytes, server: FileServer, cache: Path) -> None:
    server.content = content
    refuses(server, cache, f"offers {len(content)} bytes", str(len(CONTENT)))


def test_a_file_of_unknown_size_needs_an_announced_one(server: FileServer, cache: Path) -> None:
    server.length = False
    with pytest.raises(DownloadError, match="does not say how large"):
        fetch(server, "unsized")
    fetch(server, "thing")  # the manifest knows
    assert weights.status(weights.public_file("thing")) == "verified"


def test_no_more_is_read_than_announced(server: FileServer, cache: Path) -> None:
    server.length = False
    server.content = CONTENT + OTHER
    fetch(server)
    assert (cache / "thing.pth").read_bytes() == CONTENT


def test_not_found(server: FileServer, cache: Path) -> None:
    server.script = [answer(404), raw("HTTP/1.1 404 \x1b[2J\nContent-Length: 0\n\n")]
    refuses(server, cache, "404", "--mirror", "--from")
    assert len(server.seen) == 1
    refuses(server, cache, "404 [2J;")  # nothing for the terminal to obey


def test_it_gives_up_after_some_tries(server: FileServer, cache: Path) -> None:
    server.script = [answer(503)] * 10
    refuses(server, cache, "503", "4 attempts")
    assert len(server.seen) == 4


def test_compressed_answers_are_refused(server: FileServer, cache: Path) -> None:
    server.script = [raw("HTTP/1.1 200 OK\nContent-Encoding: gzip\nContent-Length: 300000\n\n")]
    refuses(server, cache, "encoding")


def test_nobody_listens(server: FileServer, cache: Path) -> None:
    refuses(server, cache, "no connection", mirror="http://127.0.0.1:9", tries=2)


def test_plain_http_has_to_be_allowed(server: FileServer, cache: Path) -> None:
    refuses(server, cache, "--insecure", insecure=False)
    with pytest.raises(DownloadError, match="full checksum"):
        fetch(server, "prefix")
    refuses(server, cache, "not an https address", mirror="ftp://127.0.0.1")
    assert not server.seen


def test_a_certificate_nobody_signed_is_refused(cache: Path) -> None:
    with serving(FileServer(CONTENT), https=True) as stranger:
        refuses(stranger, cache, "certificate is not valid", "SSL_CERT_FILE", insecure=True)
        assert not stranger.seen


def test_https_to_a_server_that_speaks_http(server: FileServer, cache: Path) -> None:
    refuses(server, cache, "no connection", mirror=server.url.replace("http:", "https:"), tries=1)


def test_offline(server: FileServer, cache: Path) -> None:
    refuses(server, cache, "offline", "--from", offline=True)
    assert not server.seen


def test_a_full_disk_is_seen_beforehand(server: FileServer, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")(1, 1, 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    refuses(server, cache, "1 kB free", "AVSEG_CACHE", error=OutputError)


def test_a_disk_that_fills_up_on_the_way(server: FileServer, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from avseg_cli.checkpoints.download import _Part

    def full(self: _Part, chunk: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(_Part, "write", full)
        refuses(server, cache, "No space left on device", "AVSEG_CACHE", error=OutputError)
    fetch(server)
    assert_done(cache)


@pytest.mark.parametrize("note", ["", "[]", '{"if_range": "a\\r\\nX: y"}', '{"if_range": 3}'])
def test_a_note_that_was_tampered_with_is_not_used(note: str, server: FileServer, cache: Path) -> None:
    cache.mkdir()
    (cache / "thing.pth.part").write_bytes(OTHER[:1000])
    (cache / "thing.pth.part.json").write_text(note)
    fetch(server)
    assert_done(cache)
    assert "Range" not in server.seen[0] and "X" not in server.seen[0]


# --- from a folder -----------------------------------------------------------------------------------


def take(folder: Path, **options: object) -> Path:
    return download(weights.public_file("thing"), DownloadOptions(folder=folder, **options))


@pytest.mark.parametrize("links", [True, False])
def test_a_file_the_user_has(links: bool, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "mine" / "thing.pth"
    source.parent.mkdir()
    source.write_bytes(CONTENT)
    if not links:
        monkeypatch.setattr(os, "link", lambda *_: os.stat("/no/such/file"))  # raises OSError
    take(source.parent, offline=True)  # needs no network
    assert_done(cache)
    assert source.read_bytes() == CONTENT
    assert (cache / "thing.pth").samefile(source) == links


def test_a_linked_file_changed_later_is_noticed(cache: Path, tmp_path: Path) -> None:
    source = tmp_path / "thing.pth"
    source.write_bytes(CONTENT)
    take(tmp_path)
    source.write_bytes(OTHER)
    with pytest.raises(Exception, match="avseg weights download thing"):
        weights.find("thing")


@pytest.mark.parametrize("content", [OTHER, CONTENT[:-1], None], ids=["other", "short", "none"])
def test_a_wrong_file_the_user_has(content: bytes | None, cache: Path, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "thing.pth").write_bytes(content)
    with pytest.raises(DownloadError, match="thing.pth"):
        take(tmp_path)
    assert_nothing_visible(cache)
    assert {path.name for path in cache.iterdir()} <= {".thing.pth.lock"}


# --- several processes, and none any more ------------------------------------------------------------

CHILD = """
    import sys
    from pathlib import Path
    from avseg_cli.checkpoints import manifest as weights
    folder = Path(sys.argv.pop(1))
    weights.weights_dir = lambda: folder
    from avseg_cli.cli import main
    main()
"""


def start(tmp_path: Path, server: FileServer) -> subprocess.Popen:
    """``avseg weights download thing`` in a process of its own."""
    command = [sys.executable, "-c", textwrap.dedent(CHILD), str(tmp_path / "embedded")]
    command += ["weights", "download", "thing", "--mirror", server.url, "--insecure"]
    root = str(Path(weights.__file__).parents[2])
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(condition: Callable[[], bool], child: subprocess.Popen) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end and child.poll() is None, "it did not happen"
        time.sleep(0.01)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "Ctrl-C"])
def test_a_killed_download_is_resumed(how: signal.Signals, server: FileServer, cache: Path, tmp_path: Path) -> None:
    server.delay = 0.2
    child = start(tmp_path, server)
    part = cache / "thing.pth.part"
    wait_for(lambda: part.exists() and part.stat().st_size >= 1 << 16, child)
    child.send_signal(how)
    _, err = child.communicate(timeout=30)
    assert child.returncode == (-9 if how == signal.SIGKILL else 130)
    assert "Traceback" not in err
    assert how == signal.SIGKILL or err.splitlines()[-1] == "avseg: stopped; the same command goes on from here"
    assert_nothing_visible(cache)
    server.delay = 0.0
    fetch(server)
    assert_done(cache)
    assert server.seen[1]["Range"].startswith("bytes=")


def test_two_processes_share_one_download(server: FileServer, cache: Path, tmp_path: Path) -> None:
    server.delay = 0.2
    child = start(tmp_path, server)
    wait_for(lambda: bool(server.seen), child)
    said: list[str] = []
    options = DownloadOptions(mirror=server.url, insecure=True)
    thread = threading.Thread(target=lambda: download(weights.public_file("thing"), options, say=said.append))
    thread.start()
    thread.join(30)
    _, err = child.communicate(timeout=30)
    assert child.returncode == 0, err
    assert_done(cache)
    assert len(server.seen) == 1 and "waiting" in said[0]
