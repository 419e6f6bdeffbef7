"""What the system does not let a process have is said in one sentence, with its cure, and leaves nothing behind."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import run_avseg
from media_files import Clip

import avseg_cli
from avseg_cli.base import limits
from avseg_cli.base.errors import CheckpointError, DeviceError, InputError, OutputError
from avseg_cli.base.limits import ShortOfMemory, about_memory
from avseg_cli.segment.batch import _explained

resource = pytest.importorskip("resource", reason="Windows limits no process by itself")
MB = 1_000_000
ALL = (
    ("info", "clip.mp4"), ("doctor",), ("segment", "clip.mp4", "-o", "out/", "--format", "overlay,masks,json,preview")
)  # fmt: skip


def with_addresses(megabytes: int, folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """``avseg ARGUMENTS`` as under ``ulimit -v``."""
    most = megabytes * MB
    return subprocess.run(
        [sys.executable, "-m", "avseg_cli", *arguments], cwd=folder, text=True, capture_output=True,
        env={**os.environ, "PYTHONPATH": str(Path(avseg_cli.__file__).parents[1])},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (most, most)),
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a clip in it."""
    folder = tmp_path_factory.mktemp("limited")
    Clip(seconds=0.5).write(folder / "clip.mp4")
    return folder


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux holds to such a limit")
@pytest.mark.parametrize(
    ("megabytes", "commands"),
    [(200, ALL), (500, ALL), *[(gigabytes * 1000, ALL[-1:]) for gigabytes in (1, 2, 3, 4)]],
    ids=lambda value: str(value) if isinstance(value, int) else "",
)
def test_too_little_memory_is_one_sentence_or_does_no_harm(folder: Path, megabytes: int, commands: tuple) -> None:
    assert with_addresses(megabytes, folder, "segment", "--help").returncode == 0
    for arguments in commands:
        ran = with_addresses(megabytes, folder, *arguments)
        assert ran.returncode in ((4,) if megabytes <= 500 else (0, 4)), ran.stderr
        if ran.returncode:
            assert ran.stderr.startswith("avseg: ") and ran.stderr.count("\n") == 1 and "ulimit -v" in ran.stderr
            assert [path.name for path in folder.rglob("*")] == ["clip.mp4"]


@pytest.fixture
def near(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the process had come close to its limit."""
    monkeypatch.setattr(limits, "memory_limit", lambda: 5_000 * MB)
    monkeypatch.setattr(limits, "_most_addresses", lambda: 4_900 * MB)


FAILURES = [
    MemoryError(),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to"),
    RuntimeError("could not create a primitive"),
    RuntimeError("can't start new thread"),
    ImportError("libtorch_cpu.so: failed to map segment from shared object"),
]


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
def test_every_library_s_word_for_want_of_memory_is_known(error: Exception) -> None:
    told = about_memory(error, "clip.mp4: ")
    assert told is not None and str(told).startswith("clip.mp4: out of memory; close other programs, or use a smaller")
    assert told.exit_code == DeviceError.exit_code and about_memory(told) is told


@pytest.mark.usefixtures("near")
def test_close_to_the_limit_no_input_is_blamed_alone() -> None:
    assert "5.0 GB of addresses; raise that limit (`ulimit -v unlimited`" in str(about_memory(MemoryError()))
    told = _explained(InputError("clip.mp4: has no frame that can be decoded"), Path("clip.mp4"))
    assert isinstance(told, ShortOfMemory)
    assert str(told).startswith("clip.mp4: has no frame that can be decoded; want of memory may be the cause: this")
    told = _explained(RuntimeError("odd"), Path("clip.mp4"))
    assert str(told).startswith("clip.mp4: odd; want of memory may be the cause: ")


def test_an_encoder_without_memory_does_not_blame_the_kind_of_file() -> None:
    blamed = OutputError("out.mp4: FFmpeg cannot write it")
    blamed.__cause__ = OSError(errno.ENOMEM, "Cannot allocate memory")
    assert str(about_memory(blamed, "clip.mp4: ")).startswith("clip.mp4: out of memory; ")


def test_far_from_it_memory_is_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert about_memory(CheckpointError("no such file")) is None
    monkeypatch.setattr(limits, "memory_limit", lambda: 5_000 * MB)
    monkeypatch.setattr(limits, "_most_addresses", lambda: 3_000 * MB)
    assert about_memory(InputError("no")) is None and about_memory(RuntimeError("odd")) is None


@pytest.mark.parametrize("arguments", [("doctor",), ("segment", "clip.mp4"), ("info", "../clip.mp4")], ids=str)
def test_a_deleted_current_folder_is_one_sentence(tmp_path: Path, capfd, monkeypatch, arguments: tuple) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    code, _, err = run_avseg(capfd, monkeypatch, *arguments)
    assert code == InputError.exit_code
    assert err == "avseg: the current folder was deleted or is out of reach; change to another one\n"
    assert run_avseg(capfd, monkeypatch, arguments[0], "--help").code == 0
