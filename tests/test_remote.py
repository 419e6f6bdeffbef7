"""Videos and outputs by address: an object store on this machine (moto), and a web server."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from command_line import Ran, run_avseg
from file_server import CERTIFICATE, FileServer, answer, serving
from media_files import Clip

from avseg_cli.base.errors import OutputError
from avseg_cli.base.writing import writing
from avseg_cli.segment.addresses import delivered

upath = pytest.importorskip("upath", reason="pip install 'avseg[remote]'")


@pytest.fixture
def avseg(tiny_checkpoint: Path, capfd: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch):
    """Runs ``avseg segment`` in this process; gives exit code, stdout and stderr."""

    def run(*arguments: object) -> Ran:
        return run_avseg(capfd, monkeypatch, "segment", *arguments, "--checkpoint", tiny_checkpoint)

    return run


@pytest.fixture(scope="module")
def store() -> Iterator[object]:
    """The file system of an S3 of our own, with an empty bucket."""
    pytest.importorskip("s3fs", reason="pip install 'avseg[remote]'")
    moto = pytest.importorskip("moto.server", reason="pip install 'moto[server]': an object store for tests")
    server = moto.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    patch = pytest.MonkeyPatch()
    names = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    for name, value in names.items():
        patch.setenv(name, value)
    root = upath.UPath("s3://archive")
    root.fs.mkdir("archive")
    yield root
    patch.undo()
    server.stop()


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the address under which it is served."""
    folder = tmp_path / "web"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Be quiet."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{http.server_port}"
    http.shutdown()
    http.server_close()


def test_https_is_not_left_on_a_servers_word(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """In a process of its own, which trusts the test's certificate."""
    clip = Clip(seconds=1, size=(64, 48)).write(tmp_path / "clip.mp4")
    with serving(FileServer(clip.read_bytes())) as plain, serving(FileServer(b""), https=True) as server:
        server.script = [answer(302, Location=f"{plain.url}/clip.mp4")] * 8
        ran = subprocess.run(
            [
                sys.executable,
                "-m",
                "avseg_cli",
                "segment",
                f"{server.url}/clip.mp4",
                "-o",
                str(tmp_path / "out"),
                "--checkpoint",
                str(tiny_checkpoint),
            ],
            env={**os.environ, "SSL_CERT_FILE": str(CERTIFICATE), "COLUMNS": "300"},
            capture_output=True,
            text=True,
        )
    assert ran.returncode == 2 and "not https; refused" in ran.stderr, ran.stderr
    assert not plain.seen and not (tmp_path / "out/clip.avseg.mp4").exists()


def keys(store: object) -> list[str]:
    return sorted(store.fs.find("archive", refresh=True))


def test_from_a_store_to_a_store_and_again(avseg, store, tmp_path: Path) -> None:
    clip = Clip(seconds=1, size=(64, 48)).write(tmp_path / "clip.mp4")
    for place in ("in/a.mp4", "in/b/a.mp4", "in/notes.txt"):
        store.fs.put_file(str(clip), f"archive/{place}")
    arguments = ["s3://archive/in", "-r", "-o", "s3://archive/out", "--format", "overlay,json", "--json"]
    code, out, err = avseg(*arguments)
    assert code == 0, err
    assert [json.loads(line)["status"] for line in out.splitlines()] == ["done", "done"]
    assert [key for key in keys(store) if "/out/" in key] == [
        f"archive/out/{stem}.avseg.{kind}" for stem in ("a", "b/a") for kind in ("json", "mp4")
    ]
    document = json.loads((store / "out/a.avseg.json").read_text())
    assert document["masks"] and document["video"]["path"] == "s3://archive/in/a.mp4"
    code, out, _ = avseg(*arguments, "--skip-existing")
    assert code == 0 and [json.loads(line)["status"] for line in out.splitlines()] == ["skipped", "skipped"]
    code, _, err = avseg("s3://archive/in/a.mp4", "-o", "s3://archive/out/")
    assert code == 5 and "--overwrite" in err


def test_what_a_store_refuses_is_one_sentence(avseg, store, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("not a video")
    store.fs.put_file(str(tmp_path / "text.mp4"), "archive/bad/text.mp4")
    before = keys(store)
    cases = [
        (["s3://archive/none.mp4", "-o", tmp_path / "out"], 2, "s3://archive/none.mp4: no such file"),
        (["s3://nowhere/none.mp4", "-o", tmp_path / "out"], 2, "s3://nowhere/none.mp4"),
        (["s3://archive/bad/text.mp4", "-o", tmp_path / "out"], 2, "s3://archive/bad/text.mp4: not a video"),
        ([Clip(seconds=1).write(tmp_path / "c.mp4"), "-o", "s3://nowhere/x"], 5, "s3://nowhere/x"),
        ([tmp_path / "c.mp4", "-o", "s3://archive/x", "--format", "masks"], 5, "use --format json"),
    ]
    for arguments, code, message in cases:
        ran = avseg(*arguments)
        assert ran[0] == code and message in ran[2] and ran[2].count("\n") == 1, ran
    assert keys(store) == before and not (tmp_path / "out").exists()


def test_from_the_web(avseg, web: tuple[Path, str], tmp_path: Path) -> None:
    folder, address = web
    Clip(seconds=1, size=(64, 48)).write(folder / "clip.mp4")
    code, _, err = avseg(f"{address}/clip.mp4?token=../../x", "-o", tmp_path / "out")
    assert code == 0, err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["clip.avseg.mp4"]
    code, _, err = avseg(f"{address}/clip.mp4")
    assert code == 5 and "cannot be written to" in err
    code, _, err = avseg(f"{address}/missing.mp4", "-o", tmp_path / "out")
    assert code == 2 and "missing.mp4: no such file" in err
    for name in ("http://localhost:9/clip.mp4", "https://nosuchhost.invalid/clip.mp4"):
        code, _, err = avseg(name, "-o", tmp_path / "other")
        assert code == 2 and f"{name}: cannot be reached (" in err and err.count("\n") == 1, err


def test_documents_do_not_tell_what_signs_an_address(avseg, web: tuple[Path, str], tmp_path: Path) -> None:
    folder, address = web
    Clip(seconds=1, size=(64, 48)).write(folder / "clip.mp4")
    code, _, err = avseg(f"{address}/clip.mp4?signature=x", "-o", tmp_path / "out.json")
    assert code == 0, err
    assert json.loads((tmp_path / "out.json").read_text())["video"]["path"] == f"{address}/clip.mp4"


@pytest.mark.parametrize("name", ["ftp://host/clip.mp4", "file:///etc/passwd", "simplecache://x", "data://x"])
def test_other_addresses_are_refused(avseg, name: str, tmp_path: Path) -> None:
    code, _, err = avseg(name, "-o", tmp_path)
    assert code == 2 and "avseg reads s3://" in err and err.count("\n") == 1


def test_names_in_a_store_do_not_lead_out_of_the_output_folder(store, tmp_path: Path) -> None:
    from avseg_cli.base.errors import InputError
    from avseg_cli.segment.addresses import plain_name
    from avseg_cli.segment.inputs import find_sources

    store.fs.pipe_file("archive/evil/../../../escape.mp4", b"x")
    try:
        sources = find_sources(["s3://archive/evil"], recursive=True)
        assert not any(".." in source.relative.parts for source in sources)
    except InputError as error:
        assert "leads out" in str(error) or "without videos" in str(error)
    for name in ("https://h/..", "https://h/a/..?x=/y", "https://h/", "https://h/a.mp4?x=../b", "https://h/a\\..\\b"):
        plain = plain_name(upath.UPath(name))
        assert plain in ("a.mp4", "video", "b"), plain


def test_info_tells_what_a_store_takes(store, tmp_path: Path, capfd, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = Clip(seconds=1).write(tmp_path / "clip.mp4")
    code, out, err = run_avseg(capfd, monkeypatch, "info", clip, "--json", "-o", "s3://archive/told")
    assert code == 0, err
    outputs = json.loads(out)["segment"]["outputs"]
    assert outputs["json"] == {"path": "s3://archive/told/clip.avseg.json", "exists": False} and "masks" not in outputs


def test_no_room_for_temporary_files_is_told_of_the_address(store) -> None:
    with (
        pytest.raises(OutputError, match=r"^s3://archive/x\.json: no room for a temporary copy; set TMPDIR"),
        delivered({"json": store / "x.json"}) as places,
        writing(places["json"]),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not (store / "x.json").exists()
